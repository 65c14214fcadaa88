"""What is known of a value while a body is rewritten: the value itself, its text in the port, its order of axes."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from parity.adapters.recording.records import SeenTensor
from parity.porting.to_keras.layout.axes import HeldOrder, identity


@dataclass(frozen=True)
class SourcePlace:
    """A node of the source that may be written in several ways, as far as the order of axes goes."""

    file: str
    line: int
    column: int


@dataclass(frozen=True)
class AxisLayout:
    """How Keras holds a tensor.

    order: which axis of torch each axis of Keras is.
    debts: places where a transpose was left out that would have to be written if this order does not do.
    mixed: axes of torch that hold merged axes in Keras' order, such as a flattened image.
    """

    order: HeldOrder
    debts: tuple[SourcePlace, ...] = ()
    mixed: tuple[int, ...] = ()

    def owing(self, *places: SourcePlace) -> AxisLayout:
        """The same with further debts."""
        return AxisLayout(self.order, tuple(dict.fromkeys((*self.debts, *places))), self.mixed)

    def into(self, order: HeldOrder) -> AxisLayout:
        """The same debts with another order."""
        return AxisLayout(order, self.debts, self.mixed)


@dataclass(frozen=True)
class Operand:
    """An operand of a step."""

    value: Any
    text: str
    layout: AxisLayout | None = None  # of a tensor
    shape_of: AxisLayout | None = None  # the value is the whole shape of a tensor with this layout
    items: tuple[Operand, ...] | None = None  # of a tuple or list that is written out

    @property
    def is_tensor(self) -> bool:
        """Whether the value is a tensor."""
        return isinstance(self.value, SeenTensor)

    @property
    def order(self) -> HeldOrder:
        """The order of a tensor's axes."""
        return self.layout.order if self.layout is not None else identity(len(self.value.shape))


class RewriteError(Exception):
    """The order of axes does not do: the place that owes a transpose is to be written otherwise."""

    def __init__(self, place: SourcePlace) -> None:
        super().__init__(f"{place.file}:{place.line}")
        self.place = place


def tensors(value: Any) -> Iterator[SeenTensor]:
    """The tensors in a value."""
    if isinstance(value, SeenTensor):
        yield value
    elif isinstance(value, list | tuple):
        for item in value:
            yield from tensors(item)
    elif isinstance(value, dict):
        for item in value.values():
            yield from tensors(item)


def atom(text: str) -> str:
    """The text of an expression, in brackets where an operator could tear it apart."""
    try:
        tree = ast.parse(f"({text}\n)", mode="eval").body
    except SyntaxError:
        return text
    loose = (
        ast.BinOp
        | ast.UnaryOp
        | ast.BoolOp
        | ast.Compare
        | ast.IfExp
        | ast.Lambda
        | ast.NamedExpr
        | ast.Starred
    )
    return f"({text})" if isinstance(tree, loose) and not enclosed(text) else text


def enclosed(text: str) -> bool:
    """Whether one pair of brackets goes around the whole text."""
    if not (text.startswith("(") and text.endswith(")")):
        return False
    depth = 0
    for k, letter in enumerate(text):
        depth += (letter == "(") - (letter == ")")
        if depth == 0:
            return k == len(text) - 1
    return False


def numbers(values: Any) -> str:
    """A tuple of numbers or texts as source."""
    inner = ", ".join(str(value) for value in values)
    return f"({inner},)" if len(tuple(values)) == 1 else f"({inner})"
