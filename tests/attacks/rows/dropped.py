"""Outputs in forms that a comparison may drop: lists of numbers, objects, strings, None, empty tensors."""

from __future__ import annotations

from collections import OrderedDict, UserDict, deque, namedtuple
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from types import MappingProxyType, SimpleNamespace
from typing import Any

import numpy as np

from tests.attacks.attempt import Attempt, attempts
from tests.attacks.written import Written, conv

KIND = "outputs dropped"


@dataclass
class Box:
    """A dataclass."""

    value: Any


@dataclass(frozen=True)
class Nested:
    """A dataclass within another, with a field that is no output."""

    inner: Any
    note: str = "same"


class Slotted:
    """An object with slots alone."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value


class ModelOutput(OrderedDict):  # type: ignore[type-arg]
    """As transformers has it: a dict whose items are attributes too."""

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError as error:
            raise AttributeError(name) from error


class HiddenDict(dict):  # type: ignore[type-arg]
    """A dict that hides its items from `items` and `values`."""

    def items(self) -> Any:
        return [("first", self["first"])]

    def values(self) -> Any:
        return [self["first"]]


class ShortList(list):  # type: ignore[type-arg]
    """A list that iterates over its first item alone."""

    def __iter__(self) -> Iterator[Any]:
        return iter([self[0]])


Named = namedtuple("Named", "first second")


def number(xp: Any, v: Any) -> float:
    return float(xp.numpy(xp.sum(v)))


def numbers(xp: Any, v: Any) -> list[float]:
    return [float(value) for value in xp.numpy(xp.mean(v, axis=(xp.H, xp.W))).ravel()]


# How the second output is packed: (ops, honest output, second tensor) -> what the model returns.
PACKED: dict[str, Callable[[Any, Any, Any], Any]] = {
    "a list of numbers": lambda xp, y, v: (y, numbers(xp, v)),
    "a number": lambda xp, y, v: (y, number(xp, v)),
    "a whole number": lambda xp, y, v: (y, int(number(xp, v) * 1000)),
    "a truth value": lambda xp, y, v: (y, abs(number(xp, v)) > 20.0),
    "a complex number": lambda xp, y, v: (y, complex(0.0, number(xp, v))),
    "a decimal number": lambda xp, y, v: (y, Decimal(repr(number(xp, v)))),
    "a NumPy array": lambda xp, y, v: (y, xp.numpy(v)),
    "a NumPy number": lambda xp, y, v: (y, np.float64(number(xp, v))),
    "a list of lists of numbers": lambda xp, y, v: (y, [numbers(xp, v), [1.0]]),
    "an array of objects": lambda xp, y, v: (y, np.array([number(xp, v), None], dtype=object)),
    "a dataclass": lambda xp, y, v: (y, Box(v)),
    "a dataclass as the whole output": lambda xp, y, v: Nested(Box([y, v])),
    "a dataclass of numbers": lambda xp, y, v: (y, Box(numbers(xp, v))),
    "a named tuple": lambda xp, y, v: Named(y, v),
    "a named tuple of numbers": lambda xp, y, v: Named(y, number(xp, v)),
    "a model output": lambda xp, y, v: ModelOutput(first=y, second=v),
    "a model output of numbers": lambda xp, y, v: ModelOutput(first=y, second=numbers(xp, v)),
    "a namespace": lambda xp, y, v: (y, SimpleNamespace(value=v)),
    "an object with slots": lambda xp, y, v: (y, Slotted(v)),
    "dicts in dicts": lambda xp, y, v: {"a": {"b": {"c": y}}, "d": [{"e": (v,)}]},
    "a dict of numbers": lambda xp, y, v: {"a": y, "b": {"c": number(xp, v)}},
    "a dict of another class": lambda xp, y, v: (y, UserDict({"second": v})),
    "a dict behind a proxy": lambda xp, y, v: (y, MappingProxyType({"second": v})),
    "a dict that hides an item": lambda xp, y, v: HiddenDict(first=y, second=v),
    "a list that hides an item": lambda xp, y, v: ShortList([y, v]),
    "a deque": lambda xp, y, v: (y, deque([v])),
    "a set of numbers": lambda xp, y, v: (y, {number(xp, v)}),
    "a frozen set of strings": lambda xp, y, v: (y, frozenset({f"{number(xp, v):.3f}"})),
    "a string": lambda xp, y, v: (y, f"{number(xp, v):.3f}"),
    "bytes": lambda xp, y, v: (y, f"{number(xp, v):.3f}".encode()),
    "a generator": lambda xp, y, v: (y, (part for part in [v])),
    "a function": lambda xp, y, v: (y, lambda: v),
    "an iterator as the whole output": lambda xp, y, v: iter([y, v]),
    "a slice": lambda xp, y, v: (y, slice(int(number(xp, v) * 1000))),
    "behind None": lambda xp, y, v: (y, None, [None, v]),
    "an empty tensor in between": lambda xp, y, v: [y, xp.rows(y, 0, 0), v],
    "a tensor without axes": lambda xp, y, v: [y, xp.sum(v)],
    "an output without batch axis": lambda xp, y, v: [y, xp.mean(v, axis=0)],
}


def packed(pack: Callable[[Any, Any, Any], Any], factor: float) -> Written:
    return Written(
        lambda xp, m, x: pack(xp, m.c(x), m.d(x) * factor), {"c": conv(), "d": conv(out=2)}, live=True
    )


# One side's structure lacks, adds or renames something: (honest, faulty).
UNLIKE: dict[str, tuple[Callable[[Any, Any, Any], Any], Callable[[Any, Any, Any], Any]]] = {
    "None for a tensor": (lambda xp, y, v: (y, v), lambda xp, y, v: (y, None)),
    "None for a number": (lambda xp, y, v: (y, 1.0), lambda xp, y, v: (y, None)),
    "a string for a number": (lambda xp, y, v: (y, 1.0), lambda xp, y, v: (y, "1.0")),
    "one output more": (lambda xp, y, v: (y, v), lambda xp, y, v: (y, v, v)),
    "an empty output more": (lambda xp, y, v: (y,), lambda xp, y, v: (y, xp.rows(y, 0, 0))),
    "an empty list more": (lambda xp, y, v: (y,), lambda xp, y, v: (y, [])),
    "a number more": (lambda xp, y, v: (y,), lambda xp, y, v: (y, 3.0)),
    "names exchanged": (lambda xp, y, v: {"a": y, "b": v}, lambda xp, y, v: {"a": v, "b": y}),
    "another name": (lambda xp, y, v: {"a": y, "b": v}, lambda xp, y, v: {"a": y, "c": v * 2.0}),
    "outputs of one shape exchanged": (lambda xp, y, v: (y, y * 2.0), lambda xp, y, v: (y * 2.0, y)),
    "nothing at all": (lambda xp, y, v: [], lambda xp, y, v: []),
    "empty outputs alone": (lambda xp, y, v: xp.rows(y, 0, 0), lambda xp, y, v: xp.rows(y * 2.0, 0, 0)),
    "zeros for the output": (lambda xp, y, v: y * 0.0, lambda xp, y, v: y * 0.0),
}


def rows() -> Iterator[Attempt]:
    for name, pack in PACKED.items():
        yield from attempts(KIND, name, packed(pack, 1.0), packed(pack, 1.5))
    for name, (honest, fault) in UNLIKE.items():
        yield from attempts(KIND, name, packed(honest, 1.0), packed(fault, 1.0))
