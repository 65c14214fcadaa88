"""Pictures of what differs: both tensors and |difference| at the worst batch element and channel."""

from __future__ import annotations

from typing import Any

import numpy as np

from parity.core.types import Array
from parity.report.gaps import compared, gap_of
from parity.report.png import DIFFERENCES, MISSING, VALUES, data_uri, encode, palette

LARGEST = 96
"""Rows and columns at most; larger images are reduced block by block."""

DECADES = 6
"""The difference's scale is logarithmic and ends this many powers of ten below the greatest."""


def pictures(tensors: dict[str, Array]) -> dict[str, Any] | None:
    """Three images and what they show; None where there is nothing to show.

    Args:
        tensors: of a finding.

    Returns:
        {"at": index of the greatest difference, "plane": what is shown, "shape": (H, W) shown,
        "mark": its place in the plane in per cent from the left and the top,
        "images": [{"name", "range", "src"}, ...]}.
    """
    pair, gap = compared(tensors), gap_of(tensors)
    if pair is None or gap is None or not gap.size or not gap.max() > 0:
        return None
    at = tuple(int(i) for i in np.unravel_index(int(np.argmax(gap)), gap.shape))
    index, plane = _plane(at)
    ours, theirs, gap = (_two(np.asarray(value, np.float64)[index]) for value in (*pair, gap))
    row, column = _place(at, index)
    height, width = gap.shape
    finite = np.concatenate([value[np.isfinite(value)] for value in (ours, theirs)])
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)
    images = [
        {"name": name, "range": f"{low:.3g} to {high:.3g}", "src": _shown(_reduced(value), low, high)}
        for name, value in (("Keras", ours), ("torch", theirs))
    ]
    greatest = float(gap[np.isfinite(gap)].max(initial=0.0))
    text = f"up to {greatest:.3g}, {DECADES} decades" if np.isfinite(gap).all() else "infinite in places"
    images.append({"name": "|difference|", "range": text, "src": _difference(gap, greatest)})
    return {
        "at": str(at), "plane": plane, "shape": [height, width], "images": images,
        "mark": [round(100 * (column + 0.5) / width, 2), round(100 * (row + 0.5) / height, 2)],
    }  # fmt: skip


def _plane(at: tuple[int, ...]) -> tuple[tuple[Any, ...], str]:
    """The index of the two axes to show: H and W of an image, the last two of anything else."""
    rank, every = len(at), slice(None)
    if rank >= 4:
        return (*at[:-3], every, every, at[-1]), f"batch element {at[0]}, channel {at[-1]}"
    if rank == 3:
        return (at[0], every, every), f"batch element {at[0]}, positions by features"
    return (every,) * rank, "batch elements by features"


def _place(at: tuple[int, ...], index: tuple[Any, ...]) -> tuple[int, int]:
    """Row and column of the greatest difference in the plane."""
    shown = [i for i, chosen in zip(at, index, strict=True) if isinstance(chosen, slice)]
    row, column = ([0, 0, *shown])[-2:]
    return row, column


def _two(value: Array) -> Array:
    """An image of rank 2."""
    return value.reshape((1,) * (2 - value.ndim) + value.shape)


def _reduced(value: Array, greatest: bool = False) -> Array:
    """At most LARGEST rows and columns: the mean, or the greatest, of each block."""
    for axis in (0, 1):
        size = value.shape[axis]
        if size > LARGEST:
            starts = (np.arange(LARGEST) * size) // LARGEST
            if greatest:
                value = np.maximum.reduceat(value, starts, axis=axis)
            else:
                counts = np.diff([*starts, size])
                total = np.add.reduceat(value, starts, axis=axis)
                value = total / (counts[:, None] if axis == 0 else counts)
    return value


def _shown(value: Array, low: float, high: float) -> str:
    """Values between low and high as colours; what is no number has a colour of its own."""
    span = high - low or 1.0
    with np.errstate(invalid="ignore"):
        entries = np.clip(np.nan_to_num((value - low) / span), 0.0, 1.0) * (MISSING - 1)
    entries = np.where(np.isnan(value), MISSING, entries.round())
    return data_uri(encode(entries, palette(VALUES)))


def _difference(gap: Array, greatest: float) -> str:
    """Differences as colours, on a logarithmic scale; what is infinite has a colour of its own."""
    reduced = _reduced(gap, greatest=True)
    with np.errstate(divide="ignore", invalid="ignore"):
        decades = np.log10(reduced / greatest) if greatest > 0 else np.full(reduced.shape, -np.inf)
    entries = np.clip(1.0 + np.nan_to_num(decades, neginf=-DECADES, posinf=0.0) / DECADES, 0.0, 1.0)
    entries = np.where(np.isfinite(reduced), (entries * (MISSING - 1)).round(), MISSING)
    return data_uri(encode(entries, palette(DIFFERENCES)))
