"""Replaces an attribute of a framework, and puts it back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def restored(target: Any, name: str, value: Any) -> Iterator[None]:
    """Set an attribute while this is open."""
    before = getattr(target, name)
    setattr(target, name, value)
    try:
        yield
    finally:
        setattr(target, name, before)
