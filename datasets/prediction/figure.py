"""The lecture's picture of predictions: seven rows of one image a column."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from datasets.files import extra, replacing
from datasets.purdue_shapes import CLASSES, MASK_VALUES

# An output pixel counts as its class strictly between these values: the limits of DLStudio's test code.
VALUE_BANDS = ((25, 85), (65, 135), (115, 185), (165, 230), (210, np.inf))
BOX_COLOUR = (255, 200, 0)
CLASS_COLOUR = (80, 200, 255)
CELL, GAP = 1.3, 0.05  # inches a picture, and the share of it between two


def seven_rows(
    images: NDArray[np.uint8],
    outputs: NDArray[np.floating],
    boxes: Sequence[Sequence[Sequence[Sequence[int]]]],
) -> NDArray[np.uint8]:
    """The lecture's picture of predictions, as pixels.

    Row 1 is the greatest of the five outputs at every pixel with the data's boxes drawn over it, row 2 the
    input, rows 3 to 7 the classes: grey is the output itself, white at the class's mask value, and pixels
    whose output lies in the band of the class take the class colour.

    Shapes: images (N, H, W, 3); outputs (N, 5, H, W); returns (7, N, H, W, 3).
    Args:
        images: raw values 0..255.
        outputs: the network's raw outputs, in units of mask values.
        boxes: per image and class a list of [min_x, min_y, max_x, max_y], in pixels, both corners included.
    Source: lecture, "Results on Unseen Test Data"; the bands are those of DLStudio's test code.
    """
    rows = np.empty((2 + len(CLASSES), *images.shape), np.uint8)
    rows[0] = _grey(outputs.max(axis=1), 255)
    rows[1] = images
    for index, (low, high) in enumerate(VALUE_BANDS):
        output = outputs[:, index]
        rows[2 + index] = _grey(output, MASK_VALUES[index])
        rows[2 + index][(low < output) & (output < high)] = CLASS_COLOUR
    for picture, classes in zip(rows[0], boxes, strict=True):
        for left, top, right, bottom in (box for boxes_of_class in classes for box in boxes_of_class):
            picture[[top, bottom], left : right + 1] = BOX_COLOUR
            picture[top : bottom + 1, [left, right]] = BOX_COLOUR
    return rows


def _grey(values: NDArray[np.floating], white: float) -> NDArray[np.uint8]:
    """Values from 0 (black) to `white`, as grey pixels with three equal channels."""
    pixels = np.rint(np.clip(values / white, 0, 1) * 255).astype(np.uint8)
    return np.repeat(pixels[..., None], 3, axis=-1)


def save_figure(path: Path, rows: NDArray[np.uint8], title: str) -> None:
    """Draw the pixels of `seven_rows` with a name next to every row, as one PNG file.

    Shapes: rows (7, N, H, W, 3).
    """
    lines, count, height, width = rows.shape[:4]
    gap = max(1, round(GAP * max(height, width)))
    # One picture of them all: a set of axes for each takes matplotlib seconds.
    padded = np.pad(rows, ((0, 0), (0, 0), (0, gap), (0, gap), (0, 0)), constant_values=255)
    sheet = padded.transpose(0, 2, 1, 3, 4).reshape(lines * (height + gap), count * (width + gap), 3)
    size = (CELL * count * width / height + 1.4, CELL * lines + 0.8)
    figure = extra("matplotlib.figure").Figure(size, layout="constrained")
    axes = figure.subplots()
    axes.imshow(sheet[:-gap, :-gap], interpolation="nearest")
    classes = [f"{name}\nwhite: {value}" for name, value in zip(CLASSES, MASK_VALUES, strict=True)]
    names = ("all classes\nwhite: 255", "input", *classes)
    axes.set_yticks([(height - 1) / 2 + row * (height + gap) for row in range(lines)], names)
    axes.set_xticks([])
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    figure.suptitle(title)
    figure.supxlabel("yellow: the data's boxes; blue: inside the class's band", fontsize=9)
    with replacing(path) as partial:
        figure.savefig(partial, dpi=120)
