"""What the losses of `tf_impl.losses` and `torch_impl.losses` compute, in NumPy and float64."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from datasets.errors import SettingsError

AVERAGES = ("pixels", "images")


def mse(outputs: NDArray[Any], targets: NDArray[Any]) -> float:
    """The mean of all squared errors.

    Shapes: outputs, targets (N, C, H, W).
    """
    return float(np.mean((outputs.astype(np.float64) - targets) ** 2))


def bce_dice(
    outputs: NDArray[Any],
    targets: NDArray[Any],
    bce_weight: float = 1.0,
    dice_weight: float = 1.0,
    smooth: float = 1.0,
    absent: bool = True,
) -> float:
    """bce_weight times the mean binary cross-entropy plus dice_weight times the mean soft Dice loss.

    The Dice loss of one image and one class is 1 - (2 sum p t + smooth) / (sum p + sum t + smooth) over its
    pixels, p the probability; the mean is over images and classes. Without `absent` it is 0 where the image has
    nothing of the class.

    Shapes: outputs, targets (N, C, H, W).
    Args:
        outputs: logits of independent masks.
        targets: 0 to 1.
        bce_weight: of the cross-entropy, 0 or more.
        dice_weight: of the Dice loss, 0 or more.
        smooth: keeps the loss of an empty mask finite, above 0, in pixels.
        absent: whether classes count in the Dice loss of images that have nothing of them.
    Source: Milletari, Navab, Ahmadi, "V-Net", 2016 (Dice as a loss), with sums in place of sums of squares.
    """
    x, t = outputs.astype(np.float64), targets.astype(np.float64)
    bce = np.mean(np.logaddexp(0, x) - x * t)
    p = np.exp(-np.logaddexp(0, -x))
    both, sizes = (p * t).sum(axis=(2, 3)), (p + t).sum(axis=(2, 3))
    counted = np.ones(both.shape, bool) if absent else t.max(axis=(2, 3)) > 0
    dice = np.mean(np.where(counted, 1 - (2 * both + smooth) / (sizes + smooth), 0))
    return float(bce_weight * bce + dice_weight * dice)


def cross_entropy(
    outputs: NDArray[Any],
    targets: NDArray[np.integer],
    ignore_index: int | None = 255,
    average: str = "pixels",
) -> float:
    """The mean of minus the logarithm of the true class's softmax probability; 0 where no pixel counts.

    Shapes: outputs (N, C, H, W); targets (N, H, W).
    Args:
        outputs: logits of classes that exclude each other.
        targets: class indices.
        ignore_index: the class index of pixels that do not count.
        average: "pixels": over all pixels that count; "images": over each image's, then over the images.
    """
    check_average(average)
    x = outputs.astype(np.float64)
    x = x - x.max(axis=1, keepdims=True)
    logs = x - np.log(np.exp(x).sum(axis=1, keepdims=True))
    valid = np.ones(targets.shape, bool) if ignore_index is None else targets != ignore_index
    index = np.where(valid, targets, 0).astype(np.int64)
    losses = np.where(valid, -np.take_along_axis(logs, index[:, None], axis=1)[:, 0], 0)
    if average == "pixels":
        return float(losses.sum() / max(valid.sum(), 1))
    return float(np.mean(losses.sum(axis=(1, 2)) / np.maximum(valid.sum(axis=(1, 2)), 1)))


def cross_entropy_dice(
    outputs: NDArray[Any],
    targets: NDArray[np.integer],
    ignore_index: int | None = 255,
    average: str = "pixels",
    dice_weight: float = 1.0,
    smooth: float = 1.0,
) -> float:
    """The cross-entropy plus dice_weight times the mean soft Dice loss of the classes that an image has.

    The Dice loss of one image and one class is 1 - (2 sum p t + smooth) / (sum p + sum t + smooth) over the pixels
    that count, p the softmax probability; the mean is over the image's classes, then over the images.

    Shapes: outputs (N, C, H, W); targets (N, H, W).
    Args:
        outputs: logits of classes that exclude each other.
        targets: class indices.
        ignore_index: the class index of pixels that do not count.
        average: of the cross-entropy, see `cross_entropy`.
        dice_weight: of the Dice loss, 0 or more.
        smooth: keeps the loss of few pixels tame, above 0, in pixels.
    Source: Isensee et al., "nnU-Net", 2021 (the sum of the two), with the classes present alone.
    """
    check_weights(1, dice_weight, smooth)
    x = outputs.astype(np.float64)
    p = np.exp(x - x.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    valid = np.ones(targets.shape, bool) if ignore_index is None else targets != ignore_index
    t = (targets[:, None] == np.arange(x.shape[1])[:, None, None]) & valid[:, None]
    both, sizes = (p * t).sum(axis=(2, 3)), (p * valid[:, None] + t).sum(axis=(2, 3))
    present = t.any(axis=(2, 3))
    dice = np.where(present, 1 - (2 * both + smooth) / (sizes + smooth), 0)
    dice = dice.sum(axis=1) / np.maximum(present.sum(axis=1), 1)
    return cross_entropy(outputs, targets, ignore_index, average) + dice_weight * float(dice.mean())


def check_weights(bce_weight: float, dice_weight: float, smooth: float) -> None:
    """Refuse negative weights, weights that are all 0, and a smooth that does not keep the loss finite."""
    if min(bce_weight, dice_weight) < 0 or bce_weight + dice_weight <= 0:
        raise SettingsError(
            "bce_weight and dice_weight must be 0 or more, and one of them above it; got "
            f"bce_weight={bce_weight}, dice_weight={dice_weight}. Try 1 and 1."
        )
    if not smooth > 0:
        raise SettingsError(
            f"smooth must be above 0, or an empty mask has no loss; got smooth={smooth}. Try 1."
        )


def check_average(average: str) -> None:
    """Refuse an average that is not one of AVERAGES."""
    if average not in AVERAGES:
        raise SettingsError(f"average must be one of {AVERAGES}; got average={average!r}.")
