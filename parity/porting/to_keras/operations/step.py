"""One step of a body that is being rewritten, as a rule of the table sees it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import count
from typing import Any

from parity.adapters.recording.records import SeenTensor
from parity.porting.to_keras.layout.axes import HeldOrder, identity, moved, slot
from parity.porting.to_keras.layout.operands import (
    AxisLayout,
    Operand,
    RewriteError,
    SourcePlace,
    atom,
    numbers,
)

STORAGE = {
    "device",
    "inplace",
    "memory_format",
    "out",
    "requires_grad",
    "non_blocking",
    "pin_memory",
    "layout",
    "copy",
}
"""Arguments that say where torch keeps a tensor, not what it is."""


class NoRuleError(Exception):
    """An operation, or a way to call it, has no counterpart; the text says why."""


@dataclass
class BodyStep:
    """What a rule is given: the operands with their texts, and what came out.

    Args:
        name: of the operation, as torch calls it.
        operands: positional ones; a method's tensor comes first.
        named: the operands that are given by name.
        value: the result as it was recorded.
        place: where it is written.
        tries: how often this place was found to owe a transpose that something further on needs.
    """

    name: str
    operands: Sequence[Operand]
    named: Mapping[str, Operand]
    value: Any
    place: SourcePlace
    tries: int
    helpers: set[str] = field(default_factory=set)  # functions that the port must bring along
    given: list[tuple[SeenTensor, AxisLayout]] = field(default_factory=list)
    before: list[tuple[str, str]] = field(default_factory=list)  # (name, text) of what is assigned in front
    target: str = "inner"  # the name for it: what the statement assigns to
    taken: set[str] = field(default_factory=set)  # names that the statement needs for others

    def argument(self, index: int, *names: str) -> Operand | None:
        """An operand by position or by one of its names; None where it is not given."""
        if index < len(self.operands):
            return self.operands[index]
        return next((self.named[name] for name in names if name in self.named), None)

    def constant(self, index: int, *names: str, default: Any = None) -> Any:
        """The recorded value of an operand, or the default."""
        found = self.argument(index, *names)
        return default if found is None else found.value

    def text(self, index: int, *names: str, default: str = "None") -> str:
        """The text of an operand, or the default."""
        found = self.argument(index, *names)
        return default if found is None else found.text

    def named_text(self, text: str) -> str:
        """A text that is used more than once: a name, which is assigned in front where it is none."""
        if text.replace(".", "").replace("_", "").isalnum() and not text.isdigit():
            return text
        known = next((name for name, assigned in self.before if assigned == text), None)
        if known is not None:
            return known
        taken = self.taken | {name for name, _ in self.before}
        names = (f"{self.target}{'' if k == 1 else k}" for k in count(1))
        name = next(name for name in names if name not in taken)
        self.before.append((name, text))
        return name

    def several(self, first: int, *names: str) -> list[Operand]:
        """Operands that torch takes one by one or as one list, such as sizes."""
        found = self.argument(first, *names)
        if found is None:
            return []
        if isinstance(found.value, list | tuple):
            if found.items is not None:
                return list(found.items)
            return [Operand(item, f"{atom(found.text)}[{k}]") for k, item in enumerate(found.value)]
        return [found, *self.operands[first + 1 :]]

    @property
    def tensor(self) -> Operand:
        """The first operand, which must be a tensor."""
        found = self.argument(0, "input", "self", "x")
        if found is None or not found.is_tensor:
            raise NoRuleError(f"{self.name} of something that is no tensor")
        return found

    def into(self, operand: Operand, order: HeldOrder) -> str:
        """The text of a tensor in the order that is needed here; a transpose where it cannot be avoided.

        Raises:
            RewriteError: a place before this one left out a transpose and may write it.
        """
        layout = operand.layout or AxisLayout(identity(len(operand.value.shape)))
        if layout.order == order and not layout.mixed:
            return operand.text
        if layout.debts:
            raise RewriteError(layout.debts[-1])
        if layout.mixed:
            raise NoRuleError(f"{self.name} of a flattened image whose features Keras holds in another order")
        sizes = operand.value.shape
        if sum(size != 1 for size in sizes) <= 1 and [sizes[a] for a in layout.order] == [
            sizes[a] for a in order
        ]:
            return operand.text
        if [a for a in layout.order if sizes[a] != 1] == [a for a in order if sizes[a] != 1]:
            return f"ops.reshape({operand.text}, {self._sizes(operand, order)})"
        return f"ops.transpose({operand.text}, {numbers(moved(layout.order, order))})"

    @staticmethod
    def _sizes(operand: Operand, order: HeldOrder) -> str:
        sizes = operand.value.shape
        places = {axis: place for place, axis in enumerate(operand.order)}
        long = [axis for axis in order if sizes[axis] != 1]
        known = [
            "1"
            if sizes[axis] == 1
            else "-1"
            if axis == long[0]
            else f"ops.shape({operand.text})[{places[axis]}]"
            for axis in order
        ]
        return numbers(known)

    def as_torch(self, operand: Operand) -> str:
        """The text of a tensor in torch's own order of axes."""
        return self.into(operand, identity(len(operand.value.shape)))

    def debts(self, *operands: Operand) -> tuple[SourcePlace, ...]:
        """The debts of several operands together."""
        found: dict[SourcePlace, None] = {}
        for operand in operands:
            if operand.layout is not None:
                found.update(dict.fromkeys(operand.layout.debts))
        return tuple(found)

    def gives(self, text: str, layout: AxisLayout | Sequence[AxisLayout] | None = None) -> Operand:
        """The result: its text, and the layout of the tensor, or of each tensor in a tuple."""
        values = [self.value] if isinstance(self.value, SeenTensor) else self.value
        if layout is None and self.operands and self.operands[0].layout is not None:
            layout = self.operands[0].layout
        if isinstance(values, list | tuple):
            each = [layout] * len(values) if isinstance(layout, AxisLayout | None) else list(layout)
            for value, known in zip(values, each, strict=True):
                if isinstance(value, SeenTensor):
                    self.given.append((value, known or AxisLayout(identity(len(value.shape)))))
        single = layout if isinstance(layout, AxisLayout) else None
        return Operand(self.value, text, single if isinstance(self.value, SeenTensor) else None)

    def axis(self, operand: Operand, dim: Operand | None, default: int | None = None) -> str:
        """The text of an axis, as Keras counts it."""
        value = default if dim is None else dim.value
        if value is None:
            raise NoRuleError(f"{self.name} without an axis")
        return axis_text(operand.order, value, None if dim is None else dim.text)

    def axes(self, operand: Operand, dims: Operand | None) -> str | None:
        """The text of several axes; None for all."""
        if dims is None or dims.value is None:
            return None
        if isinstance(dims.value, int):
            return self.axis(operand, dims)
        order = operand.order
        if order == identity(len(order)) or dims.items is None:
            places = [slot(order, dim) for dim in dims.value]
            return dims.text if [d % len(order) for d in dims.value] == places else numbers(sorted(places))
        return numbers(sorted(slot(order, dim) for dim in dims.value))


def axis_text(order: HeldOrder, axis: int, text: str | None = None) -> str:
    """An axis of torch as Keras counts it; the source's own text where that says the same."""
    rank = len(order)
    place = slot(order, axis)
    if place == axis % rank and text is not None:
        return text
    if place == rank - 1 or axis < 0:
        return str(place - rank)
    return str(place)


def assigned_within(operand: Operand, before: list[tuple[str, str]]) -> Operand:
    """An operand whose text assigns what would have gone in front, at the first place that reads it."""
    text = operand.text
    for name, assigned in reversed(before):
        place = re.search(rf"\b{name}\b", text)
        if place is not None:
            text = f"{text[: place.start()]}({name} := {assigned}){text[place.end() :]}"
    items = None if operand.items is None else tuple(assigned_within(item, before) for item in operand.items)
    return replace(operand, text=text, items=items)


OperationRule = Callable[[BodyStep], Operand]
RULES: dict[str, OperationRule] = {}
"""By the name that torch gives the operation."""


def rule(*names: str) -> Callable[[OperationRule], OperationRule]:
    """Enter a rule into the table."""

    def enter(function: OperationRule) -> OperationRule:
        for name in names:
            if name in RULES:
                raise ValueError(f"the operation {name} has a rule already")
            RULES[name] = function
        return function

    return enter
