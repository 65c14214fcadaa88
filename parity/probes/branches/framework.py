"""Whether a Keras model is made of the framework's own layers alone, so that no code of the user's can run in a pass."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator
from typing import Any

from parity.probes.branches.files import FRAMEWORKS

PLAIN = frozenset({*FRAMEWORKS, "builtins", "numpy", "collections", "inspect", "ml_dtypes", "optree"})
"""Packages whose objects run no code of the user's by themselves."""
RUNNING = frozenset({"Lambda", "TFSMLayer", "JaxLayer", "FlaxLayer", "TorchModuleWrapper"})
"""Keras' own layers that run what they are given."""
DEEP = 4
"""Containers within containers that are looked into."""


def framework_alone(model: Any, layers: Iterable[Any]) -> bool:
    """Whether the model, its layers, its functional steps and all that they hold are the framework's own.

    Args:
        model: a Keras model or layer.
        layers: it and all layers in it.
    """
    steps = [step for step in getattr(model, "operations", ()) if step is not model]
    return all(
        _own_class(type(part))
        and all(_harmless(value, DEEP) for value in vars(part).values())
        and all(_harmless(given, DEEP) for given in _arguments(part))
        for part in {id(part): part for part in [*layers, *steps]}.values()
    )


def _arguments(part: Any) -> Iterator[Any]:
    """What a functional step is called with."""
    for node in getattr(part, "_inbound_nodes", ()):
        yield list(node.arguments.args)
        yield dict(node.arguments.kwargs)


def _own_class(kind: type) -> bool:
    """Whether a class is Keras' own, with Keras' own functions."""
    if kind.__module__.partition(".")[0] != "keras" or kind.__name__ in RUNNING:
        return False
    functions = (getattr(kind, name, None) for name in ("call", "__call__", "build"))
    return all(_harmless(function, DEEP) for function in functions)


def _harmless(value: Any, deep: int) -> bool:
    """Whether a value is the framework's or plain data; a function of the user's, or an object of theirs, is not."""
    if value is None or isinstance(value, str | bytes | int | float | complex | bool | type(Ellipsis)):
        return True
    if isinstance(value, dict | list | tuple | set | frozenset):
        parts = value.values() if isinstance(value, dict) else value
        return deep > 0 and all(_harmless(part, deep - 1) for part in parts)
    if isinstance(value, functools.partial):
        return _harmless(value.func, deep)
    home = getattr(value, "__module__", None) if callable(value) else None
    if not isinstance(home, str):
        home = type(value).__module__
    return home.partition(".")[0] in PLAIN
