"""Loops over axes that are written out: `for axis in (2, 3)` walks over the same axes in Keras' order."""

from __future__ import annotations

import ast
from typing import Any

from parity.porting.to_keras.bodies.body import Body
from parity.porting.to_keras.layout.operands import Operand


def walked_axes(body: Body, node: Any, base: Operand, index: int) -> bool:
    """Whether a part of a shape is named by the variable of a loop over numbers, which are then Keras' axes.

    Args:
        body: the call that is read; the numbers of the loop get their new texts.
        node: the subscript of the shape.
        base: the shape.
        index: the axis of this round.
    """
    loop = _loop(body, node)
    if loop is None or base.shape_of is None:
        return False
    order = base.shape_of.order
    for item in loop.iter.elts:
        place = order.index(item.value % len(order))
        body.written.texts[item] = body.operands[item] = Operand(item.value, str(place))
    body.operands.pop(loop.iter, None)
    whole = Operand(tuple(item.value for item in loop.iter.elts), body.edited(loop.iter))
    body.written.texts[loop.iter] = body.operands[loop.iter] = whole
    body.written.clashes.pop(loop.iter, None)
    return True


def _loop(body: Body, node: Any) -> Any:
    """The loop whose variable is a subscript, where the variable is nothing but a subscript of shapes."""
    if not isinstance(node.slice, ast.Name):
        return None
    name, around = node.slice.id, body.parents.get(node)
    while around is not None:
        inner: list[Any] = around.generators if isinstance(around, ast.GeneratorExp | ast.ListComp) else []
        loops = [around] if isinstance(around, ast.For) else inner
        for loop in loops:
            if isinstance(loop.target, ast.Name) and loop.target.id == name:
                return loop if _numbers(loop.iter) and _only_subscripts(around, name, body) else None
        around = body.parents.get(around)
    return None


def _numbers(node: ast.AST) -> bool:
    return isinstance(node, ast.Tuple | ast.List) and all(
        isinstance(item, ast.Constant) and type(item.value) is int for item in node.elts
    )


def _only_subscripts(around: ast.AST, name: str, body: Body) -> bool:
    uses = [
        part
        for part in ast.walk(around)
        if isinstance(part, ast.Name) and part.id == name and isinstance(part.ctx, ast.Load)
    ]
    holders = [body.parents.get(part) for part in uses]
    return all(
        isinstance(holder, ast.Subscript)
        and holder.slice is part
        and isinstance(holder.value, ast.Attribute)
        and holder.value.attr == "shape"
        for holder, part in zip(holders, uses, strict=True)
    )
