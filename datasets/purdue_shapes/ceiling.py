"""The ceiling of the scores: masks hold hidden pixels, the picture does not show them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from datasets.errors import DatasetError, SettingsError
from datasets.files import extra
from datasets.purdue_shapes.data import CLASSES, Boxes, Bytes, Data
from datasets.purdue_shapes.generator import generate_seen
from datasets.scores.metrics import SegmentationMetrics


def visible_ceiling(count: int = 1000, seed: int = 7, size: tuple[int, int] = (64, 64)) -> dict[str, Any]:
    """The scores of one who labels every visible pixel right and guesses none, on generated images.

    Args:
        count: images, at least 1.
        seed: of the images, as in `generate`.
        size: H and W in pixels.
    Returns: what `SegmentationMetrics.result` gives, with the box score, and "mean_box_iou_of_true_masks": below
        1, for objects of one class that touch are one part of its mask.
    """
    if count < 1:
        raise SettingsError(f"count must be 1 or more; got count={count}. Ask for some images.")
    return _score(*generate_seen(count, seed, size))


def ceiling_of(data: Data) -> dict[str, Any]:
    """The same of any data set whose objects have one colour each."""
    return _score(data, seen_classes(data))


def seen_classes(data: Data) -> Bytes:
    """What is seen at every pixel, from the colours: 0 for the background, 1 + c for an object of class c.

    Every colour of an image belongs to one of its objects: one whose mask and box hold all pixels of the colour.
    Where several can be, all colours together are given to the objects that they fill best.

    Shapes: returns (N, H, W).
    Raises:
        DatasetError: an image whose objects do not have one colour each.
    """
    seen = np.zeros((len(data), *data.images.shape[1:3]), np.uint8)
    for i in range(len(data)):
        seen[i] = _seen(data.images[i], data.masks[i] != 0, data.boxes[i], i)
    return seen


def _seen(image: Bytes, masks: NDArray[np.bool_], boxes: Boxes, number: int) -> Bytes:
    """`seen_classes` of one image; masks (5, H, W)."""
    objects = [(c, box) for c, own in enumerate(boxes) for box in own]
    codes = image.astype(np.int64) @ np.array([1 << 16, 1 << 8, 1])
    somewhere = masks.any(axis=0)
    colours = np.unique(codes[somewhere])
    if len(colours) > len(objects) or np.intersect1d(colours, codes[~somewhere]).size:
        raise _refuse(number, f"{len(colours)} colours of {len(objects)} objects")
    fills = np.full((len(colours), len(objects)), -1e6)  # how much of a box the colour's extent fills
    for row, colour in enumerate(colours):
        own = codes == colour
        ys, xs = np.nonzero(own)
        for column, (c, (left, top, right, bottom)) in enumerate(objects):
            inside = left <= xs.min() and xs.max() <= right and top <= ys.min() and ys.max() <= bottom
            if inside and masks[c][own].all():
                area = (np.ptp(xs) + 1) * (np.ptp(ys) + 1)
                fills[row, column] = area / ((right - left + 1) * (bottom - top + 1))
    rows, columns = extra("scipy.optimize").linear_sum_assignment(fills, maximize=True)
    if (fills[rows, columns] < 0).any():
        raise _refuse(number, "a colour that no object's mask and box hold")
    seen = np.zeros(codes.shape, np.uint8)
    for row, column in zip(rows, columns, strict=True):
        seen[codes == colours[row]] = objects[column][0] + 1
    return seen


def _refuse(number: int, got: str) -> DatasetError:
    return DatasetError(
        f"every object must have one colour, other than the background's, to see which hides which; got {got} "
        f"in image {number}. Generate images with a seed instead."
    )


def _score(data: Data, seen: Bytes) -> dict[str, Any]:
    metrics = SegmentationMetrics(CLASSES)
    predicted = seen[:, None] == np.arange(1, 1 + len(CLASSES))[:, None, None]
    true = data.masks != 0
    metrics.update(predicted, true, boxes=data.boxes)
    perfect = SegmentationMetrics(CLASSES, boundary_width=0)
    perfect.update(true, true, boxes=data.boxes)
    return metrics.result() | {"mean_box_iou_of_true_masks": perfect.result()["mean_box_iou"]}


def report(found: dict[str, Any]) -> str:
    """The scores as a table of text."""
    names = {"iou": "IoU", "dice": "Dice", "boundary_iou": "boundary IoU", "box_iou": "box IoU"}
    lines = [f"{'':14}{'mean':>10}" + "".join(f"{name:>11}" for name in CLASSES)]
    for key, name in names.items():
        values = [found[f"mean_{key}"], *found[f"{key}_per_class"].values()]
        cells = ["-" if value is None else f"{value:.4f}" for value in values]
        lines.append(f"{name:14}{cells[0]:>10}" + "".join(f"{cell:>11}" for cell in cells[1:]))
    lines.append(f"box IoU of the true masks themselves {found['mean_box_iou_of_true_masks']:.4f}")
    lines.append(f"pixel accuracy {found['pixel_accuracy']:9.4f}, {found['pixels']} pixels")
    return "\n".join(lines)
