"""Whether two tensors are the same to the structural bound, counted as work."""

from __future__ import annotations

import numpy as np

from parity.causes.steps.budget import spend
from parity.core.tolerance import STRUCTURE, difference
from parity.core.types import Array


def same(a: Array, b: Array) -> bool:
    """Equal to the structural bound, in every element, and something to compare; infinities have no scale."""
    spend(a.size)
    if a.shape != b.shape or _far_apart(a, b):
        return False
    return difference(a, b).within() and bool(np.isfinite(a).all())


def _far_apart(a: Array, b: Array) -> bool:
    """Whether one difference is beyond the bound of the greatest element: most hypotheses end here."""
    if a.size == 0 or a.dtype.kind != "f" or b.dtype.kind != "f":
        return False
    with np.errstate(invalid="ignore"):  # of infinities; nothing is said of them here
        return bool(np.abs(a - b).max() > 2.0 * STRUCTURE * np.abs(a).max())
