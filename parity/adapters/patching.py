"""Replaces an attribute of a framework, and puts it back."""

from __future__ import annotations

from collections.abc import Iterator
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
