"""The one definition of the metrics: how well predicted masks fit the true ones; docs/metrics.md explains them.

The streaming metrics of `tf_impl.metrics` and `torch_impl.metrics` count the same pixels on the device.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from datasets.errors import DataError, SettingsError
from datasets.scores.boxes import Box, boxes_of, matched
from datasets.scores.decisions import ACTIVATIONS, Masks, check_activation, decide, one_hot, raw_values

__all__ = [
    "ACTIVATIONS",
    "BOUNDARY",
    "PER_CLASS",
    "SegmentationMetrics",
    "boundary",
    "boundary_distance",
    "boxes_of",
    "check_activation",
    "check_width",
    "class_names",
    "decide",
    "flat",
    "one_hot",
    "raw_values",
    "scores",
]

Counts: TypeAlias = dict[str, NDArray[Any]]
BOUNDARY_SHARE = 0.02  # of the image's diagonal: Cheng et al., section 5
# Totals over all pixels seen so far; every one is a sum, so that parts of a data set add up.
PER_CLASS = ("intersection", "predicted", "target")
BOUNDARY = tuple(f"boundary_{name}" for name in PER_CLASS)
BOXES = ("box_matched", "box_predicted", "box_true")


def boundary_distance(height: int, width: int) -> int:
    """The boundary's width where none is given: 2 % of the image's diagonal, at least 1 pixel."""
    return max(1, round(BOUNDARY_SHARE * math.hypot(height, width)))


def boundary(masks: Masks, distance: int) -> Masks:
    """The mask's own pixels that have a pixel outside the mask within reach; the image's border is outside.

    Shapes: masks (..., H, W); returns (..., H, W).
    Args:
        masks: where the class is.
        distance: reach in pixels, rows and columns alike (a square of 2 distance + 1), at least 1.
    Source: Cheng, Girshick, Dollár, Berg, Kirillov, "Boundary IoU", CVPR 2021, section 4.
    """
    inner = masks
    for axis in (-2, -1):  # a square window is a window along the rows, then one along the columns
        room = [(0, 0)] * masks.ndim
        room[axis] = (distance + 1, distance)
        sums = np.cumsum(np.pad(inner, room), axis=axis, dtype=np.int32)
        length, width = masks.shape[axis], 2 * distance + 1
        ends = np.arange(length) + width
        inner = sums.take(ends, axis) - sums.take(ends - width, axis) == width
    return masks & ~inner


class SegmentationMetrics:
    """Adds up, batch by batch, how well predicted masks fit the true ones. The order of the batches does not matter.

    Scores come from totals over all pixels of the whole set; they are not means over images. A class
    that is neither predicted nor true anywhere has no score: None, and it does not enter the mean. A class that
    is predicted but never true scores 0, and so does one that is true but never predicted.

    Args:
        classes: the classes' names, or how many they are.
        boundary_width: reach of the boundary IoU in pixels; None for 2 % of the diagonal; 0 leaves it out.
        min_area: predicted parts of fewer pixels get no box.
    Raises:
        SettingsError: no class, a name twice, or a width or area out of range.
    """

    def __init__(
        self, classes: Sequence[str] | int, boundary_width: int | None = None, min_area: int = 1
    ) -> None:
        self.classes = class_names(classes)
        self.boundary_width = check_width(boundary_width)
        self.min_area = min_area
        self.counts: Counts = {}

    def update(
        self,
        predicted: Masks,
        target: Masks,
        valid: Masks | None = None,
        outputs: NDArray[np.floating] | None = None,
        targets: NDArray[Any] | None = None,
        boxes: Sequence[Sequence[Sequence[Box]]] | None = None,
    ) -> None:
        """Count one batch.

        Shapes: predicted, target, outputs, targets (N, C, H, W); valid (N, H, W).
        Args:
            predicted: where each class is predicted; several may hold at one pixel.
            target: where each class is.
            valid: pixels that count; all, when left out. The others belong to no mask, predicted or true.
            outputs: raw outputs in units of mask values, for the mean squared error.
            targets: raw mask values, with `outputs`.
            boxes: boxes[i][c] lists image i's true boxes of class c, for the box score.
        Raises:
            DataError: arrays or boxes that do not belong together.
        """
        self._check(predicted, target, valid, outputs, targets, boxes)
        if valid is None:
            valid = np.ones((len(target), *target.shape[2:]), bool)
        inside = valid[:, None]
        right = ((predicted == target) | ~inside).all(axis=1) & valid
        self._add("pixels", np.count_nonzero(valid))
        self._add("right", np.count_nonzero(right))
        predicted, target = predicted & inside, target & inside
        self._add_masks(PER_CLASS, predicted, target)
        if self.boundary_width != 0:
            distance = self.boundary_width or boundary_distance(*target.shape[2:])
            self._add_masks(BOUNDARY, boundary(predicted, distance), boundary(target, distance))
        if outputs is not None and targets is not None:
            errors = outputs.astype(np.float64) - targets.astype(np.float64)
            squares: NDArray[np.float64] = (
                np.where(inside, errors**2, 0).reshape(*target.shape[:2], -1).sum(axis=-1)
            )
            for one in squares:  # image by image: any split into batches adds the same numbers
                self._add("squared", one)
            self._add("measured", np.count_nonzero(valid))
        if boxes is not None:
            self._add_boxes(predicted, boxes)

    def merge(self, other: SegmentationMetrics) -> None:
        """Add what another one has counted, from other images or in another process."""
        first, second = ((one.classes, one.boundary_width, one.min_area) for one in (self, other))
        if first != second:
            raise SettingsError(
                "both must have the same classes, boundary_width and min_area; "
                f"got {first} and {second}. Make them alike."
            )
        for name, value in other.counts.items():
            self._add(name, value)

    def result(self) -> dict[str, Any]:
        """The scores of all that was counted, as numbers that JSON can hold; see `scores`."""
        return scores(self.classes, self.counts)

    def _add(self, name: str, value: Any) -> None:
        self.counts[name] = self.counts.get(name, 0) + np.asarray(value)

    def _add_masks(self, names: Sequence[str], predicted: Masks, target: Masks) -> None:
        for name, masks in zip(names, (predicted & target, predicted, target), strict=True):
            self._add(name, np.count_nonzero(masks, axis=(0, 2, 3)))

    def _add_boxes(self, predicted: Masks, boxes: Sequence[Sequence[Sequence[Box]]]) -> None:
        for masks, true in zip(predicted, boxes, strict=True):
            found = [boxes_of(mask, self.min_area) for mask in masks]
            pairs = [matched(*each) for each in zip(found, true, strict=True)]
            self._add("box_overlap", [pair.sum() for pair in pairs])
            counted: tuple[Sequence[Any], ...] = (pairs, found, true)
            for name, lists in zip(BOXES, counted, strict=True):
                self._add(name, [len(one) for one in lists])

    def _check(self, predicted: Any, target: Any, valid: Any, outputs: Any, targets: Any, boxes: Any) -> None:
        shape = target.shape
        named = {"predicted": predicted, "target": target, "outputs": outputs, "targets": targets}
        for name, array in named.items():
            if array is not None and (array.shape != shape or array.ndim != 4):
                raise DataError(
                    f"{name} must be (N, C, H, W) as target is; got {name}.shape={array.shape}, "
                    f"target.shape={shape}. Move its axes."
                )
        if shape[1] != len(self.classes):
            raise DataError(f"target must have {len(self.classes)} classes; got target.shape={shape}.")
        for name, array in {"predicted": predicted, "target": target, "valid": valid}.items():
            if array is not None and array.dtype != bool:
                raise DataError(f"{name} must be boolean; got dtype={array.dtype}. Compare it first.")
        if valid is not None and valid.shape != (shape[0], *shape[2:]):
            raise DataError(f"valid must be (N, H, W); got valid.shape={valid.shape}, target.shape={shape}.")
        if (outputs is None) != (targets is None):
            raise SettingsError(
                "outputs and targets must come together; got one of them. Give both or neither."
            )
        if boxes is not None and (len(boxes) != shape[0] or any(len(one) != shape[1] for one in boxes)):
            raise DataError(
                f"boxes must be a list of boxes for each of {shape[0]} images and {shape[1]} classes; "
                f"got {len(boxes)} images. Give an empty list where a class has none."
            )


def class_names(classes: Sequence[str] | int) -> tuple[str, ...]:
    """The classes' names: those given, or the numbers from 0."""
    names = tuple(map(str, range(classes) if isinstance(classes, int) else classes))
    if not names or len(set(names)) < len(names):
        raise SettingsError(f"classes must be one or more names, each once; got classes={classes!r}.")
    return names


def check_width(boundary_width: int | None) -> int | None:
    """The width itself, or a SettingsError that says what is wrong with it."""
    if boundary_width is not None and (boundary_width < 0 or boundary_width != int(boundary_width)):
        raise SettingsError(
            f"boundary_width must be a whole number of pixels, 0 or more; got boundary_width={boundary_width}."
        )
    return boundary_width


def scores(classes: Sequence[str], counts: Mapping[str, Any]) -> dict[str, Any]:
    """The scores that totals give.

    Args:
        classes: the classes' names.
        counts: totals as `SegmentationMetrics.counts` holds them, or a device's metric through `counts()`.
    Returns: "pixels"; "pixel_accuracy"; "mean_X" and "X_per_class" for iou, dice, boundary_iou and box_iou;
        "mse" and "mse_per_class". What was not counted is left out; None is a class without a score.
    """
    if "pixels" not in counts:
        return {"pixels": 0}
    found: dict[str, Any] = {"pixels": int(counts["pixels"])}
    found["pixel_accuracy"] = _ratio(counts["right"], counts["pixels"])
    if "measured" in counts:
        each = [_ratio(value, counts["measured"]) for value in counts["squared"]]
        found |= _summary("mse", classes, each)
        found["mse"] = found.pop("mean_mse")

    def masks(names: Sequence[str]) -> tuple[Any, Any]:
        both, predicted, target = (np.asarray(counts[name]) for name in names)
        return both, predicted + target

    both, sizes = masks(PER_CLASS)
    found |= _summary("iou", classes, map(_ratio, both, sizes - both))
    found |= _summary("dice", classes, map(_ratio, 2 * both, sizes))
    if BOUNDARY[0] in counts:
        both, sizes = masks(BOUNDARY)
        found |= _summary("boundary_iou", classes, map(_ratio, both, sizes - both))
    if "box_overlap" in counts:
        pairs, predicted, true = (np.asarray(counts[name]) for name in BOXES)
        found |= _summary("box_iou", classes, map(_ratio, counts["box_overlap"], predicted + true - pairs))
    return found


def _ratio(part: Any, whole: Any) -> float | None:
    return float(part / whole) if whole else None


def _summary(name: str, classes: Sequence[str], values: Any) -> dict[str, Any]:
    """The score of each class, and the mean of those that have one."""
    values = list(values)
    held = [value for value in values if value is not None]
    mean = sum(held) / len(held) if held else None
    return {f"mean_{name}": mean, f"{name}_per_class": dict(zip(classes, values, strict=True))}


def flat(result: Mapping[str, Any]) -> dict[str, Any]:
    """The same scores without nesting, as logs want them: "iou_per_class" becomes "iou_star" and so on."""
    found: dict[str, Any] = {}
    for key, value in result.items():
        if isinstance(value, Mapping):
            stem = key.removesuffix("_per_class")
            found |= {f"{stem}_{name}": one for name, one in value.items()}
        else:
            found[key] = value
    return found
