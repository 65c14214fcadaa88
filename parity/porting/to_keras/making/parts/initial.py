"""Parameters as a constructor writes them: the shape and the first values that `nn.Parameter(...)` is given."""

from __future__ import annotations

import ast
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from parity.porting.to_keras.leaves.setting import NoCounterpartError
from parity.porting.to_keras.making.values import FunctionValues

NAMED = {"zeros": "zeros", "ones": "ones", "empty": "zeros"}
INITIALIZERS = "keras.initializers."
FILLED: dict[str, tuple[str, dict[str, tuple[str, str]]]] = {
    "normal_": ("RandomNormal", {"mean": ("mean", ""), "std": ("stddev", "1.0")}),
    "uniform_": ("RandomUniform", {"from": ("minval", "0.0"), "to": ("maxval", "1.0")}),
    "fill_": ("Constant", {"value": ("value", "")}),
    "zero_": ("Zeros", {}),
}
"""Methods of a tensor that give it its values: Keras' initializer, and their arguments in order: its name for each,
and torch's default where Keras' is another.
"""


@dataclass(frozen=True)
class InitialWeight:
    """What a weight starts as.

    Attributes:
        shape: as text.
        initializer: as text.
    """

    shape: str
    initializer: str


def first_values(
    node: ast.AST, values: FunctionValues, text: Callable[[ast.AST], str]
) -> InitialWeight | None:
    """The shape and the initializer that an expression says; None where it is of another form.

    Args:
        node: what becomes the parameter: nn.Parameter(0.02 * torch.randn(1, count, width)).
        values: of the function around it.
        text: gives the text of any part of it.
    """
    try:
        return _of(node, values, text)
    except NoCounterpartError:
        return None


def _of(node: Any, values: FunctionValues, text: Callable[[ast.AST], str]) -> InitialWeight | None:
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult | ast.Div):
        return _scaled(node, values, text)
    if not isinstance(node, ast.Call):
        return None
    seen = values.seen.get(node, [])
    names = {getattr(one.callee, "__name__", "") for one in seen}
    name = names.pop() if len(names) == 1 else ""
    if name == "Parameter" and node.args:
        return _of(node.args[0], values, text)
    if name == "full" and len(node.args) == 2:
        return InitialWeight(text(node.args[0]), f"{INITIALIZERS}Constant({text(node.args[1])})")
    if (
        name in ("tensor", "as_tensor")
        and node.args
        and all(isinstance(v.positional[0], int | float) for v in seen)
    ):
        return InitialWeight("()", f"{INITIALIZERS}Constant({text(node.args[0])})")
    if isinstance(node.func, ast.Attribute) and name in FILLED and isinstance(node.func.value, ast.Call):
        return _filled(name, node, values, text)
    made = {"randn": "RandomNormal(stddev=1.0)", "rand": "RandomUniform(0.0, 1.0)"}.get(name)
    if name not in NAMED and made is None:
        return None
    return InitialWeight(
        _shape(node, values, text), f'"{NAMED[name]}"' if made is None else f"{INITIALIZERS}{made}"
    )


def _filled(
    name: str, node: Any, values: FunctionValues, text: Callable[[ast.AST], str]
) -> InitialWeight | None:
    """First values that a method of the tensor fills in: torch.empty(2, 3).normal_(std=0.02)."""
    made = _of(node.func.value, values, text)
    kind, arguments = FILLED[name]
    given = dict(zip(arguments, node.args, strict=False)) | {k.arg: k.value for k in node.keywords}
    if made is None or not given.keys() <= arguments.keys():
        return None
    texts = {key: text(given[key]) if key in given else unsaid for key, (_, unsaid) in arguments.items()}
    parts = [f"{arguments[key][0]}={said}" for key, said in texts.items() if said]
    return InitialWeight(made.shape, f"{INITIALIZERS}{kind}({', '.join(parts)})")


def _shape(node: ast.Call, values: FunctionValues, text: Callable[[ast.AST], str]) -> str:
    sizes = [*node.args, *(keyword.value for keyword in node.keywords if keyword.arg == "size")]
    if any(isinstance(size, ast.Starred) for size in sizes):
        raise NoCounterpartError("sizes from a list")
    if len(sizes) == 1 and all(isinstance(value, tuple | list) for value in values.of(sizes[0]) or [()]):
        return text(sizes[0])
    parts = ", ".join(map(text, sizes))
    return f"({parts},)" if len(sizes) == 1 else f"({parts})"


def _scaled(node: ast.BinOp, values: FunctionValues, text: Callable[[ast.AST], str]) -> InitialWeight | None:
    """First values times a number, or divided by one."""
    left, right = _of(node.left, values, text), _of(node.right, values, text)
    if (left is None) == (right is None) or (left is None and isinstance(node.op, ast.Div)):
        return None
    known, factor = (left, node.right) if left is not None else (right, node.left)
    assert known is not None
    number = text(factor)
    scale = f"1.0 / ({number})" if isinstance(node.op, ast.Div) else number
    made = {
        '"zeros"': '"zeros"',
        '"ones"': f"{INITIALIZERS}Constant({scale})",
        f"{INITIALIZERS}RandomNormal(stddev=1.0)": f"{INITIALIZERS}RandomNormal(stddev={scale})",
        f"{INITIALIZERS}RandomUniform(0.0, 1.0)": f"{INITIALIZERS}RandomUniform(0.0, {scale})",
    }.get(known.initializer)
    return None if made is None else InitialWeight(known.shape, made)
