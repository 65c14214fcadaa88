"""The metrics of `datasets.metrics`, counted on the device: a keras.metrics.Metric."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import keras
import numpy as np
from keras import ops

from datasets.scores.metrics import (
    BOUNDARY,
    PER_CLASS,
    boundary_distance,
    check_activation,
    check_width,
    class_names,
    scores,
)
from tf_impl._shapes import agree
from tf_impl.layers import register

Tensor: TypeAlias = Any
LIMB = 2**20  # a total is high * LIMB + low: float32 holds both exactly, and every device adds float32


@register
class SegmentationMetrics(keras.metrics.Metric):
    """Adds up what `datasets.metrics.SegmentationMetrics` does, except boxes, from outputs and targets.

    The totals are exact integers and add up over processes. The box score is computed on the host, by
    `datasets.metrics`.

    Shapes: outputs (N, H, W, C); targets (N, H, W, C), or (N, H, W) for class indices; sample_weight (N, H, W).

    Args:
        classes: the classes' names, or how many they are.
        activation: what the outputs are: "logits" of independent masks, "values" in units of mask values, or
            "softmax" for classes that exclude each other.
        mask_values: the classes' mask values; "values" needs them, and with them "logits" has an error too.
        boundary_width: reach of the boundary IoU in pixels; None for 2 % of the diagonal; 0 leaves it out.
        ignore_index: the class index of pixels that do not count; None where every pixel has a class.

    Raises:
        ValueError: an argument out of range.

    Source: docs/metrics.md.
    """

    def __init__(
        self,
        classes: Sequence[str] | int,
        activation: str = "logits",
        mask_values: Sequence[float] | None = None,
        boundary_width: int | None = None,
        ignore_index: int | None = 255,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.classes = class_names(classes)
        check_activation(activation, len(self.classes), mask_values)
        self.activation = activation
        self.mask_values = None if mask_values is None else tuple(mask_values)
        self.boundary_width = check_width(boundary_width)
        self.ignore_index = ignore_index
        groups = (
            3 if self.boundary_width == 0 else 6
        )  # of one total a class, after the pixels and the right ones
        size = 2 + groups * len(self.classes)
        self.totals = self.add_variable((2, size), "zeros", "float32", name="totals")  # low, high
        # A sum and what its rounding lost: float64 where a device has only float32.
        self.squared = self.add_variable((2, len(self.classes)), "zeros", "float32", name="squared")

    def update_state(self, y_true: Tensor, y_pred: Tensor, sample_weight: Tensor | None = None) -> None:
        """Count one batch.

        Args:
            y_true: masks, above 0 where the class is (mask values with "values"), or class indices.
            y_pred: what the network gives.
            sample_weight: which pixels count, 0 or not 0; all, when left out.

        Raises:
            ValueError: shapes that do not fit.
        """
        outputs, targets = ops.convert_to_tensor(y_pred), ops.convert_to_tensor(y_true)
        valid = None if sample_weight is None else ops.convert_to_tensor(sample_weight)
        self._check(outputs, targets, valid)
        if keras.backend.standardize_dtype(outputs.dtype) != "float64":
            outputs = ops.cast(outputs, "float32")
        masks, inside = self._targets(targets, valid)
        predicted = self._decide(outputs)
        right = ops.logical_and(ops.all(ops.equal(predicted, masks), axis=-1), inside)
        if self.mask_values is not None and self.activation != "softmax":
            self._add_errors(outputs, targets, masks, inside)
        within = inside[..., None]
        predicted, masks = ops.logical_and(predicted, within), ops.logical_and(masks, within)
        counts = [_count(within), _count(right[..., None]), *_overlaps(predicted, masks)]
        if self.boundary_width != 0:
            distance = self.boundary_width or self._distance(outputs)
            counts += _overlaps(_boundary(predicted, distance), _boundary(masks, distance))
        self._add_counts(ops.concatenate(counts))

    def result(self) -> dict[str, Tensor]:
        """The scores of all that was counted, under the names of `datasets.metrics.flat`; NaN is no score."""
        low, high = self.totals[0], self.totals[1]
        totals = high * LIMB + low
        groups = ops.reshape(totals[2:], (-1, 3, len(self.classes)))
        found = {"pixel_accuracy": _ratio(totals[1], totals[0])}
        if self.mask_values is not None and self.activation != "softmax":
            self._name(found, "mse", _ratio(ops.sum(self.squared, axis=0), totals[0]))
            found["mse"] = found.pop("mean_mse")
        both, sizes = groups[0, 0], groups[0, 1] + groups[0, 2]
        self._name(found, "iou", _ratio(both, sizes - both))
        self._name(found, "dice", _ratio(2 * both, sizes))
        if self.boundary_width != 0:
            both, sizes = groups[1, 0], groups[1, 1] + groups[1, 2]
            self._name(found, "boundary_iou", _ratio(both, sizes - both))
        return found

    def counts(self) -> dict[str, Any]:
        """The totals on the host, over all processes, as `datasets.metrics.scores` takes them."""
        low, high = ops.convert_to_numpy(self.totals).astype(np.int64)
        totals = high * LIMB + low
        squared = ops.convert_to_numpy(self.squared).astype(np.float64).sum(axis=0)
        names = PER_CLASS if self.boundary_width == 0 else (*PER_CLASS, *BOUNDARY)
        found = dict(zip(names, totals[2:].reshape(len(names), -1), strict=True))
        found |= {"pixels": totals[0], "right": totals[1]}
        if self.mask_values is not None and self.activation != "softmax":
            found |= {"squared": squared, "measured": totals[0]}
        return found

    def report(self) -> dict[str, Any]:
        """The scores as numbers that JSON can hold, as `datasets.metrics.SegmentationMetrics.result` gives them."""
        return scores(self.classes, self.counts())

    def get_config(self) -> dict[str, Any]:
        """Give the constructor's arguments."""
        names = ("classes", "activation", "mask_values", "boundary_width", "ignore_index")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}

    def _check(self, outputs: Tensor, targets: Tensor, valid: Tensor | None) -> None:
        shape, true = tuple(outputs.shape), tuple(targets.shape)
        fits = len(shape) == 4 and shape[-1] == len(self.classes)
        if not (fits and (agree(true, shape) or agree(true, shape[:3]))):
            raise ValueError(
                f"outputs must be (N, H, W, {len(self.classes)}) and targets alike or (N, H, W); got "
                f"outputs.shape={shape}, targets.shape={true}. Move their axes."
            )
        if valid is not None and not agree(tuple(valid.shape), shape[:3]):
            raise ValueError(
                f"sample_weight must be (N, H, W); got sample_weight.shape={tuple(valid.shape)}."
            )

    def _distance(self, outputs: Tensor) -> int:
        size = outputs.shape[1:3]
        if None in size:
            raise ValueError(
                f"boundary_width must be given where the graph does not know the size; got size={tuple(size)}. "
                "Give it in pixels, or 0 to leave the boundary out."
            )
        return boundary_distance(*size)

    def _targets(self, targets: Tensor, valid: Tensor | None) -> tuple[Tensor, Tensor]:
        """The true masks, (N, H, W, C), and the pixels that count, (N, H, W)."""
        if len(targets.shape) == 4:
            masks = ops.greater(targets, 0)
            inside = ops.ones_like(masks[..., 0])
        else:
            targets = ops.cast(targets, "int32")
            masks = ops.equal(targets[..., None], ops.arange(len(self.classes), dtype="int32"))
            inside = ops.ones_like(masks[..., 0])
            if self.ignore_index is not None:
                inside = ops.not_equal(targets, self.ignore_index)
        return masks, inside if valid is None else ops.logical_and(inside, ops.not_equal(valid, 0))

    def _decide(self, outputs: Tensor) -> Tensor:
        if self.activation == "softmax":
            chosen = ops.cast(ops.argmax(outputs, axis=-1), "int32")
            return ops.equal(chosen[..., None], ops.arange(len(self.classes), dtype="int32"))
        if self.activation == "values":
            return ops.greater(outputs, self._scale(outputs) / 2)
        return ops.greater(outputs, 0)

    def _scale(self, outputs: Tensor) -> Tensor:
        return ops.convert_to_tensor(np.array(self.mask_values), dtype=outputs.dtype)

    def _add_errors(self, outputs: Tensor, targets: Tensor, masks: Tensor, inside: Tensor) -> None:
        """Add the squared errors in units of mask values."""
        scale = self._scale(outputs)
        values = outputs if self.activation == "values" else ops.sigmoid(outputs) * scale
        given = self.activation == "values" and len(targets.shape) == 4
        true = ops.cast(targets, outputs.dtype) if given else ops.cast(masks, outputs.dtype) * scale
        errors = ops.square(values - true)
        squares = ops.sum(ops.where(inside[..., None], errors, ops.zeros_like(errors)), axis=(0, 1, 2))
        total, lost = self.squared[0], self.squared[1]
        added = ops.cast(squares, total.dtype)
        new = total + added
        back = new - total
        rest = ops.cast(squares - ops.cast(added, squares.dtype), total.dtype)
        lost = lost + ((total - (new - back)) + (added - back)) + rest
        self.squared.assign(ops.stack((new, lost)))

    def _add_counts(self, counts: Tensor) -> None:
        """Add integers of a batch to the totals, and carry."""
        high = ops.floor_divide(counts, LIMB)
        low = self.totals[0] + ops.cast(counts - high * LIMB, "float32")
        carry = ops.floor(low / LIMB)
        high = self.totals[1] + ops.cast(high, "float32") + carry
        self.totals.assign(ops.stack((low - carry * LIMB, high)))

    def _name(self, found: dict[str, Tensor], name: str, values: Tensor) -> None:
        """Put a score of each class, and the mean of those that have one, under their names."""
        none = ops.isnan(values)
        held = ops.sum(ops.cast(ops.logical_not(none), values.dtype))
        found[f"mean_{name}"] = _ratio(ops.sum(ops.where(none, ops.zeros_like(values), values)), held)
        found |= {f"{name}_{one}": values[index] for index, one in enumerate(self.classes)}


def _ratio(part: Tensor, whole: Tensor) -> Tensor:
    return ops.where(whole > 0, part / ops.maximum(whole, 1), float("nan"))


def _count(masks: Tensor) -> Tensor:
    return ops.sum(ops.cast(masks, "int32"), axis=(0, 1, 2))


def _overlaps(predicted: Tensor, masks: Tensor) -> list[Tensor]:
    """Intersection, predicted and true pixels of every class, (C,) each."""
    return [_count(one) for one in (ops.logical_and(predicted, masks), predicted, masks)]


def _boundary(masks: Tensor, distance: int) -> Tensor:
    """`datasets.metrics.boundary` on the device."""
    outside = ops.cast(ops.logical_not(masks), "float32")
    outside = ops.pad(
        outside, ((0, 0), (distance, distance), (distance, distance), (0, 0)), constant_values=1
    )
    near, window = outside, 2 * distance + 1
    for size in ((window, 1), (1, window)):
        near = ops.max_pool(near, size, strides=1, padding="valid", data_format="channels_last")
    return ops.logical_and(masks, near > 0)
