"""Operands of one dtype, which Keras' tensors need between operators, and torch's do not."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from typing import Any

from parity.porting.to_keras.layout.operands import Operand

OPERATORS = {
    ast.Add: "+",
    ast.Sub: "-",
    ast.Mult: "*",
    ast.Div: "/",
    ast.Pow: "**",
    ast.FloorDiv: "//",
    ast.Mod: "%",
    ast.BitAnd: "&",
    ast.BitOr: "|",
    ast.Eq: "==",
    ast.NotEq: "!=",
    ast.Lt: "<",
    ast.LtE: "<=",
    ast.Gt: ">",
    ast.GtE: ">=",
}
"""Python's operators between tensors."""


def dtype_text(dtype: str) -> str:
    """A dtype of torch as the port writes it: floating values have Keras' own precision."""
    return "keras.config.floatx()" if "float" in dtype else f'"{dtype}"'


def promoted(operands: Sequence[Operand], result: Any) -> list[str]:
    """The texts of operands that an operator joins, cast to the dtype in which torch computes.

    Args:
        operands: tensors and numbers.
        result: the tensor that comes out; for a comparison the operands alone decide.
    """
    tensors = [operand for operand in operands if operand.is_tensor]
    kinds = {_rank(operand.value.dtype) for operand in tensors}
    kinds |= {3 for operand in operands if isinstance(operand.value, float)}
    wanted = result.dtype if result.dtype != "bool" else max((o.value.dtype for o in tensors), key=_rank)
    if result.dtype == "bool" and 3 in kinds and _rank(wanted) < 3:
        wanted = "float32"
    return [
        f"ops.cast({operand.text}, {dtype_text(wanted)})"
        if operand.is_tensor and _rank(operand.value.dtype) != _rank(wanted)
        else operand.text
        for operand in operands
    ]


def _rank(dtype: str) -> int:
    """Truth values, small whole numbers, whole numbers, floating ones."""
    return 3 if "float" in dtype else 0 if dtype == "bool" else 2 if dtype == "int64" else 1
