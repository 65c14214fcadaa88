"""U-Net as published, and the padded variant that most people mean by the name."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from torch_impl._network import check_images, cut, kaiming_normal, zero_biases
from torch_impl._shared.unet import LEVELS, check_image, check_options, input_size
from torch_impl.layers import BatchNorm2d, Conv2d, ConvTranspose2d, MaxPool2d


class DoubleConv(nn.Module):
    """Two 3 x 3 convolutions, each followed by ReLU.

    Shapes: (N, in_channels, H, W) -> (N, out_channels, H', W'), H' = H - 4, or H with `padded`.

    Args:
        in_channels: channels of the input.
        out_channels: channels of both convolutions' outputs.
        padded: whether the size is kept by a rim of zeros.
        batch_norm: whether a normalisation follows each convolution, in place of its bias.

    Source: Ronneberger, Fischer & Brox, "U-Net", section 2.
    """

    def __init__(
        self, in_channels: int, out_channels: int, padded: bool = False, batch_norm: bool = False
    ) -> None:
        super().__init__()
        rim, bias = int(padded), not batch_norm
        self.conv1 = Conv2d(in_channels, out_channels, 3, padding=rim, bias=bias)
        self.conv2 = Conv2d(out_channels, out_channels, 3, padding=rim, bias=bias)
        self.bn1 = BatchNorm2d(out_channels) if batch_norm else None
        self.bn2 = BatchNorm2d(out_channels) if batch_norm else None

    def forward(self, x: Tensor) -> Tensor:
        """Apply the block to `x`."""
        x = self.conv1(x)
        x = F.relu(x if self.bn1 is None else self.bn1(x))
        x = self.conv2(x)
        return F.relu(x if self.bn2 is None else self.bn2(x))


class UNet(nn.Module):
    """Down four halvings and up again; on the way up, features of the way down are joined to it.

    As published, the convolutions take no padding: 572 x 572 pixels give 388 x 388, those in the middle, and
    copies are cropped to fit. With `padded` the output has the input's size.

    Shapes: (N, in_channels, H, W) -> (N, num_classes, H', W'); H' = H - 184 with H = 16 * n + 124, at least 188;
        or with `padded` H' = H, at least 16.

    Args:
        in_channels: channels of the images.
        num_classes: channels of the output.
        padded: whether convolutions keep the size.
        batch_norm: whether each 3 x 3 convolution is normalised; not so in the paper.
        dropout: share of the values that training drops at the end of the way down.
        width: channels of the first convolution; each halving doubles them.

    Raises:
        ValueError: an option without a meaning, or an image of the wrong channels or size.

    Source: Ronneberger, Fischer & Brox, "U-Net: Convolutional Networks for Biomedical Image Segmentation", figure 1.
    """

    def __init__(
        self,
        in_channels: int = 1,
        num_classes: int = 2,
        padded: bool = False,
        batch_norm: bool = False,
        dropout: float = 0.5,
        width: int = 64,
    ) -> None:
        super().__init__()
        check_options(in_channels, num_classes, width, dropout)
        self.in_channels = in_channels
        self.num_classes = num_classes
        self.padded = padded
        self.batch_norm = batch_norm
        self.dropout = dropout
        self.width = width
        counts = [width * 2**level for level in range(LEVELS + 1)]
        pairs = list(zip([in_channels, *counts], counts, strict=False))
        self.pool = MaxPool2d(2)
        self.drop = nn.Dropout(dropout)
        self.contract = nn.ModuleList(DoubleConv(*pair, padded, batch_norm) for pair in pairs)
        rising = counts[::-1][:LEVELS]
        self.upconv = nn.ModuleList(ConvTranspose2d(count, count // 2, 2, 2) for count in rising)
        self.expand = nn.ModuleList(DoubleConv(count, count // 2, padded, batch_norm) for count in rising)
        self.head = Conv2d(width, num_classes, 1)
        kaiming_normal(self, "fan_in")
        zero_biases(self)

    def input_size(self, height: int, width: int) -> tuple[int, int]:
        """Height and width of the smallest input whose output has at least these."""
        return input_size(height, self.padded), input_size(width, self.padded)

    def forward(self, x: Tensor) -> Tensor:
        """Segment the images `x`."""
        check_images(x, self.in_channels)
        check_image(x.shape[2:], self.padded)
        copies = []
        for level, block in enumerate(self.contract):
            x = block(x if level == 0 else self.pool(x))
            x = self.drop(x) if level >= LEVELS - 1 else x
            copies.append(x)
        for level, (upconv, block) in enumerate(zip(self.upconv, self.expand, strict=True)):
            x = block(_beside(copies[LEVELS - 1 - level], upconv(x), self.padded))
        return self.head(x)


def _beside(copy: Tensor, x: Tensor, padded: bool) -> Tensor:
    """Put `copy` in front of the channels of `x`: cropped in the middle, or `x` made up by a last row of zeros."""
    if padded:
        open_size = not isinstance(x.shape[3], int)  # of an export for images of any size
        x = cut(F.pad(x, (0, 1, 0, 1)), 0, copy) if open_size or x.shape[2:] != copy.shape[2:] else x
    else:
        top, left = ((copy.shape[axis] - x.shape[axis]) // 2 for axis in (2, 3))
        copy = copy[:, :, top : top + x.shape[2], left : left + x.shape[3]]
    return torch.cat((copy, x), dim=1)
