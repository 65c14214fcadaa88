"""Steps that choose: comparisons, conditions, the greater of two, slices, padding, guards; and which way they went.

A step that chose one way at every element of every probe may do another thing for other inputs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from parity.core.types import Array

TRUE, FALSE, LESS, GREATER, DONE = "true", "false", "less", "greater", "done"

COMPARISONS = frozenset({
    "lt", "le", "gt", "ge", "eq", "ne", "less", "lessequal", "greater", "greaterequal", "equal", "notequal", "isclose",
    "isnan", "isinf", "isfinite", "isneginf", "isposinf", "signbit",
})  # fmt: skip
CONDITIONS = frozenset({"where", "select", "selectv2", "maskedfill", "maskedscatter"})
GREATEST = frozenset({"maximum", "minimum", "fmax", "fmin"})
GUARDS = frozenset({"nantonum", "remainder", "fmod", "mod", "floormod", "threshold", "hardshrink"})
"""Steps that give most operands back as they are."""
NORMS = frozenset({"normalize"})
"""Steps that divide by a norm, and by a small number where the norm is smaller."""

SAID: Mapping[str, str] = {
    TRUE: "it was never true",
    FALSE: "it was never false",
    LESS: "its first operand was never less than the second",
    GREATER: "its first operand was never greater than the second",
    DONE: "it never changed anything",
}
OF_SLICE = "it never reached its stop"
OF_NORM = "no norm was ever as small as its limit"
FARTHEST = 2**31 - 1
"""A stop as great as this one means none."""
LEAST = 1e-12
"""The smallest norm that torch's normalize divides by unless it is given another."""


def ways_of(kind: str, settings: Mapping[str, Any], operands: int) -> frozenset[str]:
    """The ways that a step can go; nothing where it has no choice.

    Args:
        kind: of the step, without case and punctuation.
        settings: what else it was called with.
        operands: how many tensors it was given.
    """
    if kind in COMPARISONS or kind in CONDITIONS:
        return frozenset({TRUE, FALSE})
    if kind in GREATEST and operands > 1:
        return frozenset({LESS, GREATER})
    if kind in GUARDS or kind in NORMS:
        return frozenset({DONE})
    if kind == "slice":
        return frozenset({DONE}) if any(_stop(item) for item in _index(settings)) else frozenset()
    if kind == "pad":
        return frozenset({DONE}) if _widths(settings) is not None else frozenset()
    return frozenset()


def said(kind: str, way: str) -> str:
    """What is missing, in words."""
    if way == DONE and kind in {"slice", *NORMS}:
        return OF_SLICE if kind == "slice" else OF_NORM
    return SAID[way]


def needs_operands(kind: str) -> bool:
    """Whether the way that a step went is seen on its operands; its result says enough of the others."""
    return kind not in COMPARISONS and kind not in {"slice", "pad"}


def went(kind: str, operands: Sequence[Array], result: Array, settings: Mapping[str, Any]) -> set[str]:
    """The ways that a step went, at any element.

    Args:
        kind: of the step.
        operands: what it was given, where `needs_operands`.
        result: what it gave.
        settings: what else it was called with.
    """
    if kind in COMPARISONS:
        return _truths(result)
    if kind in CONDITIONS:
        condition = next((value for value in operands if value.dtype.kind == "b"), None)
        return {TRUE, FALSE} if condition is None else _truths(condition)
    if kind in GREATEST:
        first, second = operands[:2]
        ways = {LESS: np.any(first < second), GREATER: np.any(first > second)}
        return {way for way, taken in ways.items() if taken}
    if kind in NORMS:
        return {DONE} if _least_norm(operands[0], settings) <= _limit(settings) else set()
    if kind == "slice":
        return {DONE} if _full(_index(settings), result.shape) else set()
    if kind == "pad":
        return {DONE} if any(_widths(settings) or ()) else set()
    same = np.array_equal(operands[0], result, equal_nan=False)
    return set() if same else {DONE}


def _truths(value: Array) -> set[str]:
    holds = value.astype(bool)
    return {way for way, seen in ((TRUE, holds.any()), (FALSE, not holds.all())) if seen and holds.size}


def _limit(settings: Mapping[str, Any]) -> float:
    given = settings.get("eps", settings.get("epsilon", settings.get("3")))
    return float(given) if isinstance(given, int | float) else LEAST


def _least_norm(value: Array, settings: Mapping[str, Any]) -> float:
    axis = settings.get("dim", settings.get("axis", settings.get("2", 1)))
    if value.size == 0 or not isinstance(axis, int) or not -value.ndim <= axis < value.ndim:
        return 0.0
    return float(np.sqrt(np.min(np.sum(np.square(value, dtype=np.float64), axis=axis))))


# --- slices and padding ---------------------------------------------------------------------------------


def _index(settings: Mapping[str, Any]) -> tuple[Any, ...]:
    """What a tensor was indexed with, as Python writes it; nothing where that is not plain."""
    if "begin_mask" in settings:
        return tuple(_of_masks(settings))
    index = settings.get("1")
    return index if isinstance(index, tuple) else (index,) if isinstance(index, slice) else ()


def _of_masks(settings: Mapping[str, Any]) -> list[Any]:
    """The index of TensorFlow's StridedSlice, which says in bits what its numbers mean."""
    numbers = [settings.get(key) for key in ("1", "2", "3")]
    if not all(isinstance(item, list) for item in numbers):
        return []

    def has(name: str, i: int) -> bool:
        return bool(int(settings.get(name, 0)) >> i & 1)

    made: list[Any] = []
    for i, (start, stop, step) in enumerate(zip(*numbers, strict=False)):  # type: ignore[arg-type]
        if has("ellipsis_mask", i):
            made.append(Ellipsis)
        elif has("new_axis_mask", i):
            made.append(None)
        elif has("shrink_axis_mask", i):
            made.append(int(start))
        else:
            made.append(
                slice(None if has("begin_mask", i) else start, None if has("end_mask", i) else stop, step)
            )
    return made


def _stop(item: Any) -> int | None:
    """The stop of a slice that goes forward from the start; None of everything else."""
    if not isinstance(item, slice) or not isinstance(item.stop, int) or not 0 < item.stop < FARTHEST:
        return None
    plain = [
        number is None or (isinstance(number, int) and number >= 0) for number in (item.start, item.step)
    ]
    return item.stop if all(plain) and item.stop > (item.start or 0) else None


def _full(index: Sequence[Any], shape: Sequence[int]) -> bool:
    """Whether every slice with a stop gave all elements up to it."""
    if Ellipsis in [item for item in index if not isinstance(item, slice)]:
        place = next(i for i, item in enumerate(index) if item is Ellipsis)
        return _full(index[:place], shape) and _full(index[:place:-1], shape[::-1])
    axis = 0
    for item in index:
        if isinstance(item, int) and not isinstance(item, bool):
            continue  # it takes its axis away
        stop = _stop(item)
        if stop is not None and axis < len(shape):
            step = item.step or 1
            if shape[axis] < -(-(stop - (item.start or 0)) // step):
                return False
        axis += 1
    return True


def _widths(settings: Mapping[str, Any]) -> list[int] | None:
    """How far a step pads, on each side of each axis; None where that is not plain."""
    given = settings.get("pad", settings.get("pad_width", settings.get("1")))
    flat: list[Any] = [given]
    while any(isinstance(item, list | tuple) for item in flat):
        flat = [one for item in flat for one in (item if isinstance(item, list | tuple) else [item])]
    return (
        flat if flat and all(isinstance(item, int) and not isinstance(item, bool) for item in flat) else None
    )
