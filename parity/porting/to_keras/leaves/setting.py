"""The settings of one torch layer at one place of the source: each as text, and the values that it had."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

IGNORED = frozenset({"device", "dtype", "inplace", "_weight", "_freeze", "sparse"})
"""Arguments of torch's layers that change nothing of what a Keras layer computes."""

_EMPTY = inspect.Parameter.empty
_SIZES = {"input_size": _EMPTY, "hidden_size": _EMPTY, "num_layers": 1}
_DIRECTIONS = {"bias": True, "batch_first": False, "dropout": 0.0, "bidirectional": False}
RECURRENT: dict[str, dict[str, Any]] = {
    "LSTM": {**_SIZES, **_DIRECTIONS, "proj_size": 0},
    "GRU": {**_SIZES, **_DIRECTIONS},
    "RNN": {**_SIZES, "nonlinearity": "tanh", **_DIRECTIONS},
}
"""The arguments of torch's recurrent layers in order, which its classes take as `*args`."""


@dataclass(frozen=True)
class Argument:
    """One argument of a torch layer.

    Attributes:
        text: the expression in the port.
        values: the value in each instance, in the order of the instances; empty where the place never ran.
    """

    text: str
    values: tuple[Any, ...] = ()

    @property
    def literal(self) -> bool:
        """Whether the text is a constant."""
        try:
            ast.literal_eval(self.text)
        except (ValueError, SyntaxError):
            return False
        return True

    def always(self, *wanted: Any) -> bool:
        """Whether it is known to have one of these values in each instance."""
        return bool(self.values) and all(_among(value, wanted) for value in self.values)

    def fixed(self, *wanted: Any) -> bool:
        """Whether it is a constant in the text, with one of these values."""
        return self.literal and _among(ast.literal_eval(self.text), wanted)

    @property
    def one(self) -> Any:
        """The value that all instances share.

        Raises:
            NoCounterpartError: it is not known, or not the same everywhere.
        """
        if not self.values or any(not _same(value, self.values[0]) for value in self.values):
            raise NoCounterpartError(
                f"the setting {self.text} has not one value everywhere: {self.values[:4]}"
            )
        return self.values[0]


class NoCounterpartError(Exception):
    """What stands in the way of a port, in one sentence."""


@dataclass(frozen=True)
class Leaf:
    """What stands for a torch layer in the port.

    Attributes:
        callee: what is called: layers.Conv2D.
        arguments: its arguments as text, in order.
        helpers: the names of the helper layers that it needs.
        takes: which order of axes it needs of its input: "any" order, torch's last axis "last", "channels" last and
            the others in torch's order, or "torch" for torch's own order.
        gives: the order of the axes of its output: the "same" as the input's, "channels", or "torch".
    """

    callee: str
    arguments: tuple[str, ...] = ()
    helpers: frozenset[str] = frozenset()
    takes: str = "any"
    gives: str = "same"

    @property
    def text(self) -> str:
        """The expression that makes the layer."""
        return f"{self.callee}({', '.join(self.arguments)})"


@dataclass
class Settings:
    """All arguments of one torch layer, by torch's names; defaults are filled in.

    Attributes:
        kind: the name of the class in torch.nn.
        rank: how many axes the inputs of the layer have, where that is known and the same everywhere.
    """

    kind: str
    by_name: dict[str, Argument]
    given: frozenset[str] = frozenset()
    rank: int | None = None
    read: set[str] = field(default_factory=set)

    def __getitem__(self, name: str) -> Argument:
        self.read.add(name)
        return self.by_name[name]

    def optional(self, name: str, keras: str, default: Any) -> list[str]:
        """`keras=text`, or nothing where it is the constant that Keras' layer has anyway."""
        setting = self[name]
        return [] if setting.fixed(default) else [f"{keras}={setting.text}"]

    def refuse(self, name: str, *allowed: Any) -> None:
        """Refuse the layer where a setting has other values than these.

        Raises:
            NoCounterpartError: it has.
        """
        setting = self[name]
        if not (setting.always(*allowed) or setting.fixed(*allowed)):
            raise NoCounterpartError(
                f"torch.nn.{self.kind} has {name}={setting.text}, which Keras has no layer for"
            )


def bound(
    kind: str,
    cls: Any,
    positional: Sequence[Argument],
    named: Mapping[str, Argument],
    rank: int | None = None,
) -> Settings:
    """The settings of a call of a torch class: arguments by name, defaults filled in.

    Raises:
        NoCounterpartError: the arguments do not fit the class.
    """
    parameters = {name: p.default for name, p in inspect.signature(cls.__init__).parameters.items()}
    parameters = RECURRENT.get(kind, parameters)
    names = [name for name in parameters if name not in ("self", "args", "kwargs")]
    if len(positional) > len(names) and "args" not in parameters:
        raise NoCounterpartError(
            f"torch.nn.{kind} takes {len(names)} arguments, and {len(positional)} are given"
        )
    found = dict(zip(names, positional, strict=False))
    found.update(named)
    given = frozenset(found)
    for name in names:
        if name not in found and parameters[name] is not inspect.Parameter.empty:
            found[name] = Argument(repr(parameters[name]), (parameters[name],))
    return Settings(kind, found, given, rank)


def _among(value: Any, wanted: Sequence[Any]) -> bool:
    return any(_same(value, one) for one in wanted)


def _same(first: Any, second: Any) -> bool:
    if isinstance(first, tuple | list) and isinstance(second, tuple | list):
        return len(first) == len(second) and all(map(_same, first, second))
    if isinstance(first, bool) or isinstance(second, bool):
        return first is second
    return bool(type(first) is type(second) or isinstance(first, int | float)) and bool(first == second)


def spread(value: Any, rank: int) -> tuple[Any, ...]:
    """One number for all axes, or one for each, as one for each."""
    return tuple(value) if isinstance(value, tuple | list) else (value,) * rank


def negated(text: str) -> str:
    """The text of `not text`."""
    if text in ("True", "False"):
        return str(text == "False")
    return f"not {text}" if text.isidentifier() else f"not ({text})"


def wrapped(text: str) -> str:
    """The text, in brackets where it would not hold together next to an operator."""
    node = ast.parse(text, mode="eval").body
    simple = isinstance(node, ast.Name | ast.Constant | ast.Attribute | ast.Call | ast.Subscript)
    return text if simple else f"({text})"
