"""Every attempt at a false EQUAL, and every equal and hostile pair."""

from __future__ import annotations

from collections.abc import Iterator

from tests.attacks.attempt import Attempt
from tests.attacks.hostile import backgrounds, functions, pictures, sums
from tests.attacks.hostile.pair import Hostile
from tests.attacks.rows import (
    axes,
    dropped,
    float32,
    hidden_outputs,
    hiding,
    mapping,
    state,
    training,
    unreached,
    weights,
)

ROOMS = (hiding, hidden_outputs, dropped, axes, weights, unreached, state, mapping, training, float32)

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
    for room in (sums, functions, pictures, backgrounds):
        for row in room.rows():
            yield row, "float64"
            if room is backgrounds and not row.swapped:
                yield row, "float32"
            if row.name in LOWER and not row.swapped:
                for dtype in ("float32", "bfloat16", "float16"):
                    if not (dtype == "float16" and row.name in BEYOND_HALF):
                        yield row, dtype
