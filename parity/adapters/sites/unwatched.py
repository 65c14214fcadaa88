"""Puts a trace function aside where none of the models' own code can run: it slows down every line of Python.

Who looks on at the models' own code says so with `watches`; a debugger's trace function is never put aside.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial, wraps
from types import (
    BuiltinFunctionType,
    FunctionType,
    MethodDescriptorType,
    MethodWrapperType,
    WrapperDescriptorType,
)
from typing import Any, TypeVar

T = TypeVar("T")

HOMES = frozenset({"torch", "keras", "tensorflow", "jax", "jaxlib", "numpy", "builtins", "ml_dtypes"})
"""Packages whose values run none of the user's code, unless they are functions."""

COMPILED = (BuiltinFunctionType, MethodDescriptorType, WrapperDescriptorType, MethodWrapperType)
"""Functions that are no Python."""

_watching: list[Callable[..., Any]] = []
_aside: list[Callable[..., Any] | None] = []


@contextmanager
def watches(tracer: Callable[..., Any]) -> Iterator[None]:
    """While this is open, the trace function may be put aside."""
    _watching.append(tracer)
    try:
        yield
    finally:
        _watching.remove(tracer)


def watched_now() -> bool:
    """Whether parity's trace function runs in this thread, or stands aside."""
    return bool(_watching) and (sys.gettrace() or (_aside and _aside[-1])) in _watching


def put_aside() -> Callable[..., Any] | None:
    """Stop parity's trace function where one runs; gives what `put_back` takes."""
    tracer = sys.gettrace() if _watching else None
    if tracer is None or tracer not in _watching:
        return None
    sys.settrace(None)
    return tracer


def put_back(tracer: Callable[..., Any] | None) -> None:
    """Let the trace function that was put aside run again."""
    if tracer is not None:
        sys.settrace(tracer)


@contextmanager
def aside() -> Iterator[None]:
    """While this is open, parity's trace function stands aside, except where `resumed` lets it run again."""
    tracer = put_aside()
    _aside.append(tracer)
    try:
        yield
    finally:
        _aside.pop()
        put_back(tracer)


@contextmanager
def resumed() -> Iterator[None]:
    """While this is open, the trace function runs that the innermost `aside` put aside."""
    tracer = _aside[-1] if _aside and sys.gettrace() is None else None
    if tracer is None or tracer not in _watching:
        yield
        return
    _aside.append(None)  # what is put aside from here on is another affair
    sys.settrace(tracer)
    try:
        yield
    finally:
        put_aside()
        _aside.pop()


def runs_alone(function: Callable[..., Any], args: Any, kwargs: Any) -> bool:
    """Whether a function is a framework's own, and given none of the user's functions and classes, which it may run."""
    own = isinstance(function, COMPILED) or (
        isinstance(function, FunctionType) and (function.__module__ or "").partition(".")[0] in HOMES
    )
    return own and _plain(*args, *kwargs.values())


def _plain(*given: Any) -> bool:
    for value in given:
        kind = type(value)
        if kind is tuple or kind is list:
            if not _plain(*value):
                return False
        elif kind is dict:
            if not _plain(*value.values()):
                return False
        elif kind.__module__.partition(".")[0] not in HOMES or callable(value):
            return False
    return True


def run_quietly(function: Callable[..., Any], args: Any, kwargs: Any) -> Any:
    """Call a framework's own function, unwatched where it runs none of the user's code."""
    tracer = put_aside()
    try:
        if tracer is not None and not runs_alone(function, args, kwargs):
            sys.settrace(tracer)
        return function(*args, **kwargs)
    finally:
        put_back(tracer)


def unwatched(step: Callable[..., T]) -> Callable[..., T]:
    """The method that runs a step of a trace, with nobody watching what is parity's own in it.

    The step's function is watched, unless it is a framework's own that runs none of the user's code.
    """

    @wraps(step)
    def quiet(builder: Any, sort: Any, kind: Any, label: Any, path: Any, settings: Any, function: Any,
              args: Any, kwargs: Any, *rest: Any) -> T:  # fmt: skip
        tracer = put_aside()
        try:
            if tracer is not None and not (sort == "op" and runs_alone(function, args, kwargs)):
                function = partial(_watched, tracer, function)
            return step(builder, sort, kind, label, path, settings, function, args, kwargs, *rest)
        finally:
            put_back(tracer)

    return quiet


def _watched(tracer: Callable[..., Any], function: Callable[..., T], /, *args: Any, **kwargs: Any) -> T:
    """Call what may run the user's own code, with the trace function that was put aside; without, once the pass is over."""
    if tracer not in _watching:
        return function(*args, **kwargs)
    sys.settrace(tracer)
    try:
        return function(*args, **kwargs)
    finally:
        put_aside()
