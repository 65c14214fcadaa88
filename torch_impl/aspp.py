"""Atrous convolutions side by side, which see the same features at several scales."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from torch_impl._shared.deeplab import check_branches
from torch_impl.layers import BatchNorm2d, Conv2d


class DepthwiseConv2d(Conv2d):
    """Correlate each channel with a kernel of its own.

    Shapes: (N, channels, H, W) -> (N, channels, H', W'), H' = H + 2*padding - dilation*(kernel_size - 1).

    Args:
        channels: of the input and of the output.
        kernel_size: pixels.
        padding: zeros added at each side.
        dilation: distance of the kernel's taps in pixels.

    Source: Chollet, "Xception: Deep Learning with Depthwise Separable Convolutions".
    """

    def __init__(self, channels: int, kernel_size: int, padding: int = 0, dilation: int = 1) -> None:
        super().__init__(
            channels, channels, kernel_size, padding=padding, dilation=dilation, groups=channels, bias=False
        )
        self.channels = channels


def conv_unit(in_channels: int, out_channels: int, kernel_size: int = 1, rate: int = 1) -> nn.Sequential:
    """Make a convolution that keeps the size, its normalisation, and ReLU.

    Shapes: (N, in_channels, H, W) -> (N, out_channels, H, W).

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        kernel_size: pixels, odd.
        rate: distance of the kernel's taps in pixels.
    """
    rim = rate * (kernel_size // 2)
    conv = Conv2d(in_channels, out_channels, kernel_size, padding=rim, dilation=rate, bias=False)
    return nn.Sequential(conv, BatchNorm2d(out_channels), nn.ReLU())


def separable_unit(in_channels: int, out_channels: int, kernel_size: int = 3, rate: int = 1) -> nn.Sequential:
    """Make `conv_unit` of two convolutions: a kernel for each channel, then 1 x 1, both normalised and with ReLU.

    Shapes: (N, in_channels, H, W) -> (N, out_channels, H, W).

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        kernel_size: pixels, odd.
        rate: distance of the kernel's taps in pixels.

    Source: Chen et al., "Encoder-Decoder with Atrous Separable Convolution", section 3.1 and figure 3.
    """
    depthwise = DepthwiseConv2d(in_channels, kernel_size, rate * (kernel_size // 2), rate)
    pointwise = Conv2d(in_channels, out_channels, 1, bias=False)
    return nn.Sequential(
        depthwise, BatchNorm2d(in_channels), nn.ReLU(), pointwise, BatchNorm2d(out_channels), nn.ReLU()
    )


class ImagePooling(nn.Sequential):
    """Average the whole picture, convolve 1 x 1, and give the result to every pixel.

    Shapes: (N, in_channels, H, W) -> (N, out_channels, H, W).

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.

    Source: Chen et al., "Rethinking Atrous Convolution", section 3.3; the bilinear resize of one pixel is that pixel.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(nn.AdaptiveAvgPool2d(1), *conv_unit(in_channels, out_channels))

    def forward(self, x: Tensor) -> Tensor:
        """Apply the block to `x`."""
        return super().forward(x).expand(-1, -1, *x.shape[2:])


class ASPP(nn.Module):
    """Atrous spatial pyramid pooling: 1 x 1, 3 x 3 at several rates, and the whole picture, side by side.

    Shapes: (N, in_channels, H, W) -> (N, out_channels, H, W).

    Args:
        in_channels: channels of the input.
        rates: dilation of each 3 x 3 convolution, in pixels.
        out_channels: channels of each branch and of the output.
        separable: whether the 3 x 3 convolutions are depthwise separable.
        fuse: size of the kernel that makes the output of all branches.
        dropout: share of the output that training drops.

    Raises:
        ValueError: no rate, or a number out of range.

    Source: Chen et al., "Rethinking Atrous Convolution", figure 5; the state_dict has torchvision's names.
    """

    def __init__(
        self,
        in_channels: int,
        rates: Sequence[int] = (12, 24, 36),
        out_channels: int = 256,
        separable: bool = False,
        fuse: int = 1,
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        check_branches(in_channels, out_channels, rates)
        self.in_channels = in_channels
        self.rates = tuple(rates)
        self.out_channels = out_channels
        self.separable = separable
        self.fuse = fuse
        self.dropout = dropout
        unit = separable_unit if separable else conv_unit
        convs: list[nn.Module] = [conv_unit(in_channels, out_channels)]
        convs += [unit(in_channels, out_channels, 3, rate) for rate in self.rates]
        convs.append(ImagePooling(in_channels, out_channels))
        self.convs = nn.ModuleList(convs)
        joined = conv_unit(len(convs) * out_channels, out_channels, fuse)
        self.project = nn.Sequential(*joined, nn.Dropout(dropout))

    def forward(self, x: Tensor) -> Tensor:
        """Apply the block to `x`."""
        return self.project(torch.cat([branch(x) for branch in self.convs], dim=1))


class AtrousBranches(nn.Module):
    """Scores of the classes from atrous convolutions side by side, added up or weighed by a 1 x 1 convolution.

    Shapes: (N, in_channels, H, W) -> (N, num_classes, H, W).

    Args:
        in_channels: channels of the input.
        num_classes: channels of each branch and of the output.
        rates: dilation of each 3 x 3 convolution, in pixels.
        pooling: "sum" adds the branches (DeepLab v2); "concat" puts them and a 1 x 1 convolution side by side
            in front of another 1 x 1 convolution (the lecture).
        hidden: channels of two further layers in each branch, or 0 for none (with VGG16 the paper has 1024).

    Raises:
        ValueError: no rate, or an option without a meaning.

    Source: Chen et al., "DeepLab" (v2), figure 7; lecture, slides 20-21 (Kak & Bouman, Purdue, 2025).
    """

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        rates: Sequence[int] = (6, 12, 18, 24),
        pooling: Literal["sum", "concat"] = "sum",
        hidden: int = 0,
    ) -> None:
        super().__init__()
        check_branches(in_channels, num_classes, rates, pooling)
        self.in_channels = in_channels
        self.num_classes = num_classes
        self.rates = tuple(rates)
        self.pooling = pooling
        self.hidden = hidden
        branches = [self._branch(3, rate) for rate in self.rates]
        if pooling == "concat":
            branches.insert(0, self._branch(1, 1))
            self.fuse = Conv2d(len(branches) * num_classes, num_classes, 1)
        self.branches = nn.ModuleList(branches)

    def _branch(self, kernel_size: int, rate: int) -> nn.Sequential:
        """Make one branch."""
        rim = rate * (kernel_size // 2)
        if not self.hidden:
            return nn.Sequential(
                Conv2d(self.in_channels, self.num_classes, kernel_size, padding=rim, dilation=rate)
            )
        return nn.Sequential(
            Conv2d(self.in_channels, self.hidden, kernel_size, padding=rim, dilation=rate),
            nn.ReLU(),
            nn.Dropout(0.5),
            Conv2d(self.hidden, self.hidden, 1),
            nn.ReLU(),
            nn.Dropout(0.5),
            Conv2d(self.hidden, self.num_classes, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Apply the block to `x`."""
        scores = [branch(x) for branch in self.branches]
        if self.pooling == "concat":
            return self.fuse(torch.cat(scores, dim=1))
        total = scores[0]
        for each in scores[1:]:
            total = total + each
        return total
