"""What a shapes data set is: images, un-occluded masks, boxes, and the names that go with them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

CLASSES = ("rectangle", "triangle", "disk", "oval", "star")
MASK_VALUES = (50, 100, 150, 200, 250)  # the value of an object's pixels in its class's mask channel
LABEL_MAP = dict(zip(CLASSES, MASK_VALUES, strict=True))

Bytes = NDArray[np.uint8]
Boxes = list[list[list[int]]]  # of one image: boxes[c] lists the [min_x, min_y, max_x, max_y] of class c


@dataclass(frozen=True, eq=False)
class Data:
    """Images of overlapping shapes with one mask channel per class and the objects' bounding boxes.

    Shapes:
        images: (N, H, W, 3), uint8.
        masks: (N, 5, H, W), uint8; channel c holds 0 and MASK_VALUES[c], hidden parts included.
        boxes: boxes[i][c] lists the [min_x, min_y, max_x, max_y] of image i's objects of class c, in pixels,
            both ends included.
    Source:
        Lecture, slide "Data Format Used for the PurdueShapes5MultiObject Dataset".
    """

    images: Bytes
    masks: Bytes
    boxes: list[Boxes]
    classes: tuple[str, ...] = CLASSES

    def __len__(self) -> int:
        return len(self.images)


def constant_mse(masks: Bytes, fitted_to: Bytes | None = None) -> float:
    """Return the mean squared error of the best constant predictor, a network's score before it has learned.

    The predictor gives every pixel of channel c one number: that channel's mean over `fitted_to`.

    Shapes:
        masks, fitted_to: (N, 5, H, W).
    Args:
        masks: the masks to score on, each channel holding 0 and its class's value.
        fitted_to: the masks whose channel means are predicted, as a rule the training set's; `masks` itself
            when left out, which gives the least error that any constant per channel can have.
    Returns:
        The mean over all images, channels and pixels, in squared mask units (values 0..250).
    """
    values = np.array(MASK_VALUES, dtype=np.float64)
    share = _share(masks)
    predicted = values * (share if fitted_to is None else _share(fitted_to))
    return float(np.mean(share * (values - predicted) ** 2 + (1 - share) * predicted**2))


def _share(masks: Bytes) -> NDArray[np.float64]:
    """Return each channel's share of pixels that belong to an object, (5,)."""
    counts = [np.count_nonzero(masks[:, c]) for c in range(len(CLASSES))]
    return np.array(counts) / (masks.size / len(CLASSES))
