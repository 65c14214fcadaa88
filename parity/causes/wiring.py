"""Why another tensor arrives at a layer, although every layer before it gave the same: what was done in between.

What should have arrived and what did are held against one another, and both against every earlier tensor: a step
that turns the same tensor into the one and into the other names the difference.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations, islice, product

import numpy as np

from parity.causes.case import Explanation
from parity.causes.cells.sequences import explain_sequence
from parity.causes.steps.compare import StepPair, explain_steps
from parity.causes.steps.equality import same
from parity.causes.steps.identify import IDENTITY, Step, activation, candidates, elementwise
from parity.core.finding import Fix
from parity.core.types import Array

RECENT = 8
"""Earlier tensors that are tried, the latest first, besides the model's inputs."""

ALTERNATIVES = 6
"""Explanations of one place that are kept, until another input decides between them."""

PER_PAIR = 3
"""Steps between the same two tensors that are considered (ReLU and ReLU6 agree on small values)."""


@dataclass(frozen=True)
class Tensor:
    """An earlier tensor, channels first, and what to call it."""

    name: str
    value: Array
    is_input: bool = False


def explain_arrival(
    keras: Array,
    torch: Array,
    sources: Sequence[Tensor],
    place: tuple[str, str],
    certain: bool = False,
    held: tuple[bool, bool] = (False, False),
    shown: bool = True,
) -> list[Explanation]:
    """What the tensors show, the likeliest first; each explains them alone. Empty where they show no known cause.

    Args:
        keras: what arrived on the Keras side, channels first.
        torch: what arrived on the torch side.
        sources: tensors that both sides had before, the model's inputs among them, in execution order.
        place: what to call the place on either side.
        certain: one of the two is known to be what the other was made from. Otherwise a slope between them may
            be the ratio of two slopes, and is not taken for a missing activation.
        held: whether the other side is known to have the Keras tensor, and the torch one, at some step. A step is
            missing only behind a tensor that both sides have: otherwise what made the tensor differs too.
        shown: whether the two are what is shown of a layer, and not what some step gave.
    """
    known = [
        held[i] or any(same(source.value, value) for source in sources)
        for i, value in enumerate((keras, torch))
    ]
    both = known[0], known[1]
    for keras_part, torch_part, name in _views(keras, torch):
        found = list(
            islice(_of_tensors(keras_part, torch_part, sources, place, certain, both, shown), ALTERNATIVES)
        )
        if found:
            return [replace(item, evidence=item.evidence + name) for item in found]
    return []


def _views(keras: Array, torch: Array) -> Iterator[tuple[Array, Array, str]]:
    """The whole tensors, and the one run of channels in which they differ."""
    yield keras, torch, ""
    if keras.shape == torch.shape and keras.ndim > 1:
        axes = (0, *range(2, keras.ndim))
        scale = float(np.abs(keras).max(initial=0.0))
        differing = np.flatnonzero(np.abs(keras - torch).max(axis=axes, initial=0.0) > 1e-11 * scale)
        if 0 < differing.size < keras.shape[1]:
            first, last = int(differing[0]), int(differing[-1]) + 1
            if (first, last) != (0, keras.shape[1]):
                yield keras[:, first:last], torch[:, first:last], f" (in channels {first} to {last - 1})"


def _of_tensors(
    keras: Array,
    torch: Array,
    sources: Sequence[Tensor],
    place: tuple[str, str],
    certain: bool,
    held: tuple[bool, bool],
    shown: bool,
) -> Iterator[Explanation]:
    inputs = [source for source in sources if source.is_input]
    at_input = any(
        source.value.shape[1:2] == keras.shape[1:2] and source.value.ndim == keras.ndim for source in inputs
    )
    if keras.shape == torch.shape:
        for step in _sure(torch, keras, certain, held[1]):
            yield from explain_steps(StepPair(torch, step, IDENTITY, place, at_input=at_input))
        for step in _sure(keras, torch, certain, held[0]):
            yield from explain_steps(StepPair(keras, IDENTITY, step, place, at_input=at_input))
    recent = [source for source in reversed(sources) if not source.is_input][:RECENT]
    yield from explain_sequence(
        keras, torch, [(source.name, source.value) for source in recent], place, shown
    )
    for source in [*_rectified([*recent, *inputs]), *_sums(recent, keras)]:
        yield from _from_source(source, keras, torch, place)
    if keras.shape == torch.shape:
        # Of a tensor that one side alone holds, a step may be one too many where what made the tensor is known.
        if not held[1] and _made_by_a_step(torch, [*recent, *inputs]):
            for step in _sure(torch, keras, certain, True):
                yield from explain_steps(StepPair(torch, step, IDENTITY, place, at_input=at_input))
        if not held[0] and _made_by_a_step(keras, [*recent, *inputs]):
            for step in _sure(keras, torch, certain, True):
                yield from explain_steps(StepPair(keras, IDENTITY, step, place, at_input=at_input))
        yield from _summed(keras, torch, [*recent, *inputs], place)


def _made_by_a_step(value: Array, sources: Sequence[Tensor]) -> bool:
    """Whether one step of the list makes this tensor of an earlier one."""
    return any(next(iter(_few(source.value, value)), None) is not None for source in sources)


def _few(x: Array, y: Array) -> Iterator[Step]:
    return islice(candidates(x, y), PER_PAIR)


def _sure(x: Array, y: Array, certain: bool, held: bool) -> Iterator[Step]:
    """Steps from x to y that one side alone may take; another order needs no tensor that both sides have."""
    for step in _few(x, y):
        known = step.kind == "channels" or (held and (certain or "slope" not in step.settings))
        if known and step.kind not in {"scale", "affine"}:
            yield step


def _rectified(sources: Sequence[Tensor]) -> Iterator[Tensor]:
    """Each tensor, and what a ReLU makes of it, which is rarely a layer of its own."""
    yield from sources
    for source in sources:
        if not source.is_input and source.value.ndim > 1 and (source.value < 0).any():
            yield Tensor(f"ReLU of {source.name}", np.maximum(source.value, 0.0))


def _sums(sources: Sequence[Tensor], keras: Array) -> Iterator[Tensor]:
    """Sums of two earlier tensors: what a shortcut makes."""
    alike = [source for source in sources if source.value.shape == keras.shape]
    for a, b in combinations(alike[:5], 2):
        yield Tensor(f"{a.name} + {b.name}", a.value + b.value)


def _from_source(source: Tensor, keras: Array, torch: Array, place: tuple[str, str]) -> Iterator[Explanation]:
    """What both sides made of one earlier tensor."""
    if source.value.shape[0] != keras.shape[0]:
        return
    keras_steps = list(_few(source.value, keras))
    torch_steps = list(_few(source.value, torch)) if keras_steps else []
    for a, b in product(keras_steps, torch_steps):
        if a != b:
            yield from explain_steps(StepPair(source.value, a, b, place, source.name, source.is_input))


def _summed(
    keras: Array, torch: Array, sources: Sequence[Tensor], place: tuple[str, str]
) -> Iterator[Explanation]:
    """A difference that is one more term of a sum, or another activation of one of its terms."""
    gap = keras - torch
    for source in sources:
        z = source.value
        if z.shape != gap.shape:
            continue
        for sign, lacking, having, own in ((1.0, "torch", "Keras", torch), (-1.0, "Keras", "torch", keras)):
            for shown, term in ((source.name, z), (f"ReLU of {source.name}", np.maximum(z, 0.0))):
                # Twice a tensor is a factor as well as a sum with itself.
                if same(sign * gap, term) and not same(own, term):
                    text = f"what arrives differs by {shown}, which {having} adds, {lacking} not"
                    add, leave = f"add {shown} on the {lacking} side", f"do not add {shown} in {having}"
                    fix = Fix(leave, add, add) if lacking == "torch" else Fix(add, leave, add)
                    yield Explanation("skip-missing", text, fix, verified=True)
        yield from _other_activation(gap, source, place)


def _other_activation(gap: Array, source: Tensor, place: tuple[str, str]) -> Iterator[Explanation]:
    """f(z) in Keras and g(z) in torch, inside a sum: the difference is f(z) - g(z)."""
    z = source.value
    order = np.argsort(z, axis=None)[np.linspace(0, z.size - 1, min(96, z.size)).astype(int)]
    some, some_gap = z.reshape(-1)[order], gap.reshape(-1)[order]
    functions = elementwise()
    values = {name: function(some) for name, function in functions.items()}
    for a, b in product(functions, functions):
        if a != b and same(some_gap, values[a] - values[b]) and same(gap, functions[a](z) - functions[b](z)):
            start = f"{source.name}, inside a sum,"
            yield from explain_steps(StepPair(z, activation(a), activation(b), place, start))
