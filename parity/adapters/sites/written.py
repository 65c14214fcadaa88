"""Calls and assignments in a source file, read from its syntax; nothing of it is run."""

from __future__ import annotations

import ast
import linecache
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

LARGEST = 2**20
"""Bytes of the largest source file that is read."""


@dataclass(frozen=True)
class Written:
    """A source file: its text, every call by the last part of its name, and the classes by name."""

    file: str
    text: str
    calls: dict[str, list[ast.Call]]
    classes: dict[str, ast.ClassDef]
    sequences: list[list[ast.expr]]


@cache
def written(file: str) -> Written | None:
    """What a file says; None where it cannot be read as Python."""
    text = "".join(linecache.getlines(file))
    if not text or len(text) > LARGEST:
        return None
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError):
        return None
    calls: dict[str, list[ast.Call]] = {}
    classes: dict[str, ast.ClassDef] = {}
    sequences: list[list[ast.expr]] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            calls.setdefault(name_of(node), []).append(node)
            sequences.append(list(node.args))
        elif isinstance(node, ast.List | ast.Tuple):
            sequences.append(list(node.elts))
        elif isinstance(node, ast.ClassDef):
            classes[node.name] = node
    return Written(file, text, calls, classes, sequences)


def name_of(call: ast.expr) -> str:
    """The last part of the name of what is called; empty where it has none."""
    function = call.func if isinstance(call, ast.Call) else call
    if isinstance(function, ast.Attribute):
        return function.attr
    return function.id if isinstance(function, ast.Name) else ""


def assigned(found: ast.ClassDef, name: str) -> ast.expr | None:
    """What a class assigns to `self.name`, or hands to `setattr` and `add_module` under this name."""
    for node in ast.walk(found):
        for target, value in _targets(node):
            if isinstance(target, ast.Attribute) and target.attr == name and _is_self(target.value):
                return value
        if isinstance(node, ast.Call) and name_of(node) in {"add_module", "register_module", "setattr"}:
            keys = [item.value for item in node.args if isinstance(item, ast.Constant)]
            if name in keys:
                return node.args[-1]
    return None


def _targets(node: ast.AST) -> Iterator[tuple[ast.expr, ast.expr]]:
    """Each single target of an assignment with what it gets."""
    if isinstance(node, ast.AnnAssign) and node.value is not None:
        yield node.target, node.value
    for target in node.targets if isinstance(node, ast.Assign) else ():
        assert isinstance(node, ast.Assign)
        if isinstance(target, ast.Tuple | ast.List):
            parts = node.value.elts if isinstance(node.value, ast.Tuple | ast.List) else None
            for i, item in enumerate(target.elts):
                yield item, parts[i] if parts is not None and i < len(parts) else node.value
        else:
            yield target, node.value


def _is_self(value: ast.expr) -> bool:
    return isinstance(value, ast.Name) and value.id == "self"


def part(value: ast.expr, steps: list[str]) -> ast.expr:
    """The part of a container that is written out: its number, or its key; the container where it is not."""
    for step in steps:
        if (
            isinstance(value, ast.Call)
            and len(value.args) == 1
            and isinstance(value.args[0], ast.List | ast.Dict)
        ):
            value = value.args[0]
        items = value.args if isinstance(value, ast.Call) else getattr(value, "elts", [])
        if isinstance(value, ast.Dict):
            keys = [item.value if isinstance(item, ast.Constant) else None for item in value.keys]
            if step not in keys:
                return value
            value = value.values[keys.index(step)]
        elif step.isdigit() and int(step) < len(items) and not any(isinstance(i, ast.Starred) for i in items):
            value = items[int(step)]
        else:
            return value
    return value
