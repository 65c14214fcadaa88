"""The metrics of `datasets.metrics`, counted on the device: a torchmetrics.Metric; needs torchmetrics."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from torchmetrics import Metric

from datasets.scores.metrics import (
    BOUNDARY,
    PER_CLASS,
    boundary_distance,
    check_activation,
    check_width,
    class_names,
    scores,
)


class SegmentationMetrics(Metric):
    """Adds up what `datasets.metrics.SegmentationMetrics` does, except boxes, from outputs and targets.

    The totals are exact integers and add up over processes. The box score is computed on the host, by
    `datasets.metrics`.

    Shapes: outputs (N, C, H, W); targets (N, C, H, W), or (N, H, W) for class indices; valid (N, H, W).

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

    is_differentiable = False
    full_state_update = False
    totals: Tensor
    squared: Tensor

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
        self.add_state("totals", torch.zeros(size, dtype=torch.int64), dist_reduce_fx="sum")
        # A sum and what its rounding lost: float64 where a device has only float32.
        self.add_state("squared", torch.zeros(2, len(self.classes)), dist_reduce_fx="sum")

    def update(self, outputs: Tensor, targets: Tensor, valid: Tensor | None = None) -> None:
        """Count one batch.

        Args:
            outputs: what the network gives.
            targets: masks, above 0 where the class is (mask values with "values"), or class indices.
            valid: which pixels count; all, when left out.

        Raises:
            ValueError: shapes that do not fit.
        """
        self._check(outputs, targets, valid)
        outputs, targets = outputs.detach(), targets.detach()
        if outputs.dtype != torch.float64:
            outputs = outputs.float()
        masks, inside = self._targets(targets, valid)
        predicted = self._decide(outputs)
        right = ((predicted == masks).all(dim=1) & inside).sum()
        if self.mask_values is not None and self.activation != "softmax":
            self._add_errors(outputs, targets, masks, inside)
        predicted, masks = predicted & inside[:, None], masks & inside[:, None]
        counts = [inside.sum()[None], right[None], *_overlaps(predicted, masks)]
        if self.boundary_width != 0:
            distance = self.boundary_width or boundary_distance(*outputs.shape[2:])
            counts += _overlaps(_boundary(predicted, distance), _boundary(masks, distance))
        self.totals = self.totals + torch.cat(counts)

    def compute(self) -> dict[str, Tensor]:
        """The scores of all that was counted, under the names of `datasets.metrics.flat`; NaN is no score."""
        totals = self.totals.double() if self.totals.device.type != "mps" else self.totals.float()
        groups = totals[2:].reshape(-1, 3, len(self.classes))
        found = {"pixel_accuracy": _ratio(totals[1], totals[0])}
        if self.mask_values is not None and self.activation != "softmax":
            self._name(found, "mse", _ratio(self.squared.to(totals).sum(dim=0), totals[0]))
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
        unsynced = not self._is_synced
        with self.sync_context(
            dist_sync_fn=self.dist_sync_fn,
            should_sync=unsynced,
            should_unsync=unsynced,
            distributed_available=self.distributed_available_fn,
        ):
            totals = self.totals.cpu().numpy()
            squared = self.squared.cpu().numpy().astype(np.float64).sum(axis=0)
        names = PER_CLASS if self.boundary_width == 0 else (*PER_CLASS, *BOUNDARY)
        found = dict(zip(names, totals[2:].reshape(len(names), -1), strict=True))
        found |= {"pixels": totals[0], "right": totals[1]}
        if self.mask_values is not None and self.activation != "softmax":
            found |= {"squared": squared, "measured": totals[0]}
        return found

    def report(self) -> dict[str, Any]:
        """The scores as numbers that JSON can hold, as `datasets.metrics.SegmentationMetrics.result` gives them."""
        return scores(self.classes, self.counts())

    def _check(self, outputs: Tensor, targets: Tensor, valid: Tensor | None) -> None:
        n, channels, *size = outputs.shape if outputs.ndim == 4 else (0, 0)
        if channels != len(self.classes) or tuple(targets.shape) not in {(n, *size), (n, channels, *size)}:
            raise ValueError(
                f"outputs must be (N, {len(self.classes)}, H, W) and targets alike or (N, H, W); got "
                f"outputs.shape={tuple(outputs.shape)}, targets.shape={tuple(targets.shape)}. Move their axes."
            )
        if valid is not None and tuple(valid.shape) != (n, *size):
            raise ValueError(f"valid must be (N, H, W); got valid.shape={tuple(valid.shape)}.")

    def _targets(self, targets: Tensor, valid: Tensor | None) -> tuple[Tensor, Tensor]:
        """The true masks, (N, C, H, W), and the pixels that count, (N, H, W)."""
        if targets.ndim == 4:
            masks = targets > 0
            inside = torch.ones_like(masks[:, 0])
        else:
            indices = torch.arange(len(self.classes), device=targets.device)
            masks = targets[:, None] == indices[:, None, None]
            inside = (
                torch.ones_like(masks[:, 0]) if self.ignore_index is None else targets != self.ignore_index
            )
        return masks, inside if valid is None else inside & valid.bool()

    def _decide(self, outputs: Tensor) -> Tensor:
        if self.activation == "softmax":
            indices = torch.arange(len(self.classes), device=outputs.device)
            return outputs.argmax(dim=1)[:, None] == indices[:, None, None]
        if self.activation == "values":
            return outputs > outputs.new_tensor(self.mask_values)[:, None, None] / 2
        return outputs > 0

    def _add_errors(self, outputs: Tensor, targets: Tensor, masks: Tensor, inside: Tensor) -> None:
        """Add the squared errors in units of mask values."""
        scale = outputs.new_tensor(self.mask_values)[:, None, None]
        values = outputs if self.activation == "values" else outputs.sigmoid() * scale
        given = self.activation == "values" and targets.ndim == 4
        true = targets.to(outputs) if given else masks * scale
        squares = torch.where(inside[:, None], (values - true) ** 2, 0).sum(dim=(0, 2, 3))
        total, lost = self.squared
        added = squares.to(total.dtype)
        new = total + added
        back = new - total
        lost = lost + ((total - (new - back)) + (added - back)) + (squares - added).to(total.dtype)
        self.squared = torch.stack((new, lost))

    def _name(self, found: dict[str, Tensor], name: str, values: Tensor) -> None:
        """Put a score of each class, and the mean of those that have one, under their names."""
        found[f"mean_{name}"] = values.nanmean()
        found |= {f"{name}_{one}": values[index] for index, one in enumerate(self.classes)}


def _ratio(part: Tensor, whole: Tensor) -> Tensor:
    return torch.where(whole > 0, part / whole.clamp(min=1), torch.nan)


def _overlaps(predicted: Tensor, masks: Tensor) -> list[Tensor]:
    """Intersection, predicted and true pixels of every class, (C,) each."""
    return [one.sum(dim=(0, 2, 3)) for one in (predicted & masks, predicted, masks)]


def _boundary(masks: Tensor, distance: int) -> Tensor:
    """`datasets.metrics.boundary` on the device."""
    inner, window = masks, 2 * distance + 1
    for axis, pad in ((2, (0, 0, distance + 1, distance)), (3, (distance + 1, distance))):
        # Sums of integers: exact, and the same in every run on a GPU too.
        sums = F.pad(inner.int(), pad).cumsum(axis, dtype=torch.int32)
        length = masks.shape[axis]
        inner = sums.narrow(axis, window, length) - sums.narrow(axis, 0, length) == window
    return masks & ~inner
