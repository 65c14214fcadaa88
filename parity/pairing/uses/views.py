"""Where the axes of a weight are after steps that no data goes into: transposes, reshapes, slices, arithmetic."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any, NamedTuple

from parity.core.trace import Node


class Stride(NamedTuple):
    """A part of a stored axis: every `step`-th index of it, `size` of them."""

    axis: int
    step: int
    size: int


View = tuple[tuple[Stride, ...], ...]
"""For each axis of a tensor, the parts of the stored axes that it counts, the outermost first."""


def stored(shape: Sequence[int]) -> View:
    """The tensor as it is stored."""
    return tuple((Stride(i, 1, size),) if size != 1 else () for i, size in enumerate(shape))


def after(node: Node, view: View, before: Sequence[int], output: int) -> View | None:
    """The view behind a step; None where the step does not say where the axes go.

    Args:
        node: the step.
        view: of its operand.
        before: the operand's shape.
        output: which output of the step.
    """
    shape = node.shapes[output]
    if node.kind == "transpose":
        order = permutation(node, len(before))
        return None if order is None else tuple(view[axis] for axis in order)
    if node.kind == "slice" and (node.label == "getitem" or len(shape) != len(before)):
        return _of_key(node.settings.get("1", node.settings.get("key")), view, shape)
    if node.kind == "slice":
        return _cut(view, shape)
    if tuple(shape) == tuple(before):
        return view
    if node.kind == "reshape" or prod(shape) == prod(before):
        return reshaped(view, shape)
    ahead = len(shape) - len(before)
    if ahead >= 0 and all(a in (1, b) for a, b in zip(before, shape[ahead:], strict=True)):
        return ((),) * ahead + view  # broadcast
    return None


def permutation(node: Node, rank: int) -> tuple[int, ...] | None:
    """The order of axes that a transpose makes; None where its arguments do not say."""
    settings = node.settings
    plain = [settings[key] for key in sorted(settings) if key.isdigit()]
    named = next((settings[key] for key in ("axes", "dims", "perm") if key in settings), None)
    if node.label in {"t", "T", "H", "mT", "mH", "adjoint"} or not (plain or settings):
        return (
            (*range(rank - 2), rank - 1, rank - 2)
            if node.label.startswith("m")
            else tuple(reversed(range(rank)))
        )
    order = named if named is not None else plain[0] if plain and isinstance(plain[0], list | tuple) else None
    if node.label in {"movedim", "moveaxis"}:
        return _moved(settings, plain, rank)
    if order is None and node.label == "permute":
        order = plain
    if order is None and len(plain) == 2 and all(isinstance(axis, int) for axis in plain):
        order = _swapped(plain, rank)
    if order is None:
        named_pair = [settings.get(a, settings.get(b)) for a, b in (("dim0", "axis1"), ("dim1", "axis2"))]
        pair = [axis for axis in named_pair if isinstance(axis, int)]
        order = _swapped(pair, rank) if len(pair) == 2 else None
    if order is None and set(settings) <= {"axes"}:
        return tuple(reversed(range(rank)))
    if order is None or len(order) != rank or not all(isinstance(axis, int) for axis in order):
        return None
    return tuple(axis % rank for axis in order)


def _moved(settings: Mapping[str, Any], plain: Sequence[Any], rank: int) -> tuple[int, ...] | None:
    """The order of axes that numpy's moveaxis makes."""
    ends = [
        plain[i] if i < len(plain) else settings.get(name) for i, name in enumerate(("source", "destination"))
    ]
    pair = [[end] if isinstance(end, int) else list(end or ()) for end in ends]
    if not pair[0] or len(pair[0]) != len(pair[1]):
        return None
    taken = {to % rank: of % rank for of, to in zip(*pair, strict=True)}
    rest = iter(axis for axis in range(rank) if axis not in taken.values())
    return tuple(taken[i] if i in taken else next(rest) for i in range(rank))


def _swapped(pair: Sequence[int], rank: int) -> list[int]:
    order = list(range(rank))
    a, b = (axis % rank for axis in pair)
    order[a], order[b] = order[b], order[a]
    return order


def reshaped(view: View, shape: Sequence[int]) -> View | None:
    """The parts of the axes in another shape of as many values."""
    parts = [part for axis in view for part in axis]
    found: list[tuple[Stride, ...]] = []
    for size in shape:
        axis: list[Stride] = []
        while prod(part.size for part in axis) < size:
            if not parts:
                return None
            part, room = parts.pop(0), size // prod(part.size for part in axis)
            if part.size > room:
                if not room or part.size % room:
                    return None
                inner = part.size // room
                parts.insert(0, Stride(part.axis, part.step, inner))
                part = Stride(part.axis, part.step * inner, room)
            axis.append(part)
        if prod(part.size for part in axis) != size:
            return None
        found.append(tuple(axis))
    return tuple(found) if not parts else None


def _cut(view: View, shape: Sequence[int]) -> View:
    """The view of a slice of as many axes."""
    found = []
    for axis, size in zip(view, shape, strict=True):
        inner = prod(part.size for part in axis[1:])
        found.append((axis[0]._replace(size=max(size // inner, 1)), *axis[1:]) if axis else ())
    return tuple(found)


def _of_key(key: Any, view: View, shape: Sequence[int]) -> View | None:
    """The view of what Python's square brackets take: slices, numbers, None and dots."""
    items = list(key) if isinstance(key, tuple) else [key]
    if (
        not all(item is None or item is Ellipsis or isinstance(item, int | slice) for item in items)
        or key is None
    ):
        return _cut(view, shape) if len(view) == len(shape) else None
    if Ellipsis not in items:
        items.append(Ellipsis)
    at = items.index(Ellipsis)
    taken = sum(item is not None and item is not Ellipsis for item in items)
    items[at : at + 1] = [slice(None)] * (len(view) - taken)
    axes = iter(view)
    found: list[tuple[Stride, ...]] = []
    for item in items:
        if item is None:
            found.append(())
        elif isinstance(item, slice):
            found.append(next(axes))
        else:
            next(axes)
    return _cut(tuple(found), shape) if len(found) == len(shape) else None
