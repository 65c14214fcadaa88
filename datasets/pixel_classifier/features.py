"""What the pixel classifier sees of a pixel."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from datasets.errors import DataError, SettingsError

Bytes = NDArray[np.uint8]
Floats = NDArray[np.float64]


def colour(images: Bytes) -> Floats:
    """Red, green and blue, 0..255.

    Shapes: images (n, H, W, 3); returns (n, H, W, 3).
    """
    return images.astype(np.float64)


def contrast(images: Bytes) -> Floats:
    """Red, green and blue less the image's own medians: what stands out from the background, where that is most.

    Shapes: images (n, H, W, 3); returns (n, H, W, 3), -255..255.
    """
    return images - np.median(images, axis=(1, 2), keepdims=True)


def position(images: Bytes) -> Floats:
    """Row and column, as shares of the height and width from -1 to 1.

    Shapes: images (n, H, W, 3); returns (n, H, W, 2).
    """
    count, height, width = images.shape[:3]
    rows, columns = ((2 * np.arange(size) + 1) / size - 1 for size in (height, width))
    grid = np.stack(np.meshgrid(rows, columns, indexing="ij"), axis=-1)
    return np.broadcast_to(grid, (count, height, width, 2))


def window(images: Bytes) -> Floats:
    """The contrasts of the pixel and its eight neighbours; the border's pixels are repeated outside.

    Shapes: images (n, H, W, 3); returns (n, H, W, 27).
    """
    height, width = images.shape[1:3]
    wide = np.pad(contrast(images), ((0, 0), (1, 1), (1, 1), (0, 0)), mode="edge")
    places = [(row, column) for row in range(3) for column in range(3)]
    return np.concatenate(
        [wide[:, row : row + height, column : column + width] for row, column in places], axis=-1
    )


FEATURES: dict[str, Callable[[Bytes], Floats]] = {
    "colour": colour,
    "contrast": contrast,
    "position": position,
    "window": window,
}


def features_of(images: Bytes, names: str = "colour") -> Floats:
    """The features of every pixel.

    Shapes: images (n, H, W, 3); returns (n, H, W, F).
    Args:
        images: raw values 0..255.
        names: one or more of FEATURES, joined by +.
    Raises:
        DataError, SettingsError: no such features, one twice, or images of another shape.
    """
    chosen = names.split("+")
    if len(set(chosen)) < len(chosen) or not set(chosen) <= set(FEATURES):
        raise SettingsError(
            f"features must be of {', '.join(FEATURES)}, each once, joined by +; got features={names!r}. Try colour."
        )
    if images.ndim != 4 or images.shape[-1] != 3:
        raise DataError(f"images must be (n, H, W, 3); got images.shape={images.shape}. Move its axes.")
    return np.concatenate([FEATURES[name](images) for name in chosen], axis=-1)
