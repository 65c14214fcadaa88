"""Why the passes of two recurrent cells differ: gates in another order, a bias left out, another formula, padding."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import permutations, product

import numpy as np

from parity.causes.case import Case, Explanation
from parity.causes.cells.reference import ACTIVATIONS, Way, run
from parity.causes.cells.sequences import lengths_of
from parity.causes.steps.equality import same
from parity.core.finding import Fix
from parity.core.types import Array

GATES = {"lstm": "ifgo", "gru": "rzn", "simple_rnn": "h"}
"""A cell's gates in torch's order."""
ADDED = "bias_hh (added)"
"""The second bias of torch, where Keras has one for both."""


def explain_cell(case: Case) -> Iterator[Explanation]:
    """The causes at a pass of a recurrent cell: what the weights show, else what the results show."""
    found = list(_of_weights(case)) or list(_of_formula(case))
    yield from found


def _of_weights(case: Case) -> Iterator[Explanation]:
    keras, torch = case.weights
    differing = {
        name: keras[name] for name in torch if name in keras and not np.array_equal(keras[name], torch[name])
    }
    agreed = case.agrees(differing, {}) if differing else None
    if agreed is None:
        return
    shown = f"with the Keras values the torch layer agrees to {agreed:.1g}"
    order = _gate_order(str(case.families[0]), differing, torch)
    if order is not None:
        gates = GATES[str(case.families[0])]
        placed = ", ".join(gates[place] for place in order)
        yield Explanation(
            "gate-order",
            f"torch's gates are {', '.join(gates)}, and Keras' values stand as if they were {placed}; {shown}",
            f"exchange the gates' blocks when {case.keras} and {case.torch} are copied (parity.transfer does): Keras has "
            "i, f, c, o and z, r, h where torch has i, f, g, o and r, z, n", True,
        )  # fmt: skip
    elif set(differing) == {"bias_ih"} and ADDED in torch:
        first = torch["bias_ih"] - torch[ADDED]
        for name, value in (("second", first), ("first", torch[ADDED])):
            if np.allclose(keras["bias_ih"], value, rtol=1e-6, atol=1e-12) and np.any(
                torch["bias_ih"] - value
            ):
                yield Explanation(
                    "recurrent-bias",
                    f"torch adds two biases up, and Keras lacks the {name} one; {shown}",
                    Fix(f"let Keras layer {case.keras} hold the sum of both biases of {case.torch}",
                        f"set the {name} bias of {case.torch} to zero",
                        f"let Keras layer {case.keras} hold the sum of both biases of {case.torch}"), True,
                )  # fmt: skip
                return


def _gate_order(
    family: str, differing: Mapping[str, Array], torch: Mapping[str, Array]
) -> tuple[int, ...] | None:
    """The order of blocks that makes Keras' values of torch's, the same for every tensor that differs."""
    count = len(GATES[family])
    for order in permutations(range(count)):
        if order != tuple(range(count)) and all(
            _alike(_blocks(torch[name], order), value, name == "bias_ih") for name, value in differing.items()
        ):
            return order
    return None


def _alike(a: Array, b: Array, summed: bool) -> bool:
    """Whether two tensors are the same; a sum of two biases may be rounded to float32."""
    return (
        np.allclose(a, b, rtol=1e-6, atol=1e-7 * np.abs(a).max(initial=0.0))
        if summed
        else np.array_equal(a, b)
    )


def _blocks(value: Array, order: Sequence[int]) -> Array:
    parts = np.split(value, len(order))
    return np.concatenate([parts[place] for place in order])


def _of_formula(case: Case) -> Iterator[Explanation]:
    """What tells the ways apart in which both sides computed."""
    family, weights = str(case.families[0]), _own(case.weights[1])
    keras_in, keras_out = _as_pass(family, case.keras_in, case.keras_out)
    torch_in, torch_out = _as_pass(family, case.torch_in, case.torch_out)
    keras = _way(family, case.weights[0], keras_in, keras_out)
    torch = _way(family, weights, torch_in, torch_out)
    if keras is None or torch is None:
        return
    if not same(run(family, weights, torch_in[0], torch_in[1:], keras), keras_out):
        return
    shown = "with that changed the cell's formula gives the Keras result"
    if keras.lengths != torch.lengths:
        yield masked(keras.lengths, torch.lengths, (case.keras, case.torch), shown)
    if keras.reset_after != torch.reset_after:
        sides = ("behind", "in front of") if keras.reset_after else ("in front of", "behind")
        yield Explanation(
            "reset-after", f"Keras resets the state {sides[0]} the product with the recurrent kernel, torch {sides[1]} it; "
            f"{shown}", Fix(f"reset_after={torch.reset_after} on the Keras layer of {case.keras}",
                            f"a GRU of one's own that resets {sides[0]} the product, in place of {case.torch}",
                            f"reset_after={torch.reset_after} on the Keras layer of {case.keras}"), True,
        )  # fmt: skip
    for name, what in (("activation", "activation"), ("gates", "recurrent_activation")):
        a, b = getattr(keras, name), getattr(torch, name)
        if a != b:
            hard = "hard" in a and "hard" in b
            yield Explanation(
                "hard-sigmoid-form" if hard else "activation-kind", f"{what} is {a} in Keras and {b} in torch; {shown}",
                Fix(f"{what}={b!r} on the Keras layer of {case.keras}", f"{a} in torch module {case.torch}"), True,
            )  # fmt: skip


def _as_pass(family: str, given: Sequence[Array], result: Array) -> tuple[list[Array], Array]:
    """One step as a pass of one step; states that were not given are zero."""
    size = result.shape[-1]
    states = [
        *given[1:],
        *(np.zeros((len(result), size)) for _ in range((3 if family == "lstm" else 2) - len(given))),
    ]
    if given[0].ndim == 3:
        return [given[0], *states], result
    return [given[0][:, None], *states], result[:, None]


def _own(torch: Mapping[str, Array]) -> Mapping[str, Array]:
    """torch's weights with both biases, where Keras has one for both."""
    if ADDED not in torch:
        return torch
    return {**torch, "bias_ih": torch["bias_ih"] - torch[ADDED], "bias_hh": torch[ADDED]}


def masked(
    keras: tuple[int, ...] | None, torch: tuple[int, ...] | None, place: tuple[str, str], shown: str
) -> Explanation:
    """One side runs over the padding."""
    lengths = keras if torch is None else torch
    masks, runs = ("Keras", "torch") if torch is None else ("torch", "Keras")
    pack = f"pack what goes into {place[1]} (pack_padded_sequence with the lengths), and take the last valid states"
    mask = f"give {place[0]} the mask: mask_zero=True on the Embedding, or a Masking layer"
    fix = (
        Fix(f"leave the mask of {place[0]} out", pack, pack)
        if runs == "torch"
        else Fix(mask, f"do not pack what goes into {place[1]}", mask)
    )
    text = f"{masks} stops at the end of each sequence ({', '.join(map(str, (lengths or ())[:4]))} steps), {runs} runs over"
    return Explanation("sequence-mask", f"{text} the padding; {shown}", fix, True)


def _way(family: str, weights: Mapping[str, Array], given: Sequence[Array], result: Array) -> Way | None:
    """The way that gives this result."""
    ends = lengths_of(result)
    lengths = (None, ends) if ends is not None else (None,)
    gates = (
        ("sigmoid",) if family == "simple_rnn" else ("sigmoid", *[n for n in ACTIVATIONS if n != "sigmoid"])
    )
    after = (True, False) if family == "gru" else (True,)
    for length, reset, gate, activation in product(lengths, after, gates, ACTIVATIONS):
        way = Way(activation, gate, reset, length)
        with np.errstate(over="ignore", invalid="ignore"):
            made = run(family, weights, given[0], given[1:], way)
        if made.shape == result.shape and same(made, result):
            return way
    return None
