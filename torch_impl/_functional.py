"""What the layers compute, in torch's functions alone; channels first."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from torch_impl._shared.arguments import Pair


def pixels_lie_together(x: Tensor) -> bool:
    """Whether the channels of each pixel are neighbours in memory (torch.channels_last)."""
    return x.ndim == 4 and x.is_contiguous(memory_format=torch.channels_last)


def with_zeros(x: Tensor, stride: Pair, crops: tuple[Pair, Pair]) -> Tensor:
    """Put stride - 1 zeros between neighbours, then cut `crops` off the start and the end of both axes.

    Shapes: (N, C, H, W) -> (N, C, (H - 1)*stride + 1 - cut, ...), in channels_last format.
    """
    (down, right), ((top, bottom), (left, after)) = stride, crops
    batch, channels, height, width = x.shape
    pixels = x.permute(0, 2, 3, 1)[:, :, None, :, None]  # (N, H, 1, W, 1, C)
    pixels = F.pad(pixels, (0, 0, 0, right - 1, 0, 0, 0, down - 1))
    y = pixels.reshape(batch, height * down, width * right, channels)
    cuts = (left, after + right - 1, top, bottom + down - 1)
    if any(cuts):
        y = F.pad(y, (0, 0, *(-cut for cut in cuts)))
    return y.permute(0, 3, 1, 2)
