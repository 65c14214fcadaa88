"""Atrous convolutions side by side, which see the same features at several scales."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, Literal

import keras
from keras import ops

from tf_impl._functional import Tensor
from tf_impl._network import Chain, Step, arguments, unit_steps
from tf_impl._shared.deeplab import check_branches
from tf_impl.layers import BatchNorm2d, Conv2d, Shape, register


@register
class DepthwiseConv2d(keras.layers.DepthwiseConv2D):
    """Correlate each channel with a kernel of its own.

    Shapes: (N, H, W, channels) -> (N, H', W', channels), H' = H + 2*padding - dilation*(kernel_size - 1).

    Args:
        channels: of the input and of the output.
        kernel_size: pixels.
        padding: zeros added at each side.
        dilation: distance of the kernel's taps in pixels.

    Source: Chollet, "Xception: Deep Learning with Depthwise Separable Convolutions".
    """

    def __init__(
        self, channels: int, kernel_size: int, padding: int = 0, dilation: int = 1, **kwargs: Any
    ) -> None:
        bound = 1 / kernel_size  # PyTorch's: 1 / sqrt(fan_in)
        super().__init__(
            kernel_size,
            use_bias=False,
            data_format="channels_last",
            depthwise_initializer=keras.initializers.RandomUniform(-bound, bound),
            **kwargs,
        )
        self.channels = channels
        self.padding = (padding, padding)
        self.dilation = self.dilation_rate = (dilation, dilation)
        self.build((None, None, None, channels))

    def call(self, inputs: Tensor) -> Tensor:
        """Correlate each channel of `inputs`."""
        x = ops.pad(inputs, ((0, 0), self.padding, self.padding, (0, 0)))
        return ops.depthwise_conv(
            x, self.kernel, 1, padding="valid", data_format="channels_last", dilation_rate=self.dilation
        )

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Give the output's shape; an unknown size stays unknown."""
        change = 2 * self.padding[0] - self.dilation[0] * (self.kernel_size[0] - 1)
        sizes = (None if size is None else size + change for size in input_shape[1:3])
        return (input_shape[0], *sizes, self.channels)

    def get_config(self) -> dict[str, Any]:
        """Give the constructor's arguments."""
        numbers = {name: getattr(self, name)[0] for name in ("kernel_size", "padding", "dilation")}
        return {**arguments(self, ("channels",)), **numbers}


def conv_unit(
    in_channels: int, out_channels: int, kernel_size: int = 1, rate: int = 1, **kwargs: Any
) -> Chain:
    """Make a convolution that keeps the size, its normalisation, and ReLU.

    Shapes: (N, H, W, in_channels) -> (N, H, W, out_channels).

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        kernel_size: pixels, odd.
        rate: distance of the kernel's taps in pixels.
    """
    return Chain(unit_steps(in_channels, out_channels, kernel_size, rate), **kwargs)


def separable_unit(
    in_channels: int, out_channels: int, kernel_size: int = 3, rate: int = 1, **kwargs: Any
) -> Chain:
    """Make `conv_unit` of two convolutions: a kernel for each channel, then 1 x 1, both normalised and with ReLU.

    Shapes: (N, H, W, in_channels) -> (N, H, W, out_channels).

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        kernel_size: pixels, odd.
        rate: distance of the kernel's taps in pixels.

    Source: Chen et al., "Encoder-Decoder with Atrous Separable Convolution", section 3.1 and figure 3.
    """
    depthwise = partial(DepthwiseConv2d, in_channels, kernel_size, rate * (kernel_size // 2), rate)
    between: list[Step] = [partial(BatchNorm2d, in_channels), keras.layers.ReLU]
    return Chain([depthwise, *between, *unit_steps(in_channels, out_channels)], **kwargs)


@register
class ImagePooling(Chain):
    """Average the whole picture, convolve 1 x 1, and give the result to every pixel.

    Shapes: (N, H, W, in_channels) -> (N, H, W, out_channels).

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.

    Source: Chen et al., "Rethinking Atrous Convolution", section 3.3; the bilinear resize of one pixel is that pixel.
    """

    def __init__(self, in_channels: int, out_channels: int, **kwargs: Any) -> None:
        super().__init__([None, *unit_steps(in_channels, out_channels)], **kwargs)

    def call(self, x: Tensor, training: bool | None = None) -> Tensor:
        """Apply the block to `x`."""
        pooled = super().call(ops.mean(x, axis=(1, 2), keepdims=True), training=training)
        return pooled * ops.ones_like(x[..., :1])


@register
class ASPP(keras.layers.Layer):
    """Atrous spatial pyramid pooling: 1 x 1, 3 x 3 at several rates, and the whole picture, side by side.

    Shapes: (N, H, W, in_channels) -> (N, H, W, out_channels).

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
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        check_branches(in_channels, out_channels, rates)
        self.in_channels = in_channels
        self.rates = tuple(rates)
        self.out_channels = out_channels
        self.separable = separable
        self.fuse = fuse
        self.dropout = dropout
        unit = separable_unit if separable else conv_unit
        steps: list[Step] = [partial(conv_unit, in_channels, out_channels)]
        steps += [partial(unit, in_channels, out_channels, 3, rate) for rate in self.rates]
        steps.append(partial(ImagePooling, in_channels, out_channels))
        joined = unit_steps(len(steps) * out_channels, out_channels, fuse)
        dtype = {"dtype": self.dtype_policy}
        with keras.name_scope(self.name, caller=self):
            self.convs = [step(**dtype, name=f"convs_{number}") for number, step in enumerate(steps)]
            self.project = Chain([*joined, partial(keras.layers.Dropout, dropout)], **dtype, name="project")
        self.built = True

    def call(self, x: Tensor, training: bool | None = None) -> Tensor:
        """Apply the block to `x`."""
        parts = [branch(x, training=training) for branch in self.convs]
        return self.project(ops.concatenate(parts, axis=-1), training=training)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Give the output's shape; an unknown size stays unknown."""
        return (*input_shape[:3], self.out_channels)

    def get_config(self) -> dict[str, Any]:
        """Give the constructor's arguments."""
        return arguments(self, ("in_channels", "rates", "out_channels", "separable", "fuse", "dropout"))


@register
class AtrousBranches(keras.layers.Layer):
    """Scores of the classes from atrous convolutions side by side, added up or weighed by a 1 x 1 convolution.

    Shapes: (N, H, W, in_channels) -> (N, H, W, num_classes).

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
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        check_branches(in_channels, num_classes, rates, pooling)
        self.in_channels = in_channels
        self.num_classes = num_classes
        self.rates = tuple(rates)
        self.pooling = pooling
        self.hidden = hidden
        steps = [self._branch(3, rate) for rate in self.rates]
        dtype = {"dtype": self.dtype_policy}
        with keras.name_scope(self.name, caller=self):
            if pooling == "concat":
                steps.insert(0, self._branch(1, 1))
                self.fuse = Conv2d(len(steps) * num_classes, num_classes, 1, **dtype, name="fuse")
            self.branches = [Chain(step, **dtype, name=f"branches_{i}") for i, step in enumerate(steps)]
        self.built = True

    def _branch(self, kernel_size: int, rate: int) -> list[Step]:
        """Make one branch."""
        end = self.hidden or self.num_classes
        rim = rate * (kernel_size // 2)
        first = partial(Conv2d, self.in_channels, end, kernel_size, padding=rim, dilation=rate)
        if not self.hidden:
            return [first]
        pause: list[Step] = [keras.layers.ReLU, partial(keras.layers.Dropout, 0.5)]
        second = partial(Conv2d, self.hidden, self.hidden, 1)
        return [first, *pause, second, *pause, partial(Conv2d, self.hidden, self.num_classes, 1)]

    def call(self, x: Tensor, training: bool | None = None) -> Tensor:
        """Apply the block to `x`."""
        scores = [branch(x, training=training) for branch in self.branches]
        if self.pooling == "concat":
            return self.fuse(ops.concatenate(scores, axis=-1))
        total = scores[0]
        for each in scores[1:]:
            total = total + each
        return total

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Give the output's shape; an unknown size stays unknown."""
        return (*input_shape[:3], self.num_classes)

    def get_config(self) -> dict[str, Any]:
        """Give the constructor's arguments."""
        return arguments(self, ("in_channels", "num_classes", "rates", "pooling", "hidden"))
