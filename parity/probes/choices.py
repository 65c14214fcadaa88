"""Steps that choose: comparisons, conditions, the greater of two, slices, padding, guards; and which way they went.

A step that chose one way at every element of every probe may do another thing for other inputs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from parity.core.types import Array

TRUE, FALSE, LESS, GREATER, DONE = "true", "false", "less", "greater", "done"
VARIED, SEEN, MET, PLACES = "varied", "seen", "met", "places"

COMPARISONS = frozenset({
    "lt", "le", "gt", "ge", "eq", "ne", "less", "lessequal", "greater", "greaterequal", "equal", "notequal", "isclose",
    "isnan", "isinf", "isfinite", "isneginf", "isposinf", "signbit",
})  # fmt: skip
CONDITIONS = frozenset({"where", "select", "selectv2", "maskedfill", "maskedscatter"})
GREATEST = frozenset({"maximum", "minimum", "fmax", "fmin", "max", "min"})
EXTREMES: Mapping[str, bool] = {
    "max": True, "amax": True, "reducemax": True, "min": False, "amin": False, "reducemin": False,
}  # fmt: skip
"""The greatest and the least along an axis: whether it is the greatest."""
SUMS_OF_EXP = frozenset({"logsumexp", "reducelogsumexp"})
"""Steps that are nearly the greatest where it is greater by far."""
WITHOUT_NAN = frozenset({
    "nansum", "nanmean", "nanmax", "nanmin", "nanprod", "nanstd", "nanvar", "nanmedian", "nanquantile",
})  # fmt: skip
"""Steps that leave NaN out."""
MADE = frozenset({
    "zeroslike", "oneslike", "fulllike", "emptylike", "newzeros", "newones", "newfull", "newempty", "zeros", "ones", "full",
    "fill", "zero", "shape", "size", "detach",
})  # fmt: skip
"""Steps whose results are constants, whatever they are given."""
MOVED = frozenset({
    "slice", "reshape", "transpose", "concat", "stack", "pad", "split", "splitv", "unbind", "unstack", "gather", "gatherv2",
    "take", "cast", "to", "squeeze", "expand", "expanddims", "clone", "identity", "broadcastto", "tile", "repeat", "index",
    "select", "indexselect",
})  # fmt: skip
"""Steps that compute nothing."""
GUARDS = frozenset({
    "logaddexp", "logaddexp2",
    "nantonum", "remainder", "fmod", "mod", "floormod", "threshold", "renorm", "tril", "triu", "matrixbandpart",
})  # fmt: skip
"""Steps that give most operands back as they are."""
SATURATING = frozenset({
    "sigmoid", "tanh", "silu", "gelu", "exp", "expm1", "erf", "erfc", "mish", "logsigmoid", "softplus", "hardshrink",
    "softshrink", "sign",
})  # fmt: skip
"""Steps that give the same for all operands that are great enough, or small enough."""
STEPPING = frozenset({"bucketize", "digitize", "searchsorted", "heaviside", "xlogy", "threshold"})
"""The same for steps of two operands, or more."""
OPAQUE = frozenset({
    "partitionedcall", "statefulpartitionedcall", "xlalaunch", "vectorizedmap", "whileloop", "foriloop", "scan",
    "associativescan", "map", "cond", "switch",
})  # fmt: skip
"""Steps of which no trace sees what happens within."""
FRAMEWORKS_OWN = frozenset({"aten", "prim", "prims"})
"""Namespaces of torch's own operations; what happens within those of others is not seen."""
TABLE = "embedding"
SPLIT, SPLITS = "split", frozenset({"split"})
"""What takes a tensor to pieces of at most one length: a window, which a short tensor does not fill."""
PRODUCTS = frozenset({"mul", "multiply"})
SUMS = frozenset({"add", "addv2", "sub", "subtract"})
NORMS = frozenset({"normalize"})
"""Steps that divide by a norm, and by a small number where the norm is smaller."""

BY_RESULT = frozenset({
    *COMPARISONS, *SATURATING, *(STEPPING - GUARDS), *OPAQUE, SPLIT, TABLE, "div", "slice", "pad",
})  # fmt: skip
"""Steps whose result alone says which way they went."""

SAID: Mapping[str, str] = {
    TRUE: "it was never true",
    FALSE: "it was never false",
    LESS: "its first operand was never less than the second",
    GREATER: "its first operand was never greater than the second",
    DONE: "it never changed anything",
    VARIED: "it gave the same at every element",
    SEEN: "what happens within was not looked at",
    MET: "it never met NaN",
    PLACES: "it always took the same place along its axis",
}
OF_SUM = "it never gave anything but the greatest"
OF_SLICE = "it never reached its stop"
OF_SPLIT = "it never gave more than one piece"
OF_TABLE = "no norm was ever as great as its limit"
OF_NORM = "no norm was ever as small as its limit"
FARTHEST = 2**31 - 1
"""A stop as great as this one means none."""
LEAST_STEP = 1e-4
"""torch limits a norm to a little less than what it was given."""
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
    if kind in WITHOUT_NAN:
        return frozenset({MET})
    if kind in EXTREMES and operands == 1 and _axes(settings):
        return frozenset({PLACES})
    if kind in SUMS_OF_EXP and _axes(settings):
        return frozenset({DONE})
    if kind in STEPPING or (kind == "div" and settings.get("rounding_mode")):
        return frozenset({DONE, VARIED} if kind in GUARDS else {VARIED})
    if kind in GUARDS or kind in NORMS:
        return frozenset({DONE})
    if kind in SATURATING and operands == 1:
        return frozenset({VARIED})
    if kind in OPAQUE:
        return frozenset({SEEN})
    if kind == TABLE:
        return frozenset({DONE}) if settings.get("max_norm") else frozenset()
    if kind == SPLIT:
        length = settings.get("1", settings.get("split_size_or_sections", settings.get("split_size")))
        return frozenset({DONE}) if isinstance(length, int) else frozenset()
    if kind == "slice":
        return frozenset({DONE}) if any(_stop(item) for item in _index(settings)) else frozenset()
    if kind == "pad":
        return frozenset({DONE}) if _widths(settings) is not None else frozenset()
    return frozenset()


def said(kind: str, way: str) -> str:
    """What is missing, in words."""
    if way == DONE and kind in {"slice", SPLIT, TABLE, *NORMS, *SUMS_OF_EXP}:
        if kind in {TABLE, *SUMS_OF_EXP}:
            return OF_TABLE if kind == TABLE else OF_SUM
        return OF_SLICE if kind == "slice" else OF_SPLIT if kind == SPLIT else OF_NORM
    return SAID[way]


def needs_operands(kind: str) -> bool:
    """Whether the way that a step went is seen on its operands; its result says enough of the others."""
    return kind not in BY_RESULT


def went(
    kind: str, operands: Sequence[Array], results: Sequence[Array], settings: Mapping[str, Any]
) -> set[str]:
    """The ways that a step went, at any element.

    Args:
        kind: of the step.
        operands: what it was given, where `needs_operands`.
        results: what it gave.
        settings: what else it was called with.
    """
    result = results[0]
    varied = {VARIED} if result.size < 2 or not np.all(result == result.flat[0]) else set()
    if kind in SATURATING or kind == "div" or (kind in STEPPING and kind not in GUARDS):
        return varied
    if kind in OPAQUE:
        return set()
    if kind == TABLE:
        norms = np.sqrt(np.sum(np.square(result, dtype=np.float64), axis=-1))
        return {DONE} if norms.max(initial=0.0) >= float(settings["max_norm"]) * (1.0 - LEAST_STEP) else set()
    if kind == SPLIT:
        return {DONE} if len(results) > 1 else set()
    if kind in COMPARISONS:
        return _truths(result)
    if kind in CONDITIONS:
        condition = next((value for value in operands if value.dtype.kind == "b"), None)
        return {TRUE, FALSE} if condition is None else _truths(condition)
    if kind in WITHOUT_NAN:
        return {MET} if any(np.isnan(value).any() for value in operands if value.dtype.kind == "f") else set()
    if kind in SUMS_OF_EXP or (kind in EXTREMES and len(operands) == 1):
        return _along(kind, operands[0], result, settings)
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
    same = any(np.array_equal(operand, result) for operand in operands)
    return varied if same else {DONE, *varied}


def _axes(settings: Mapping[str, Any]) -> tuple[int, ...]:
    """The axes that a step goes along; nothing where they are not known, or are all."""
    given = settings.get("dim", settings.get("axis", settings.get("1")))
    axes = tuple(given) if isinstance(given, list | tuple) else (given,)
    return axes if all(isinstance(axis, int) and not isinstance(axis, bool) for axis in axes) else ()


def _along(kind: str, operand: Array, result: Array, settings: Mapping[str, Any]) -> set[str]:
    """The ways of a step that takes the greatest or the least along its axes, or nearly so."""
    axes = {axis % operand.ndim for axis in _axes(settings) if -operand.ndim <= axis < operand.ndim}
    last = np.moveaxis(operand, sorted(axes), range(-len(axes), 0)) if axes else operand
    rows = last.reshape(*last.shape[: last.ndim - len(axes)], -1)
    if not axes or not rows.size:
        return set()
    if kind in SUMS_OF_EXP:
        same = rows.shape[-1] > 1 and np.array_equal(rows.max(-1).reshape(result.shape), result)
        return set() if same else {DONE}
    places = rows.argmax(-1) if EXTREMES[kind] else rows.argmin(-1)
    return {PLACES} if rows.shape[-1] == 1 or np.any(places != places.flat[0]) else set()


def same_everywhere(value: Array) -> bool:
    """Whether a tensor of several elements holds one number alone; a look at a few elements says so of most."""
    if value.size < 2:
        return False
    first = value.flat[0]
    return bool(np.all(value[(0,) * (value.ndim - 1)] == first)) and bool(np.all(value == first))


def absorbed(operands: Sequence[Array], result: Array, settings: Mapping[str, Any]) -> bool:
    """Whether a sum is one of its operands although the other is not zero: it is too small to count there.

    Args:
        operands: the tensors that it was given.
        result: what it gave.
        settings: what else it was called with: a number among the operands.
    """
    numbers = [value for value in settings.values() if isinstance(value, float) and value]
    for i, operand in enumerate(operands):
        if operand.shape != result.shape or not result.size or np.may_share_memory(operand, result):
            continue
        row = (0,) * (result.ndim - 1)
        if not np.array_equal(operand[row], result[row]) or not np.array_equal(operand, result):
            continue
        if numbers or any(term.any() for term in (*operands[:i], *operands[i + 1 :])):
            return True
    return False


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
