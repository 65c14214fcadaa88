"""Which operand of a step runs along which axis of its result: rows, or columns.

A product, and a step that takes its operands along other axes (q[:, :, None] * k[:, None]), combine each row of one
with each row of another. The order of the operands need not say which is which; the axes of the result do.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from parity.core.trace import Node, Source, Trace
from parity.pairing.uses.operations import terms

REPEATS = frozenset({"expand", "expand_as", "broadcast_to", "tile", "repeat", "repeat_interleave"})
"""Steps that may do nothing but repeat a tensor along axes of one value."""
SEEN_THROUGH = 8
"""Steps in front of an operand that are looked at."""


def repeated(trace: Trace, node: Node) -> bool:
    """Whether a step does nothing but repeat a tensor along axes of one value, as broadcasting does."""
    return node.kind in REPEATS and bool(node.inputs) and _new_axes(trace, node) is not None


def places(trace: Trace, node: Node, data: Sequence[Source]) -> dict[int, int]:
    """The place of each operand among them, by its position, in the order of the axes that it alone has.

    Args:
        trace: of a forward pass.
        node: a step without weights, of one result.
        data: those of its operands that hold data.

    Returns:
        Nothing where some operand has no such axis, so that the order of the axes does not tell the operands apart.
    """
    if len(data) < 2 or not node.shapes:
        return {}
    axes = _of_einsum(trace, node, data) if node.kind == "einsum" else _of_shapes(trace, node, data)
    lone = [own - set[int]().union(*axes[:i], *axes[i + 1 :]) for i, own in enumerate(axes)]
    if not axes or not all(lone):
        return {}
    order = sorted(range(len(data)), key=lambda i: min(lone[i]))
    return {data[i].position: place for place, i in enumerate(order)}


def _of_einsum(trace: Trace, node: Node, data: Sequence[Source]) -> list[set[int]]:
    """The axes of the result that each operand has, by the letters of the equation."""
    found = terms(node, [_shape(trace, source) for source in node.inputs])
    if found is None:
        return []
    result = found[-1]
    by_position = {source.position: term for source, term in zip(node.inputs, found[:-1], strict=True)}
    return [
        {axis for axis, letter in enumerate(result) if letter in by_position[source.position]}
        for source in data
    ]


def _of_shapes(trace: Trace, node: Node, data: Sequence[Source]) -> list[set[int]]:
    """The axes of the result along which each operand has values of its own, as broadcasting counts them."""
    result = node.shapes[0]
    shapes = [_shape(trace, source) for source in data]
    if any(not _broadcasts(shape, result) for shape in shapes):
        return []
    found = []
    for source, shape in zip(data, shapes, strict=True):
        shift = len(result) - len(shape)
        spread = {axis + shift for axis in _spread(trace, source)}
        own = {shift + axis for axis, size in enumerate(shape) if size > 1}
        found.append(own - spread)
    return found


def _spread(trace: Trace, source: Source, steps: int = SEEN_THROUGH) -> set[int]:
    """The axes of a tensor along which it only repeats what stands in front of it."""
    node = trace.nodes[source.node]
    if steps and node.kind in {"identity", "cast"} and node.sort == "op" and len(node.inputs) == 1:
        return _spread(trace, node.inputs[0], steps - 1)
    return (_new_axes(trace, node) or set()) if node.kind in REPEATS and node.inputs else set()


def _new_axes(trace: Trace, node: Node) -> set[int] | None:
    """The axes along which a step repeats one value; None where it does something else."""
    before, after = _shape(trace, node.inputs[0]), node.shapes[0]
    if not _broadcasts(before, after):
        return None
    shift = len(after) - len(before)
    return {
        axis for axis, size in enumerate(after) if size > 1 and (axis < shift or before[axis - shift] == 1)
    }


def _broadcasts(shape: Sequence[int], result: Sequence[int]) -> bool:
    """Whether a tensor of one shape can be broadcast to another."""
    if len(shape) > len(result) or not prod(result):
        return False
    behind = result[len(result) - len(shape) :]
    return all(size in (1, whole) for size, whole in zip(shape, behind, strict=True))


def _shape(trace: Trace, source: Source) -> tuple[int, ...]:
    return trace.nodes[source.node].shapes[source.output]
