"""Tensors that constructors compute, by the rules that the bodies of forward passes are written with."""

from __future__ import annotations

import ast
from collections.abc import Callable
from typing import Any

from parity.adapters.recording.records import SeenTensor, SeenValue
from parity.porting.to_keras.layout.axes import identity
from parity.porting.to_keras.layout.casts import OPERATORS, promoted
from parity.porting.to_keras.layout.operands import AxisLayout, Operand, SourcePlace, atom
from parity.porting.to_keras.leaves.setting import NoCounterpartError
from parity.porting.to_keras.making.values import FunctionValues
from parity.porting.to_keras.operations.step import STORAGE, BodyStep, NoRuleError, assigned_within
from parity.porting.to_keras.operations.table import RULES

TextOf = Callable[[ast.AST], str]
AS_WRITTEN = 2
"""Permutes are written where they stand: a constructor's tensors keep torch's order of axes."""


class ComputedTensors:
    """Writes the expressions of a constructor that give tensors.

    Args:
        values: of the function.
        text: gives the text of any part of it.
        helpers: receives the names of the helpers that the texts call.
    """

    def __init__(self, values: FunctionValues, text: TextOf, helpers: set[str]) -> None:
        self.values, self.text, self.helpers = values, text, helpers
        self.source = values.function.source

    def gives_tensor(self, node: ast.AST) -> bool:
        """Whether an expression was a tensor, or several, in every call."""
        found = self.values.of(node)
        return bool(found) and all(map(_tensorial, found))

    def written(self, node: ast.AST) -> str | None:
        """The text of an expression that gives a tensor; None where it is for others to write.

        Raises:
            NoCounterpartError: there is no rule for it.
        """
        if isinstance(node, ast.Call) and self._is_torchs(node):
            return self._same_everywhere(node, self._call)
        if isinstance(node, ast.BinOp | ast.Compare) and self.gives_tensor(node):
            return self._same_everywhere(node, self._operator)
        if isinstance(node, ast.Attribute) and self.gives_tensor(node.value):
            return self._attribute(node)
        return None

    def _is_torchs(self, node: ast.Call) -> bool:
        """Whether a call is one of torch's operations, or of a tensor's methods."""
        seen = self.values.seen.get(node, [])
        if not seen or any(isinstance(one.callee, type) and hasattr(one.callee, "forward") for one in seen):
            return False
        if isinstance(node.func, ast.Attribute) and self.gives_tensor(node.func.value):
            return True
        return self.gives_tensor(node) and all(_module_of(one.callee).startswith("torch") for one in seen)

    def _same_everywhere(self, node: Any, write: Callable[[Any, SeenValue], str]) -> str:
        texts = {write(node, one) for one in self.values.seen[node]}
        if len(texts) != 1:
            raise NoCounterpartError(f"{self.source.of(node)} is written in several ways")
        return texts.pop()

    def _call(self, node: ast.Call, seen: SeenValue) -> str:
        name = getattr(seen.callee, "__name__", type(seen.callee).__name__)
        if any(isinstance(argument, ast.Starred) for argument in node.args):
            raise NoCounterpartError(f"{self.source.of(node)} takes its arguments from a list")
        function: Any = node.func
        operands = []
        if isinstance(function, ast.Attribute) and self.gives_tensor(function.value):
            receiver = self.values.of(function.value)[0]
            operands.append(_operand(receiver, self.text(function.value)))
            if name == "size":
                rest = f"[{self.text(node.args[0])}]" if node.args else ""
                return f"{atom(operands[0].text)}.shape{rest}"
            if name in ("dim", "ndimension"):
                return f"len({atom(operands[0].text)}.shape)"
        operands += [self._given(part, value) for part, value in zip(node.args, seen.positional, strict=True)]
        named = {
            keyword.arg: self._given(keyword.value, seen.named[keyword.arg])
            for keyword in node.keywords
            if keyword.arg and keyword.arg not in STORAGE
        }
        return self._ruled(name, operands, named, seen)

    def _given(self, node: ast.AST, value: Any) -> Operand:
        if type(value).__module__ == "torch" and not isinstance(value, SeenTensor):
            return Operand(value, "")  # a dtype or a device, which the result tells
        items = None
        if isinstance(node, ast.List | ast.Tuple) and isinstance(value, list | tuple):
            items = tuple(self._given(part, item) for part, item in zip(node.elts, value, strict=True))
        return _operand(value, self.text(node), items)

    def _ruled(self, name: str, operands: list[Operand], named: dict[str, Operand], seen: SeenValue) -> str:
        rule = RULES.get(name) or RULES.get(name.removesuffix("_"))
        if rule is None or not _tensorial(seen.value):
            raise NoCounterpartError(f"torch's {name} has no rule in a constructor")
        node: Any = seen.node
        place = SourcePlace(self.source.file, node.lineno, node.end_col_offset)
        step = BodyStep(name, operands, named, seen.value, place, AS_WRITTEN)
        try:
            operand = rule(step)
        except NoRuleError as error:
            raise NoCounterpartError(str(error)) from error
        self.helpers |= step.helpers
        return assigned_within(operand, step.before).text

    def _operator(self, node: Any, seen: SeenValue) -> str:
        """The source's operator between operands of one dtype."""
        parts = [node.left, *node.comparators] if isinstance(node, ast.Compare) else [node.left, node.right]
        values = [
            part.value if isinstance(part, ast.Constant) else self.values.of(part)[-1] for part in parts
        ]
        operands = [_operand(value, self.text(part)) for value, part in zip(values, parts, strict=True)]
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.MatMult):
            return self._ruled("matmul", operands, {}, seen)
        sign = OPERATORS.get(type(node.op if isinstance(node, ast.BinOp) else node.ops[0]))
        if sign is None or len(parts) > 2:
            raise NoCounterpartError(f"{self.source.of(node)} has no counterpart")
        first, second = (atom(text) for text in promoted(operands, seen.value))
        return f"{first} {sign} {second}"

    def _attribute(self, node: ast.Attribute) -> str | None:
        if node.attr == "data":
            return self.text(node.value)
        if node.attr in ("T", "mT"):
            seen = self.values.seen[node][0]
            return self._ruled(
                node.attr, [_operand(self.values.of(node.value)[0], self.text(node.value))], {}, seen
            )
        if node.attr in ("shape", "ndim", "dtype"):
            return f"{self.text(node.value)}.{node.attr}"
        return None


def _operand(value: Any, text: str, items: tuple[Operand, ...] | None = None) -> Operand:
    layout = AxisLayout(identity(len(value.shape))) if isinstance(value, SeenTensor) else None
    return Operand(value, text, layout, items=items)


def _tensorial(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return bool(value) and all(map(_tensorial, value))
    return isinstance(value, SeenTensor)


def _module_of(callee: Any) -> str:
    return str(
        getattr(callee, "__module__", None) or getattr(getattr(callee, "__self__", None), "__name__", "")
    )
