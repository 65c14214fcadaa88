"""What a comparison is at: pairing, forward, probes, localising, causes; whoever waits for it can show that."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Literal

Stage = Literal[
    "pairing",
    "forward",
    "probes",
    "localising",
    "causes",
    "reading the source",
    "copying weights",
    "training",
    "second size",
    "save and load",
    "classes one by one",
    "backends",
]

_listener: ContextVar[Callable[[Stage], None] | None] = ContextVar("who is told the stage", default=None)


def at(stage: Stage) -> None:
    """Say that a stage begins."""
    listener = _listener.get()
    if listener is not None:
        listener(stage)


def is_heard() -> bool:
    """Whether somebody listens."""
    return _listener.get() is not None


@contextmanager
def heard(listener: Callable[[Stage], None]) -> Iterator[None]:
    """While this is open, call the listener whenever a stage begins."""
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)
