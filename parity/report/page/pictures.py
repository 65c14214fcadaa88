"""Pictures of what differs: both tensors and |difference| at the worst batch element and channel."""

from __future__ import annotations

import base64
import importlib.util
import io
from dataclasses import dataclass
from typing import Any

import numpy as np

from parity.core.types import Array
from parity.report.gaps import compared, gap_of

NEEDED = {"PIL": "Pillow", "matplotlib": "matplotlib"}
"""What draws the pictures: the module, and the package that a user installs."""

LARGEST = 96
"""Rows and columns at most; larger images are reduced block by block."""

DECADES = 6
"""The difference's scale is logarithmic and ends this many powers of ten below the greatest."""

VALUES, DIFFERENCES = "viridis", "inferno"
"""matplotlib's colour maps for the tensors and for their difference."""

MISSING = 255
"""The palette entry for values that are no number; its colour is magenta."""


@dataclass(frozen=True)
class Picture:
    """One image: its name, the range of its values, and its address, which holds the PNG."""

    name: str
    range: str
    source: str


@dataclass(frozen=True)
class Pictures:
    """The images of one finding.

    Attributes:
        at: index of the greatest difference.
        plane: what the images show.
        shape: (H, W) of the plane.
        mark: place of the greatest difference in the plane, in per cent from the left and from the top.
        images: of Keras, of torch, and of the difference.
    """

    at: tuple[int, ...]
    plane: str
    shape: tuple[int, int]
    mark: tuple[float, float]
    images: tuple[Picture, ...]


def not_installed() -> list[str]:
    """The packages that pictures need and that are not installed."""
    return [package for module, package in NEEDED.items() if importlib.util.find_spec(module) is None]


def pictures(tensors: dict[str, Array]) -> Pictures | None:
    """Three images and what they show; None where there is nothing to show.

    Args:
        tensors: of a finding.

    Raises:
        ImportError: Pillow or matplotlib is not installed.
    """
    pair, gap = compared(tensors), gap_of(tensors)
    if pair is None or gap is None or not gap.size or not gap.max() > 0:
        return None
    at = tuple(int(i) for i in np.unravel_index(int(np.argmax(gap)), gap.shape))
    index, plane = _plane(at)
    keras, torch, gap = (_two(np.asarray(value, np.float64)[index]) for value in (*pair, gap))
    row, column = _place(at, index)
    height, width = gap.shape
    finite = np.concatenate([value[np.isfinite(value)] for value in (keras, torch)])
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)
    images = [
        Picture(name, _range(value), _shown(_reduced(value), low, high))
        for name, value in (("Keras", keras), ("torch", torch))
    ]
    greatest = float(gap[np.isfinite(gap)].max(initial=0.0))
    text = (
        f"up to {greatest:.3g}, logarithmic; black: equal" if np.isfinite(gap).all() else "infinite in places"
    )
    images.append(Picture("|difference|", text, _difference(gap, greatest)))
    mark = (round(100 * (column + 0.5) / width, 2), round(100 * (row + 0.5) / height, 2))
    return Pictures(at, plane, (height, width), mark, tuple(images))


def _range(value: Array) -> str:
    """The least and the greatest value; both sides' colours are on one scale."""
    finite = value[np.isfinite(value)]
    if not finite.size:
        return "no number"
    low, high = float(finite.min()), float(finite.max())
    return f"{low:.3g} everywhere" if low == high else f"{low:.3g} to {high:.3g}"


def _plane(at: tuple[int, ...]) -> tuple[tuple[Any, ...], str]:
    """The index of the two axes to show: H and W of an image, the last two of anything else."""
    rank, every = len(at), slice(None)
    if rank >= 4:
        return (*at[:-3], every, every, at[-1]), f"batch element {at[0]}, channel {at[-1]}"
    if rank == 3:
        return (at[0], every, every), f"batch element {at[0]}, positions by features"
    return (every,) * rank, "batch elements by features" if rank == 2 else "one row of values"


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
    return _png(np.where(np.isnan(value), MISSING, entries.round()), VALUES)


def _difference(gap: Array, greatest: float) -> str:
    """Differences as colours, on a logarithmic scale; what is infinite has a colour of its own."""
    reduced = _reduced(gap, greatest=True)
    with np.errstate(divide="ignore", invalid="ignore"):
        decades = np.log10(reduced / greatest) if greatest > 0 else np.full(reduced.shape, -np.inf)
    entries = np.clip(1.0 + np.nan_to_num(decades, neginf=-DECADES, posinf=0.0) / DECADES, 0.0, 1.0)
    return _png(np.where(np.isfinite(reduced), (entries * (MISSING - 1)).round(), MISSING), DIFFERENCES)


def _png(entries: Array, colours: str) -> str:
    """The address that holds an image (H, W) of palette entries as a PNG file.

    Args:
        entries: whole numbers from 0 to MISSING.
        colours: name of matplotlib's colour map for the entries below MISSING.
    """
    from matplotlib import colormaps
    from PIL import Image

    palette = [
        *colormaps[colours].resampled(MISSING)(range(MISSING), bytes=True)[:, :3].tolist(),
        [255, 0, 255],
    ]
    image = Image.fromarray(entries.astype(np.uint8))
    image.putpalette([part for colour in palette for part in colour])
    held = io.BytesIO()
    image.save(held, "PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(held.getvalue()).decode()}"
