"""The constructor of a class: what differs between its instances becomes an argument with a name."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from parity.porting.to_torch.naming import identifier
from parity.porting.to_torch.use import literal

ABSENT = object()
"""The value of an instance that lacks the piece."""

ROLES = {
    "in_features": "in_features", "num_features": "channels", "normalized_shape": "channels", "p": "dropout",
    "num_channels": "channels",
}  # fmt: skip


GIVEN = {"out_channels", "out_features", "embedding_dim", "hidden_size", "key_dim"}
TAKEN = {
    "in_channels", "in_features", "num_features", "normalized_shape", "num_channels", "input_size", "embed_dim",
    "query_size", "key_size", "value_size", "output_size", "value_dim",
}  # fmt: skip
"""Roles of numbers that follow from what the layers in front give."""
WIDE = re.compile(r"dim|width|channel|filters|units|hidden|feature|size|d_model")


@dataclass
class ClassArgument:
    """One argument of a constructor, and its value in each instance."""

    name: str
    values: list[Any]
    default: str | None = None
    kept: bool = False


@dataclass
class ClassArguments:
    """The arguments of one class, in the order in which they are asked for; those of the source come first."""

    count: int
    source: list[ClassArgument] = field(default_factory=list)
    made: list[ClassArgument] = field(default_factory=list)
    reserved: set[str] = field(default_factory=set)
    widths: dict[str, str] = field(
        default_factory=dict
    )  # numbers of channels that layers give, as text: their texts

    def text(
        self,
        values: list[Any],
        role: str,
        attribute: str,
        expression: str | None = None,
        unsaid: Any = ABSENT,
    ) -> str:
        """The text of a value in the constructor.

        Args:
            values: the value in each instance, ABSENT where there is none.
            role: what it is for, such as kernel_size.
            attribute: the attribute that is made with it.
            expression: the source's own text, where that has the same values.
            unsaid: what the value is where nothing is said.
        """
        known = [value for value in values if value is not ABSENT]
        if expression is not None:
            for argument in self.source:
                if re.search(rf"\b{argument.name}\b", expression):
                    argument.kept = True
            if role in GIVEN and len(known) == len(values):
                self.widths[repr(values)] = expression
            return expression
        if role in TAKEN and "." not in attribute and (found := self._width(values)):
            return found
        if all(same(value, known[0]) for value in known):
            return literal(known[0])
        found = self._known(values) or self._multiple(values)
        if found is not None:
            return found
        argument = ClassArgument(self._name(role, attribute), self._whole(values, known))
        if any(same(value, unsaid) for value in known):
            argument.default = literal(unsaid)
        self.made.append(argument)
        return argument.name

    def _width(self, values: list[Any]) -> str | None:
        """The text of a number of channels that another layer gives, or an argument says."""
        text = self.widths.get(repr(values))
        named = [a for a in self.source if WIDE.search(a.name) and a.values == values]
        if text is None and len(named) == 1 and type(values[0]) is int and values[0] > 1:
            text = named[0].name
        for argument in self.source:
            if text is not None and re.search(rf"\b{argument.name}\b", text):
                argument.kept = True
        return text

    def flag(self, present: tuple[bool, ...], name: str) -> str:
        """The argument that says whether an optional part is there."""
        for argument in self.source:
            if [bool(value) for value in argument.values] == list(present):
                argument.kept = True
                return argument.name
        for argument in self.made:
            if argument.values == list(present):
                return argument.name
        argument = ClassArgument(self._free(name, f"has_{name}"), list(present), "False")
        self.made.append(argument)
        return argument.name

    @staticmethod
    def _whole(values: list[Any], known: list[Any]) -> list[Any]:
        return [known[0] if value is ABSENT else value for value in values]

    def _known(self, values: list[Any]) -> str | None:
        for argument in [*self.source, *self.made]:
            if all(
                value is ABSENT or same(value, own)
                for value, own in zip(values, argument.values, strict=True)
            ):
                argument.kept = True
                return argument.name
        return None

    def _multiple(self, values: list[Any]) -> str | None:
        """A multiple of another argument, such as 4 * channels."""
        if not all(
            value is ABSENT or (isinstance(value, int) and not isinstance(value, bool)) for value in values
        ):
            return None
        for argument in [*self.source, *self.made]:
            pairs = [(v, w) for v, w in zip(values, argument.values, strict=True) if v is not ABSENT]
            if len({v for v, _ in pairs}) < 2 or not all(type(w) is int and w > 0 for _, w in pairs):
                continue
            factor, rest = divmod(pairs[0][0], pairs[0][1])
            if rest == 0 and 2 <= factor <= 8 and all(v == factor * w for v, w in pairs):
                argument.kept = True
                return f"{factor} * {argument.name}"
        return None

    def _name(self, role: str, attribute: str) -> str:
        name = ROLES.get(role, role)
        stem = identifier(attribute.split("#")[0].replace(".", "_"))
        if role == "out_channels":
            return self._free("channels", f"{stem}_channels", "out_channels")
        return self._free(name, f"{stem}_{name}")

    def _free(self, *names: str) -> str:
        taken = {argument.name for argument in [*self.source, *self.made]} | self.reserved
        for name in names:
            if name not in taken:
                return name
        number = 2
        while f"{names[-1]}{number}" in taken:
            number += 1
        return f"{names[-1]}{number}"


def same(one: Any, two: Any) -> bool:
    """Whether two values are the same, and of one type."""
    return type(one) is type(two) and repr(one) == repr(two)
