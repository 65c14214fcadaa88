"""A reconstruction of the lecture's fifth-generation network, which finds buildings in satellite images."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from torch_impl._network import check_images, cut, kaiming_normal
from torch_impl._shared.buildingnet import (
    BLOCKS,
    CHANNELS,
    DROPOUT,
    FUSE,
    LEVELS,
    UP,
    UP_SHORTCUT,
    check_options,
    widths,
)
from torch_impl.aspp import ASPP, conv_unit
from torch_impl.layers import BatchNorm2d, Conv2d, ConvTranspose2d
from torch_impl.resizing import resize_to
from torch_impl.resnet import Bottleneck


class UpBottleneck(nn.Module):
    """ResNet's bottleneck block with a transposed convolution in its middle, and one in its shortcut.

    Shapes: (N, in_channels, H, W) -> (N, out_channels, 2 * H, 2 * W).

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output, a multiple of 4.

    Source: lecture, slide 26 (Kak & Bouman, Purdue, 2025): bars are convolutions or transposed ones, BN, etc.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        inner = out_channels // 4
        self.conv1 = Conv2d(in_channels, inner, 1, bias=False)
        self.bn1 = BatchNorm2d(inner)
        self.conv2 = ConvTranspose2d(inner, inner, **UP, bias=False)
        self.bn2 = BatchNorm2d(inner)
        self.conv3 = Conv2d(inner, out_channels, 1, bias=False)
        self.bn3 = BatchNorm2d(out_channels)
        self.upsample = nn.Sequential(
            ConvTranspose2d(in_channels, out_channels, **UP_SHORTCUT, bias=False), BatchNorm2d(out_channels)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Apply the block to `x`."""
        out = F.relu(self.bn1(self.conv1(x)))
        out = F.relu(self.bn2(self.conv2(out)))
        return F.relu(self.bn3(self.conv3(out)) + self.upsample(x))


class UncertaintyAttention(nn.Module):
    """Stress the skipped features where a coarser prediction is undecided.

    Shapes: (N, channels, H, W) and scores (N, num_classes, h, w) -> (N, channels, H, W).

    Args:
        channels: of the features.

    Source: lecture, slide 26 (Kak & Bouman, Purdue, 2025) names it; `_shared/buildingnet.py` lists what this package chose.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels
        self.refine = conv_unit(channels, channels, 3)

    def forward(self, x: Tensor, scores: Tensor) -> Tensor:
        """Apply the block to the features `x`."""
        share = torch.sigmoid(resize_to(scores, x.shape[2:]))
        uncertainty = (4 * share * (1 - share)).amax(dim=1, keepdim=True)  # (N, 1, H, W)
        return self.refine(x * (1 + uncertainty))


class BuildingNet(nn.Module):
    """A U of bottleneck blocks with ASPP at the bottom, and skip connections that attend to what is undecided.

    This is a reconstruction from the lecture's description; `_shared/buildingnet.py` lists this package's choices.

    Shapes: (N, 3, H, W) -> a list of five (N, num_classes, H, W), the finest prediction first; without
        `deep_supervision` that one alone.

    Args:
        num_classes: channels of the outputs: independent masks.
        width: channels of the finest level, a multiple of 4; each halving doubles them.
        rates: of ASPP's 3 x 3 convolutions, in pixels of the bottom.
        deep_supervision: whether every level's prediction is given, for training on all of them.

    Raises:
        ValueError: an option without a meaning, or an input that is no batch of RGB images.

    Source: lecture, slides 24-27 (Kak & Bouman, Purdue, 2025), on arXiv 2112.05335, IEEE JSTARS 15 (2022).
    """

    def __init__(
        self,
        num_classes: int = 1,
        width: int = 64,
        rates: Sequence[int] = (2, 4, 6),
        deep_supervision: bool = True,
    ) -> None:
        super().__init__()
        check_options(num_classes, width, rates)
        self.num_classes = num_classes
        self.width = width
        self.rates = tuple(rates)
        self.deep_supervision = deep_supervision
        counts = widths(width)
        self.stem = conv_unit(CHANNELS, width, 3)
        self.down = nn.ModuleList(
            nn.Sequential(
                Bottleneck(counts[max(level - 1, 0)], count // 4, 1 if level == 0 else 2),
                *(Bottleneck(count, count // 4) for _ in range(BLOCKS - 1)),
            )
            for level, count in enumerate(counts)
        )
        self.aspp = ASPP(counts[-1], self.rates, counts[-1] // 4, fuse=FUSE, dropout=DROPOUT)
        rising = counts[-2::-1]  # the way up, the coarsest level first
        enter = (counts[-1] // 4, *rising)
        self.coarse = Conv2d(enter[0], num_classes, 1)
        self.up = nn.ModuleList(UpBottleneck(*pair) for pair in zip(enter, rising, strict=False))
        self.attention = nn.ModuleList(UncertaintyAttention(count) for count in rising)
        self.join = nn.ModuleList(Bottleneck(2 * count, count // 4) for count in rising)
        self.heads = nn.ModuleList(Conv2d(count, num_classes, 1) for count in rising)
        kaiming_normal(self)

    def forward(self, x: Tensor) -> Tensor | list[Tensor]:
        """Segment the images `x`."""
        check_images(x, CHANNELS)
        skips, y = [], self.stem(x)
        for block in self.down:
            y = block(y)
            skips.append(y)
        y = self.aspp(skips.pop())  # (N, 4 * width, H/16, W/16)
        scores = [self.coarse(y)]
        for level in range(LEVELS):
            skip = skips.pop()
            y = cut(self.up[level](y), 0, skip)
            y = self.join[level](torch.cat((self.attention[level](skip, scores[-1]), y), dim=1))
            scores.append(self.heads[level](y))
        if not self.deep_supervision:
            return scores[-1]
        return [resize_to(each, x.shape[2:]) for each in reversed(scores)]
