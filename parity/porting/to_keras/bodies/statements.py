"""Writes a function: the source's statements with the new texts, without what never ran."""

from __future__ import annotations

import ast
import re
import textwrap
from typing import Any

from parity.adapters.recording.records import SeenTensor
from parity.porting.to_keras.bodies.body import WrittenBody, parents_of, spliced
from parity.porting.to_keras.bodies.refusals import refusal
from parity.porting.to_keras.bodies.ways import Ways
from parity.porting.to_keras.layout.axes import without
from parity.porting.to_keras.layout.operands import atom
from parity.porting.to_keras.layout.parts import bounds_of, dropped_axes, with_axes
from parity.porting.to_keras.names import method, not_ported

INDENT = "    "
KEPT = ("property", "staticmethod", "classmethod")
"""Decorators that stay."""
COUNTER = "num_batches_tracked"
"""A buffer of torch's batch norms that Keras' have not."""
IMAGE_AXES = re.compile(r"\b([NB])(\W{1,3})C(\W{1,3})H(\W{1,3})W\b")


class Statements:
    """The text of one function.

    Args:
        written: its nodes' texts.
        ways: which conditions were always the same.
    """

    def __init__(self, written: WrittenBody, ways: Ways) -> None:
        self.written, self.ways = written, ways
        self.function = written.function
        self.source = written.function.source
        self.parents = parents_of(written.function)
        self.ran = ways.ran.get(written.function, set())
        self.stubs: list[tuple[str, str, int]] = []  # (source, why, line) of what raises NotImplementedError
        self.lines = self.source.text.splitlines()

    def text(self, name: str | None = None) -> str:
        """The whole definition, at the indentation 0."""
        node = self.function.node
        if isinstance(node, ast.Lambda):
            return (
                f"def {name}({self._arguments(node.args)}):\n{INDENT}return {self._expression(node.body)}\n"
            )
        body = list(node.body)
        head = f"def {name or method(node.name)}({self._arguments(node.args)}):\n"
        pieces = []
        if ast.get_docstring(node) is not None:
            pieces.append(self._plain(body.pop(0)))
        start = node.body[0].end_lineno if pieces else self._before(node.body[0])
        pieces.extend(self._block(body, start))
        if not pieces or (len(pieces) == 1 and ast.get_docstring(node) is not None and not body):
            pieces.append("pass")
        kept = [
            f"@{item.id}\n" for item in node.decorator_list if isinstance(item, ast.Name) and item.id in KEPT
        ]
        return "".join(kept) + head + textwrap.indent("\n".join(pieces), INDENT) + "\n"

    @property
    def reads_training(self) -> bool:
        """Whether the text reads the mode, which is an argument then."""
        return any(
            isinstance(part, ast.Name) and part.id == "training"
            for part in ast.walk(ast.parse(self.text(self.function.name)))
        )

    def _arguments(self, arguments: ast.arguments) -> str:
        defaults: list[Any] = [None] * (
            len(arguments.posonlyargs) + len(arguments.args) - len(arguments.defaults)
        )
        defaults += arguments.defaults
        parts = []
        for arg, default in zip([*arguments.posonlyargs, *arguments.args], defaults, strict=True):
            parts.append(arg.arg if default is None else f"{arg.arg}={self._default(default)}")
        if arguments.vararg is not None:
            parts.append(f"*{arguments.vararg.arg}")
        elif arguments.kwonlyargs:
            parts.append("*")
        for arg, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True):
            parts.append(arg.arg if default is None else f"{arg.arg}={self._default(default)}")
        if arguments.kwarg is not None:
            parts.append(f"**{arguments.kwarg.arg}")
        return ", ".join(parts)

    def _default(self, node: ast.expr) -> str:
        text = self.source.of(node)
        return "None" if re.search(r"\b(torch|nn|F)\.", text) else text

    def _plain(self, node: ast.AST) -> str:
        """The source of a statement, dedented."""
        start, end = self.source.span(node)
        column = len(self.source.text[:start].rpartition("\n")[2])
        return textwrap.dedent(" " * column + self.source.text[start:end])

    def _block(self, statements: list[ast.stmt], previous: int) -> list[str]:
        """The lines of some statements, with the comments in front of each; `previous` is the line before them."""
        found: list[str] = []
        for statement in statements:
            first = statement.lineno
            lines = self._statement(statement)
            if lines is not None:
                found.extend(self._comments(previous, first - 1, bool(found)))
                found.extend(lines)
            previous = statement.end_lineno or first
            if isinstance(statement, ast.Return | ast.Raise) and lines is not None:
                break
        return found

    def _before(self, statement: ast.stmt) -> int:
        """The line behind which the comments in front of a statement begin."""
        line = statement.lineno - 1
        while line > 0 and self.lines[line - 1].strip().startswith("#"):
            line -= 1
        return line

    def _comments(self, after: int, before: int, spaced: bool) -> list[str]:
        kept = []
        for line in self.lines[after:before]:
            text = line.strip()
            if text.startswith("#") and not re.match(r"#\s*(type:|noqa|pragma|pyre|mypy|torch\.jit)", text):
                kept.append(_axes_in(text))
            elif not text and spaced and (not kept or kept[-1]):
                kept.append("")
        return kept

    def _statement(self, node: ast.stmt) -> list[str] | None:
        """The lines of one statement; None where it is left out."""
        if node not in self.ran or isinstance(node, ast.Assert | ast.Global | ast.Nonlocal | ast.Pass):
            return ["pass"] if isinstance(node, ast.Pass) and node in self.ran else None
        compound = isinstance(node, ast.If | ast.For | ast.While | ast.With | ast.Try)
        if not compound and COUNTER in self.source.of(node):
            return None
        stub = next((why for part, why in self.written.stubs.items() if self._inside(part, node)), None)
        if stub is not None and not compound:
            return self._stub(node, stub)
        writer = getattr(self, f"_{type(node).__name__}", None)
        result: list[str] | None = writer(node) if writer is not None else self._simple(node)
        if compound or result is None:
            return result
        inside = [found for part, found in self.written.before.items() if self._inside(part, node)]
        return [*(f"{name} = {text}" for found in inside for name, text in found), *result]

    def _inside(self, part: ast.AST, node: ast.AST) -> bool:
        while part is not node:
            if part not in self.parents or isinstance(part, ast.stmt):
                return False
            part = self.parents[part]
        return True

    def _stub(self, node: ast.stmt, why: str) -> list[str]:
        plain = self._plain(node).splitlines()
        self.stubs.append((plain[0], why, node.lineno))
        comment = [f"# torch: {line}" for line in plain]
        quoted = why.replace("\\", "\\\\").replace('"', "'")
        return [*comment, f'raise NotImplementedError("{quoted}")']

    def _simple(self, node: ast.stmt) -> list[str]:
        text = spliced(self.function, node, self._texts(), self.parents)
        left = self._left_over(text, node)
        return self._dedented(node, text) if left is None else self._stub(node, left)

    def _left_over(self, text: str, node: ast.AST) -> str | None:
        """What a statement still has of torch."""
        try:
            tree = ast.parse(textwrap.dedent(" " * getattr(node, "col_offset", 0) + text).strip())
        except SyntaxError:  # a part that stands alone nowhere, such as a return
            return None
        for part in ast.walk(tree):
            if isinstance(part, ast.Attribute | ast.Name) and self._of_torch(part):
                return f"{ast.unparse(part)} has no counterpart"
        return None

    def _dedented(self, node: ast.AST, text: str) -> list[str]:
        start, _ = self.source.span(node)
        column = len(self.source.text[:start].rpartition("\n")[2])
        lines = textwrap.dedent(" " * column + text).splitlines()
        end: Any = node
        rest = self.lines[end.end_lineno - 1].encode()[end.end_col_offset :].decode().strip()
        if rest.startswith("#") and not re.match(r"#\s*(type:|noqa|pragma|pyre|mypy)", rest):
            lines[-1] += "  " + _axes_in(rest)
        return lines

    def _texts(self) -> dict[ast.AST, Any]:
        return self.written.texts

    def _expression(self, node: ast.AST) -> str:
        known = self.written.texts.get(node)
        return known.text if known is not None else spliced(self.function, node, self._texts(), self.parents)

    def _Expr(self, node: ast.Expr) -> list[str] | None:
        """A statement that is only a call: in place in torch, an assignment here."""
        value = node.value
        if isinstance(value, ast.Constant):
            return None
        if isinstance(value, ast.Call):
            operand = self.written.texts.get(value)
            name = ast.unparse(value.func)
            if name.endswith("_assert") or name in ("print", "warnings.warn", "logger.warning"):
                return None
            if operand is None or not isinstance(operand.value, SeenTensor):
                return None if self._of_torch(value.func) else self._simple(node)
            target = (
                value.args[0] if value.args and not name.endswith("_") else getattr(value.func, "value", None)
            )
            if isinstance(target, ast.Name | ast.Attribute):
                return [f"{self.source.of(target)} = {operand.text}"]
        return self._simple(node)

    def _of_torch(self, node: ast.AST) -> bool:
        """Whether an expression starts at a module of torch's."""
        while isinstance(node, ast.Attribute):
            node = node.value
        value = self.function.function.__globals__.get(node.id) if isinstance(node, ast.Name) else None
        return getattr(value, "__name__", "").split(".")[0] == "torch"

    def _Assign(self, node: ast.Assign) -> list[str] | None:
        target = node.targets[0]
        value = self.written.texts.get(node.value)
        if isinstance(target, ast.Subscript) and self._tensor(target.value):
            return self._part(node, target)
        if value is None or len(node.targets) > 1:
            return self._simple(node)
        layout = value.shape_of
        if isinstance(target, ast.Tuple) and isinstance(
            value.value, SeenTensor
        ):  # Keras' are not iterated over
            turned = tuple(value.order.index(axis) for axis in range(len(value.order)))
            whole = value.text if list(turned) == sorted(turned) else f"ops.transpose({value.text}, {turned})"
            return self._dedented(node, f"{self.source.of(target)} = ops.unstack({whole})")
        if (
            isinstance(target, ast.Tuple)
            and layout is not None
            and layout.order != tuple(range(len(layout.order)))
        ):
            names = [self.source.of(part) for part in target.elts]
            if any(isinstance(part, ast.Starred) for part in target.elts) or len(names) != len(layout.order):
                places = ", ".join(f"shape[{layout.order.index(axis)}]" for axis in range(len(layout.order)))
                return [f"shape = {value.text}", f"{self.source.of(target)} = ({places})"]
            return self._dedented(node, f"{', '.join(names[axis] for axis in layout.order)} = {value.text}")
        if isinstance(target, ast.Name) and value.text == target.id:
            return None
        return self._simple(node)

    def _tensor(self, node: ast.AST) -> bool:
        return isinstance(getattr(self.written.texts.get(node), "value", None), SeenTensor)

    def _part(self, node: ast.Assign, target: ast.Subscript) -> list[str]:
        """An assignment to a part of a tensor, which Keras cannot change: a new tensor with that part."""
        base, value = self.written.texts[target.value], self.written.texts.get(node.value)
        rank = len(base.value.shape)
        bounds = bounds_of(target, rank, self._expression, self._is_number)
        dropped = dropped_axes(target, rank)
        numbers = isinstance(node.value, ast.Constant) or (value is not None and not self._tensor(node.value))
        fits = value is not None and self._tensor(node.value) and value.order == without(base.order, dropped)
        if bounds is None or len(node.targets) > 1 or not (numbers or fits):
            return self._stub(node, "an assignment to a part of a tensor")
        self.written.helpers.add("with_part")
        slices = [bounds.get(axis, "slice(None)") for axis in base.order]
        while len(slices) > 1 and slices[-1] == "slice(None)":
            slices.pop()
        text = self._expression(node.value)
        text = (
            with_axes(text, [base.order.index(axis) for axis in dropped])
            if self._tensor(node.value)
            else text
        )
        return [f"{base.text} = with_part({base.text}, {text}, {', '.join(slices)})"]

    def _is_number(self, node: ast.AST) -> bool:
        values = [value for call in self.written.calls for value in call.values.get(node, [])]
        return bool(values) and all(type(value) is int and value >= 0 for value in values)

    def _AugAssign(self, node: ast.AugAssign) -> list[str]:
        if isinstance(node.target, ast.Subscript) and self._tensor(node.target.value):
            return self._stub(node, "a change of a part of a tensor")
        return self._simple(node)

    def _AnnAssign(self, node: ast.AnnAssign) -> list[str] | None:
        if node.value is None:
            return None
        return [f"{self._expression(node.target)} = {self._expression(node.value)}"]

    def _Return(self, node: ast.Return) -> list[str]:
        return self._simple(node)

    def _If(self, node: ast.If) -> list[str] | None:
        always = self.ways.always(node.test, self.function)
        if always is not None and self.ways.is_option(node.test, self.function):
            return self._option(node, always)
        if always is True:
            return self._block(node.body, self._before(node.body[0])) or None
        if always is False:
            return self._block(node.orelse, self._before(node.orelse[0])) or None if node.orelse else None
        if COUNTER in self.source.of(node.test):
            return self._block(node.body, self._before(node.body[0])) or None
        return self._both_ways(
            node, self._branch(node.body), self._branch(node.orelse) if node.orelse else []
        )

    def _option(self, node: ast.If, taken: bool) -> list[str] | None:
        """A condition on what the constructor was given: the way that no run took refuses, and is not left out."""
        ways = {True: node.body, False: node.orelse}
        lines = {
            way: self._block(statements, self._before(statements[0])) if statements else []
            for way, statements in ways.items()
        }
        other = ways[not taken]
        ends = bool(ways[taken]) and isinstance(ways[taken][-1], ast.Return)
        if other and all(isinstance(one, ast.Pass) for one in other):
            other = []
        if other and isinstance(other[-1], ast.Raise):
            lines[not taken] = refusal(self.function, other)
        elif other or ends:
            said = self.source.of(other[0]) if other else f"the way behind {self.source.of(node.test)}"
            lines[not taken] = [not_ported(said)]
        return self._both_ways(node, lines[True], lines[False])

    def _both_ways(self, node: ast.If, body: list[str], orelse: list[str]) -> list[str] | None:
        if not body and not orelse:
            return None
        test = self._expression(node.test)
        if not body:
            return [f"if not {atom(test)}:", *_indented(orelse)]
        lines = [f"if {test}:", *_indented(body)]
        if not orelse:
            return lines
        if len(node.orelse) == 1 and isinstance(node.orelse[0], ast.If) and orelse[0].startswith("if "):
            return [*lines, f"el{orelse[0]}", *orelse[1:]]
        return [*lines, "else:", *_indented(orelse)]

    def _branch(self, statements: list[ast.stmt]) -> list[str]:
        """A branch that may be taken; one that never ran here is a stub, unless it only raises."""
        if any(statement in self.ran for statement in statements):
            return self._block(statements, self._before(statements[0]))
        if isinstance(statements[-1], ast.Raise):
            return refusal(self.function, statements)
        return self._stub(statements[0], "this branch did not run when the model was recorded")

    def _For(self, node: ast.For) -> list[str] | None:
        body = self._block(node.body, self._before(node.body[0]))
        if not body:
            return None
        target, iterated = self.source.of(node.target), self._expression(node.iter)
        return [f"for {target} in {iterated}:", *_indented(body)]

    def _While(self, node: ast.While) -> list[str] | None:
        body = self._block(node.body, self._before(node.body[0]))
        return [f"while {self._expression(node.test)}:", *_indented(body or ["pass"])]

    def _With(self, node: ast.With) -> list[str] | None:
        """Contexts of torch set precisions and gradients: what is inside stays."""
        return self._block(node.body, self._before(node.body[0])) or None

    def _Try(self, node: ast.Try) -> list[str] | None:
        return self._block(node.body, self._before(node.body[0])) or None


def _indented(lines: list[str]) -> list[str]:
    return [INDENT + line if line else line for line in lines]


def _axes_in(comment: str) -> str:
    """A comment with the axes of images in Keras' order."""
    return IMAGE_AXES.sub(lambda found: f"{found[1]}{found[2]}H{found[3]}W{found[4]}C", comment)
