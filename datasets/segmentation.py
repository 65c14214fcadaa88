"""Testing on the shapes, as both packages do it: error and figure."""

from __future__ import annotations

import contextlib
import importlib
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from datasets.purdue_shapes import CLASSES, MASK_VALUES, constant_mse
from datasets.recipe import RunError

Predict: TypeAlias = Callable[[NDArray[np.uint8]], NDArray[np.floating]]
# An output pixel counts as its class strictly between these values: the limits of DLStudio's test code.
VALUE_BANDS = ((25, 85), (65, 135), (115, 185), (165, 230), (210, np.inf))
BOX_COLOUR = (255, 200, 0)
CLASS_COLOUR = (80, 200, 255)


def check_pairs(images: NDArray[np.uint8], masks: NDArray[np.uint8]) -> None:
    """Refuse images and masks that do not belong together.

    Shapes: images (N, H, W, 3); masks (N, C, H, W).
    Raises:
        RunError: no image, or shapes that do not fit.
    """
    if not (
        len(images) == len(masks) > 0
        and (images.ndim, masks.ndim, images.shape[-1]) == (4, 4, 3)
        and images.shape[1:3] == masks.shape[2:4]
    ):
        raise RunError(
            "images must be (N, H, W, 3) and masks (N, C, H, W) with N > 0; got "
            f"images.shape={images.shape}, masks.shape={masks.shape}. Check the data."
        )


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A path to write to; the file takes the place of `path` only once it is whole."""
    partial = path.with_name("partial-" + path.name)  # the suffix stays: Keras tells formats apart by it
    try:
        yield partial
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def extra(name: str) -> Any:
    """A module of the [train] extra, imported when it is first needed."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise RunError(f"{name} must be installed; got: {error}. pip install 'segparity[train]'.") from error


def evaluate(
    predict: Predict,
    images: NDArray[np.uint8],
    masks: NDArray[np.uint8],
    batch_size: int,
    quiet: bool = False,
) -> dict[str, Any]:
    """The mean squared error on raw mask values, over all and per class.

    Shapes: images (N, H, W, 3); masks and what predict returns (n, C, H, W).
    Args:
        predict: the network on n images.
        images: raw values 0..255.
        masks: raw mask values 0..250.
        batch_size: images at a time, at least 1.
        quiet: show no progress bar.
    Returns: "images", "mse", "mse_per_class", and "mse_of_best_constant" to hold them against.
    """
    if batch_size < 1:
        raise RunError(f"batch_size must be at least 1; got batch_size={batch_size}. Try 4.")
    squared = np.zeros(masks.shape[1])
    starts = range(0, len(images), batch_size)
    for start in extra("tqdm").tqdm(starts, unit="batch", disable=True if quiet else None):
        part = slice(start, start + batch_size)
        errors = predict(images[part]).astype(np.float64) - masks[part]
        squared += (errors**2).sum(axis=(0, 2, 3))
    per_class = squared / (len(images) * np.prod(masks.shape[2:]))
    names = dict(zip(CLASSES, per_class.tolist(), strict=True))
    return {
        "images": len(images),
        "mse": float(per_class.mean()),
        "mse_per_class": names,
        "mse_of_best_constant": constant_mse(masks),
    }


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
    """Draw the pixels of `seven_rows` with a name beside every row, as one PNG file.

    Shapes: rows (7, N, H, W, 3).
    """
    count = rows.shape[1]
    size = (1.3 * count + 1.2, 1.3 * len(rows) + 0.7)  # inches
    figure = extra("matplotlib.figure").Figure(size, layout="constrained")
    axes = figure.subplots(len(rows), count, squeeze=False)
    classes = [f"{name}\nwhite: {value}" for name, value in zip(CLASSES, MASK_VALUES, strict=True)]
    names = ("all classes\nwhite: 255", "input", *classes)
    for name, pictures, row in zip(names, rows, axes, strict=True):
        row[0].set_ylabel(name, rotation=0, ha="right", va="center")
        for picture, axis in zip(pictures, row, strict=True):
            axis.imshow(picture, interpolation="nearest")
            axis.set(xticks=[], yticks=[])
    figure.suptitle(title)
    figure.supxlabel("yellow: the data's boxes; blue: inside the class's band", fontsize=9)
    with replacing(path) as partial:
        figure.savefig(partial, dpi=120)
