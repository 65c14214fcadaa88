"""Inputs of another size along an axis."""

from __future__ import annotations

import numpy as np

from parity.core.types import Array


def fitted(value: Array, axis: int, size: int) -> Array:
    """Cropped, or repeated where it is too small; what is repeated along the batch is moved, so that it is no copy."""
    length = value.shape[axis]
    if size <= length or not length:
        return np.take(value, np.arange(min(size, length)), axis)
    parts = [value] * -(-size // length)
    if axis == 0 and value.ndim > 1:
        parts = [np.roll(value, count, 1) for count in range(len(parts))]
    return np.take(np.concatenate(parts, axis), np.arange(size), axis)
