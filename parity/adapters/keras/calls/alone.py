"""Keras' own code around the user's methods of a layer, with nobody looking on: the methods alone are the user's code."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import wraps
from types import FunctionType
from typing import Any

from parity.adapters.patching import all_restored
from parity.adapters.sites.unwatched import aside, resumed, watched_now

LIBRARIES = frozenset({"keras", "tensorflow", "torch", "jax", "builtins"})
READ = frozenset({"input_spec", "supports_masking", "autocast", "trainable", "activity_regularizer"})
"""Attributes of its own that Keras reads in a call: as properties they would be code."""


@contextmanager
def quiet_calls(layers: Iterable[Any]) -> Iterator[Callable[[Any], bool]]:
    """While this is open, methods of these layers' own classes are watched where what calls them is not (`aside`).

    Args:
        layers: of the model.

    Yields:
        Says of a layer whether all that it runs of the user's is in such methods. No layer is where nobody looks on.
    """
    if not watched_now():
        yield lambda layer: False
        return
    known: dict[type, list[tuple[type, str]] | None] = {}
    alone = set[int]()
    for layer in layers:
        if type(layer) not in known:
            known[type(layer)] = _methods(type(layer))
        found = known[type(layer)]
        if found and not _given(layer, any(name == "call" for _, name in found)):
            alone.add(id(layer))
    methods = dict.fromkeys(item for found in known.values() for item in found or ())
    with all_restored([(base, name, _resuming(base.__dict__[name])) for base, name in methods]):
        yield lambda layer: id(layer) in alone


def _own(home: str) -> bool:
    return home.partition(".")[0] not in LIBRARIES


def _methods(cls: type) -> list[tuple[type, str]] | None:
    """The methods of the user's classes that stand for Keras' own; None where something else may run, or there is none."""
    own = [base for base in cls.__mro__ if _own(base.__module__)]
    library = [base for base in cls.__mro__ if not _own(base.__module__) and base is not object]
    found: list[tuple[type, str]] = []
    if not any("call" in vars(base) for base in own) and _own(
        getattr(getattr(cls, "call", None), "__module__", None) or ""
    ):
        return None  # put into Keras' class
    for base in own:
        for name, value in vars(base).items():
            if name in READ:
                return None
            if name.startswith("__") or not any(name in vars(kind) for kind in library):
                continue
            if not isinstance(value, FunctionType):
                return None
            found.append((base, name))
    return found


def _given(layer: Any, call: bool) -> bool:
    """Whether a layer holds functions or objects of the user's that Keras runs; in a `call` of the user's they are seen."""
    attributes = vars(layer)
    some = (
        [attributes.get(name) for name in READ] if call and "call" not in attributes else attributes.values()
    )
    return any(
        callable(value) and _own(getattr(value, "__module__", None) or type(value).__module__)
        for value in some
        if value is not None
    )


def _resuming(method: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(method)
    def watched(*args: Any, **kwargs: Any) -> Any:
        with resumed():
            return method(*args, **kwargs)

    return watched


def quietly(call: Callable[..., Any]) -> Callable[..., Any]:
    """The function, with nobody looking on."""

    def unwatched(*args: Any, **kwargs: Any) -> Any:
        with aside():
            return call(*args, **kwargs)

    return unwatched
