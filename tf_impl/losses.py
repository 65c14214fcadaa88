"""Losses for masks, defined in `datasets.losses`: the mirror image of `torch_impl.losses`.

All compute in the outputs' type, and at least in float32. Keras' own losses round to Keras' floatx.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import keras
from keras import ops

from datasets.scores.losses import check_average, check_weights
from tf_impl._shapes import agree
from tf_impl.layers import register

Tensor: TypeAlias = Any


class _Loss(keras.losses.Loss):
    """One loss an image; Keras averages them. `call` gives the images' losses."""

    _computed = "float32"

    @property
    def dtype(self) -> str:
        """The type that Keras casts to and averages in: the outputs', and at least float32."""
        return self._computed

    def __call__(self, y_true: Tensor, y_pred: Tensor, sample_weight: Tensor | None = None) -> Tensor:
        """The loss of one batch; sample_weight, (N,), multiplies the images' losses."""
        outputs = ops.convert_to_tensor(y_pred)
        wide = keras.backend.standardize_dtype(outputs.dtype) == "float64"
        self._computed = "float64" if wide else "float32"
        if sample_weight is not None and not agree(sample_weight.shape, outputs.shape[:1]):
            raise ValueError(
                "sample_weight must be one number an image, (N,); got sample_weight.shape="
                f"{tuple(sample_weight.shape)}. Mark pixels that do not count with ignore_index."
            )
        return super().__call__(y_true, outputs, sample_weight)


@register
class MSELoss(_Loss):
    """The mean of all squared errors: the lecture's loss, on raw mask values.

    Shapes: outputs and targets (N, H, W, C) -> ().

    Source: lecture, "Training mUnet with MSE Loss" (Kak & Bouman, Purdue, 2025).
    """

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        """The loss of every image."""
        _same_shape(y_pred.shape, y_true.shape)
        return _mean(ops.square(y_pred - ops.cast(y_true, y_pred.dtype)), axis=(1, 2, 3))


@register
class BCEDiceLoss(_Loss):
    """Binary cross-entropy plus soft Dice loss on the logits of independent masks.

    The Dice loss is taken for each image and class and then averaged: a small object weighs as much as a large
    one, and the loss of a batch is the mean of the losses of its equal shares on several devices.

    Shapes: outputs and targets (N, H, W, C) -> ().

    Args:
        bce_weight: of the cross-entropy, 0 or more.
        dice_weight: of the Dice loss, 0 or more.
        smooth: keeps the loss of an empty mask finite, above 0, in pixels.
        absent: whether classes count in the Dice loss of images that have nothing of them. Where most images
            have few of the classes, that teaches a network to predict nothing.

    Raises:
        ValueError: a weight out of range.

    Source: Milletari, Navab, Ahmadi, "V-Net", 2016, for Dice as a loss; `datasets.losses.bce_dice`.
    """

    def __init__(
        self,
        bce_weight: float = 1.0,
        dice_weight: float = 1.0,
        smooth: float = 1.0,
        absent: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        check_weights(bce_weight, dice_weight, smooth)
        self.bce_weight = bce_weight
        self.dice_weight = dice_weight
        self.smooth = smooth
        self.absent = absent

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        """The loss of every image; targets are 0 to 1."""
        _same_shape(y_pred.shape, y_true.shape)
        targets = ops.cast(y_true, y_pred.dtype)
        bce = _mean(ops.binary_crossentropy(targets, y_pred, from_logits=True), axis=(1, 2, 3))
        p = ops.sigmoid(y_pred)
        both, sizes = ops.sum(p * targets, axis=(1, 2)), ops.sum(p + targets, axis=(1, 2))
        dice = 1 - (2 * both + self.smooth) / (sizes + self.smooth)
        if not self.absent:
            dice = dice * ops.cast(ops.max(targets, axis=(1, 2)) > 0, dice.dtype)
        dice = _mean(dice, axis=(-1,))
        return self.bce_weight * bce + self.dice_weight * dice

    def get_config(self) -> dict[str, Any]:
        """Give the constructor's arguments."""
        names = ("bce_weight", "dice_weight", "smooth", "absent")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}


@register
class CrossEntropyLoss(_Loss):
    """Softmax cross-entropy of label maps in which some pixels may have no label.

    Shapes: outputs (N, H, W, C), targets (N, H, W) of class indices -> ().

    Args:
        ignore_index: the class index of pixels that do not count; None where every pixel has a class.
        average: "pixels": over all pixels that count, as PyTorch does; "images": over each image's, then over
            the images, so that the loss of a batch is the mean of the losses of its equal shares.

    Raises:
        ValueError: an unknown average.

    Source: `torch.nn.CrossEntropyLoss`, except that a batch in which no pixel counts has loss 0.
    """

    def __init__(self, ignore_index: int | None = 255, average: str = "pixels", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        check_average(average)
        self.ignore_index = ignore_index
        self.average = average

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        """The loss of every image; with "pixels", its share of the batch's."""
        _same_shape(y_pred.shape[:-1], y_true.shape)
        targets = ops.cast(y_true, "int32")
        valid = self._valid(targets)
        index = ops.where(valid, targets, ops.zeros_like(targets))
        logs = ops.take_along_axis(ops.log_softmax(y_pred, axis=-1), index[..., None], axis=-1)[..., 0]
        losses = ops.sum(ops.where(valid, -logs, ops.zeros_like(logs)), axis=(1, 2))
        counts = ops.sum(ops.cast(valid, losses.dtype), axis=(1, 2))
        if self.average == "pixels":
            counts = ops.ones_like(counts) * _mean(counts)
            # The mean over the images of sum / (pixels / images) is the sum over all pixels.
            return losses / ops.where(counts > 0, counts, ops.ones_like(counts))
        return losses / ops.maximum(counts, 1)

    def _valid(self, targets: Tensor) -> Tensor:
        """Which pixels count."""
        if self.ignore_index is None:
            return ops.ones_like(targets, dtype="bool")
        return ops.not_equal(targets, self.ignore_index)

    def get_config(self) -> dict[str, Any]:
        """Give the constructor's arguments."""
        names = ("ignore_index", "average")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}


@register
class CrossEntropyDiceLoss(CrossEntropyLoss):
    """Softmax cross-entropy of label maps plus the soft Dice loss of the classes that an image has.

    A class with few pixels weighs as much in the Dice loss as the background.

    Shapes: outputs (N, H, W, C), targets (N, H, W) of class indices -> ().

    Args:
        ignore_index: the class index of pixels that do not count; None where every pixel has a class.
        average: of the cross-entropy, see `CrossEntropyLoss`.
        dice_weight: of the Dice loss, 0 or more.
        smooth: keeps the loss of few pixels tame, above 0, in pixels.

    Raises:
        ValueError: an unknown average, or a weight out of range.

    Source: Isensee et al., "nnU-Net", 2021; `datasets.losses.cross_entropy_dice`.
    """

    def __init__(
        self,
        ignore_index: int | None = 255,
        average: str = "pixels",
        dice_weight: float = 1.0,
        smooth: float = 1.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(ignore_index, average, **kwargs)
        check_weights(1, dice_weight, smooth)
        self.dice_weight = dice_weight
        self.smooth = smooth

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        """The loss of every image; with "pixels", the cross-entropy's share of the batch's."""
        loss = super().call(y_true, y_pred)
        p, targets = ops.softmax(y_pred, axis=-1), ops.cast(y_true, "int32")
        valid = self._valid(targets)
        index = ops.where(valid, targets, ops.zeros_like(targets))
        counted = ops.cast(valid, p.dtype)[..., None]
        t = ops.one_hot(index, p.shape[-1], dtype=p.dtype) * counted
        both, sizes = ops.sum(p * t, axis=(1, 2)), ops.sum(p * counted + t, axis=(1, 2))
        present = ops.cast(ops.max(t, axis=(1, 2)) > 0, p.dtype)
        dice = (1 - (2 * both + self.smooth) / (sizes + self.smooth)) * present
        dice = ops.sum(dice, axis=-1) / ops.maximum(ops.sum(present, axis=-1), 1)
        return loss + self.dice_weight * dice

    def get_config(self) -> dict[str, Any]:
        """Give the constructor's arguments."""
        return {**super().get_config(), "dice_weight": self.dice_weight, "smooth": self.smooth}


def _mean(x: Tensor, axis: tuple[int, ...] | None = None) -> Tensor:
    """The mean; on JAX keras.ops.mean computes in float32 for every type."""
    total = ops.sum(x, axis=axis)
    return total / ops.cast(ops.size(x) // ops.size(total), total.dtype)


def _same_shape(outputs: Any, targets: Any) -> None:
    """Refuse what would broadcast silently."""
    if not agree(outputs, targets):
        raise ValueError(
            f"outputs and targets must have the same N, H, W (and C); got {tuple(outputs)} and "
            f"{tuple(targets)}. Move their axes."
        )
