"""What steps without weights leave on the edges of the graph: marks under parity's names.

A concatenation marks its operands with their offset, a slice with its window, a product with rows and columns, another
operation whose operands may not be swapped with their number, an activation or pooling with its name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from parity.core.trace import Node, Source, Trace
from parity.pairing.dataflow.outer import places, repeated
from parity.pairing.uses.slices import strided_key

Marks = tuple[Any, ...]

SILENT = {
    "add",
    "identity",
    "dropout",
    "cast",
    "reshape",
    "transpose",
    "pad",
    "sum",
    "rescaling",
    "normalization",
    "pack_sequence",
}
"""Steps that leave no mark: their operands may be swapped, or the two sides lay them out differently."""
COMMUTATIVE = {"add", "mul", "maximum", "minimum"}
REVERSED = {"rsub", "rdiv", "rtruediv", "rpow", "rmatmul"}
"""Functions that take their second operand first."""
PRODUCTS = {"matmul", "einsum", "mul"}
"""Steps that make products of rows and columns; "mul" where its operands run along other axes."""
PRODUCT, OUTER = "product", "outer"
"""First words of the marks of such a step, and of others whose operands run along other axes."""
TURNABLE = {PRODUCT, OUTER, "sub"}
"""First words of marks whose place or number may be another on the other side: it may compute transposed, or negated."""
ONCE = {"relu", "relu6"}
"""Steps that change nothing when they are repeated."""
LONGEST = 8
"""Marks kept on one edge, the last ones."""


def extended(marks: Marks, mark: Any) -> Marks:
    """One more mark; nested concatenations are one."""
    if mark is None or (marks and mark in ONCE and marks[-1] == mark):
        return marks
    if (
        isinstance(mark, tuple)
        and marks
        and isinstance(marks[-1], tuple)
        and mark[0] == marks[-1][0] == "concat"
    ):
        return (*marks[:-1], ("concat", mark[1] + marks[-1][1], mark[2]))
    return (*marks, mark)[-LONGEST:]


def loosened(mark: Any) -> Any:
    """A mark without the place or number that may be another on the other side."""
    return mark[:-1] if isinstance(mark, tuple) and mark[0] in TURNABLE else mark


def mark_of(trace: Trace, node: Node, source: Source, output: int, data: Sequence[Source]) -> Any:
    """What a step without weights leaves on what passes through it; None for nothing.

    Args:
        trace: of a forward pass.
        node: the step.
        source: the operand that passes.
        output: of which output of the step.
        data: all operands that hold data.
    """
    operands = len(data)
    shape = trace.nodes[source.node].shapes[source.output]
    if node.kind == "concat":
        axis = next((i for i, (a, b) in enumerate(zip(shape, node.shapes[0], strict=False)) if a != b), None)
        if axis is None:
            return None
        before = [item for item in node.inputs if item.position < source.position]
        offset = sum(trace.nodes[item.node].shapes[item.output][axis] for item in before)
        return ("concat", offset, node.shapes[0][axis])
    if node.kind == "slice":
        found = window(node, shape, output)
        return ("slice", found) if found else None
    if node.kind in SILENT - {"add"} or (operands == 1 and repeated(trace, node)):
        return None
    number = operands - 1 - source.position if node.label in REVERSED else source.position
    if operands > 1 and node.kind not in {"stack", "update"}:
        along = places(trace, node, data)
        if node.kind == "matmul" or (node.kind in PRODUCTS and along):
            return (PRODUCT, along.get(source.position, number))
        if along:
            swappable = node.kind in COMMUTATIVE | {"sub"}
            return (OUTER, node.kind, *(() if swappable else (number,)), along[source.position])
    if node.kind in COMMUTATIVE:
        return node.kind if operands > 1 and node.kind != "add" else None
    if node.kind in {"stack", "update"} or operands > 1:
        return (node.kind, number)
    if node.kind in {"sub", "div", "power", "neg"}:
        return None  # with a constant
    return ("output", output) if output else node.kind


def window(node: Node, shape: tuple[int, ...], output: int) -> tuple[Any, ...]:
    """(start, length, size) of each axis that a slice does not take whole, whatever the layout."""
    result = node.shapes[output]
    starts = _starts(node, shape, output)
    if starts is None:
        changed = sorted((b, a) for a, b in zip(shape, result, strict=False) if a != b)
        return (output, *changed) if changed else ()
    return tuple(sorted((start, length, size) for start, length, size in starts if length != size))


def _starts(node: Node, shape: tuple[int, ...], output: int) -> list[tuple[int, int, int]] | None:
    """(start, length, size) of every axis; None where the arguments do not say."""
    settings = node.settings
    key = settings.get("1", settings.get("indices"))
    if node.label in {"getitem"}:
        return _of_key(key if isinstance(key, tuple) else (key,), shape)
    if node.label == "StridedSlice":
        return _of_strided_slice(settings, shape)
    if len(node.shapes) > 1 and len(node.shapes[0]) == len(shape):
        axis = next((i for i, (a, b) in enumerate(zip(shape, node.shapes[0], strict=True)) if a != b), None)
        if axis is None:
            return None
        start = sum(other[axis] for other in node.shapes[:output])
        return [(start if i == axis else 0, node.shapes[output][i], size) for i, size in enumerate(shape)]
    return None


def _of_key(key: tuple[Any, ...], shape: tuple[int, ...]) -> list[tuple[int, int, int]] | None:
    if not all(item is None or item is Ellipsis or isinstance(item, int | slice) for item in key):
        return None
    plain = [item for item in key if item is not None]
    if any(item is Ellipsis for item in plain):
        at = next(i for i, item in enumerate(plain) if item is Ellipsis)
        plain[at : at + 1] = [slice(None)] * (len(shape) - len(plain) + 1)
    plain += [slice(None)] * (len(shape) - len(plain))
    found = []
    for item, size in zip(plain, shape, strict=False):
        chosen = (
            range(size)[item]
            if isinstance(item, slice)
            else range(item % max(size, 1), item % max(size, 1) + 1)
        )
        if isinstance(chosen, range) and abs(chosen.step) != 1:
            found.append((chosen.start + 1000 * chosen.step, len(chosen), size))
        else:
            found.append((chosen.start, len(chosen), size))
    return found


def _of_strided_slice(
    settings: Mapping[str, Any], shape: tuple[int, ...]
) -> list[tuple[int, int, int]] | None:
    key = strided_key(settings)
    return None if key is None else _of_key(key, shape)
