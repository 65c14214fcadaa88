"""How much rounding does: values moved by one unit roundoff, and what that changes."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from parity.core.tolerance import UNIT_ROUNDOFF
from parity.core.types import Array

UNIT = UNIT_ROUNDOFF["float64"]


def nudge(rng: np.random.Generator, value: Array) -> Array:
    """Each floating element moved by up to one unit roundoff."""
    return value * (1.0 + UNIT * rng.uniform(-1.0, 1.0, value.shape)) if value.dtype.kind == "f" else value


def moved(before: Mapping[str, Array | None], after: Mapping[str, Array | None]) -> dict[str, float]:
    """Greatest change of each tensor."""
    found = {}
    for path, value in before.items():
        changed = after.get(path)
        if value is not None and changed is not None:
            found[path] = float(np.abs(value - changed).max(initial=0.0))
    return found


def greater(first: dict[str, float], second: dict[str, float]) -> dict[str, float]:
    """The greater of two measurements of each tensor."""
    return {path: max(first.get(path, 0.0), second.get(path, 0.0)) for path in {**first, **second}}
