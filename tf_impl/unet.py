"""U-Net as published, and the padded variant that most people mean by the name."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from tf_impl._functional import Tensor
from tf_impl._network import arguments, check_images, cut, kaiming_normal, spec, zero_biases
from tf_impl._shared.unet import LEVELS, check_image, check_options, input_size, output_size
from tf_impl.layers import BatchNorm2d, Conv2d, ConvTranspose2d, MaxPool2d, Shape, register


@register
class DoubleConv(keras.layers.Layer):
    """Two 3 x 3 convolutions, each followed by ReLU.

    Shapes: (N, H, W, in_channels) -> (N, H', W', out_channels), H' = H - 4, or H with `padded`.

    Args:
        in_channels: channels of the input.
        out_channels: channels of both convolutions' outputs.
        padded: whether the size is kept by a rim of zeros.
        batch_norm: whether a normalisation follows each convolution, in place of its bias.

    Source: Ronneberger, Fischer & Brox, "U-Net", section 2.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        padded: bool = False,
        batch_norm: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        rim, bias = int(padded), not batch_norm
        dtype = {"dtype": self.dtype_policy}
        with keras.name_scope(self.name, caller=self):
            self.conv1 = Conv2d(in_channels, out_channels, 3, padding=rim, bias=bias, **dtype, name="conv1")
            self.conv2 = Conv2d(out_channels, out_channels, 3, padding=rim, bias=bias, **dtype, name="conv2")
            self.bn1 = BatchNorm2d(out_channels, **dtype, name="bn1") if batch_norm else None
            self.bn2 = BatchNorm2d(out_channels, **dtype, name="bn2") if batch_norm else None
        self.built = True

    def call(self, x: Tensor, training: bool | None = None) -> Tensor:
        """Apply the block to `x`."""
        x = self.conv1(x)
        x = ops.relu(x if self.bn1 is None else self.bn1(x, training=training))
        x = self.conv2(x)
        return ops.relu(x if self.bn2 is None else self.bn2(x, training=training))


@register
class UNet(keras.Model):
    """Down four halvings and up again; on the way up, features of the way down are joined to it.

    As published, the convolutions take no padding: 572 x 572 pixels give 388 x 388, those in the middle, and
    copies are cropped to fit. With `padded` the output has the input's size.

    Shapes: (N, H, W, in_channels) -> (N, H', W', num_classes); H' = H - 184 with H = 16 * n + 124, at least 188;
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
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        check_options(in_channels, num_classes, width, dropout)
        self.in_channels = in_channels
        self.num_classes = num_classes
        self.padded = padded
        self.batch_norm = batch_norm
        self.dropout = dropout
        self.width = width
        counts = [width * 2**level for level in range(LEVELS + 1)]
        pairs = list(zip([in_channels, *counts], counts, strict=False))
        rising = counts[::-1][:LEVELS]
        self.input_spec = spec(in_channels)
        dtype = {"dtype": self.dtype_policy}
        kind = {"padded": padded, "batch_norm": batch_norm, **dtype}
        with keras.name_scope(self.name, caller=self):
            self.pool = MaxPool2d(2, **dtype, name="pool")
            self.drop = keras.layers.Dropout(dropout, **dtype, name="drop")
            self.contract = [DoubleConv(*pair, **kind, name=f"contract_{i}") for i, pair in enumerate(pairs)]
            self.upconv = [
                ConvTranspose2d(count, count // 2, 2, 2, **dtype, name=f"upconv_{i}")
                for i, count in enumerate(rising)
            ]
            self.expand = [
                DoubleConv(count, count // 2, **kind, name=f"expand_{i}") for i, count in enumerate(rising)
            ]
            self.head = Conv2d(width, num_classes, 1, **dtype, name="head")
        kaiming_normal(self, "fan_in")
        zero_biases(self)
        self.built = True

    def input_size(self, height: int, width: int) -> tuple[int, int]:
        """Height and width of the smallest input whose output has at least these."""
        return input_size(height, self.padded), input_size(width, self.padded)

    def call(self, x: Tensor, training: bool | None = None) -> Tensor:
        """Segment the images `x`."""
        check_images(x, self.in_channels)
        check_image(x.shape[1:3], self.padded)
        copies = []
        for level, block in enumerate(self.contract):
            x = block(x if level == 0 else self.pool(x), training=training)
            x = self.drop(x, training=training) if level >= LEVELS - 1 else x
            copies.append(x)
        for level, (upconv, block) in enumerate(zip(self.upconv, self.expand, strict=True)):
            x = block(_beside(copies[LEVELS - 1 - level], upconv(x), self.padded), training=training)
        return self.head(x)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Give the output's shape; an unknown size stays unknown."""
        check_image(input_shape[1:3], self.padded)
        sizes = (output_size(size, self.padded) for size in input_shape[1:3])
        return (input_shape[0], *sizes, self.num_classes)

    def get_config(self) -> dict[str, Any]:
        """Give the constructor's arguments."""
        names = ("in_channels", "num_classes", "padded", "batch_norm", "dropout", "width")
        return arguments(self, names)


def _beside(copy: Tensor, x: Tensor, padded: bool) -> Tensor:
    """Put `copy` in front of the channels of `x`: cropped in the middle, or `x` made up by a last row of zeros."""
    if padded:
        grown = ops.pad(x, ((0, 0), (0, 1), (0, 1), (0, 0)))
        x = cut(grown, 0, copy) if x.shape[1:3] != copy.shape[1:3] or None in x.shape[1:3] else x
    else:
        (_, rows, columns, _), (_, height, width, _) = ops.shape(copy), ops.shape(x)
        top, left = (rows - height) // 2, (columns - width) // 2
        copy = copy[:, top : top + height, left : left + width]
    return ops.concatenate((copy, x), axis=-1)
