"""The layers whose meaning differs between the frameworks; each framework default is pinned here, once.

Names, arguments and attributes are those of `tf_impl.layers`; only the order of the axes differs.
"""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn
from torch.nn import functional as F

from torch_impl._functional import pixels_lie_together, with_zeros
from torch_impl._shared.arguments import (
    IntPair,
    check_channels,
    check_keras_rules,
    check_mode,
    check_not_empty,
    check_output_padding,
    check_pool_padding,
    keras_crops,
    less,
    pair,
    spans,
)

# PyTorch's defaults. momentum is the weight of the new batch (Keras counts the weight of the old value).
BN_EPSILON = 1e-5
BN_MOMENTUM = 0.1


class Conv2d(nn.Conv2d):
    """Correlate with a learned kernel, padding both sides by the same explicit amount.

    Shapes: (N, in_channels, H, W) -> (N, out_channels, H', W'),
        H' = floor((H + 2*padding - dilation*(kernel_size - 1) - 1) / stride) + 1.

    Args:
        in_channels: channels of the input, a multiple of `groups`.
        out_channels: channels of the output, a multiple of `groups`.
        kernel_size: pixels, one number or (height, width).
        stride: pixels, at least 1, one number or (height, width).
        padding: zeros added at each side, one number or (height, width).
        dilation: distance of the kernel's taps in pixels, one number or (height, width).
        groups: into how many independent parts the channels are divided.
        bias: whether a learned number is added to each output channel.

    Raises:
        ValueError: an argument is out of its range.

    Source: Dumoulin & Visin, "A guide to convolution arithmetic for deep learning", relationship 6.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: IntPair,
        stride: IntPair = 1,
        padding: IntPair = 0,
        dilation: IntPair = 1,
        groups: int = 1,
        bias: bool = True,
    ) -> None:
        check_channels(in_channels, out_channels, groups)
        super().__init__(
            in_channels,
            out_channels,
            pair("kernel_size", kernel_size, least=1),
            stride=pair("stride", stride, least=1),
            padding=pair("padding", padding, least=0),
            dilation=pair("dilation", dilation, least=1),
            groups=groups,
            bias=bias,
        )
        self._skips = self.kernel_size == (1, 1) and max(self.stride) > 1 and not any(self.padding)
        # oneDNN (issue 6035) writes past its workspace in the backward pass of fewer channels in channels_last.
        self._skips = self._skips and in_channels // groups < 16

    def forward(self, x: Tensor) -> Tensor:
        """Correlate the images `x` with the kernel."""
        if not self._skips:
            return super().forward(x)
        x = x[..., :: self.stride[0], :: self.stride[1]]  # the pixels that the kernel reads
        return F.conv2d(x, self.weight, self.bias, groups=self.groups)


class BatchNorm2d(nn.BatchNorm2d):
    """Normalise each channel by its batch statistics in training, and by its running ones otherwise.

    epsilon is 1e-5 and a batch enters the running statistics with weight 0.1 in both packages. The running
    variance takes PyTorch's rule in both: the batch's unbiased variance (divided by n - 1); Keras' own is biased.

    Shapes: (N, num_features, H, W) -> the same.

    Args:
        num_features: channels of the input.
        affine: whether each channel is scaled and shifted by learned numbers afterwards.

    Source: Ioffe & Szegedy, "Batch Normalization", algorithm 1.
    """

    def __init__(self, num_features: int, affine: bool = True) -> None:
        super().__init__(num_features, eps=BN_EPSILON, momentum=BN_MOMENTUM, affine=affine)


class MaxPool2d(nn.MaxPool2d):
    """Take the greatest value of each window; padding counts as minus infinity.

    Shapes: (N, C, H, W) -> (N, C, H', W'), H' = floor((H + 2*padding - kernel_size) / stride) + 1.

    Args:
        kernel_size: pixels, one number or (height, width).
        stride: pixels, one number or (height, width); None means `kernel_size`.
        padding: at each side, at most half of `kernel_size`, one number or (height, width).

    Raises:
        ValueError: an argument is out of its range.

    Source: Dumoulin & Visin, "A guide to convolution arithmetic for deep learning", relationship 7.
    """

    def __init__(self, kernel_size: IntPair, stride: IntPair | None = None, padding: IntPair = 0) -> None:
        size = pair("kernel_size", kernel_size, least=1)
        pad = pair("padding", padding, least=0)
        check_pool_padding(size, pad)
        super().__init__(size, size if stride is None else pair("stride", stride, least=1), pad)


class ConvTranspose2d(nn.ConvTranspose2d):
    """Spread each input pixel over the output through the kernel: PyTorch's transposed convolution.

    It is the gradient of `Conv2d` with the same arguments. The lecture's way to see it: put stride - 1 zeros
    between the input's pixels, pad by N = dilation*(kernel_size - 1) - padding, and correlate with the kernel
    turned by 180 degrees.

    Shapes: (N, in_channels, H, W) -> (N, out_channels, H', W'),
        H' = (H - 1)*stride - 2*padding + dilation*(kernel_size - 1) + output_padding + 1;
        weight (in_channels, out_channels / groups, kernel height, kernel width).

    Args:
        in_channels: channels of the input, a multiple of `groups`.
        out_channels: channels of the output, a multiple of `groups`.
        kernel_size: pixels, one number or (height, width).
        stride: output pixels from one input pixel to the next, one number or (height, width).
        padding: pixels cut off each side, one number or (height, width).
        output_padding: pixels more at the bottom and the right, less than `stride` or `dilation`.
        dilation: distance of the kernel's taps in pixels, one number or (height, width).
        groups: into how many independent parts the channels are divided.
        bias: whether a learned number is added to each output channel.

    Raises:
        ValueError: an argument is out of its range, or nothing would be left of the output.

    Source: lecture, slides 46-62 (Kak & Bouman, Purdue, 2025).
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: IntPair,
        stride: IntPair = 1,
        padding: IntPair = 0,
        output_padding: IntPair = 0,
        dilation: IntPair = 1,
        groups: int = 1,
        bias: bool = True,
    ) -> None:
        check_channels(in_channels, out_channels, groups)
        size, step = pair("kernel_size", kernel_size, least=1), pair("stride", stride, least=1)
        cut, extra = pair("padding", padding, least=0), pair("output_padding", output_padding, least=0)
        taps = pair("dilation", dilation, least=1)
        check_output_padding(extra, step, taps)
        super().__init__(
            in_channels,
            out_channels,
            size,
            stride=step,
            padding=cut,
            output_padding=extra,
            dilation=taps,
            groups=groups,
            bias=bias,
        )
        (top, left), (bottom, right) = cut, extra
        self._crops = ((top, top - bottom), (left, left - right))

    def forward(self, input: Tensor, output_size: list[int] | None = None) -> Tensor:
        """Enlarge `input`; `output_size` is PyTorch's way to choose `output_padding` at the call.

        A kernel of one pixel is applied before the zeros are put between its results where the input is in
        channels_last format: half of the time, and the bias's gradient summed in another order. Any other
        input gives PyTorch's own bits.
        """
        full = spans(input.shape[-2:], self.kernel_size, self.stride, self.dilation)
        sizes = less(full, self._crops)
        check_not_empty(sizes, input.shape, self.padding)
        one_tap = self.kernel_size == (1, 1) and self.stride != (1, 1) and output_size is None
        if not (one_tap and pixels_lie_together(input)):
            return super().forward(input, output_size)
        small = F.conv_transpose2d(input, self.weight, groups=self.groups)
        down, right = self.stride
        y = with_zeros(small, (down, right), self._crops)
        return y if self.bias is None else y + self.bias[:, None, None]


class Conv2DTranspose(nn.Module):
    """Spread each input pixel over the output through the kernel: Keras' transposed convolution.

    Shapes: (N, in_channels, H, W) -> (N, out_channels, H', W');
        "valid": H' = (H - 1)*stride + max(kernel, stride), or (H - 1)*stride + kernel + output_padding;
        "same": H' = H*stride, or (H - 1)*stride + kernel % 2 + output_padding;
        with kernel = dilation*(kernel_size - 1) + 1 and the first form where output_padding is None.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        kernel_size: pixels, one number or (height, width).
        stride: output pixels from one input pixel to the next, one number or (height, width).
        padding: "valid" or "same".
        output_padding: pixels, less than `stride`, or None for the framework's choice.
        dilation: distance of the kernel's taps in pixels, one number or (height, width).
        bias: whether a learned number is added to each output channel.

    Raises:
        ValueError: an argument is out of its range, or stride and dilation are both greater than 1.

    Source: Keras 3, `keras.layers.Conv2DTranspose` and its `compute_conv_transpose_output_shape`.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: IntPair,
        stride: IntPair = 1,
        padding: Literal["valid", "same"] = "valid",
        output_padding: IntPair | None = None,
        dilation: IntPair = 1,
        bias: bool = True,
    ) -> None:
        super().__init__()
        check_channels(in_channels, out_channels, groups=1)
        self.in_channels, self.out_channels = in_channels, out_channels
        self.kernel_size = pair("kernel_size", kernel_size, least=1)
        self.stride = pair("stride", stride, least=1)
        self.dilation = pair("dilation", dilation, least=1)
        self.output_padding = (
            None if output_padding is None else pair("output_padding", output_padding, least=0)
        )
        self.padding = padding
        check_keras_rules(padding, self.stride, self.dilation, self.output_padding)
        self._crops = keras_crops(self.kernel_size, self.stride, self.dilation, padding, self.output_padding)
        first = nn.ConvTranspose2d(in_channels, out_channels, self.kernel_size, bias=bias)
        self.weight, self.bias = first.weight, first.bias  # PyTorch's first values

    def forward(self, input: Tensor) -> Tensor:
        """Enlarge `input`: the uncropped result, cut or extended by Keras' rule, with the bias added last."""
        full = F.conv_transpose2d(input, self.weight, stride=self.stride, dilation=self.dilation)
        (top, bottom), (left, right) = self._crops
        y = F.pad(full, (-left, -right, -top, -bottom))  # a negative pad cuts
        return y if self.bias is None else y + self.bias[:, None, None]

    def extra_repr(self) -> str:
        """Say the arguments as the constructor takes them."""
        return (
            f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}, "
            f"padding={self.padding!r}, output_padding={self.output_padding}, dilation={self.dilation}, "
            f"bias={self.bias is not None}"
        )


class UpSampling2d(nn.Module):
    """Enlarge by a whole factor with nothing to learn; pixel centres lie at half pixels on both sides.

    Shapes: (N, C, H, W) -> (N, C, H*scale, W*scale).

    Args:
        scale: the factor, at least 1, one number or (height, width).
        mode: "nearest" repeats each pixel; "bilinear" weighs the two nearest in each direction.

    Raises:
        ValueError: an argument is out of its range.

    Source: half-pixel centres without antialiasing, `align_corners=False` in PyTorch's words.
    """

    def __init__(self, scale: IntPair, mode: Literal["nearest", "bilinear"] = "nearest") -> None:
        super().__init__()
        self.scale = pair("scale", scale, least=1)
        check_mode(mode)
        self.mode = mode

    def forward(self, input: Tensor) -> Tensor:
        """Enlarge `input`."""
        factors = [float(factor) for factor in self.scale]
        corners = None if self.mode == "nearest" else False
        return F.interpolate(input, scale_factor=factors, mode=self.mode, align_corners=corners)

    def extra_repr(self) -> str:
        """Say the arguments as the constructor takes them."""
        return f"scale={self.scale}, mode={self.mode!r}"
