"""What counts as equal, and why. NumPy only.

Structure is judged in float64, where rounding is five orders of magnitude below the bound and a
structural fault is not. Precision is judged against each side's own float64 result: the error that
the dtype excuses is measured, by perturbing every weight and input by one unit roundoff and looking
at what that does to the output, so that an ill-conditioned network is allowed what it needs and a
well-conditioned one nothing more.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from parity.core.types import Array

STRUCTURE = 1e-11
"""Greatest difference relative to the output's scale (its greatest magnitude), in float64."""

PRECISION_FACTOR = 64.0
"""How many times the effect of one unit roundoff a side may be off. benchmarks/precision.py measures honest
sides at 0 to 11 (mUnet), TF32 in all convolutions at 2,600 and more, and in one of mUnet's alone at 380."""

COORDINATE_FACTOR = 2.0
"""A resize rounds its coordinates: n pixels from the origin they are n roundoffs off, which moves a value by
up to twice the scale a pixel. torch's bilinear resize is measured at 61 roundoffs for 138 columns."""

UNIT_ROUNDOFF = {"float64": 2.0**-53, "float32": 2.0**-24, "float16": 2.0**-11, "bfloat16": 2.0**-8}


@dataclass(frozen=True)
class Difference:
    """How far two arrays are apart, element by element.

    Attributes:
        max_abs: greatest absolute difference; infinite where exactly one side is not finite.
        max_rel: the same, divided by the scale.
        scale: greatest finite magnitude of the reference.
        index: where the greatest difference is.
        mismatched: elements beyond the bound.
        size: elements compared.
        non_finite: elements that are NaN or infinite on either side.
    """

    max_abs: float
    max_rel: float
    scale: float
    index: tuple[int, ...]
    mismatched: int
    size: int
    non_finite: int

    def within(self, bound: float = STRUCTURE) -> bool:
        """Whether something was compared and all of it is within the bound."""
        return self.size > 0 and self.max_rel <= bound

    def __str__(self) -> str:
        """The figures, in the way of array comparisons."""
        share = 100.0 * self.mismatched / max(self.size, 1)
        return (
            f"greatest difference {self.max_abs:.3g} ({self.max_rel:.3g} of the scale {self.scale:.3g}) at index "
            f"{self.index}, {self.mismatched} of {self.size} elements ({share:.1f} %) beyond the bound"
        )


def difference(reference: Array, value: Array, bound: float = STRUCTURE) -> Difference:
    """Compare two arrays of one shape; nothing is broadcast.

    Raises:
        ValueError: the shapes differ.
    """
    if reference.shape != value.shape:
        raise ValueError(f"shapes must be the same; got {reference.shape} and {value.shape}")
    a, b = (np.asarray(array, dtype=_wide(array)) for array in (reference, value))
    if a.size == 0:
        return Difference(0.0, 0.0, 0.0, (), 0, 0, 0)
    finite = np.isfinite(a) & np.isfinite(b)
    with np.errstate(invalid="ignore"):
        distance = np.where(
            finite, np.abs(a - b), np.where((a == b) | (np.isnan(a) & np.isnan(b)), 0.0, np.inf)
        )
    scale = float(np.abs(a[np.isfinite(a)]).max(initial=0.0))
    index = tuple(int(i) for i in np.unravel_index(int(np.argmax(distance)), distance.shape))
    greatest = float(distance[index])
    return Difference(
        max_abs=greatest,
        max_rel=_ratio(greatest, scale),
        scale=scale,
        index=index,
        mismatched=int(np.count_nonzero(distance > bound * scale)),
        size=int(a.size),
        non_finite=int(a.size - np.count_nonzero(finite)),
    )


def _wide(value: Array) -> Any:
    return np.complex128 if np.iscomplexobj(value) else np.float64


def _ratio(value: float, scale: float) -> float:
    if value == 0.0:
        return 0.0
    return value / scale if scale > 0.0 else float("inf")
