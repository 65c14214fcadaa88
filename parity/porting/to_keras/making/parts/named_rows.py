"""Layers that a constructor gathers under names, in a dictionary, and makes a sequence of: in Keras a list of named ones."""

from __future__ import annotations

import ast
from typing import Any

EMPTY = ("OrderedDict()", "collections.OrderedDict()", "dict()", "{}")
SEQUENCES = ("nn.Sequential", "torch.nn.Sequential", "Sequential")


def named_rows(function: ast.AST) -> frozenset[str]:
    """The local names that hold such a dictionary: nothing is done with it but to fill it, and make a sequence of it."""
    made: set[str] = set()
    counted: dict[str, int] = {}
    fits: dict[str, int] = {}
    for node in ast.walk(function):
        if isinstance(node, ast.Name):
            counted[node.id] = counted.get(node.id, 0) + 1
        name = _made(node)
        if name:
            made.add(name)
        name = name or _filled(node) or row_of(node)
        if name:
            fits[name] = fits.get(name, 0) + 1
    rows = {row_of(node) for node in ast.walk(function)}
    return frozenset(name for name in made & rows if fits[name] == counted[name])


def _made(node: ast.AST) -> str:
    """The name that an assignment gives an empty dictionary."""
    targets: list[Any] = (
        node.targets
        if isinstance(node, ast.Assign)
        else [node.target]
        if isinstance(node, ast.AnnAssign)
        else []
    )
    value: Any = getattr(node, "value", None)
    fits = len(targets) == 1 and isinstance(targets[0], ast.Name) and value is not None
    return str(targets[0].id) if fits and ast.unparse(value) in EMPTY else ""


def _filled(node: ast.AST) -> str:
    """The name of what an assignment fills: layers["conv"] = ..."""
    target = node.targets[0] if isinstance(node, ast.Assign) and len(node.targets) == 1 else None
    held = target.value if isinstance(target, ast.Subscript) else None
    return held.id if isinstance(held, ast.Name) else ""


def row_of(node: ast.AST) -> str:
    """The name of what a sequence is made of: nn.Sequential(layers)."""
    if not isinstance(node, ast.Call) or node.keywords or len(node.args) != 1:
        return ""
    given = node.args[0]
    return given.id if ast.unparse(node.func) in SEQUENCES and isinstance(given, ast.Name) else ""
