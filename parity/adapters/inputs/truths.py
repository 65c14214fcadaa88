"""Random masks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from parity.core.types import Array


def truths(rng: np.random.Generator, sizes: Sequence[int]) -> Array:
    """Random truth values of which the first of each row is true, so that no row is masked whole."""
    value = rng.integers(0, 2, sizes).astype(bool)
    value[..., :1] = True
    return value
