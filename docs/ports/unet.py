"""UNet, ported from PyTorch. Images are N, H, W, C.

Proved equal to torch_impl.unet:UNet(width=8) by parity 0.2.0 (Keras 3.15.1, TensorFlow 2.21.0, JAX 0.10.2,
PyTorch 2.13.0+cpu):
- outputs: one probe, 23 layers, 320 elements, greatest difference 1.1e-15
- second size: 3x220x268x1
- reload: 46 tensors saved, loaded and the same
"""

import inspect

import keras
from keras import ops


# What Keras has no layer for, or computes otherwise.


def _extend(x, axis, before, after, mode):
    """Add `before` and `after` entries at the ends of one axis, made from the entries that it has."""

    def part(start, stop):
        return x[(*[slice(None)] * axis, slice(start, stop))]

    if mode == "reflect":
        first = ops.flip(part(1, before + 1), axis)
        last = ops.flip(part(-after - 1, -1), axis)
    elif mode == "replicate":
        first = ops.repeat(part(None, 1), before, axis)
        last = ops.repeat(part(-1, None), after, axis)
    else:
        first, last = part(-before, None), part(None, after)
    return ops.concatenate([first] * (before > 0) + [x] + [last] * (after > 0), axis)


def pad(x, widths, mode="constant", value=0.0):
    """Pad each axis of `x` by its (before, after) in `widths`; a negative width crops.

    `mode` is "constant", "reflect", "replicate" or "circular".
    """
    if any(width < 0 for pair in widths for width in pair):
        x = x[tuple(slice(max(-before, 0), min(after, 0) or None) for before, after in widths)]
        widths = [(max(before, 0), max(after, 0)) for before, after in widths]
    if not any(width for pair in widths for width in pair):
        return x
    if mode == "constant":
        return ops.pad(x, widths, constant_values=value)
    for axis, (before, after) in enumerate(widths):
        x = _extend(x, axis, before, after, mode)
    return x


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
class PaddedConv2D(_PaddedConv, keras.layers.Conv2D):
    """Conv2D that pads both sides alike by `padding` pixels."""


class PlainConfig:
    """Gives the constructor's arguments as the config."""

    def __new__(cls, *args, **kwargs):
        layer = super().__new__(cls, *args, **kwargs)
        given = inspect.signature(cls.__init__).bind(layer, *args, **kwargs).arguments
        own = ("self", "kwargs", "name", "dtype", "trainable")  # Keras gives these itself
        vars(layer)["_given"] = {name: value for name, value in given.items() if name not in own}
        return layer

    def get_config(self):
        return {**super().get_config(), **self._given}


def not_ported(what):
    """Refuse what the ported model did not use, and what could not be written."""
    raise ValueError(f"not ported: {what}")


# The network.


LEVELS = 4


def check_images(x, channels):
    """Refuse what is no batch of images with `channels` channels."""
    if ops.shape(x)[-1] != channels:
        raise ValueError(
            f"images must be (N, H, W, {channels}); got shape={tuple(x.shape)}. "
            "Put the channels second, and add the batch axis."
        )


def _beside(copy, x, padded):
    """Put `copy` in front of the channels of `x`: cropped in the middle, or `x` made up by a last row of zeros."""
    top, left = (((ops.shape(copy)[axis] - ops.shape(x)[axis]) // 2) for axis in (1, 2))
    copy = copy[:, top : top + ops.shape(x)[1], left : left + ops.shape(x)[2]]
    return ops.concatenate((copy, x), axis=-1)


@keras.saving.register_keras_serializable(package="port")
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

    def __init__(self, in_channels, out_channels, padded=False, batch_norm=False, **kwargs):
        super().__init__(**kwargs)
        rim, bias = int(padded), not batch_norm
        self.conv1 = PaddedConv2D(out_channels, 3, padding=rim, use_bias=bias)
        self.conv2 = PaddedConv2D(out_channels, 3, padding=rim, use_bias=bias)
        self.bn1 = not_ported("BatchNorm2d(out_channels)") if batch_norm else None
        self.bn2 = not_ported("BatchNorm2d(out_channels)") if batch_norm else None

    def call(self, x):
        """Apply the block to `x`."""
        x = self.conv1(x)
        x = ops.relu(x)
        x = self.conv2(x)
        return ops.relu(x)


@keras.saving.register_keras_serializable(package="port")
class UNet(PlainConfig, keras.Model):
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
        self, in_channels=1, num_classes=2, padded=False, batch_norm=False, dropout=0.5, width=64, **kwargs
    ):
        super().__init__(**kwargs)
        self.in_channels = in_channels
        self.padded = padded
        counts = [width * 2**level for level in range(LEVELS + 1)]
        pairs = list(zip([in_channels, *counts], counts, strict=False))
        self.pool = keras.layers.MaxPooling2D(2)
        self.drop = keras.layers.Dropout(dropout)
        self.contract = [DoubleConv(*pair, padded, batch_norm) for pair in pairs]
        rising = counts[::-1][:LEVELS]
        self.upconv = [keras.layers.Conv2DTranspose(count // 2, 2, strides=2) for count in rising]
        self.expand = [DoubleConv(count, count // 2, padded, batch_norm) for count in rising]
        self.head = keras.layers.Conv2D(num_classes, 1)

    def call(self, x):
        """Segment the images `x`."""
        check_images(x, self.in_channels)
        copies = []
        for level, block in enumerate(self.contract):
            x = block(x if level == 0 else self.pool(x))
            x = self.drop(x) if level >= LEVELS - 1 else x
            copies.append(x)
        for level, (upconv, block) in enumerate(zip(self.upconv, self.expand, strict=True)):
            x = block(_beside(copies[LEVELS - 1 - level], upconv(x), self.padded))
        return self.head(x)


def build():
    """Make the model, and its weights by a first call; their values are to be loaded."""
    model = UNet(width=8)
    model(ops.zeros((1, 188, 204, 1)))
    return model
