"""VGGFCN, ported from PyTorch. Images are N, H, W, C.

Proved equal to torch_impl.fcn:VGGFCN(stride=8, hidden=64, width=8) by parity 0.2.0 (Keras 3.15.1, TensorFlow
2.21.0, JAX 0.10.2, PyTorch 2.13.0+cpu):
- outputs: one probe, 21 layers, 27132 elements, greatest difference 1.5e-15
- second size: 3x30x48x3
- reload: 39 tensors saved, loaded and the same
"""

import inspect
import math
from collections import namedtuple
from typing import NamedTuple

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


class _PaddedPooling(keras.layers.Layer):
    """Windows over the axes between batch and channels; `padding` is added at both ends."""

    def __init__(self, pool_size, strides=None, padding=0, dilation=1, ceil_mode=False, **kwargs):
        super().__init__(**kwargs)
        self.pool_size, self.strides = pool_size, pool_size if strides is None else strides
        self.padding, self.dilation, self.ceil_mode = padding, dilation, ceil_mode

    def windows(self, rank):
        """(span in pixels, stride, width added before, width added after) of each axis."""

        def spread(number):
            return (number,) * rank if isinstance(number, int) else tuple(number)

        axes = zip(*map(spread, (self.pool_size, self.strides, self.padding, self.dilation)), strict=True)
        found = []
        for size, step, width, rate in axes:
            span = rate * (size - 1) + 1
            # Rounding up is padding of up to a stride more, as long as each window starts in what is given.
            after = min(width + step - 1, span - 1) if self.ceil_mode else width
            found.append((span, step, width, after))
        return found

    def padded(self, x, value):
        """`x` with its rims."""
        widths = [(before, after) for _, _, before, after in self.windows(len(x.shape) - 2)]
        return pad(x, ((0, 0), *widths, (0, 0)), value=value)

    def compute_output_shape(self, input_shape):
        axes = zip(input_shape[1:-1], self.windows(len(input_shape) - 2), strict=True)
        sizes = [
            n if n is None else (n + before + after - span) // step + 1
            for n, (span, step, before, after) in axes
        ]
        return (input_shape[0], *sizes, input_shape[-1])

    def get_config(self):
        names = ("pool_size", "strides", "padding", "dilation", "ceil_mode")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}


@keras.saving.register_keras_serializable(package="port")
class PaddedMaxPooling(_PaddedPooling):
    """The greatest value of each window; what is added at the ends never wins."""

    def call(self, x):
        x, windows = self.padded(x, -math.inf), self.windows(len(x.shape) - 2)
        spans, steps = tuple(window[0] for window in windows), tuple(window[1] for window in windows)
        if self.dilation in (1, (1,) * len(spans)):
            return ops.max_pool(x, spans, steps, padding="valid", data_format="channels_last")
        for axis, (span, step) in enumerate(zip(spans, steps, strict=True), start=1):
            rate = self.dilation if isinstance(self.dilation, int) else self.dilation[axis - 1]
            ahead = [slice(None)] * axis
            taps = [
                x[(*ahead, slice(start, start + 1 - span or None, step))] for start in range(0, span, rate)
            ]
            x = ops.max(ops.stack(taps), axis=0)
        return x


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


class Convolution(NamedTuple):
    """The arguments of one convolution."""

    in_channels: int
    out_channels: int
    kernel_size: int
    stride: int
    padding: int
    dilation: int


Stage = namedtuple("Stage", ["convolutions", "stride"])
STAGES = (2, 2, 3, 3, 3)
GROWTH = (1, 2, 4, 8, 8)
CHANNELS = 3
BACKBONE_PADDING = 100
CROPS = {"pool4": 5, "pool3": 9, 32: 19, 16: 27, 8: 31}


def plan(output_stride, padding, width):
    if output_stride not in (8, 16, 32):
        raise ValueError(
            f"output_stride must be 8, 16 or 32; got output_stride={output_stride!r}. Choose one of them."
        )
    for name, value in (("padding", padding), ("width", width)):
        if value < 1:
            raise ValueError(f"{name} must be at least 1; got {name}={value}. Give a greater number.")
    stages = []
    enter, reached, rate = CHANNELS, 1, 1
    for count, growth in zip(STAGES, GROWTH, strict=True):
        units = []
        for _ in range(count):
            rim = rate if stages or units else padding
            units.append(Convolution(enter, growth * width, 3, 1, rim, rate))
            enter = growth * width
        stride = 2 if reached < output_stride else 1
        reached, rate = reached * stride, rate * (2 // stride)
        stages.append(Stage(tuple(units), stride))
    return stages


def check_images(x, channels):
    """Refuse what is no batch of images with `channels` channels."""
    if ops.shape(x)[-1] != channels:
        raise ValueError(
            f"images must be (N, H, W, {channels}); got shape={tuple(x.shape)}. "
            "Put the channels second, and add the batch axis."
        )


def cut(x, offset, like):
    """Leave `offset` rows and columns away, and take as many as `like` has."""
    height, width = ops.shape(like)[1:-1]
    return x[:, offset : offset + height, offset : offset + width]


@keras.saving.register_keras_serializable(package="port")
class VGG16(keras.layers.Layer):
    """Thirteen 3 x 3 convolutions with five poolings; its state_dict has torchvision's names (features.0, ...).

    Shapes: (N, H, W, 3) -> a list of what the five poolings give, (N, H', W', C) with strides 2, 4, 8, 16, 32,
        or less by `output_stride`; H' = H / stride rounded down, or up with `ceil_mode` or a smaller
        `output_stride`.

    Args:
        output_stride: 32, 16 or 8; below 32 all poolings take 3 x 3 windows, the last ones do not halve, and
            the convolutions after them dilate, as in DeepLab.
        padding: zeros at each side of the image, at least 1.
        ceil_mode: whether a pooling keeps an odd last row, as Caffe does.
        width: channels of the first convolution.

    Raises:
        ValueError: an option without a meaning, or an input that is no batch of RGB images.

    Source: Simonyan & Zisserman, "Very Deep Convolutional Networks for Large-Scale Image Recognition", column D;
        Chen et al., "DeepLab", section 3.1 (output stride).
    """

    def __init__(self, output_stride=32, padding=1, ceil_mode=False, width=64, **kwargs):
        super().__init__(**kwargs)
        layers = []
        for stage in plan(output_stride, padding, width):
            for unit in stage.convolutions:
                layers += [
                    PaddedConv2D(
                        unit.out_channels,
                        unit.kernel_size,
                        strides=unit.stride,
                        padding=unit.padding,
                        dilation_rate=unit.dilation,
                    ),
                    keras.layers.ReLU(),
                ]
            whole = PaddedMaxPooling(2, ceil_mode=True) if ceil_mode else keras.layers.MaxPooling2D(2)
            layers.append(whole if output_stride == 32 else not_ported("MaxPool2d(3, stage.stride, 1)"))
        self.features = keras.Sequential(layers)

    def build(self, input_shape):
        """Run once; a layer that this does not call has no weights."""
        self.compute_output_spec(keras.KerasTensor(input_shape, self.compute_dtype))

    def call(self, x):
        """Give the feature maps of the images `x`."""
        check_images(x, CHANNELS)
        pooled = []
        for layer in self.features.layers:
            x = layer(x)
            if isinstance(layer, PaddedMaxPooling):
                pooled.append(x)
        return pooled


@keras.saving.register_keras_serializable(package="port")
class VGGFCN(PlainConfig, keras.Model):
    """FCN-32s, FCN-16s and FCN-8s: VGG16 made fully convolutional, with the scores of earlier poolings added.

    The image is padded by 100 pixels, poolings round up, and offsets cut the margin off again, as in the
    authors' release. The upsampling layers are bilinear and frozen, and have no bias.

    Shapes: (N, H, W, 3) -> (N, H, W, num_classes).

    Args:
        num_classes: channels of the output.
        stride: of the scores that are enlarged last: 32, 16 (adds the fourth pooling) or 8 (and the third).
        hidden: channels of fc6 and fc7.
        width: channels of the first convolution.

    Raises:
        ValueError: an option without a meaning, or an input that is no batch of RGB images.

    Source: Long, Shelhamer & Darrell, "Fully Convolutional Networks for Semantic Segmentation" (2015), section 4.
    """

    def __init__(self, num_classes=21, stride=8, hidden=4096, width=64, **kwargs):
        super().__init__(**kwargs)
        self.num_classes = num_classes
        self.stride = stride
        self.backbone = VGG16(padding=BACKBONE_PADDING, ceil_mode=True, width=width)
        self.fc6 = keras.layers.Conv2D(hidden, 7)
        self.fc7 = keras.layers.Conv2D(hidden, 1)
        self.drop6, self.drop7 = keras.layers.Dropout(0.5), keras.layers.Dropout(0.5)
        self.score_fr = keras.layers.Conv2D(num_classes, 1)
        if stride < 32:
            self.score_pool4 = keras.layers.Conv2D(num_classes, 1)
            self.upscore2 = self._enlarger(2)
        if stride < 16:
            self.score_pool3 = keras.layers.Conv2D(num_classes, 1)
            self.upscore_pool4 = self._enlarger(2)
        self.upscore = self._enlarger(stride)

    def _enlarger(self, scale):
        layer = keras.layers.Conv2DTranspose(self.num_classes, 2 * scale, strides=scale, use_bias=False)
        return layer

    def call(self, x):
        """Segment the images `x`."""
        *_, pool3, pool4, pool5 = self.backbone(x)
        y = self.drop6(ops.relu(self.fc6(pool5)))
        y = self.score_fr(self.drop7(ops.relu(self.fc7(y))))  # at stride 32
        if self.stride < 32:
            y = self.upscore2(y)  # at stride 16
            y = y + cut(self.score_pool4(pool4), CROPS["pool4"], y)
        if self.stride < 16:
            y = self.upscore_pool4(y)  # at stride 8
            y = y + cut(self.score_pool3(pool3), CROPS["pool3"], y)
        return cut(self.upscore(y), CROPS[self.stride], x)


def build():
    """Make the model, and its weights by a first call; their values are to be loaded."""
    model = VGGFCN(hidden=64, width=8)
    model(ops.zeros((1, 19, 34, 3)))
    return model
