"""What a slice takes of a tensor, read from the step's arguments as a key for NumPy's square brackets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from parity.core.trace import Node

SliceKey = tuple[Any, ...]
_WORDS = {
    "axis": ("dim", "axis"),
    "start": ("start", "start_indices", "begin"),
    "size": ("length", "shape", "size"),
}


def key_of(node: Node, before: Sequence[int], output: int) -> SliceKey | None:
    """The key with which a slice takes one of its outputs; None where its arguments do not say it.

    Args:
        node: the step.
        before: the operand's shape.
        output: which output.
    """
    settings, rank = node.settings, len(before)
    if node.label == "getitem":
        key = settings.get("1", settings.get("key"))
        items = key if isinstance(key, tuple) else (key,)
        plain = all(item is None or item is Ellipsis or isinstance(item, int | slice) for item in items)
        return items if plain and key is not None else None
    if node.label == "StridedSlice":
        return strided_key(settings)
    if node.label.lower() in {"slice", "narrow", "select"}:
        return _plain_key(node, rank)
    if node.label.lower() in {"unbind", "unstack", "unpack"}:
        axis = _argument(settings, "axis", "1", 0)
        return _at(rank, axis, output) if isinstance(axis, int) else None
    shape = node.shapes[output]
    if len(node.shapes) > 1 and len(shape) == rank:
        axis = next((i for i, (a, b) in enumerate(zip(before, shape, strict=True)) if a != b), None)
        if axis is not None:
            start = sum(other[axis] for other in node.shapes[:output])
            return _at(rank, axis, slice(start, start + shape[axis]))
    return None


def _plain_key(node: Node, rank: int) -> SliceKey | None:
    settings, shape = node.settings, node.shapes[0]
    if node.label == "select":
        axis, index = _argument(settings, "axis", "1", None), settings.get("2", settings.get("index"))
        return _at(rank, axis, index) if isinstance(axis, int) and isinstance(index, int) else None
    if node.label == "narrow":
        axis, start = _argument(settings, "axis", "1", None), _argument(settings, "start", "2", None)
        if not isinstance(axis, int) or not isinstance(start, int):
            return None
        return _at(rank, axis, slice(start, start + shape[axis]))
    starts = _argument(settings, "start", "1", None)
    if not isinstance(starts, list | tuple) or len(starts) != rank or len(shape) != rank:
        return None
    return tuple(slice(start, start + size) for start, size in zip(starts, shape, strict=True))


def _argument(settings: Mapping[str, Any], word: str, number: str, default: Any) -> Any:
    names = (*_WORDS[word], number)
    return next((settings[name] for name in names if name in settings), default)


def _at(rank: int, axis: int, item: Any) -> SliceKey:
    return (*(slice(None),) * (axis % rank), item)


def strided_key(settings: Mapping[str, Any]) -> SliceKey | None:
    """The key of TensorFlow's StridedSlice."""
    begin, end, stride = (settings.get(name) for name in "123")
    if not (isinstance(begin, list) and isinstance(end, list) and isinstance(stride, list)):
        return None
    key: list[Any] = []
    for i, (a, b, step) in enumerate(zip(begin, end, stride, strict=True)):
        bit = 1 << i
        if settings.get("ellipsis_mask", 0) & bit:
            key.append(Ellipsis)
        elif settings.get("new_axis_mask", 0) & bit:
            key.append(None)
        elif settings.get("shrink_axis_mask", 0) & bit:
            key.append(a)
        else:
            first = None if settings.get("begin_mask", 0) & bit else a
            key.append(slice(first, None if settings.get("end_mask", 0) & bit else b, step))
    return tuple(key)
