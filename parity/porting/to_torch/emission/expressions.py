"""The values of the arithmetic that constructors hold: names, whole numbers, operators."""

from __future__ import annotations

import ast
import operator
from typing import Any

OPERATORS: dict[type[ast.operator], Any] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.FloorDiv: operator.floordiv,
    ast.Div: operator.truediv, ast.Mod: operator.mod, ast.Pow: operator.pow,
}  # fmt: skip


class UnreadableError(Exception):
    """An expression that has more in it than arithmetic over known names."""


def value_of(text: str, names: dict[str, Any]) -> Any:
    """The value of an expression over constructor arguments; None where it has more in it, or is a lone number."""
    try:
        tree = ast.parse(text, mode="eval").body
        return None if isinstance(tree, ast.Constant) else _value(tree, names)
    except (SyntaxError, UnreadableError, TypeError, ZeroDivisionError, KeyError, IndexError):
        return None


def _value(node: ast.expr, names: dict[str, Any]) -> Any:
    if isinstance(node, ast.Constant):
        return node.value
    if isinstance(node, ast.Name) and node.id in names:
        return names[node.id]
    if isinstance(node, ast.BinOp) and type(node.op) in OPERATORS:
        return OPERATORS[type(node.op)](_value(node.left, names), _value(node.right, names))
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.Not):
        value = _value(node.operand, names)
        return -value if isinstance(node.op, ast.USub) else not value
    if isinstance(node, ast.Tuple):
        return tuple(_value(item, names) for item in node.elts)
    if isinstance(node, ast.Subscript):
        return _value(node.value, names)[_value(node.slice, names)]
    raise UnreadableError
