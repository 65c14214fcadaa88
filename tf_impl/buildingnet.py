"""A reconstruction of the lecture's fifth-generation network, which finds buildings in satellite images."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import keras
from keras import ops

from tf_impl._functional import Tensor
from tf_impl._network import Chain, arguments, check_images, cut, kaiming_normal, size_of, spec
from tf_impl._shared.buildingnet import (
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
from tf_impl.aspp import ASPP, conv_unit
from tf_impl.layers import BatchNorm2d, Conv2d, ConvTranspose2d, Shape, register
from tf_impl.resizing import resize_to
from tf_impl.resnet import Bottleneck


@register
class UpBottleneck(keras.layers.Layer):
    """ResNet's bottleneck block with a transposed convolution in its middle, and one in its shortcut.

    Shapes: (N, H, W, in_channels) -> (N, 2 * H, 2 * W, out_channels).

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output, a multiple of 4.

    Source: lecture, slide 26 (Kak & Bouman, Purdue, 2025): bars are convolutions or transposed ones, BN, etc.
    """

    def __init__(self, in_channels: int, out_channels: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        inner = out_channels // 4
        dtype = {"dtype": self.dtype_policy}
        with keras.name_scope(self.name, caller=self):
            self.conv1 = Conv2d(in_channels, inner, 1, bias=False, **dtype, name="conv1")
            self.bn1 = BatchNorm2d(inner, **dtype, name="bn1")
            self.conv2 = ConvTranspose2d(inner, inner, **UP, bias=False, **dtype, name="conv2")
            self.bn2 = BatchNorm2d(inner, **dtype, name="bn2")
            self.conv3 = Conv2d(inner, out_channels, 1, bias=False, **dtype, name="conv3")
            self.bn3 = BatchNorm2d(out_channels, **dtype, name="bn3")
            self.upsample = Chain(
                [
                    partial(ConvTranspose2d, in_channels, out_channels, **UP_SHORTCUT, bias=False),
                    partial(BatchNorm2d, out_channels),
                ],
                **dtype,
                name="upsample",
            )
        self.built = True

    def call(self, x: Tensor, training: bool | None = None) -> Tensor:
        """Apply the block to `x`."""
        mode = {"training": training}
        out = ops.relu(self.bn1(self.conv1(x), **mode))
        out = ops.relu(self.bn2(self.conv2(out), **mode))
        return ops.relu(self.bn3(self.conv3(out), **mode) + self.upsample(x, **mode))


@register
class UncertaintyAttention(keras.layers.Layer):
    """Stress the skipped features where a coarser prediction is undecided.

    Shapes: (N, H, W, channels) and scores (N, h, w, num_classes) -> (N, H, W, channels).

    Args:
        channels: of the features.

    Source: lecture, slide 26 (Kak & Bouman, Purdue, 2025) names it; `_shared/buildingnet.py` lists what this package chose.
    """

    def __init__(self, channels: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.channels = channels
        with keras.name_scope(self.name, caller=self):
            self.refine = conv_unit(channels, channels, 3, dtype=self.dtype_policy, name="refine")
        self.built = True

    def call(self, x: Tensor, scores: Tensor, training: bool | None = None) -> Tensor:
        """Apply the block to the features `x`."""
        share = ops.sigmoid(resize_to(scores, size_of(x)))
        uncertainty = ops.max(4 * share * (1 - share), axis=-1, keepdims=True)  # (N, H, W, 1)
        return self.refine(x * (1 + uncertainty), training=training)


@register
class BuildingNet(keras.Model):
    """A U of bottleneck blocks with ASPP at the bottom, and skip connections that attend to what is undecided.

    This is a reconstruction from the lecture's description; `_shared/buildingnet.py` lists this package's choices.

    Shapes: (N, H, W, 3) -> a list of five (N, H, W, num_classes), the finest prediction first; without
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
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        check_options(num_classes, width, rates)
        self.num_classes = num_classes
        self.width = width
        self.rates = tuple(rates)
        self.deep_supervision = deep_supervision
        self.input_spec = spec(CHANNELS)
        with keras.name_scope(self.name, caller=self):
            self._make_layers(widths(width))
        kaiming_normal(self)
        self.built = True

    def _make_layers(self, counts: Sequence[int]) -> None:
        dtype = {"dtype": self.dtype_policy}
        self.stem = conv_unit(CHANNELS, counts[0], 3, **dtype, name="stem")
        self.down = []
        for level, count in enumerate(counts):
            first = partial(Bottleneck, counts[max(level - 1, 0)], count // 4, 1 if level == 0 else 2)
            rest = [partial(Bottleneck, count, count // 4) for _ in range(BLOCKS - 1)]
            self.down.append(Chain([first, *rest], **dtype, name=f"down_{level}"))
        inner = counts[-1] // 4
        self.aspp = ASPP(counts[-1], self.rates, inner, fuse=FUSE, dropout=DROPOUT, **dtype, name="aspp")
        self.coarse = Conv2d(inner, self.num_classes, 1, **dtype, name="coarse")
        self.up, self.attention, self.join, self.heads = [], [], [], []
        for level, count in enumerate(counts[-2::-1]):  # the way up, the coarsest level first
            self.up.append(UpBottleneck(inner, count, **dtype, name=f"up_{level}"))
            self.attention.append(UncertaintyAttention(count, **dtype, name=f"attention_{level}"))
            self.join.append(Bottleneck(2 * count, count // 4, **dtype, name=f"join_{level}"))
            self.heads.append(Conv2d(count, self.num_classes, 1, **dtype, name=f"heads_{level}"))
            inner = count

    def call(self, x: Tensor, training: bool | None = None) -> Tensor | list[Tensor]:
        """Segment the images `x`."""
        check_images(x, CHANNELS)
        mode = {"training": training}
        skips, y = [], self.stem(x, **mode)
        for block in self.down:
            y = block(y, **mode)
            skips.append(y)
        y = self.aspp(skips.pop(), **mode)  # (N, H/16, W/16, 4 * width)
        scores = [self.coarse(y)]
        for level in range(LEVELS):
            skip = skips.pop()
            y = cut(self.up[level](y, **mode), 0, skip)
            attended = self.attention[level](skip, scores[-1], **mode)
            y = self.join[level](ops.concatenate((attended, y), axis=-1), **mode)
            scores.append(self.heads[level](y))
        if not self.deep_supervision:
            return scores[-1]
        return [resize_to(each, size_of(x)) for each in reversed(scores)]

    def compute_output_shape(self, input_shape: Shape) -> Shape | list[Shape]:
        """Give the output's shape; an unknown size stays unknown."""
        shape = (*input_shape[:3], self.num_classes)
        return [shape] * (LEVELS + 1) if self.deep_supervision else shape

    def get_config(self) -> dict[str, Any]:
        """Give the constructor's arguments."""
        return arguments(self, ("num_classes", "width", "rates", "deep_supervision"))
