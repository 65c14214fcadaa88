"""Folds what is known in a port's text: conditions of constants, statements that do nothing, ways that are refused."""

from __future__ import annotations

import ast
import re
import textwrap
from collections.abc import Iterator
from typing import Any

REFUSED = "not ported: "
PASSES_ON = "def __init__(self, **kwargs):\n    super().__init__(**kwargs)"
LineEdit = tuple[int, int, list[str]]
"""Lines from the first up to the last, without it, and what stands there instead."""


def folded(text: str) -> str:
    """A text in which constants decide their conditions, and no way of an `if` is empty.

    >>> print(folded("def f(a):\\n    if a:\\n        pass\\n    return 1 if None is None and a else 2\\n"))
    def f(a):
        return 1 if a else 2
    <BLANKLINE>
    """
    while True:
        lines, tree = text.splitlines(), ast.parse(text)
        edit = next(_edits(tree, lines), None)
        if edit is None:
            return text
        first, last, instead = edit
        lines[first:last] = instead
        text = "\n".join(lines) + "\n"


def _edits(tree: ast.Module, lines: list[str]) -> Iterator[LineEdit]:
    idle, weights = _idle(tree), _weights(tree)
    for node in _outside_strings(tree):
        if isinstance(node, ast.If):
            yield from _of_if(node, lines)
        elif isinstance(node, ast.ClassDef):
            yield from _of_class(node, idle, lines)
        elif isinstance(node, ast.Expr) and _calls(node) & idle:
            yield _without(node, lines)
        elif isinstance(node, ast.Call) and ast.unparse(node) in weights:
            yield _instead(node, ast.Attribute(node.args[0], "shape"), lines)
        elif isinstance(node, ast.expr) and (known := _known(node)) is not None:
            yield _instead(node, known, lines)


def _outside_strings(tree: ast.AST) -> Iterator[Any]:
    """All nodes, what is in f-strings left out: their places are not known before Python 3.12."""
    yield tree
    for child in ast.iter_child_nodes(tree):
        if not isinstance(child, ast.JoinedStr):
            yield from _outside_strings(child)


def _known(node: ast.expr) -> ast.expr | None:
    """What an expression is, where constants say it; None where they do not."""
    if isinstance(node, ast.Call) and _is_reshape(node) and _is_reshape(node.args[0]):
        return ast.Call(node.func, [node.args[0].args[0], *node.args[1:]], [])  # type: ignore[attr-defined]
    if isinstance(node, ast.Compare) and len(node.ops) == 1:
        left, right = node.left, node.comparators[0]
        both = [isinstance(side, ast.Constant) and side.value is None for side in (left, right)]
        if all(both) and isinstance(node.ops[0], ast.Is | ast.IsNot):
            return ast.Constant(isinstance(node.ops[0], ast.Is))
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not) and _is_truth(node.operand):
        return ast.Constant(not node.operand.value)  # type: ignore[attr-defined]
    if isinstance(node, ast.IfExp) and _is_truth(node.test):
        return node.body if node.test.value else node.orelse  # type: ignore[attr-defined]
    if isinstance(node, ast.BoolOp):
        decides = isinstance(node.op, ast.Or)
        if _is_truth(node.values[0]):
            if node.values[0].value is decides:  # type: ignore[attr-defined]
                return node.values[0]
            return node.values[1] if len(node.values) == 2 else ast.BoolOp(node.op, node.values[1:])
        last = node.values[-1]
        if _is_truth(last) and last.value is not decides and _is_condition(node.values[-2]):  # type: ignore[attr-defined]
            return node.values[0] if len(node.values) == 2 else ast.BoolOp(node.op, node.values[:-1])
    return None


def _weights(tree: ast.AST) -> set[str]:
    """The calls that ask for the shape of a weight, which is known when the layer is made."""
    return {
        f"ops.shape({ast.unparse(node.targets[0])})"
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign) and ast.unparse(node.value).startswith("self.add_weight(")
    }


def _is_reshape(node: ast.expr) -> bool:
    return isinstance(node, ast.Call) and len(node.args) == 2 and ast.unparse(node.func) == "ops.reshape"


def _is_truth(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, bool)


def _is_condition(node: ast.expr) -> bool:
    """Whether an expression is surely True or False, so that nothing is lost without `and True`."""
    return isinstance(node, ast.Compare) or (isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not))


def _instead(node: ast.expr, known: ast.expr, lines: list[str]) -> LineEdit:
    """The lines of an expression, with what it is in its place."""
    first, last = node.lineno - 1, node.end_lineno or node.lineno
    head = lines[first].encode()[: node.col_offset].decode()
    tail = lines[last - 1].encode()[node.end_col_offset :].decode()
    text = _text(known, "\n".join(lines))
    if head.endswith("(") and tail.startswith(")") and isinstance(known, ast.Constant | ast.Name):
        before = head[:-1]
        if before.endswith((" ", "(")) or not before:  # brackets that hold nothing together any more
            head, tail = before, tail[1:]
    return first, last, (head + text + tail).splitlines()


def _text(node: ast.expr, source: str) -> str:
    """The source of an expression that stands in the text, or of one that is made of such."""
    if hasattr(node, "lineno"):
        return ast.get_source_segment(source, node) or ast.unparse(node)
    if isinstance(node, ast.BoolOp):
        word = " and " if isinstance(node.op, ast.And) else " or "
        return word.join(_text(value, source) for value in node.values)
    return ast.unparse(node)


def _of_if(node: ast.If, lines: list[str]) -> Iterator[LineEdit]:
    first, last = node.lineno - 1, node.end_lineno or node.lineno
    chained = lines[first].lstrip().startswith("elif")
    chain = len(node.orelse) == 1 and _starts(node.orelse[0], lines, "elif")
    for body in (node.body, [] if chain else node.orelse):
        if len(body) > 1 and _is_refusal(body[-1]):
            yield body[0].lineno - 1, body[-1].end_lineno or 0, _texts(body[-1:], lines)
    if chained:
        return
    if _is_truth(node.test):
        kept = node.body if node.test.value else node.orelse  # type: ignore[attr-defined]
        if not chain or kept is node.body:
            yield _above(first, lines), last, _kept(kept, node, lines)
    elif _is_plain(node.test) and not chain:
        if all(isinstance(one, ast.Pass) for one in (*node.body, *node.orelse)):
            yield _without(node, lines)
        elif node.orelse and all(isinstance(one, ast.Pass) for one in node.orelse):
            yield node.body[-1].end_lineno or 0, last, []


def _starts(node: ast.stmt, lines: list[str], word: str) -> bool:
    return isinstance(node, ast.If) and lines[node.lineno - 1].lstrip().startswith(word)


def _is_refusal(node: ast.stmt) -> bool:
    error = node.exc if isinstance(node, ast.Raise) else None
    said = error.args[0] if isinstance(error, ast.Call) and error.args else None
    return isinstance(said, ast.Constant) and str(said.value).startswith(REFUSED)


def _is_plain(node: ast.expr) -> bool:
    """Whether reading an expression changes nothing."""
    return not any(isinstance(part, ast.Call | ast.NamedExpr | ast.Await) for part in ast.walk(node))


def _idle(tree: ast.Module) -> set[str]:
    """The functions (check) and methods (self.check) of a text that do nothing, whichever class has them."""
    found: dict[str, list[bool]] = {}
    holders: list[Any] = [tree, *(node for node in tree.body if isinstance(node, ast.ClassDef))]
    for holder in holders:
        for node in holder.body:
            if isinstance(node, ast.FunctionDef):
                name = node.name if holder is tree else f"self.{node.name}"
                found.setdefault(name, []).append(all(map(_does_nothing, node.body)))
    return {name for name, all_idle in found.items() if all(all_idle) and not name.startswith("self.__")}


def _does_nothing(node: ast.stmt) -> bool:
    if isinstance(node, ast.Expr):
        return isinstance(node.value, ast.Constant)
    return isinstance(node, ast.Pass) or (isinstance(node, ast.Return) and node.value is None)


def _calls(node: ast.Expr) -> set[str]:
    """The name that a statement calls, where its arguments are plain."""
    call = node.value
    plain = isinstance(call, ast.Call) and all(
        map(_is_plain, (*call.args, *(k.value for k in call.keywords)))
    )
    return {ast.unparse(call.func)} if plain else set()  # type: ignore[attr-defined]


def _of_class(node: ast.ClassDef, idle: set[str], lines: list[str]) -> Iterator[LineEdit]:
    """Without methods that do nothing and that nothing calls, and a constructor that passes its arguments on."""
    text = "\n".join(lines)
    for method in node.body:
        if not isinstance(method, ast.FunctionDef) or len(node.body) == 1:
            continue
        passes = method.name == "__init__" and ast.unparse(method) == PASSES_ON
        unread = f"self.{method.name}" in idle and len(re.findall(rf"\b{method.name}\b", text)) == 1
        if passes or unread:
            yield _without(method, lines)


def _without(node: ast.stmt, lines: list[str]) -> LineEdit:
    """A statement with the comment above it and the blank lines behind it; where it is alone, `pass` stays."""
    first, last = _above(node.lineno - 1, lines), node.end_lineno or node.lineno
    head = next((line for line in reversed(lines[:first]) if line.strip()), "")
    alone = head.rstrip().endswith(":") and not _same_block(node, lines, last)
    while not alone and last < len(lines) and not lines[last].strip() and not lines[first - 1].strip():
        last += 1
    return first, last, [" " * node.col_offset + "pass"] if alone else []


def _same_block(node: ast.stmt, lines: list[str], last: int) -> bool:
    behind = next((line for line in lines[last:] if line.strip()), "")
    return len(behind) - len(behind.lstrip()) >= node.col_offset


def _above(first: int, lines: list[str]) -> int:
    """The first line of the comment directly above a line."""
    while first and lines[first - 1].lstrip().startswith("#"):
        first -= 1
    return first


def _texts(body: list[Any], lines: list[str]) -> list[str]:
    return lines[body[0].lineno - 1 : body[-1].end_lineno] if body else []


def _kept(body: list[Any], node: ast.If, lines: list[str]) -> list[str]:
    """The statements of one way, where the `if` stood."""
    text = textwrap.dedent("\n".join(_texts(body, lines)))
    return textwrap.indent(text, " " * node.col_offset).splitlines()
