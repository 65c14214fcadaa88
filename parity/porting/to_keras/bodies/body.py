"""The state of one call that is being read: the operands of its nodes, and the text of any part of its source."""

from __future__ import annotations

import ast
from dataclasses import dataclass, field
from typing import Any

from parity.adapters.recording.records import FunctionCall, UserFunction
from parity.porting.to_keras.layout.axes import HeldOrder
from parity.porting.to_keras.layout.operands import AxisLayout, Operand, atom

Signature = tuple[HeldOrder | None, ...]
SpanEdit = tuple[int, int, str]


@dataclass(eq=False)
class WrittenBody:
    """A function in one of the layouts it was called in: the text of its nodes, from all its calls."""

    function: UserFunction
    signature: Signature
    texts: dict[ast.AST, Operand] = field(default_factory=dict)
    clashes: dict[ast.AST, tuple[str, str]] = field(default_factory=dict)  # texts of one node that differ
    helpers: set[str] = field(default_factory=set)
    stubs: dict[ast.AST, str] = field(default_factory=dict)  # node without a rule -> why
    before: dict[ast.AST, list[tuple[str, str]]] = field(
        default_factory=dict
    )  # names assigned in front of a node
    calls: list[FunctionCall] = field(default_factory=list)
    writers: dict[ast.AST, dict[ast.AST, Operand]] = field(default_factory=dict)  # the call a text is from
    results: list[tuple[HeldOrder | None, ...]] = field(default_factory=list)


@dataclass(eq=False)
class Body:
    """One call of a function while its values are read in order."""

    call: FunctionCall
    written: WrittenBody
    parents: dict[ast.AST, ast.AST]
    operands: dict[ast.AST, Operand] = field(default_factory=dict)
    shapes: dict[str, AxisLayout | None] = field(
        default_factory=dict
    )  # local names that hold the whole shape of a tensor
    lists: dict[str, tuple[Operand, ...]] = field(default_factory=dict)
    partial: set[ast.AST] = field(default_factory=set)  # nodes of which this call evaluated some parts alone

    def source(self, node: ast.AST) -> str:
        """The text of a node as the source has it."""
        return self.call.function.source.of(node)

    def operand(self, node: ast.AST) -> Operand:
        """What is known of a node that was evaluated, or is a constant."""
        if node in self.operands:
            return self.operands[node]
        if isinstance(node, ast.Constant):
            return Operand(node.value, self.source(node))
        if isinstance(node, ast.Starred):
            inner = self.operand(node.value)
            return Operand(inner.value, f"*{inner.text}", items=inner.items)
        return Operand(None, self.edited(node))

    def keep(self, node: ast.AST, operand: Operand) -> None:
        """Note what a node is, and its text for the function; one that was written otherwise before is a clash."""
        self.operands[node] = operand
        if self._is_partial(node, operand):  # its text comes from its parts, as all calls together have them
            self.partial.add(node)
            return
        known = self.written.texts.get(node)
        more = 0 if known is None or known.text == operand.text else self._evaluated_more(node)
        if known is not None and known.text != operand.text and not more:
            self.written.clashes.setdefault(node, (known.text, operand.text))
        elif more >= 0:
            self.written.texts[node] = operand
            self.written.writers[node] = self.operands

    def _evaluated_more(self, node: ast.AST) -> int:
        """How many more parts of an expression this call evaluated than the one that its text is from.

        A call evaluates one way of a condition alone. 0 where the expression has no condition.
        """
        parts = list(ast.walk(node))
        if not any(isinstance(part, ast.IfExp | ast.BoolOp) for part in parts):
            return 0
        before = self.written.writers.get(node, {})
        return sum(part in self.operands for part in parts) - sum(part in before for part in parts)

    def _is_partial(self, node: ast.AST, operand: Operand) -> bool:
        """Whether a way through a node was not taken in this call, so that its text still has the source's own there."""
        ways = node.values if isinstance(node, ast.BoolOp) else []
        ways = [node.body, node.orelse] if isinstance(node, ast.IfExp) else ways
        untaken = any(way not in self.operands and not isinstance(way, ast.Constant) for way in ways)
        inner = bool(self.partial) and any(
            part in self.partial for part in ast.walk(node) if part is not node
        )
        return (untaken or inner) and operand.text == self.edited(node)

    def edited_of(self, node: ast.AST) -> str:
        """The text of a node, evaluated or not."""
        return self.operands[node].text if node in self.operands else self.edited(node)

    def edited(self, node: ast.AST) -> str:
        """The source of a node with the texts of what was evaluated in it."""
        return spliced(self.call.function, node, self.operands, self.parents)


def spliced(
    function: UserFunction, node: ast.AST, operands: dict[ast.AST, Operand], parents: dict[ast.AST, ast.AST]
) -> str:
    """The source of a node with new texts for the nodes in it."""
    source = function.source
    start, end = source.span(node)
    edits: list[SpanEdit] = []
    _collect(function, node, operands, parents, edits)
    return with_edits(source.text, start, end, edits)


def with_edits(text: str, start: int, end: int, edits: list[SpanEdit]) -> str:
    """A part of a text with some spans replaced."""
    pieces, at = [], start
    for first, last, new in sorted(edits):
        pieces += [text[at:first], new]
        at = last
    return "".join([*pieces, text[at:end]])


def _collect(
    function: UserFunction,
    node: ast.AST,
    operands: dict[ast.AST, Operand],
    parents: dict[ast.AST, ast.AST],
    edits: list[SpanEdit],
) -> None:
    for child in ast.iter_child_nodes(node):
        if child in operands:
            old, new = function.source.of(child), operands[child].text
            if old != new:
                edits.append((*function.source.span(child), _bracketed(child, new, parents)))
        else:
            _collect(function, child, operands, parents, edits)


def _bracketed(node: ast.AST, text: str, parents: dict[ast.AST, ast.AST]) -> str:
    parent: Any = parents.get(node)
    if isinstance(parent, ast.Call) and node is not parent.func:
        return text
    if isinstance(
        parent,
        ast.Assign | ast.AnnAssign | ast.AugAssign | ast.Return | ast.keyword | ast.Expr | ast.List | ast.If,
    ):
        return text
    if isinstance(parent, ast.Slice) or (isinstance(parent, ast.Subscript) and node is parent.slice):
        return text
    if isinstance(parent, ast.Tuple):
        return text
    if isinstance(parent, ast.For) or (isinstance(node, ast.BinOp) and isinstance(parent, ast.BinOp)):
        return text
    if isinstance(node, ast.Tuple):
        return text
    return atom(text)


def parents_of(function: UserFunction) -> dict[ast.AST, ast.AST]:
    """The node around each node of a function."""
    return {child: node for node in ast.walk(function.node) for child in ast.iter_child_nodes(node)}
