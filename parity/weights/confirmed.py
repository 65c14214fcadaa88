"""Guesses from names, tried: both sides run with equal weights, and the guess counts where they then give the same."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace

import numpy as np

from parity.adapters.patching import layers_anew
from parity.adapters.probe import randomise, to_torch_inputs
from parity.core.adapter import Adapter
from parity.core.layout import aligned
from parity.core.trace import Trace
from parity.core.types import Array
from parity.pairing.dataflow.values import EqualValues
from parity.pairing.leftover.guessed import crossed, guessed, swapped
from parity.pairing.pair import Pairing
from parity.pairing.uses.read import as_traced
from parity.weights.copying import copy

SAME = 1e-8
"""Greatest difference, of the outputs' scale, of two sides that compute the same in float64."""
BETTER = 0.02
"""How much nearer than with two like layers exchanged the sides must come where they do not give the same."""
TRIED = 8
"""Exchanges that a guess is held against."""
TURNS = 9
"""Ways that are tried where the dataflow leaves several."""


def confirmed(
    pairing: Pairing, keras: Adapter, torch: Adapter, traces: tuple[Trace, Trace], values: Sequence[Array]
) -> Pairing:
    """The pairing, or what names make of its open part, where a run of both sides confirms that.

    Where the dataflow pairs everything, by neighbours in graphs that are not the same, names count only where both sides
    give the same with them and not without. Where it leaves something open, they count where both sides give the same,
    or come far nearer to it than with any two like layers exchanged.

    Args:
        pairing: by the dataflow.
        keras: the Keras side. The weights of both are changed for a moment.
        torch: the torch side.
        traces: of one pass of each.
        values: inputs that both take, in the Keras layout.
    """
    layers = as_traced(keras.layers(), traces[0]), as_traced(torch.layers(), traces[1])
    uncertain = any(item.evidence.of_neighbours for item in pairing.pairs)
    ways = [False] * bool(pairing.open) + [True] * uncertain
    tries = [guessed(pairing, layers, way, numbers) for way in ways for numbers in (True, False)]
    candidates: list[Pairing] = []
    for one in tries:
        if one is not None and not one.open and all(apart(one, known) for known in (pairing, *candidates)):
            candidates.append(one)
    others = crossed(pairing, TRIED) if uncertain and not pairing.open else []
    if not candidates and not others:
        return pairing
    with runs(keras, torch, values) as gap:
        if not pairing.open and gap(pairing) <= SAME:
            return pairing
        for one in candidates:
            found = gap(one)
            if found <= SAME:
                return one
            rivals = swapped(one, TRIED) if pairing.open else []
            if rivals and found < BETTER * min(map(gap, rivals)):
                return one
        undecided = replace(pairing, rivals=(*pairing.rivals, *others))
        return next((one for one in others if gap(one) <= SAME), undecided)


def settled(
    turned: Callable[[int | None], Pairing], keras: Adapter, torch: Adapter, values: Sequence[Array] | None
) -> Pairing:
    """The pairing by the dataflow; where several would do, the one with which a run of both sides gives the same.

    One with which an output has other axes in torch than usual counts where no other does. Where no run confirms any of
    them, the one with which both come far nearer counts, or the one with most weights
    equal, then what names prefer; the rest is left open.

    Args:
        turned: makes the pairing, for each way to go where nothing says which of several is which.
        keras: the Keras side. The weights of both are changed for a moment.
        torch: the torch side.
        values: inputs that both take, in the Keras layout; None where none are known.
    """
    first = turned(0)
    if not first.doubt:
        return first
    seen = [first]
    gaps: list[float] = []
    turned_round: list[Pairing] = []
    if values is not None:
        with runs(keras, torch, values) as gap:
            for turn in range(TURNS):
                one = turned(turn) if turn else first
                if turn and not all(apart(one, known) for known in seen):
                    if turn > 1:
                        break  # the ways begin anew
                    continue
                seen += [one] * bool(turn)
                gaps.append(gap(one))
                if gaps[-1] <= SAME and gap.usual:
                    return replace(one, doubt=False, guessed=False)
                turned_round += [one] * (gaps[-1] <= SAME)
    if turned_round:
        return replace(turned_round[0], doubt=False, guessed=False)
    best = _likeliest(seen, gaps, EqualValues(keras, torch))
    if best is None and first.guessed:
        return turned(None)
    chosen = best or first
    return replace(chosen, rivals=tuple(one for one in seen if one is not chosen))


def _likeliest(seen: Sequence[Pairing], gaps: Sequence[float], values: EqualValues) -> Pairing | None:
    """The pairing with which the sides come far nearer than with any other, or that alone has most weights equal."""
    if len(seen) < 2:
        return None
    near = sorted(range(len(gaps)), key=gaps.__getitem__)
    if gaps[near[0]] < BETTER * gaps[near[1]]:
        return seen[near[0]]
    equal = [
        sum(values.same(slot.keras, slot.torch, slot.layout) for item in one.pairs for slot in item.slots)
        for one in seen
    ]
    first = max(range(len(seen)), key=equal.__getitem__)
    return seen[first] if equal.count(equal[first]) == 1 else None


def apart(first: Pairing, second: Pairing) -> bool:
    """Whether two pairings pair other tensors."""
    return {(s.keras, s.torch) for item in first.pairs for s in item.slots} != {
        (s.keras, s.torch) for item in second.pairs for s in item.slots
    }


@contextmanager
def runs(keras: Adapter, torch: Adapter, values: Sequence[Array]) -> Iterator[_Gap]:
    """While this is open, pairings can be tried; afterwards both sides have their own weights."""
    with ExitStack() as stack:
        stack.enter_context(layers_anew(keras, torch))  # their tensors have another dtype now
        for side in (keras, torch):
            stack.enter_context(side.precision("float64"))
            kept = {
                tensor.path: side.read(tensor.path)
                for layer in side.layers().values()
                for tensor in layer.tensors
            }
            stack.callback(_restore, side, kept)
        yield _Gap(keras, torch, values)


def _restore(side: Adapter, kept: dict[str, Array]) -> None:
    for path, value in kept.items():
        side.write(path, value)


class _Gap:
    """How far apart the outputs are, of their scale, once both sides have the same random weights.

    Attributes:
        usual: whether the outputs of the last pairing had their axes where each framework has them.
    """

    usual = True

    def __init__(self, keras: Adapter, torch: Adapter, values: Sequence[Array]) -> None:
        wide = [value.astype("float64") if value.dtype.kind == "f" else value for value in values]
        self.keras, self.torch, self.inputs = keras, torch, (wide, to_torch_inputs(wide, keras))

    def __call__(self, pairing: Pairing) -> float:
        """The greater of two draws; infinite where the weights or the outputs do not fit."""
        return max(self._once(pairing, seed) for seed in (11, 12))

    def _once(self, pairing: Pairing, seed: int) -> float:
        try:
            randomise(self.keras, seed)
            _neutral(pairing, self.keras)
            copy(pairing, self.keras, self.torch)
            outputs = self.keras.forward(self.inputs[0]), self.torch.forward(self.inputs[1])
        except Exception:  # any model, any error: these weights are not for it
            return float("inf")
        pairs = [(a, b) for (_, a), (_, b) in zip(*outputs, strict=False)]
        self.usual = all(_as_usual(*pair) for pair in pairs)
        gaps = [relative(*pair) for pair in pairs]
        return max(gaps, default=float("inf")) if len(outputs[0]) == len(outputs[1]) else float("inf")


def _as_usual(keras: Array, torch: Array) -> bool:
    """Whether an image has its channels first in torch, and a sequence its features last."""
    fit = aligned(keras, torch)
    return fit is not None and (keras.ndim < 3 or (fit[1] != "as it is") == (keras.ndim > 3))


def _neutral(pairing: Pairing, keras: Adapter) -> None:
    """Set what Keras alone has to what makes the other side do the same without it."""
    for constant in [constant for item in pairing.pairs for constant in item.constants]:
        if constant.side == "keras":
            keras.write(constant.path, np.full_like(keras.read(constant.path), constant.value))


def relative(keras: Array, torch: Array) -> float:
    """How far apart two outputs are, of Keras' scale; infinite where their shapes do not fit."""
    fit = aligned(keras, torch)
    if fit is None or not keras.size or not (np.isfinite(keras).all() and np.isfinite(torch).all()):
        return float("inf")
    scale = float(np.abs(keras).max())
    return float(np.abs(fit[0] - keras).max()) / scale if scale else float("inf")
