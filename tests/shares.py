"""Which rows of a long table are tried where not all are (pytest's option --whole): some of every group."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from typing import TypeVar

T = TypeVar("T")


def share_of(rows: Iterable[tuple[Hashable, T]], share: int) -> list[T]:
    """One row in `share` of each group, and one at least; not the first one of every group, nor the last.

    Args:
        rows: (group, row), in the order of the table.
        share: of how many rows one is taken.

    >>> share_of([("a", 1), ("a", 2), ("b", 3), ("b", 4), ("c", 5)], 2)
    [1, 4, 5]
    """
    groups: dict[Hashable, list[T]] = {}
    for group, row in rows:
        groups.setdefault(group, []).append(row)
    members = list(groups.values())
    return [row for i, own in enumerate(members) for row in own[i % min(share, len(own)) :: share]]
