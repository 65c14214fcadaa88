"""Rows of a table that no pass reads, because one side counts its positions from another row on."""

from __future__ import annotations

from collections.abc import Iterator

from parity.core.layout import Rows
from parity.core.types import Side
from parity.pairing.pairs import Pairing


def unread(pairing: Pairing) -> Iterator[tuple[Side, str, str]]:
    """(side, path, sentence) of each table that has such rows."""
    sides: tuple[Side, Side] = ("keras", "torch")
    for slot in (slot for item in pairing.pairs for slot in item.slots):
        for side in sides:
            rows = slot.layout.rows(side)
            if rows is not None and rows.rest_unread:
                path = slot.keras if side == "keras" else slot.torch
                yield (
                    side,
                    path,
                    f"{_left(rows)} of {path} are never read in {_NAMES[side]}: they have no counterpart",
                )


_NAMES = {"keras": "Keras", "torch": "torch"}


def _left(rows: Rows) -> str:
    """The rows that are not read: "rows 0..1"."""
    first, end, count = rows.index[0], rows.index[-1] + 1, rows.shape[0]
    spans = [f"{a}..{b - 1}" for a, b in ((0, first), (end, count)) if a < b]
    return f"rows {' and '.join(spans)}"
