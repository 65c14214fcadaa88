"""Takes out what a port's text defines or imports, and nothing reads."""

from __future__ import annotations

import ast
from collections.abc import Collection
from typing import Any

from parity.porting.tidying.names import global_names


def without_unused(text: str, roots: Collection[str]) -> str:
    """A text without the functions, classes, constants and imports that its roots do not lead to.

    A definition that a later one of the same name hides goes too.
    """
    lines, tree = text.splitlines(), ast.parse(text)
    spans = {node: _span(node, lines) for node in tree.body}
    names = {node: _defined(node) for node in tree.body}
    reads = {node: global_names("\n".join(lines[slice(*span)])) for node, span in spans.items()}
    hidden = _hidden(tree.body, reads)
    wanted = set(roots)
    for node in tree.body:
        if not names[node] and not isinstance(node, ast.Import | ast.ImportFrom):
            wanted |= reads[node]
    while True:
        more = (
            set().union(*(reads[node] for node in reads if node not in hidden and names[node] & wanted))
            - wanted
        )
        if not more:
            break
        wanted |= more
    for node in reversed(tree.body):
        first, last = spans[node]
        if isinstance(node, ast.Import | ast.ImportFrom):
            lines[first:last] = _import(node, wanted)
            continue
        if node in hidden or (names[node] and not names[node] & wanted):
            while first and not lines[first - 1].strip():
                first -= 1
            del lines[first:last]
    return "\n".join(lines) + "\n"


def without_empty_calls(text: str) -> str:
    """A text without statements that call a function of its own in which nothing is left but a docstring."""
    tree = ast.parse(text)
    empty = {
        node.name
        for node in tree.body
        if isinstance(node, ast.FunctionDef)
        and not node.decorator_list
        and all(map(_says_nothing, node.body))
    }
    lines = text.splitlines()
    gone = [
        (block, node)
        for owner in ast.walk(tree)
        for name in ("body", "orelse", "finalbody")
        if isinstance(block := getattr(owner, name, None), list)
        for node in block
        if isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Call)
        and isinstance(node.value.func, ast.Name)
        and node.value.func.id in empty
        and all(map(_only_reads, node.value.args))
    ]
    for block, node in sorted(gone, key=lambda pair: -pair[1].lineno):
        indent = lines[node.lineno - 1][: node.col_offset]
        kept = [] if any(one not in [each for _, each in gone] for one in block) else [f"{indent}pass"]
        lines[node.lineno - 1 : node.end_lineno] = kept
    return "\n".join(lines) + "\n"


def _only_reads(node: ast.AST) -> bool:
    """Whether an argument calls nothing but functions of keras.ops, so that nothing is lost without it."""
    calls = (part for part in ast.walk(node) if isinstance(part, ast.Call))
    return all(ast.unparse(call.func).startswith("ops.") for call in calls)


def _says_nothing(node: ast.stmt) -> bool:
    return isinstance(node, ast.Pass) or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))


def _hidden(body: list[ast.stmt], reads: dict[ast.stmt, set[str]]) -> set[ast.stmt]:
    """The definitions that a later one of the same name hides, where nothing that runs between the two reads the name.

    The bodies of functions run later, and find the later one.
    """
    found, free = set[ast.stmt](), set[str]()
    for node in reversed(body):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            if node.name in free:
                found.add(node)
            free = (free - _read_at_once(node)) | {node.name}
        else:
            free -= reads[node]
    return found


def _read_at_once(node: ast.AST) -> set[str]:
    """The names that a definition reads when it is made: not those in the bodies of its functions."""
    if isinstance(node, ast.FunctionDef | ast.Lambda):
        parts: list[Any] = [*getattr(node, "decorator_list", ()), *node.args.defaults, *node.args.kw_defaults]
    else:
        parts = list(ast.iter_child_nodes(node))
    names = {node.id} if isinstance(node, ast.Name) else set()
    return names.union(*(_read_at_once(part) for part in parts if part is not None))


def _span(node: Any, lines: list[str]) -> tuple[int, int]:
    """The first line of a statement, its decorators and the comment above it, and the line behind its last one."""
    first = min([node.lineno, *(part.lineno for part in getattr(node, "decorator_list", ()))]) - 1
    while first and lines[first - 1].startswith("#"):
        first -= 1
    return first, node.end_lineno


def _defined(node: ast.stmt) -> set[str]:
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return {node.name}
    if isinstance(node, ast.Assign):
        return {target.id for target in node.targets if isinstance(target, ast.Name)}
    return set()


def _import(node: ast.Import | ast.ImportFrom, wanted: set[str]) -> list[str]:
    kept = [alias for alias in node.names if (alias.asname or alias.name).partition(".")[0] in wanted]
    if not kept:
        return []
    node.names = kept
    return [ast.unparse(node)]
