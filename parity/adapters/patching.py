"""Replaces an attribute of a framework for the time being."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def restored(target: Any, name: str, value: Any) -> Iterator[None]:
    """Set an attribute for the time being."""
    before = getattr(target, name)
    setattr(target, name, value)
    try:
        yield
    finally:
        setattr(target, name, before)
