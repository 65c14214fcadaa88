"""Paths in a note: the first of many."""

from __future__ import annotations

from collections.abc import Sequence


def listed(paths: Sequence[str], most: int = 5) -> str:
    """The first of many paths, and how many there are."""
    shown = ", ".join(paths[:most])
    return f"{shown} and {len(paths) - most} more" if len(paths) > most else shown
