"""Small repairs of a written function: what nobody reads goes, the mode is passed on, free names are found."""

from __future__ import annotations

import ast
import builtins
import re
from collections.abc import Collection
from typing import Any

_PURE = {"shape", "len", "int", "float", "max", "min", "math", "ops", "getattr"}


def without_unread(text: str) -> str:
    """The text of a function without assignments of plain values to names that nothing reads."""
    while True:
        text = _without_unread_items(text)
        tree: Any = ast.parse(text).body[0]
        read = {n.id for n in ast.walk(tree) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load)}
        read |= {
            n.target.id
            for n in ast.walk(tree)
            if isinstance(n, ast.AugAssign) and isinstance(n.target, ast.Name)
        }
        gone = next((node for node in _simple_assigns(tree) if not _targets(node) & read), None)
        if gone is None:
            return text
        lines = text.splitlines()
        alone = next(b for b in _blocks(tree) if gone in b)
        kept = ["pass"] if len(alone) == 1 else []
        indent = re.match(r" *", lines[gone.lineno - 1])
        first = gone.lineno - 1
        lines[first : gone.end_lineno] = [(indent[0] if indent else "") + line for line in kept]
        while first < len(lines) and not lines[first].strip() and not lines[first - 1].strip():
            del lines[first]
        text = "\n".join(lines) + "\n"


def _without_unread_items(text: str) -> str:
    """`a, _ = f(x), g(x)` becomes `a = f(x)` where nothing reads the second."""
    tree = ast.parse(text)
    read = {n.id for n in ast.walk(tree) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load)}
    for node in ast.walk(tree):
        if not isinstance(node, ast.Assign) or not isinstance(node.value, ast.Tuple):
            continue
        target = node.targets[0]
        if (
            not isinstance(target, ast.Tuple)
            or len(target.elts) != len(node.value.elts)
            or not _targets(node)
        ):
            continue
        pairs = list(zip(target.elts, node.value.elts, strict=True))
        kept = [pair for pair in pairs if pair[0].id in read or not _of_ops(pair[1])]  # type: ignore[attr-defined]
        if not kept or len(kept) == len(pairs):
            continue
        sides = [", ".join(ast.unparse(pair[side]) for pair in kept) for side in (0, 1)]
        lines = text.splitlines()
        indent = lines[node.lineno - 1][: node.col_offset]
        lines[node.lineno - 1 : node.end_lineno] = [f"{indent}{sides[0]} = {sides[1]}"]
        return _without_unread_items("\n".join(lines) + "\n")
    return text


def _of_ops(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and ast.unparse(node.func).startswith("ops.")


def _blocks(tree: ast.AST) -> list[list[ast.stmt]]:
    return [
        block
        for node in ast.walk(tree)
        for block in (getattr(node, name, None) for name in ("body", "orelse", "finalbody"))
        if isinstance(block, list)
    ]


def _simple_assigns(tree: ast.AST) -> list[Any]:
    found = []
    for node in ast.walk(tree):
        if not isinstance(node, ast.Assign) or not _targets(node):
            continue
        calls = [part for part in ast.walk(node.value) if isinstance(part, ast.Call)]
        if all(_called(call) in _PURE for call in calls):
            found.append(node)
    return found


def _called(call: ast.Call) -> str:
    if isinstance(call.func, ast.Attribute):
        return call.func.attr
    return call.func.id if isinstance(call.func, ast.Name) else ""


def _targets(node: ast.Assign) -> set[str]:
    names: set[str] = set()
    for target in node.targets:
        parts = target.elts if isinstance(target, ast.Tuple) else [target]
        for part in parts:
            if not isinstance(part, ast.Name):
                return set()
            names.add(part.id)
    return names


def free_names(text: str) -> set[str]:
    """The names that a function's text reads and does not define itself."""
    tree: Any = ast.parse(text).body[0]
    bound = {arg.arg for node in ast.walk(tree) if isinstance(node, ast.arguments) for arg in _all(node)}
    bound |= {n.id for n in ast.walk(tree) if isinstance(n, ast.Name) and not isinstance(n.ctx, ast.Load)}
    bound |= {n.name for n in ast.walk(tree) if isinstance(n, ast.FunctionDef)}
    read = {n.id for n in ast.walk(tree) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load)}
    return {name for name in read - bound if not hasattr(builtins, name)}


def _all(arguments: ast.arguments) -> list[ast.arg]:
    found = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
    return found + [arg for arg in (arguments.vararg, arguments.kwarg) if arg is not None]


def reads_mode(text: str) -> bool:
    """Whether a method reads the mode without having it as an argument."""
    return "training" in free_names(text)


def passes_mode_on(text: str, methods: Collection[str]) -> str:
    """The text of a method that gives the mode to those methods of its own object that read it."""
    tree = ast.parse(text)
    lines = text.splitlines()
    ends = sorted(
        (
            (node.end_lineno or 0, node.end_col_offset or 0, bool(node.args or node.keywords))
            for node in ast.walk(tree)
            if isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and node.func.attr in methods
            and ast.unparse(node.func.value) in ("self", "super()")
            and not any(keyword.arg == "training" for keyword in node.keywords)
        ),
        reverse=True,
    )
    for line, column, some in ends:
        content = lines[line - 1]
        at = len(content.encode()[: column - 1].decode())
        before = content[:at].rstrip()
        comma = ", " if some and not before.endswith((",", "(")) else " " if before.endswith(",") else ""
        lines[line - 1] = f"{before}{comma}training=training{content[at:]}"
    return "\n".join(lines) + "\n"


def with_mode(text: str) -> str:
    """The text of a method with `training` as an argument."""
    tree: Any = ast.parse(text).body[0]
    if any(arg.arg == "training" for arg in _all(tree.args)):
        return text
    head, _, rest = text.partition(":\n")
    return f"{_with_argument(head)}:\n{rest}"


def _with_argument(head: str) -> str:
    inner = head[:-1]
    at = re.search(r", \*\*\w+$", inner)
    return f"{inner[: at.start()]}, training=None{at[0]})" if at else f"{inner}, training=None)"
