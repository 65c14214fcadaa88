"""Losses for masks, defined in `datasets.losses`: the mirror image of `tf_impl.losses`.

All compute in the outputs' type, and at least in float32.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from datasets.scores.losses import check_average, check_weights


class MSELoss(nn.Module):
    """The mean of all squared errors: the lecture's loss, on raw mask values.

    Shapes: outputs and targets (N, C, H, W) -> ().

    Source: lecture, "Training mUnet with MSE Loss" (Kak & Bouman, Purdue, 2025).
    """

    def forward(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """The loss of one batch."""
        _same_shape(outputs, targets)
        outputs = _wide(outputs)
        return (outputs - targets.to(outputs.dtype)).square().mean()


class BCEDiceLoss(nn.Module):
    """Binary cross-entropy plus soft Dice loss on the logits of independent masks.

    The Dice loss is taken for each image and class and then averaged: a small object weighs as much as a large
    one, and the loss of a batch is the mean of the losses of its equal shares on several devices.

    Shapes: outputs and targets (N, C, H, W) -> ().

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
        self, bce_weight: float = 1.0, dice_weight: float = 1.0, smooth: float = 1.0, absent: bool = True
    ) -> None:
        super().__init__()
        check_weights(bce_weight, dice_weight, smooth)
        self.bce_weight = bce_weight
        self.dice_weight = dice_weight
        self.smooth = smooth
        self.absent = absent

    def forward(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """The loss of one batch; targets are 0 to 1."""
        _same_shape(outputs, targets)
        outputs = _wide(outputs)
        targets = targets.to(outputs.dtype)
        bce = F.binary_cross_entropy_with_logits(outputs, targets)
        p = outputs.sigmoid()
        both, sizes = (p * targets).sum(dim=(2, 3)), (p + targets).sum(dim=(2, 3))
        dice = 1 - (2 * both + self.smooth) / (sizes + self.smooth)
        if not self.absent:
            dice = dice * (targets.amax(dim=(2, 3)) > 0)
        dice = dice.mean()
        return self.bce_weight * bce + self.dice_weight * dice

    def extra_repr(self) -> str:
        """The arguments, for printing."""
        return (
            f"bce_weight={self.bce_weight}, dice_weight={self.dice_weight}, smooth={self.smooth}, "
            f"absent={self.absent}"
        )


class CrossEntropyLoss(nn.Module):
    """Softmax cross-entropy of label maps in which some pixels may have no label.

    Shapes: outputs (N, C, H, W), targets (N, H, W) of class indices -> ().

    Args:
        ignore_index: the class index of pixels that do not count; None where every pixel has a class.
        average: "pixels": over all pixels that count, as PyTorch does; "images": over each image's, then over
            the images, so that the loss of a batch is the mean of the losses of its equal shares.

    Raises:
        ValueError: an unknown average.

    Source: `torch.nn.CrossEntropyLoss`, except that a batch in which no pixel counts has loss 0.
    """

    def __init__(self, ignore_index: int | None = 255, average: str = "pixels") -> None:
        super().__init__()
        check_average(average)
        self.ignore_index = ignore_index
        self.average = average

    def forward(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """The loss of one batch."""
        _same_shape(outputs[:, 0], targets)
        targets = targets.long()
        valid = self._valid(targets)
        losses = F.cross_entropy(_wide(outputs), targets.where(valid, 0), reduction="none")
        losses = losses.where(valid, 0)
        if self.average == "pixels":
            return losses.sum() / valid.sum().clamp(min=1)
        return (losses.sum(dim=(1, 2)) / valid.sum(dim=(1, 2)).clamp(min=1)).mean()

    def _valid(self, targets: Tensor) -> Tensor:
        """Which pixels count."""
        if self.ignore_index is None:
            return torch.ones_like(targets, dtype=torch.bool)
        return targets != self.ignore_index

    def extra_repr(self) -> str:
        """The arguments, for printing."""
        return f"ignore_index={self.ignore_index}, average={self.average}"


class CrossEntropyDiceLoss(CrossEntropyLoss):
    """Softmax cross-entropy of label maps plus the soft Dice loss of the classes that an image has.

    A class with few pixels weighs as much in the Dice loss as the background.

    Shapes: outputs (N, C, H, W), targets (N, H, W) of class indices -> ().

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
    ) -> None:
        super().__init__(ignore_index, average)
        check_weights(1, dice_weight, smooth)
        self.dice_weight = dice_weight
        self.smooth = smooth

    def forward(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """The loss of one batch."""
        loss = super().forward(outputs, targets)
        p, targets = _wide(outputs).softmax(dim=1), targets.long()
        valid = self._valid(targets)
        t = F.one_hot(targets.where(valid, 0), p.shape[1]).movedim(-1, 1) * valid[:, None]
        both, sizes = (p * t).sum(dim=(2, 3)), (p * valid[:, None] + t).sum(dim=(2, 3))
        present = t.amax(dim=(2, 3)) > 0
        dice = (1 - (2 * both + self.smooth) / (sizes + self.smooth)) * present
        dice = dice.sum(dim=1) / present.sum(dim=1).clamp(min=1)
        return loss + self.dice_weight * dice.mean()

    def extra_repr(self) -> str:
        """The arguments, for printing."""
        return f"{super().extra_repr()}, dice_weight={self.dice_weight}, smooth={self.smooth}"


def _wide(outputs: Tensor) -> Tensor:
    """The outputs in float32, or in float64 if they are."""
    return outputs if outputs.dtype == torch.float64 else outputs.float()


def _same_shape(outputs: Tensor, targets: Tensor) -> None:
    """Refuse what would broadcast silently."""
    if outputs.shape != targets.shape:
        raise ValueError(
            f"outputs and targets must have the same N, H, W (and C); got {tuple(outputs.shape)} and "
            f"{tuple(targets.shape)}. Move their axes."
        )
