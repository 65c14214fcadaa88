"""Positions that are counted from another number: of whole numbers, or of the rows of a table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from parity.causes.case import Explanation
from parity.core.finding import Fix
from parity.core.types import Array

FARTHEST = 8
"""Rows by which two tables may be shifted."""
FEWEST = 3
"""Rows that must agree."""


def explain_positions(
    keras: Array, torch: Array, place: tuple[str, str], added: Sequence[Array] = ()
) -> list[Explanation]:
    """Whether two tensors are positions, or vectors of positions, that are counted from different numbers.

    Args:
        keras: what Keras has.
        torch: what torch has, in either layout.
        place: what to call the place on either side.
        added: tensors that both sides have, laid out as the Keras one, to which they may have been added.
    """
    whole = keras.dtype.kind in "iu" and torch.dtype.kind in "iu"
    offset = _of_numbers(keras, torch) if whole else _of_rows(keras, torch)
    turned = [torch, *([np.moveaxis(torch, -1, 1)] if torch.ndim > 2 else [])]
    for value in () if offset or whole else added:
        for laid in turned:
            if not offset and value.shape == keras.shape == laid.shape:
                offset = _of_rows(keras - value, laid - value)
    if not offset:
        return []
    text = f"position i in Keras is position i + {offset} in torch" if offset > 0 else (
        f"position i in torch is position i + {-offset} in Keras"
    )  # fmt: skip
    lower, higher = f"count positions {abs(offset)} lower in", f"count positions {abs(offset)} higher in"
    in_keras, in_torch = (higher, lower) if offset > 0 else (lower, higher)
    fix = Fix(f"{in_keras} Keras {place[0]}", f"{in_torch} torch {place[1]}", f"{in_torch} torch {place[1]}")
    return [Explanation("position-offset", text, fix, verified=True)]


def _of_numbers(keras: Array, torch: Array) -> int:
    """How much higher torch counts; zero where these are no counts, or the same."""
    try:
        a, b = np.broadcast_arrays(keras.astype(np.int64), torch.astype(np.int64))
    except ValueError:
        return 0
    if a.ndim < 1 or a.shape[-1] < FEWEST or not (np.diff(a, axis=-1) == 1).all():
        return 0
    gap = np.unique(b - a)
    return int(gap[0]) if gap.size == 1 else 0


def _of_rows(keras: Array, torch: Array) -> int:
    """By how many rows torch's table is ahead; zero where it is no shifted one."""
    for a in list(_tables(keras))[:1]:  # Keras has the features last: its columns are no positions
        for b in _tables(torch):
            if a.shape != b.shape or len(a) < FEWEST + 1 or np.array_equal(a, b):
                continue
            scale = float(np.abs(a).max(initial=0.0))
            for offset in range(1, min(FARTHEST, len(a) - FEWEST) + 1):
                for sign, first, second in ((1, a, b), (-1, b, a)):
                    same = np.abs(first[offset:] - second[:-offset]).max(initial=0.0) <= 1e-12 * scale
                    rolled = np.abs(first[:offset] - second[-offset:]).max(initial=0.0) <= 1e-12 * scale
                    if (
                        same
                        and not rolled
                        and np.abs(np.diff(first, axis=0)).max(axis=1).min() > 1e-6 * scale
                    ):
                        return sign * offset
    return 0


def _tables(value: Array) -> Iterator[Array]:
    """The tensor as rows of a table, where all examples have the same one."""
    noise = 1e-12 * float(np.abs(value).max(initial=0.0))
    if value.ndim == 3 and np.abs(value - value[:1]).max(initial=0.0) <= noise:
        value = value[0]
    if value.ndim == 2:
        yield value
        yield value.T
