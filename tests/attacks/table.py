"""Every attempt at a false EQUAL, every equal and hostile pair, and the rows that are open yet."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from tests.attacks.attempt import Attempt
from tests.attacks.hostile import functions, pictures, sums
from tests.attacks.hostile.pair import Hostile
from tests.attacks.rows import (
    axes,
    dropped,
    hidden_outputs,
    hiding,
    mapping,
    state,
    training,
    unreached,
    weights,
)

ROOMS = (hiding, hidden_outputs, dropped, axes, weights, unreached, state, mapping, training)
OPEN_FILE = Path(__file__).parent / "open.json"
OPEN: dict[str, str] = json.loads(OPEN_FILE.read_text(encoding="utf-8"))
"""Rows that fail yet, by name, with the reason. A row that no longer fails must leave the file: the test says so."""

LOWER = (
    "(y + 1e6) - 1e6", "E[x²]-E[x]² at mean 1000", "softmax of great scores", "log of a softmax", "sigmoid as tanh",
    "gelu by erf", "a resize to 23 x 31", "a maximum over ties", "denormal weights", "inputs of 255",
    "attention, masked by -10000", "a hundred dense layers", "einsum for matmul", "a unit norm",
)  # fmt: skip
"""Pairs that are compared in float32, bfloat16 and float16 too."""
BEYOND_HALF = ("(y + 1e6) - 1e6", "E[x²]-E[x]² at mean 1000")
"""Pairs with 1e6 on the way: one form overflows in float16, the other does not, so that they differ there."""


def rows() -> Iterator[Attempt]:
    """All attempts, kind by kind."""
    for room in ROOMS:
        yield from room.rows()


def hostile() -> Iterator[tuple[Hostile, str]]:
    """All equal pairs, each with the dtype that it is compared in."""
    for room in (sums, functions, pictures):
        for row in room.rows():
            yield row, "float64"
            if row.name in LOWER and not row.swapped:
                for dtype in ("float32", "bfloat16", "float16"):
                    if not (dtype == "float16" and row.name in BEYOND_HALF):
                        yield row, dtype


def keep_open(names: set[str]) -> None:
    """Take all other rows out of the file of open rows."""
    kept = {name: reason for name, reason in OPEN.items() if name in names}
    OPEN_FILE.write_text(json.dumps(kept, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
