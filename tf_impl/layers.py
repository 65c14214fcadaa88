"""The layers whose meaning differs between the frameworks; each framework default is pinned here, once.

Names, arguments and attributes are those of `torch_impl.layers`; only the order of the axes differs. Every
layer knows its channels: its weights exist as soon as it does, with PyTorch's distribution of first values.
"""

from __future__ import annotations

import math
from typing import Any, Literal, TypeAlias

import keras
from keras import ops

from tf_impl._functional import Tensor, bilinear, crop, spread
from tf_impl._shared.arguments import (
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

Shape: TypeAlias = tuple[int | None, ...]

# PyTorch's defaults. momentum is the weight of the old value (PyTorch counts the weight of the new batch).
BN_EPSILON = 1e-5
BN_MOMENTUM = 0.9

register = keras.saving.register_keras_serializable(package="tf_impl")


@register
class Conv2d(keras.layers.Conv2D):
    """Correlate with a learned kernel, padding both sides by the same explicit amount.

    Shapes: (N, H, W, in_channels) -> (N, H', W', out_channels),
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
        **kwargs: Any,
    ) -> None:
        check_channels(in_channels, out_channels, groups)
        size = pair("kernel_size", kernel_size, least=1)
        first = _first_values(in_channels // groups * math.prod(size))
        super().__init__(
            out_channels, size, groups=groups, use_bias=bias, data_format="channels_last", **first, **kwargs
        )
        self.in_channels, self.out_channels = in_channels, out_channels
        self.stride = self.strides = pair("stride", stride, least=1)
        self.padding = pair("padding", padding, least=0)
        self.dilation = self.dilation_rate = pair("dilation", dilation, least=1)
        self.build((None, None, None, in_channels))

    def convolution_op(self, inputs: Tensor, kernel: Tensor) -> Tensor:
        """Correlate `inputs` with `kernel`; Keras' own class refuses a stride together with a dilation."""
        (top, left), (down, right) = self.padding, self.stride
        strided = max(self.stride) > 1 and max(self.dilation) > 1
        step = (1, 1) if strided else self.stride
        rims = zip(self.padding, self.dilation, self.kernel_size, strict=True)
        # Keras' "same" where it pads both sides alike: padding in a step of its own costs time, its gradient too.
        same = step == (1, 1) and all(2 * pad == d * (k - 1) for pad, d, k in rims)
        y = ops.conv(
            inputs if same else crop(inputs, ((-top, -top), (-left, -left))),
            kernel,
            strides=step,
            padding="same" if same else "valid",
            data_format="channels_last",
            dilation_rate=self.dilation,
        )
        return y[:, ::down, ::right] if strided else y

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Give the output's shape; an unknown size stays unknown."""
        extents = (d * (k - 1) + 1 for d, k in zip(self.dilation, self.kernel_size, strict=True))
        axes = zip(input_shape[1:3], extents, self.stride, self.padding, strict=True)
        sizes = [None if n is None else (n + 2 * p - extent) // s + 1 for n, extent, s, p in axes]
        check_not_empty(sizes, input_shape, self.padding)
        return (input_shape[0], *sizes, self.out_channels)

    def get_config(self) -> dict[str, Any]:
        """Give the constructor's arguments."""
        names = ("in_channels", "out_channels", "kernel_size", "stride", "padding", "dilation", "groups")
        return _config(self, names, bias=self.use_bias)


@register
class BatchNorm2d(keras.layers.BatchNormalization):
    """Normalise each channel by its batch statistics in training, and by its running ones otherwise.

    epsilon is 1e-5 and a batch enters the running statistics with weight 0.1 in both packages. The running
    variance takes PyTorch's rule in both: the batch's unbiased variance (divided by n - 1); Keras' own is biased.

    Shapes: (N, H, W, num_features) -> the same.

    Args:
        num_features: channels of the input.
        affine: whether each channel is scaled and shifted by learned numbers afterwards.

    Source: Ioffe & Szegedy, "Batch Normalization", algorithm 1.
    """

    def __init__(self, num_features: int, affine: bool = True, **kwargs: Any) -> None:
        rule = {"momentum": BN_MOMENTUM, "epsilon": BN_EPSILON, "center": affine, "scale": affine}
        super().__init__(axis=-1, **rule, **kwargs)
        self.num_features = num_features
        self.affine = affine
        self.build((None, None, None, num_features))

    def call(self, inputs: Tensor, training: bool | None = None, mask: Tensor | None = None) -> Tensor:
        """Normalise `inputs`, in float32 at least; a mask leaves it to Keras, with Keras' biased variance.

        Keras' own steps take float32 for float64 inputs on JAX and torch.
        """
        if mask is not None:
            return super().call(inputs, training=training, mask=mask)
        wide = "float64" if self.compute_dtype == "float64" else "float32"
        x = ops.cast(inputs, wide)
        weights = (self.moving_mean, self.moving_variance, self.gamma, self.beta)
        mean, variance, gamma, beta = (None if one is None else ops.cast(one, wide) for one in weights)
        if training and self.trainable:
            kept, new = self.momentum, 1 - self.momentum
            batch_mean, batch_variance = ops.moments(x, axes=(0, 1, 2))
            unbiased = batch_variance * _to_unbiased(inputs, wide)
            self.moving_mean.assign(mean * kept + batch_mean * new)
            self.moving_variance.assign(variance * kept + unbiased * new)
            mean, variance = batch_mean, batch_variance
        y = ops.batch_normalization(
            x, mean, variance, axis=-1, offset=beta, scale=gamma, epsilon=self.epsilon
        )
        return ops.cast(y, self.compute_dtype)

    def get_config(self) -> dict[str, Any]:
        """Give the constructor's arguments."""
        return _config(self, ("num_features", "affine"))


@register
class MaxPool2d(keras.layers.MaxPooling2D):
    """Take the greatest value of each window; padding counts as minus infinity.

    Shapes: (N, H, W, C) -> (N, H', W', C), H' = floor((H + 2*padding - kernel_size) / stride) + 1.

    Args:
        kernel_size: pixels, one number or (height, width).
        stride: pixels, one number or (height, width); None means `kernel_size`.
        padding: at each side, at most half of `kernel_size`, one number or (height, width).

    Raises:
        ValueError: an argument is out of its range.

    Source: Dumoulin & Visin, "A guide to convolution arithmetic for deep learning", relationship 7.
    """

    def __init__(
        self, kernel_size: IntPair, stride: IntPair | None = None, padding: IntPair = 0, **kwargs: Any
    ) -> None:
        size, pad = pair("kernel_size", kernel_size, least=1), pair("padding", padding, least=0)
        check_pool_padding(size, pad)
        step = size if stride is None else pair("stride", stride, least=1)
        super().__init__(size, strides=step, padding="valid", data_format="channels_last", **kwargs)
        self.kernel_size, self.stride, self.padding = size, step, pad

    def call(self, inputs: Tensor) -> Tensor:
        """Pool `inputs`."""
        top, left = self.padding
        x = inputs
        if top or left:
            x = ops.pad(x, ((0, 0), (top, top), (left, left), (0, 0)), constant_values=-math.inf)
        return ops.max_pool(x, self.kernel_size, self.stride, padding="valid", data_format="channels_last")

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Give the output's shape; an unknown size stays unknown."""
        axes = zip(input_shape[1:3], self.kernel_size, self.stride, self.padding, strict=True)
        sizes = [None if n is None else (n + 2 * p - k) // s + 1 for n, k, s, p in axes]
        check_not_empty(sizes, input_shape, self.padding)
        return (input_shape[0], *sizes, input_shape[3])

    def get_config(self) -> dict[str, Any]:
        """Give the constructor's arguments."""
        return _config(self, ("kernel_size", "stride", "padding"))


@register
class ConvTranspose2d(keras.layers.Layer):
    """Spread each input pixel over the output through the kernel: PyTorch's transposed convolution.

    It is the gradient of `Conv2d` with the same arguments. The lecture's way to see it: put stride - 1 zeros
    between the input's pixels, pad by N = dilation*(kernel_size - 1) - padding, and correlate with the kernel
    turned by 180 degrees.

    Shapes: (N, H, W, in_channels) -> (N, H', W', out_channels),
        H' = (H - 1)*stride - 2*padding + dilation*(kernel_size - 1) + output_padding + 1;
        kernel (kernel height, kernel width, out_channels / groups, in_channels).

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
        **kwargs: Any,
    ) -> None:
        check_channels(in_channels, out_channels, groups)
        super().__init__(**kwargs)
        self.in_channels, self.out_channels, self.groups = in_channels, out_channels, groups
        self.kernel_size = pair("kernel_size", kernel_size, least=1)
        self.stride = pair("stride", stride, least=1)
        self.padding = pair("padding", padding, least=0)
        self.output_padding = pair("output_padding", output_padding, least=0)
        self.dilation = pair("dilation", dilation, least=1)
        self.use_bias = bias
        check_output_padding(self.output_padding, self.stride, self.dilation)
        (top, left), (bottom, right) = self.padding, self.output_padding
        self._crops = ((top, top - bottom), (left, left - right))
        self.build((None, None, None, in_channels))

    def build(self, input_shape: Shape) -> None:
        """Make the weights; the constructor calls it."""
        _add_transposed_weights(self, self.out_channels // self.groups)

    def call(self, inputs: Tensor) -> Tensor:
        """Enlarge `inputs`: the uncropped result, cut by `padding`, with the bias added last."""
        self.compute_output_shape(tuple(inputs.shape))  # refuses an empty output
        y = spread(inputs, self.kernel, self.stride, self.dilation, self._crops, self.groups)
        return y if self.bias is None else y + self.bias

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Give the output's shape; an unknown size stays unknown."""
        full = spans(input_shape[1:3], self.kernel_size, self.stride, self.dilation)
        sizes = less(full, self._crops)
        check_not_empty(sizes, input_shape, self.padding)
        return (input_shape[0], *sizes, self.out_channels)

    def get_config(self) -> dict[str, Any]:
        """Give the constructor's arguments."""
        names = ("in_channels", "out_channels", "kernel_size", "stride", "padding", "output_padding")
        return _config(self, (*names, "dilation", "groups"), bias=self.use_bias)


@register
class Conv2DTranspose(keras.layers.Layer):
    """Spread each input pixel over the output through the kernel: Keras' transposed convolution.

    Shapes: (N, H, W, in_channels) -> (N, H', W', out_channels);
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
        **kwargs: Any,
    ) -> None:
        check_channels(in_channels, out_channels, groups=1)
        super().__init__(**kwargs)
        self.in_channels, self.out_channels = in_channels, out_channels
        self.kernel_size = pair("kernel_size", kernel_size, least=1)
        self.stride = pair("stride", stride, least=1)
        self.dilation = pair("dilation", dilation, least=1)
        self.output_padding = (
            None if output_padding is None else pair("output_padding", output_padding, least=0)
        )
        self.padding = padding
        self.use_bias = bias
        check_keras_rules(padding, self.stride, self.dilation, self.output_padding)
        self._crops = keras_crops(self.kernel_size, self.stride, self.dilation, padding, self.output_padding)
        self.build((None, None, None, in_channels))

    def build(self, input_shape: Shape) -> None:
        """Make the weights; the constructor calls it."""
        _add_transposed_weights(self, self.out_channels)

    def call(self, inputs: Tensor) -> Tensor:
        """Enlarge `inputs`: the uncropped result, cut or extended by Keras' rule, with the bias added last.

        Keras' own layer does the same except that TensorFlow refuses "same" with an even kernel,
        output_padding 0 and a stride.
        """
        y = spread(inputs, self.kernel, self.stride, self.dilation, self._crops)
        return y if self.bias is None else y + self.bias

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Give the output's shape; an unknown size stays unknown."""
        full = spans(input_shape[1:3], self.kernel_size, self.stride, self.dilation)
        return (input_shape[0], *less(full, self._crops), self.out_channels)

    def get_config(self) -> dict[str, Any]:
        """Give the constructor's arguments."""
        names = ("in_channels", "out_channels", "kernel_size", "stride", "padding", "output_padding")
        return _config(self, (*names, "dilation"), bias=self.use_bias)


@register
class UpSampling2d(keras.layers.Layer):
    """Enlarge by a whole factor with nothing to learn; pixel centres lie at half pixels on both sides.

    Shapes: (N, H, W, C) -> (N, H*scale, W*scale, C).

    Args:
        scale: the factor, at least 1, one number or (height, width).
        mode: "nearest" repeats each pixel; "bilinear" weighs the two nearest in each direction.

    Raises:
        ValueError: an argument is out of its range.

    Source: half-pixel centres without antialiasing, `align_corners=False` in PyTorch's words.
    """

    def __init__(
        self, scale: IntPair, mode: Literal["nearest", "bilinear"] = "nearest", **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.scale = pair("scale", scale, least=1)
        check_mode(mode)
        self.mode = mode

    def call(self, inputs: Tensor) -> Tensor:
        """Enlarge `inputs`."""
        x = inputs
        for axis, factor in zip((1, 2), self.scale, strict=True):
            x = ops.repeat(x, factor, axis=axis) if self.mode == "nearest" else bilinear(x, factor, axis)
        return x

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Give the output's shape; an unknown size stays unknown."""
        sizes = (None if n is None else n * s for n, s in zip(input_shape[1:3], self.scale, strict=True))
        return (input_shape[0], *sizes, input_shape[3])

    def get_config(self) -> dict[str, Any]:
        """Give the constructor's arguments."""
        return _config(self, ("scale", "mode"))


def _to_unbiased(images: Tensor, dtype: str) -> Tensor:
    """n / (n - 1) for n values in each channel, as a tensor."""
    batch, height, width, _ = ops.shape(images)
    count = batch * height * width
    if isinstance(count, int) and count < 2:
        raise ValueError(
            f"training must have more than one value in each channel; got shape {tuple(images.shape)}. "
            "Take larger batches or images, or call with training=False."
        )
    count = ops.cast(count, dtype)
    return count / (count - 1)


def _first_values(fan_in: int) -> dict[str, keras.initializers.Initializer]:
    """PyTorch's first values: kernel and bias uniform within 1 / sqrt(fan_in) of zero."""
    bound = 1 / math.sqrt(fan_in)
    return {
        f"{name}_initializer": keras.initializers.RandomUniform(-bound, bound) for name in ("kernel", "bias")
    }


def _add_transposed_weights(layer: keras.layers.Layer, per_group: int) -> None:
    """Add kernel and bias; PyTorch's fan_in is of the layer's output, its weight's second axis."""
    first = _first_values(per_group * math.prod(layer.kernel_size))
    shape = (*layer.kernel_size, per_group, layer.in_channels)
    layer.kernel = layer.add_weight(shape=shape, initializer=first["kernel_initializer"], name="kernel")
    layer.input_spec = keras.InputSpec(ndim=4, axes={-1: layer.in_channels})  # else taken for groups
    layer.bias = None
    if layer.use_bias:
        bias = first["bias_initializer"]
        layer.bias = layer.add_weight(shape=(layer.out_channels,), initializer=bias, name="bias")


def _config(layer: keras.layers.Layer, names: tuple[str, ...], **more: Any) -> dict[str, Any]:
    """Give name, dtype and our own arguments; what Keras' parent class would add, the constructor pins."""
    return {**keras.layers.Layer.get_config(layer), **{name: getattr(layer, name) for name in names}, **more}
