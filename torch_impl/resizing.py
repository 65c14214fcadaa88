"""Bilinear resizing to any size, by the one rule that both packages share."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor
from torch.nn import functional as F


def resize_to(images: Tensor, size: Sequence[int]) -> Tensor:
    """Resize bilinearly: centres of pixels at half numbers, the border repeated, no antialiasing.

    Shapes: (N, C, H, W) -> (N, C, *size).

    Args:
        images: floating, of any range.
        size: height and width wanted, in pixels.

    Returns:
        The resized images, in the same dtype.

    Source: PyTorch, torch.nn.functional.interpolate with align_corners=False.
    """
    return F.interpolate(images, tuple(size), mode="bilinear", align_corners=False)
