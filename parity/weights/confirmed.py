"""Guesses from names, tried: both sides run with equal weights, and the guess counts where they then give the same."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

import numpy as np

from parity.adapters.probe import randomise, to_torch_inputs
from parity.core.adapter import Adapter
from parity.core.layout import aligned
from parity.core.trace import Trace
from parity.core.types import Array
from parity.pairing.leftover.guessed import guessed, swapped
from parity.pairing.pair import Pairing
from parity.pairing.uses.read import as_traced
from parity.weights.copying import copy

SAME = 1e-8
"""Greatest difference, of the outputs' scale, of two sides that compute the same in float64."""
BETTER = 0.02
"""How much nearer than with two like layers exchanged the sides must come where they do not give the same."""
TRIED = 8
"""Exchanges that a guess is held against."""


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
        if one is not None and not one.open and all(_apart(one, known) for known in (pairing, *candidates)):
            candidates.append(one)
    if not candidates:
        return pairing
    with _runs(keras, torch, values) as gap:
        if not pairing.open and gap(pairing) <= SAME:
            return pairing
        for one in candidates:
            found = gap(one)
            if found <= SAME:
                return one
            rivals = swapped(one, TRIED) if pairing.open else []
            if rivals and found < BETTER * min(map(gap, rivals)):
                return one
    return pairing


def _apart(first: Pairing, second: Pairing) -> bool:
    """Whether two pairings pair other tensors."""
    return {(s.keras, s.torch) for item in first.pairs for s in item.slots} != {
        (s.keras, s.torch) for item in second.pairs for s in item.slots
    }


@contextmanager
def _runs(keras: Adapter, torch: Adapter, values: Sequence[Array]) -> Iterator[_Gap]:
    """While this is open, pairings can be tried; afterwards both sides have their own weights."""
    with ExitStack() as stack:
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
    """How far apart the outputs are, of their scale, once both sides have the same random weights."""

    def __init__(self, keras: Adapter, torch: Adapter, values: Sequence[Array]) -> None:
        wide = [value.astype("float64") if value.dtype.kind == "f" else value for value in values]
        self.keras, self.torch, self.inputs = keras, torch, (wide, to_torch_inputs(wide, keras))

    def __call__(self, pairing: Pairing) -> float:
        """The greater of two draws; infinite where the weights or the outputs do not fit."""
        return max(self._once(pairing, seed) for seed in (11, 12))

    def _once(self, pairing: Pairing, seed: int) -> float:
        try:
            randomise(self.keras, seed)
            copy(pairing, self.keras, self.torch)
            outputs = self.keras.forward(self.inputs[0]), self.torch.forward(self.inputs[1])
        except Exception:  # any model, any error: these weights are not for it
            return float("inf")
        gaps = [_relative(a, b) for (_, a), (_, b) in zip(*outputs, strict=False)]
        return max(gaps, default=float("inf")) if len(outputs[0]) == len(outputs[1]) else float("inf")


def _relative(keras: Array, torch: Array) -> float:
    fit = aligned(keras, torch)
    if fit is None or not keras.size or not (np.isfinite(keras).all() and np.isfinite(torch).all()):
        return float("inf")
    scale = float(np.abs(keras).max())
    return float(np.abs(fit[0] - keras).max()) / scale if scale else float("inf")
