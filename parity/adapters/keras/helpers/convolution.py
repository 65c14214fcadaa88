"""Convolutions that pad both ends of an axis alike, as torch does, also with strides and dilation together."""

import keras
from keras import ops

from parity.adapters.keras.helpers.padding import pad


class _ExplicitPadding:
    """A convolution with `padding` in pixels: one number, one for each axis, or (before, after) for each axis."""

    def __init__(self, *args, strides=1, padding=0, dilation_rate=1, padding_mode="constant", **kwargs):
        super().__init__(*args, **{**kwargs, "data_format": "channels_last"})
        self.strides = (strides,) * self.rank if isinstance(strides, int) else tuple(strides)
        widths = (padding,) * self.rank if isinstance(padding, int) else padding
        self.padding = tuple((width, width) if isinstance(width, int) else tuple(width) for width in widths)
        self.dilation_rate = (
            (dilation_rate,) * self.rank if isinstance(dilation_rate, int) else tuple(dilation_rate)
        )
        self.padding_mode = padding_mode

    def convolve(self, convolution, inputs, kernel):
        """Pad and convolve; the backends know either strides or dilation."""
        inputs = pad(inputs, ((0, 0), *self.padding, (0, 0)), self.padding_mode)
        later = max(self.strides) > 1 and (max(self.dilation_rate) > 1 or len(set(self.strides)) > 1)
        outputs = convolution(
            inputs,
            kernel,
            strides=(1,) * self.rank if later else self.strides,
            padding="valid",
            data_format="channels_last",
            dilation_rate=self.dilation_rate,
        )
        return (
            outputs[(slice(None), *(slice(None, None, step) for step in self.strides))] if later else outputs
        )

    def compute_output_shape(self, input_shape):
        axes = zip(
            input_shape[1:-1], self.kernel_size, self.strides, self.padding, self.dilation_rate, strict=True
        )
        sizes = [n if n is None else (n + sum(p) - d * (k - 1) - 1) // s + 1 for n, k, s, p, d in axes]
        channels = getattr(self, "filters", None) or input_shape[-1] * self.depth_multiplier
        return (input_shape[0], *sizes, channels)

    def get_config(self):
        return {**super().get_config(), "padding": self.padding, "padding_mode": self.padding_mode}


class _PaddedConv(_ExplicitPadding):
    """A padded convolution whose groups may be single channels."""

    def call(self, inputs):
        outputs = self.convolution_op(inputs, self.kernel)
        return outputs + self.bias if self.use_bias else outputs

    def convolution_op(self, inputs, kernel):
        channels = inputs.shape[-1]
        if self.groups == 1 or self.groups != channels or self.rank == 3:
            return self.convolve(ops.conv, inputs, kernel)
        kernel = ops.reshape(kernel, (*self.kernel_size, channels, self.filters // channels))
        return self.convolve(ops.depthwise_conv, inputs, kernel)


@keras.saving.register_keras_serializable(package="port")
class PaddedConv1D(_PaddedConv, keras.layers.Conv1D):
    """Conv1D that pads both ends alike by `padding`."""


@keras.saving.register_keras_serializable(package="port")
class PaddedConv2D(_PaddedConv, keras.layers.Conv2D):
    """Conv2D that pads both sides alike by `padding` pixels."""


@keras.saving.register_keras_serializable(package="port")
class PaddedConv3D(_PaddedConv, keras.layers.Conv3D):
    """Conv3D that pads both sides alike by `padding` voxels."""


class _PaddedDepthwiseConv(_ExplicitPadding):
    """A padded convolution of each channel by itself."""

    def call(self, inputs):
        outputs = self.convolve(ops.depthwise_conv, inputs, self.kernel)
        return outputs + self.bias if self.use_bias else outputs


@keras.saving.register_keras_serializable(package="port")
class PaddedDepthwiseConv1D(_PaddedDepthwiseConv, keras.layers.DepthwiseConv1D):
    """DepthwiseConv1D that pads both ends alike by `padding`."""


@keras.saving.register_keras_serializable(package="port")
class PaddedDepthwiseConv2D(_PaddedDepthwiseConv, keras.layers.DepthwiseConv2D):
    """DepthwiseConv2D that pads both sides alike by `padding` pixels."""


def change_convolution(layer, strides, padding, dilation_rate):
    """Give a convolution, before it is built, other strides, padding in pixels and dilation."""
    if isinstance(layer, _ExplicitPadding):
        layer.padding = tuple((width, width) for width in padding)
    else:
        axes = zip(layer.kernel_size, padding, dilation_rate, strict=True)
        if any(2 * width != rate * (size - 1) for size, width, rate in axes) or set(strides) != {1}:
            raise ValueError(f"{layer.name} pads as Keras does, which is not {padding} pixels")
        layer.padding = "same"
    layer.strides, layer.dilation_rate = tuple(strides), tuple(dilation_rate)
