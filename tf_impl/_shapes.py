"""Shapes in a graph, where some sizes are not known."""

from __future__ import annotations

from collections.abc import Sequence


def agree(shape: Sequence[int | None], other: Sequence[int | None]) -> bool:
    """Whether two shapes can be the same; None is a size that the graph does not know."""
    pairs = zip(shape, other, strict=False)
    return len(shape) == len(other) and all(None in (a, b) or a == b for a, b in pairs)
