"""Replaces an attribute of a framework, and puts it back."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

from parity.core.adapter import Adapter


@contextmanager
def restored(target: Any, name: str, value: Any) -> Iterator[None]:
    """Set an attribute while this is open."""
    before = getattr(target, name)
    setattr(target, name, value)
    try:
        yield
    finally:
        setattr(target, name, before)


@contextmanager
def all_restored(changes: Sequence[tuple[Any, str, Any]]) -> Iterator[None]:
    """Set many attributes while this is open, each once.

    Args:
        changes: (target, name, value) of each.
    """
    before = [(target, name, getattr(target, name)) for target, name, _ in changes]
    try:
        for target, name, value in changes:
            setattr(target, name, value)
        yield
    finally:
        for target, name, value in before:
            setattr(target, name, value)


@contextmanager
def layers_known(*sides: Adapter) -> Iterator[None]:
    """While this is open, each side's layers are looked at once; no setting of a layer may change meanwhile."""
    with ExitStack() as stack:
        for side in sides:
            known = side.layers()
            stack.enter_context(restored(side, "layers", lambda known=known: known))
        yield


@contextmanager
def layers_anew(*sides: Adapter) -> Iterator[None]:
    """While this is open, each side's layers are looked at anew whenever they are asked for."""
    with ExitStack() as stack:
        for side in sides:
            stack.enter_context(restored(side, "layers", partial(type(side).layers, side)))
        yield
