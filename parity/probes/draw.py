"""Inputs drawn anew: random ones of the scale, the range and the kind of those that were given."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from parity.core.adapter import Adapter
from parity.core.tolerance import FILL
from parity.core.types import Array

SEED = 20_261_128
"""Of the draws; with it the same inputs give the same probes."""


def drawn(value: Array, tokens: int | None = None, number: int = 0) -> Array:
    """Another array like the given one, without its symmetries.

    Floating numbers come from a normal law of the given scale (root mean square; one where all are zero). What fills
    a place (infinities, -1e9) stays. Whole numbers come from the range that was given, and from all rows of the
    smallest table where that range is a single number. Masks are flipped at random, and no row is masked whole.

    Args:
        value: the given input.
        tokens: rows of the smallest embedding table, which whole numbers stay within.
        number: of the input, so that two inputs are drawn apart.

    >>> bool(np.unique(drawn(np.zeros((4, 5), np.float32))).size == 20)
    True
    """
    rng = np.random.default_rng((SEED, number))
    if not value.size:
        return value
    if value.dtype.kind == "b":
        return flipped(rng, value)
    if value.dtype.kind == "f":
        return _floats(rng, value)
    return _whole(rng, value, tokens) if value.dtype.kind in "iu" else value


def smallest_table(sides: Iterable[Adapter]) -> int | None:
    """Rows of the smallest embedding table of the sides; None where they have none."""
    tables = [
        layer.tensors[0].shape[0]
        for side in sides
        for layer in side.layers().values()
        if layer.family == "embedding" and layer.tensors
    ]
    return min(tables, default=None)


def flipped(rng: np.random.Generator, value: Array) -> Array:
    """Half of the truth values flipped; the first true one of each row stays, so that no row is masked whole."""
    fresh = value ^ (rng.random(value.shape) < 0.5)
    if not value.ndim:
        return np.asarray(~value)
    first = np.expand_dims(value.argmax(-1), -1)
    kept = np.take_along_axis(fresh, first, -1) | np.take_along_axis(value, first, -1)
    np.put_along_axis(fresh, first, kept, -1)
    return fresh


def _floats(rng: np.random.Generator, value: Array) -> Array:
    with np.errstate(invalid="ignore"):
        plain = np.isfinite(value) & (np.abs(value) < FILL)
    numbers = value[plain].astype(np.float64)
    if numbers.size and numbers.any() and _is_mask(numbers):
        return flipped(rng, value == 1.0).astype(value.dtype) if plain.all() else value
    scale = float(np.sqrt(np.mean(np.square(numbers)))) if numbers.size else 0.0
    fresh = rng.standard_normal(value.shape) * (scale or 1.0)
    return np.where(plain, fresh, value).astype(value.dtype)


def _is_mask(numbers: Array) -> bool:
    """Whether zeros and ones, both, are all that there is; ones alone may be a picture."""
    return bool(np.all((numbers == 0.0) | (numbers == 1.0)) and (numbers == 0.0).any())


def _whole(rng: np.random.Generator, value: Array, tokens: int | None) -> Array:
    least, most = int(value.min()), int(value.max())
    if (least, most) == (0, 1):
        return flipped(rng, value == 1).astype(value.dtype)
    if tokens is not None and 0 <= least < tokens:
        least, most = (0, tokens - 1) if least == most else (least, min(most, tokens - 1))
    return rng.integers(least, most + 1, value.shape).astype(value.dtype)
