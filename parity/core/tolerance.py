"""What counts as equal, and why. NumPy only.

Structure is judged in float64, element by element: by the element's own rounding, and by its spread, which is what one
rounding of every weight, input and step does to it. Precision is judged against each side's own float64 result, by the
spread that the dtype's rounding gives. So an ill-conditioned network is allowed what it needs, and a well-conditioned
one nothing more.
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

SPREAD_FACTOR = 256.0
"""How many times an element's spread the sides may differ there. The spread is what one unit in the last place of
every weight, input and step does to the element (parity.replay.spread). Honest pairs are measured at 0 to 22."""

OWN_FACTOR = 16.0
"""How many roundoffs of its own magnitude an element may differ, whatever its spread."""

FLUSHED = float(np.finfo(np.float32).tiny)
"""Smaller differences are none: a framework may take float32 denormals for zero, in any dtype."""

FILL = 1e8
"""Greater magnitudes fill a place (a mask's -1e9, a dtype's lowest value): they are no scale for their neighbours."""

UNIT_ROUNDOFF = {"float64": 2.0**-53, "float32": 2.0**-24, "float16": 2.0**-11, "bfloat16": 2.0**-8}


@dataclass(frozen=True)
class Difference:
    """How far two arrays are apart, element by element.

    Attributes:
        max_abs: greatest absolute difference; infinite where exactly one side is not finite.
        max_rel: greatest difference relative to the scale, or to the element where that is greater than the scale.
        scale: greatest finite magnitude of the reference, values that only fill a place left out.
        index: where the difference is greatest; of elements with limits, of those beyond them.
        mismatched: elements beyond the bound, or beyond their limits.
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


def seen(value: Array) -> Array:
    """The values with zeros where they are too small to count: what a comparison can see of them."""
    with np.errstate(invalid="ignore"):
        return np.asarray(np.where(np.abs(value) < FLUSHED, 0.0, value))


def limits(value: Array, spread: Array | None = None) -> Array:
    """How far two sides may differ at each element, in float64: by the element's own rounding, and by its spread.

    Args:
        value: one side's values.
        spread: what one rounding everywhere does to each element, in the same shape; None: not measured.

    Returns:
        Absolute limits, in the shape of `value`.
    """
    own = _magnitude(value)
    own *= OWN_FACTOR * UNIT_ROUNDOFF["float64"]
    own += FLUSHED
    return own if spread is None else widened(own, spread)


def widened(own: Array, spread: Array) -> Array:
    """The limits of `limits` where a spread is measured, from those where none is."""
    return np.asarray(own + SPREAD_FACTOR * spread)


def all_within(first: Array, second: Array, limit: Array | float) -> bool:
    """Whether no element of two arrays of one shape differs by more than its limit: `difference` says it with figures.

    Args:
        first: one side.
        second: the other side.
        limit: greatest absolute difference of each element.

    Raises:
        ValueError: the shapes differ.
    """
    return not bool(beyond(first, second, limit).any())


def beyond(first: Array, second: Array, limit: Array | float) -> Array:
    """Where two arrays of one shape differ by more than the element's limit, as truth values.

    Args:
        first: one side.
        second: the other side.
        limit: greatest absolute difference of each element; an infinite one allows all, NaN on one side too.

    Raises:
        ValueError: the shapes differ.
    """
    if first.shape != second.shape:
        raise ValueError(f"shapes must be the same; got {first.shape} and {second.shape}")
    a, b = (np.asarray(array, dtype=_wide(array)) for array in (first, second))
    with np.errstate(invalid="ignore", over="ignore"):
        found = np.asarray(~(np.abs(a - b) <= limit))
    if found.any():
        a, b, own = a[found], b[found], np.broadcast_to(limit, first.shape)[found]
        found[found] = (a != b) & ~(np.isnan(a) & np.isnan(b)) & (own < np.inf)
    return found


def difference(
    reference: Array, value: Array, bound: float = STRUCTURE, limit: Array | None = None
) -> Difference:
    """Compare two arrays of one shape; nothing is broadcast.

    Args:
        reference: one side.
        value: the other side.
        bound: greatest relative difference, for the count of mismatched elements.
        limit: greatest absolute difference of each element, which the count follows in place of the bound.

    Raises:
        ValueError: the shapes differ.
    """
    if reference.shape != value.shape:
        raise ValueError(f"shapes must be the same; got {reference.shape} and {value.shape}")
    a, b = (np.asarray(array, dtype=_wide(array)) for array in (reference, value))
    if a.size == 0:
        return Difference(0.0, 0.0, 0.0, (), 0, 0, 0)
    with np.errstate(invalid="ignore"):
        distance = np.abs(a - b)
    finite = np.isfinite(a) & np.isfinite(b)
    if not finite.all():
        alike = (a == b) | (np.isnan(a) & np.isnan(b))
        distance = np.where(finite, distance, np.where(alike, 0.0, np.inf))
    magnitude = _magnitude(a)
    scale = _scale(magnitude)
    size = np.maximum(scale, magnitude)
    relative = _ratio(distance, size)
    beyond = distance > (bound * size if limit is None else limit)
    place = int(np.argmax(distance if limit is None else np.where(beyond, distance, 0.0)))
    index = tuple(int(i) for i in np.unravel_index(place, distance.shape))
    return Difference(
        max_abs=float(distance.max()),
        max_rel=float(relative.max()),
        scale=scale,
        index=index,
        mismatched=int(np.count_nonzero(beyond)),
        size=int(a.size),
        non_finite=int(a.size - np.count_nonzero(finite)),
    )


def scale_of(value: Array) -> float:
    """The greatest finite magnitude of a tensor, values that only fill a place left out."""
    return _scale(_magnitude(value))


def _scale(magnitude: Array) -> float:
    """The greatest magnitude that is no fill; the greatest of all where every one is."""
    plain = magnitude[magnitude < FILL]
    return float(plain.max() if plain.size and plain.any() else magnitude.max(initial=0.0))


def _magnitude(value: Array) -> Array:
    """|value|, and zero where it is not finite: fresh memory, in float64."""
    found = np.asarray(np.abs(value), np.float64)
    if not np.isfinite(found).all():
        found[~np.isfinite(found)] = 0.0
    return found if found.base is None else found.copy()


def _wide(value: Array) -> Any:
    return np.complex128 if np.iscomplexobj(value) else np.float64


def _ratio(distance: Array, size: Array) -> Array:
    """distance / size; zero where nothing differs, infinite where a difference meets a size of zero."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(distance == 0.0, 0.0, np.where(size > 0.0, distance / size, np.inf))
