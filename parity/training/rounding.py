"""How far rounding moves each element in training: runs of one side from weights, inputs and targets moved by a unit.

An element may differ between the sides by its own rounding. Where that does not explain a difference, one side is run
again from weights, inputs and targets that are moved by one unit in the last place, up or down at random. What an
element moves then is its spread: a gradient whose terms cancel moves as far as its terms round. Neighbours do not
count, so that one huge gradient hides nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from parity.core.finding import Finding, Kind
from parity.core.layout import from_torch
from parity.core.tolerance import limits
from parity.core.trainer import WatchedCall
from parity.core.types import Array, Side
from parity.pairing.slots import Slot
from parity.replay.spread import DRAWS, UNIT, shaken

__all__ = [
    "DRAWS",
    "MORE_DRAWS",
    "RARE",
    "UNIT",
    "Spread",
    "absolute_sums",
    "laid",
    "limit_of",
    "not_repeated",
    "remembered",
    "repeated",
    "shaken",
    "widen",
]

NOISE = 1e-9
"""How far two passes from the same state may be apart, relatively: threads add in another order."""

MORE_DRAWS = 12
"""Runs where rounding moves a tensor far, because of two equal values in a pooling either may be taken, in every run anew;
and where few of many elements are beyond their limits."""

RARE = 0.05
"""Share of a tensor's elements up to which those beyond their limits may be there by chance: all runs moved them little."""

Spread = dict[str, Array]
"""How far each element moves, by path, as the side itself lays it out."""


def not_repeated(side: Side, what: str) -> Finding:
    """The finding that a side does not repeat itself, so that nothing can be measured of its rounding.

    Args:
        side: whose passes differ.
        what: differs, in words.
    """
    text = f"{what} differ on the {side} side: does something count, or draw random numbers, in training?"
    return Finding(None, None, Kind.NOT_REPEATABLE, None, text)


def repeated(first: Mapping[str, Array | None], again: Mapping[str, Array | None]) -> bool:
    """Whether a side gave the same twice, but for the order in which threads add: of noise no spread is measured.

    Args:
        first: arrays by name.
        again: the same of a second run from the same state.
    """
    for name, value in first.items():
        later = again.get(name)
        if value is None or later is None:
            continue
        size = float(np.abs(value).max(initial=0.0))
        if not np.allclose(value, later, rtol=0.0, atol=NOISE * size, equal_nan=True):
            return False
    return True


def widen(spread: Spread, plain: Mapping[str, Array | None], moved: Mapping[str, Array | None]) -> None:
    """Take in what one run moved, in place; of several runs the greatest movement counts."""
    for path, value in plain.items():
        changed = moved.get(path)
        if value is None or changed is None or value.shape != changed.shape:
            continue
        with np.errstate(invalid="ignore"):  # by all units: the steps within are not moved, and round too
            gap = np.nan_to_num(np.abs(value - changed), nan=0.0, posinf=0.0)
        known = spread.get(path)
        spread[path] = gap if known is None else np.maximum(known, gap)


def limit_of(a: Array, b: Array, spread: Array | None = None) -> Array:
    """How far two arrays may differ at each element: by the greater one's own rounding, and by the spread."""
    return limits(np.maximum(np.abs(a), np.abs(b)), spread)


def remembered(history: dict[str, Array], name: str, a: Array, b: Array) -> Array:
    """The greatest magnitude that each element had so far on either side; kept in the history.

    What a sum over the steps has become may be small where its terms cancelled: it rounds as they do.
    """
    now = np.maximum(np.abs(a), np.abs(b))
    known = history.get(name)
    history[name] = now if known is None or known.shape != now.shape else np.maximum(known, now)
    return history[name]


def laid(spread: Array | None, shape: tuple[int, ...], how: str) -> Array | None:
    """The spread of a torch activation as Keras lays the activation out; `how` is what `core.layout.aligned` says."""
    if spread is None:
        return None
    return from_torch(spread, how).reshape(shape)


def absolute_sums(calls: Sequence[WatchedCall], slots: Sequence[Slot]) -> dict[str, Array]:
    """The absolute terms of which each bias' gradient is the sum, added up over all calls, by the bias' Keras path."""
    totals: dict[str, Array] = {}
    for call in calls:
        if call.gradient is not None and call.gradient.ndim > 1:
            total = np.abs(call.gradient).sum(tuple(range(call.gradient.ndim - 1)))
            known = totals.get(call.path)
            totals[call.path] = total if known is None or known.shape != total.shape else known + total
    vectors = {slot.keras: slot.layout.keras_shape for slot in slots if len(slot.layout.keras_shape) == 1}
    found = {path: totals.get(path.rpartition(".")[0]) for path in vectors}
    return {
        path: total for path, total in found.items() if total is not None and total.shape == vectors[path]
    }
