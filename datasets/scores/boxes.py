"""Bounding boxes of masks, and how well two sets of boxes agree."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from datasets.errors import DataError, SettingsError
from datasets.files import extra

Box: TypeAlias = Sequence[int]  # [min_x, min_y, max_x, max_y] in pixels, both corners included


def boxes_of(mask: NDArray[np.bool_], min_area: int = 1) -> list[list[int]]:
    """The boxes of a mask's connected parts, in the order of their first pixels.

    Pixels that touch at a corner are connected, because the tips of a slanted object are one pixel wide. Objects
    of one class that touch or overlap are one part.

    Shapes: mask (H, W).
    Args:
        mask: where the class is.
        min_area: parts of fewer pixels are left out, at least 1.
    Returns: one [min_x, min_y, max_x, max_y] a part, in pixels, both corners included.
    Raises:
        DataError, SettingsError: a mask that is not boolean, or a min_area below 1.
        MissingExtra: scipy is not installed.
    """
    if mask.ndim != 2 or mask.dtype != bool:
        raise DataError(
            f"mask must be boolean (H, W); got mask.shape={mask.shape}, dtype={mask.dtype}. Compare it first."
        )
    if min_area < 1:
        raise SettingsError(f"min_area must be at least 1; got min_area={min_area}. Give a number of pixels.")
    ndimage = extra("scipy.ndimage")
    parts, count = ndimage.label(mask, structure=np.ones((3, 3), int))
    areas = np.bincount(parts.ravel(), minlength=count + 1)[1:]
    return [
        [columns.start, rows.start, columns.stop - 1, rows.stop - 1]
        for (rows, columns), area in zip(ndimage.find_objects(parts), areas, strict=True)
        if area >= min_area
    ]


def overlaps(first: Sequence[Box], second: Sequence[Box]) -> NDArray[np.float64]:
    """The intersection over union of every box of one list with every box of the other.

    Shapes: returns (len(first), len(second)).
    """
    a = np.asarray(first, np.int64).reshape(-1, 1, 4)
    b = np.asarray(second, np.int64).reshape(1, -1, 4)
    for name, boxes in (("first", a), ("second", b)):
        if (boxes[..., 2:] < boxes[..., :2]).any():
            raise DataError(
                f"a box must have min_x <= max_x and min_y <= max_y; got one in {name} that has not. "
                "Order its corners as [min_x, min_y, max_x, max_y]."
            )
    sides = np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2]) + 1
    both = np.clip(sides, 0, None).prod(axis=-1)
    areas = [(boxes[..., 2:] - boxes[..., :2] + 1).prod(axis=-1) for boxes in (a, b)]
    union: NDArray[np.int64] = areas[0] + areas[1] - both
    return both / union


def matched(predicted: Sequence[Box], true: Sequence[Box]) -> NDArray[np.float64]:
    """The overlaps of the one-to-one matching with the greatest total; pairs that do not overlap are no match.

    Args:
        predicted: any number of boxes.
        true: any number of boxes.
    Returns: one intersection over union, above 0, a matched pair.
    """
    if not len(predicted) or not len(true):
        return np.empty(0)
    table = overlaps(predicted, true)
    rows, columns = extra("scipy.optimize").linear_sum_assignment(table, maximize=True)
    found = table[rows, columns]
    return found[found > 0]
