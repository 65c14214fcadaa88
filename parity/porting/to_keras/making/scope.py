"""What a constructor can say: values as text, by the names of its arguments where these have the same values."""

from __future__ import annotations

import argparse
import functools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

from parity.porting.to_keras.leaves.setting import NoCounterpartError
from parity.porting.to_keras.plain_objects import attributes_of, is_plain_object

SMALL = (0, 1, 2, 3, 4)
"""Numbers that are equal to an argument by chance alone, where there is only one instance."""


@dataclass(eq=False)
class Naming:
    """How classes and functions that are values are called in the port, and what must be imported for it."""

    of_class: Callable[[Any], str]
    of_object: Callable[[Any], str] | None = None
    imports: set[str] = field(default_factory=set)

    def text(self, value: Any) -> str:
        """A value as an expression.

        Raises:
            NoCounterpartError: it has no counterpart in the port.
        """
        if isinstance(value, float) and not math.isfinite(value):
            return f'float("{value}")'
        if isinstance(value, bool | int | float | str | type(None)):
            return _quoted(value)
        if isinstance(value, tuple):
            items = [self.text(item) for item in value]
            return f"({', '.join(items)}{',' if len(items) == 1 else ''})"
        if isinstance(value, list):
            return f"[{', '.join(map(self.text, value))}]"
        if isinstance(value, dict):
            return f"{{{', '.join(f'{self.text(key)}: {self.text(item)}' for key, item in value.items())}}}"
        if isinstance(value, functools.partial):
            self.imports.add("from functools import partial")
            positional = [self.text(item) for item in value.args]
            named = [
                f"{key}={self.text(item)}"
                for key, item in value.keywords.items()
                if key not in ("device", "dtype")
            ]
            return f"partial({', '.join([self.of_class(value.func), *positional, *named])})"
        if self.of_object is not None and is_plain_object(value):
            return self.of_object(value)
        if isinstance(value, SimpleNamespace | argparse.Namespace):
            self.imports.add("from types import SimpleNamespace")
            given = ", ".join(f"{name}={self.text(item)}" for name, item in vars(value).items())
            return f"SimpleNamespace({given})"
        if callable(value):
            return self.of_class(value)
        raise NoCounterpartError(f"a value of the class {type(value).__name__} cannot be written")


def _quoted(value: Any) -> str:
    text = repr(value)
    return f'"{value}"' if isinstance(value, str) and '"' not in text and "\\" not in text else text


@dataclass(eq=False)
class Scope:
    """The names that the text may use, with the value of each in every instance.

    Attributes:
        add: makes a further argument of these values and gives its name; None where that is not possible.
        given: the name that the source gives for a setting: p of nn.Dropout(rate, **more) is `rate`.
    """

    names: Mapping[str, Sequence[Any]]
    named: Naming
    add: Callable[[str, Sequence[Any]], str] | None = None
    given: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """What plain objects hold has names too: cnf.stride."""
        more: dict[str, Sequence[Any]] = {}
        for name, values in self.names.items():
            if "." not in name and values and all(map(is_plain_object, values)):
                held = [attributes_of(value) for value in values]
                for key in held[0]:
                    if all(key in one for one in held):
                        more[f"{name}.{key}"] = [one[key] for one in held]
        self.names = {**more, **self.names}

    def text(self, values: Sequence[Any], hint: str = "value") -> str:
        """An expression that has these values in the instances.

        Args:
            values: one for each instance.
            hint: what a new argument would be called.

        Raises:
            NoCounterpartError: there is none.
        """
        first = values[0]
        same = all(equal(value, first) for value in values)
        known = self._name(values, hint, same)
        if known is not None:
            return known
        if same:
            return self.named.text(first)
        made = self._entry(values, hint) or self._formula(values, hint) or self._tuple(values, hint)
        if made is not None:
            return made
        if self.add is None:
            raise NoCounterpartError(f"{hint} has the values {list(values)[:4]}, which no argument has")
        for value in values:
            self.named.text(value)
        return self.add(hint, values)

    def _name(self, values: Sequence[Any], hint: str, same: bool) -> str | None:
        """An argument that has these values; where they never change, only one that is meant to be it."""
        fitting = [
            name
            for name, known in self.names.items()
            if len(known) == len(values) and all(map(equal, known, values))
        ]
        if self.given.get(hint) in fitting:
            return self.given[hint]
        if same:
            plain = isinstance(values[0], bool | str | type(None)) or (
                isinstance(values[0], int | float) and values[0] in SMALL
            )
            fitting = [name for name in fitting if name == hint or not plain]
        return (hint if hint in fitting else fitting[0]) if fitting else None

    def _entry(self, values: Sequence[Any], hint: str) -> str | None:
        """An entry of that name of a dictionary, such as **kwargs; where some lack it, with what these have."""
        for name, known in self.names.items():
            if len(known) != len(values) or not all(isinstance(one, dict) for one in known):
                continue
            pairs = list(zip(known, values, strict=True))
            rest = _distinct([value for one, value in pairs if hint not in one])
            if len(rest) > 1 or not all(equal(one[hint], value) for one, value in pairs if hint in one):
                continue
            if not rest:
                return f'{name}["{hint}"]'
            if len(rest) < len(_distinct(values)):
                return f'{name}.get("{hint}", {self.named.text(rest[0])})'
        return None

    def _formula(self, values: Sequence[Any], hint: str) -> str | None:
        """A simple formula of one or two arguments."""
        if not all(isinstance(value, int | float) and not isinstance(value, bool) for value in values):
            return self._condition(values)
        numbers = {
            name: known
            for name, known in self.names.items()
            if all(isinstance(value, int | float) and not isinstance(value, bool) for value in known)
        }
        # A padding goes by the size of its kernel, whatever else has the same numbers.
        numbers = dict(sorted(numbers.items(), key=lambda item: hint != "padding" or "kernel" not in item[0]))
        for name, known in numbers.items():
            for text, formula in _ONE:
                found = [formula(value) for value in known]
                if all(map(equal, found, values)):
                    return text.format(name)
        for name, known in numbers.items():
            both = list(zip(values, known, strict=True))
            factor = _factor({v / k for v, k in both if k})
            if factor and all(equal(v, k * factor) for v, k in both):
                return f"{name} * {factor}"
            factor = _factor({k / v for v, k in both if v})
            if factor and all(equal(v, k // factor) for v, k in both):
                return f"{name} // {factor}"
        for name, known in numbers.items():
            for more, second in numbers.items():
                for text, join in _TWO:
                    rows = zip(known, second, values, strict=True)
                    if all(equal(_safe(join, a, b), value) for a, b, value in rows):
                        return text.format(name, more)
        return None

    def condition(self, values: Sequence[bool]) -> str | None:
        """What one argument says of where these are true: its own truth, or the values that it has there alone."""
        for name, known in self.names.items():
            if all(map(equal, known, values)):
                return name
        if (found := self._condition(values)) is not None:
            return found
        for name, known in self.names.items():
            here = _distinct([item for item, value in zip(known, values, strict=True) if value])
            there = [item for item, value in zip(known, values, strict=True) if not value]
            if len(here) > 3 or any(equal(one, away) for one in here for away in there):
                continue
            try:
                texts = [self.named.text(one) for one in here]
            except NoCounterpartError:
                continue
            if len(texts) > 1:
                return f"{name} in ({', '.join(texts)})"
            same = "==" if isinstance(here[0], int | float | str) and not isinstance(here[0], bool) else "is"
            return f"{name} {same} {texts[0]}"
        return None

    def _condition(self, values: Sequence[Any]) -> str | None:
        """A truth value that says something about one argument."""
        if not all(isinstance(value, bool) for value in values):
            return None
        for name, known in self.names.items():
            if all((item is not None) == value for item, value in zip(known, values, strict=True)):
                return f"{name} is not None"
            if all(
                isinstance(item, bool) and (not item) == value
                for item, value in zip(known, values, strict=True)
            ):
                return f"not {name}"
        return None

    def _tuple(self, values: Sequence[Any], hint: str) -> str | None:
        """A tuple or list whose parts have texts each."""
        kind = type(values[0])
        if kind not in (tuple, list) or any(type(v) is not kind or len(v) != len(values[0]) for v in values):
            return None
        parts = [self.text([value[i] for value in values], f"{hint}_{i}") for i in range(len(values[0]))]
        if kind is list:
            return f"[{', '.join(parts)}]"
        return f"({', '.join(parts)}{',' if len(parts) == 1 else ''})"


_ONE: tuple[tuple[str, Callable[[Any], Any]], ...] = (
    ("{} // 2", lambda n: n // 2),
    ("({} - 1) // 2", lambda n: (n - 1) // 2),
)
_TWO: tuple[tuple[str, Callable[[Any, Any], Any]], ...] = (
    ("{} * {}", lambda a, b: a * b),
    ("{} // {}", lambda a, b: a // b),
    ("{} + {}", lambda a, b: a + b),
    ("{} - {}", lambda a, b: a - b),
    ("({} - 1) // 2 * {}", lambda a, b: (a - 1) // 2 * b),
)


def _distinct(values: Sequence[Any]) -> list[Any]:
    found: list[Any] = []
    for value in values:
        if not any(equal(value, one) for one in found):
            found.append(value)
    return found


def _factor(factors: set[float]) -> int:
    """The whole number from two on that all factors are; 0 where they are none."""
    one = factors.pop() if len(factors) == 1 else 0.0
    return int(one) if one >= 2 and one == int(one) else 0


def _safe(join: Callable[[Any, Any], Any], a: Any, b: Any) -> Any:
    try:
        return join(a, b)
    except ZeroDivisionError:
        return None


def equal(first: Any, second: Any) -> bool:
    """Whether two values are the same: constants and containers by content, all else by identity."""
    if isinstance(first, bool | type(None)) or isinstance(second, bool | type(None)):
        return first is second
    if isinstance(first, int | float) and isinstance(second, int | float):
        return first == second and (type(first) is type(second))
    if isinstance(first, str) and isinstance(second, str):
        return first == second
    if isinstance(first, tuple | list) and isinstance(second, tuple | list):
        return type(first) is type(second) and len(first) == len(second) and all(map(equal, first, second))
    if isinstance(first, dict) and isinstance(second, dict):
        return list(first) == list(second) and all(equal(first[key], second[key]) for key in first)
    if isinstance(first, functools.partial) and isinstance(second, functools.partial):
        return (
            first.func is second.func
            and equal(first.args, second.args)
            and equal(first.keywords, second.keywords)
        )
    return first is second
