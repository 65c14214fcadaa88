"""Walks over the Python objects that a model's own code can keep something in, and says what each of them holds.

Attributes, dictionaries and lists, however deep; objects of the user's own classes, and the classes themselves; what
functions have closed over, their defaults, their attributes, and the globals that they name; counters and generators.
"""

from __future__ import annotations

import functools
import sys
import types
import warnings
import zlib
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

import numpy as np

from parity.core.types import Array
from parity.probes.branches.files import FRAMEWORKS

PLAIN = (bool, int, float, complex, str, bytes, type(None), range, slice, np.generic)
CONTAINERS = frozenset({dict, list, tuple, set, frozenset, type, types.FunctionType, types.MethodType})
"""What is no tensor of any framework."""
MOST = 100_000
"""Objects that are looked at; what lies behind them is not."""
LONG = 1_000
"""Items of a container that are looked at, at either end."""
DEEP = 3
"""Iterators within iterators that are looked into."""
SMALL = 2**20
"""Bytes of an array that are looked at one by one; of greater ones the sum and every so many."""

Files = Callable[[str], bool]
ValuesOf = Callable[[Any], Array | None]
Contents = dict[str, Any]
"""What each place holds, by its path."""


class Walk:
    """One look at everything.

    Args:
        own: whether a file holds the models' own code.
        tensors: the values of a framework's tensor; None for anything else.
    """

    def __init__(self, own: Files, tensors: ValuesOf) -> None:
        self.held: Contents = {}
        self._own, self._tensors = own, tensors
        self._kept: list[Any] = []  # an identity is good for as long as the object lives
        self._seen: set[int] = set()
        self._open: list[tuple[str, Any]] = []

    def known(self, things: Collection[Any]) -> None:
        """Do not look into these: they are looked at on their own."""
        self._kept += things
        self._seen |= {id(thing) for thing in things}

    def look(self, path: str, value: Any) -> None:
        """Look at one object and at all that it leads to."""
        self._open.append((path, value))
        while self._open and len(self.held) < MOST:
            self._one(*self._open.pop())

    def _one(self, path: str, value: Any) -> None:
        if isinstance(value, PLAIN):
            self.held[path] = repr(value) if isinstance(value, float | complex | np.generic) else value
            return
        if id(value) in self._seen:
            return
        self._seen.add(id(value))
        self._kept.append(value)
        array = value if isinstance(value, np.ndarray) else self._of_tensor(value)
        if array is not None:
            self.held[path] = _of_array(array)
            return
        self._open += [(f"{path}{step}", part) for step, part in self._parts(path, value)]

    def _of_tensor(self, value: Any) -> Array | None:
        """The values of a framework's tensor; nothing else is asked for, which costs more than to look at its class."""
        return None if type(value) in CONTAINERS else self._tensors(value)

    def _parts(self, path: str, value: Any) -> Iterator[tuple[str, Any]]:
        """What an object leads to, with the step from it."""
        if isinstance(value, Mapping):
            self.held[path] = len(value)
            yield from ((f"[{key!r:.40}]", part) for key, part in _ends(list(value.items())))
        elif isinstance(value, list | tuple | set | frozenset) or type(value).__name__ == "deque":
            self.held[path] = len(value)
            yield from ((f"[{i}]", part) for i, part in enumerate(_ends(list(value))))
        elif isinstance(value, types.FunctionType):
            yield from self._of_function(value)
        elif isinstance(value, types.MethodType):
            yield from (("", value.__self__), ("", value.__func__))
        elif isinstance(value, functools.partial):
            yield from (("", value.func), ("", list(value.args)), ("", value.keywords))
        elif isinstance(value, type):
            yield from self._of_class(value)
        elif isinstance(value, types.GeneratorType):
            self.held[path] = value.gi_frame.f_lasti if value.gi_frame else None
            yield from ((f".{k}", v) for k, v in (value.gi_frame.f_locals if value.gi_frame else {}).items())
        elif not isinstance(value, types.ModuleType):
            yield from self._of_object(path, value)

    def _of_function(self, function: types.FunctionType) -> Iterator[tuple[str, Any]]:
        """What a function has closed over, and of the user's own functions the globals that they name."""
        for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=False):
            try:
                yield f" ({name} of its closure)", cell.cell_contents
            except ValueError:  # not filled yet
                continue
        yield from ((f".{name}", part) for name, part in vars(function).items())
        if not self._own(function.__code__.co_filename):
            return
        yield "'s defaults", (function.__defaults__, function.__kwdefaults__)
        for name in _names(function.__code__):
            if name in function.__globals__:
                yield from self._of_global(name, function.__globals__[name], function.__code__)

    def _of_global(self, name: str, value: Any, code: types.CodeType) -> Iterator[tuple[str, Any]]:
        """A global of the user's own code; of a module, what the code names in it."""
        if isinstance(value, types.ModuleType):
            parts = {word: vars(value)[word] for word in _names(code) if word in vars(value)}
            if not self._own(
                getattr(value, "__file__", None) or ""
            ):  # what was put into a library from outside
                parts = {
                    word: part for word, part in parts.items() if isinstance(part, int | float | list | dict)
                }
            yield from ((f" (global {name}.{word})", part) for word, part in parts.items())
        elif not isinstance(value, types.BuiltinFunctionType) and not _of_framework(type(value)):
            yield f" (global {name})", value

    def _of_class(self, cls: type) -> Iterator[tuple[str, Any]]:
        """Attributes of a class of the user's own."""
        if self._own(getattr(sys.modules.get(cls.__module__), "__file__", None) or ""):
            for name, part in list(vars(cls).items()):
                if not name.startswith("__") or isinstance(part, types.FunctionType):
                    inner = getattr(part, "__func__", getattr(part, "fget", None))
                    yield f".{name}", part if inner is None else inner

    def _of_object(self, path: str, value: Any) -> Iterator[tuple[str, Any]]:
        """Attributes of an object that is no framework's, and the state of a counter or of random numbers."""
        cls = type(value)
        if _of_framework(cls):
            return
        own = getattr(value, "__dict__", None)
        if isinstance(own, dict):
            yield from ((f".{name}", part) for name, part in list(own.items()))
            yield f" ({cls.__name__})", cls
        for base in cls.__mro__:
            for name in (
                getattr(base, "__slots__", ()) if isinstance(getattr(base, "__slots__", ()), tuple) else ()
            ):
                if hasattr(value, name):
                    yield f".{name}", getattr(value, name)
        if not isinstance(own, dict):
            self.held[path] = _state_of(value)


def _names(code: types.CodeType) -> set[str]:
    """Names that a function's code, and the functions within it, look up."""
    found = set(code.co_names)
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            found |= _names(constant)
    return found


def _of_framework(cls: type) -> bool:
    return cls.__module__.partition(".")[0] in (*FRAMEWORKS, "parity", "jaxlib")


def _ends(items: list[Any]) -> list[Any]:
    return items if len(items) <= 2 * LONG else [*items[:LONG], *items[-LONG:]]


def _state_of(value: Any) -> Any:
    """What an object without attributes holds, as far as it says so."""
    generator = getattr(value, "bit_generator", getattr(value, "_bit_generator", value))
    if isinstance(generator, np.random.BitGenerator):
        return repr(generator.state)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return zlib.crc32(repr(_marked(value.__reduce_ex__(4)[1:], DEEP)).encode())
        except Exception:  # any object, any error: it says nothing of itself
            return None


def _marked(state: Any, deep: int) -> Any:
    """A state without the addresses of the objects in it, which say nothing: an iterator in it is its own state."""
    if isinstance(state, tuple | list):
        return tuple(_marked(part, deep) for part in _ends(list(state)))
    text = repr(state)
    if " at 0x" not in text or not deep:
        return text.partition(" at 0x")[0]
    try:
        within = state.__reduce_ex__(4)
    except Exception:  # any object, any error: it says nothing of itself
        return type(state).__name__
    return within if isinstance(within, str) else _marked(tuple(within[1:]), deep - 1)


def _of_array(value: Array) -> tuple[Any, ...]:
    """A short mark of an array's values."""
    if value.dtype.kind == "O":
        return value.shape, "objects"
    if value.nbytes <= SMALL:
        return value.shape, value.dtype.str, zlib.crc32(np.ascontiguousarray(value).tobytes())
    flat = value.reshape(-1)
    some = np.ascontiguousarray(flat[:: max(1, flat.size // 4096)])
    with np.errstate(over="ignore", invalid="ignore"):
        total = flat.sum(dtype=None if value.dtype.kind in "fc" else np.int64)
    return value.shape, value.dtype.str, repr(total), zlib.crc32(some.tobytes())
