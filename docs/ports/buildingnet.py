"""BuildingNet, ported from PyTorch. Images are N, H, W, C.

Proved equal to torch_impl.buildingnet:BuildingNet(width=16) by parity 0.2.0 (Keras 3.15.1, TensorFlow 2.21.0,
JAX 0.10.2, PyTorch 2.13.0+cpu):
- outputs: one probe, 129 layers, 33000 elements, greatest difference 3.7e-14
- second size: 5x44x64x3
- reload: 320 tensors saved, loaded and the same
"""

import inspect
import math

import keras
import numpy as np
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


def _positions(count, wanted, factor, align_corners, dtype):
    """Where each new entry lies among the given ones; the first lies at 0."""
    if isinstance(count, int) and isinstance(wanted, int):
        xp, steps = np, np.arange(wanted, dtype="float64")
    else:
        xp, steps = ops, ops.cast(ops.arange(wanted), dtype)
        count, wanted = ops.cast(count, dtype), ops.cast(wanted, dtype)
    if align_corners:
        return steps * ((count - 1) / xp.maximum(wanted - 1, 1))
    return (steps + 0.5) * (1 / factor if factor else count / wanted) - 0.5


def _taps(positions, count, mode):
    """The entries that each new one is made of, and their weights."""
    xp = np if isinstance(positions, np.ndarray) else ops
    first = xp.floor(positions)
    t = positions - first
    if mode == "bicubic":
        a = -0.75

        def near(d):
            return ((a + 2) * d - (a + 3)) * d * d + 1

        def far(d):
            return ((a * d - 5 * a) * d + 8 * a) * d - 4 * a

        offsets, weights = (-1, 0, 1, 2), (far(t + 1), near(t), near(1 - t), far(2 - t))
    else:
        offsets, weights = (0, 1), (1 - t, t)
    first = first.astype("int32") if xp is np else ops.cast(first, "int32")
    return [xp.minimum(xp.maximum(first + offset, 0), count - 1) for offset in offsets], weights


def shared_windows(count, wanted):
    """(wanted, count) truth values: which entries of an axis each of `wanted` windows holds."""
    if isinstance(count, int):
        starts = np.arange(wanted)[:, None] * count // wanted
        ends = -(-(np.arange(wanted)[:, None] + 1) * count // wanted)
        entries = np.arange(count)
    else:
        steps = ops.cast(ops.arange(wanted), "int32")[:, None]
        starts, ends = steps * count // wanted, ((steps + 1) * count + wanted - 1) // wanted
        entries = ops.cast(ops.arange(count), "int32")
    return (entries >= starts) & (entries < ends)


def averaged(x, axis, wanted):
    """The means of `wanted` windows along an axis."""
    count = x.shape[axis] if x.shape[axis] is not None else ops.shape(x)[axis]
    if wanted == 1:
        return ops.mean(x, axis=axis, keepdims=True)
    weights = ops.cast(shared_windows(count, wanted), x.dtype)
    weights = weights / ops.sum(weights, axis=1, keepdims=True)
    return ops.moveaxis(ops.tensordot(x, weights, axes=[[axis], [1]]), -1, axis)


def _nearest(count, wanted, factor, shift):
    """The entry that each new one repeats; torch computes it in float32."""
    if isinstance(count, int) and isinstance(wanted, int):
        scale = np.float32(1 / factor if factor else count / wanted)
        places = np.floor((np.arange(wanted, dtype="float32") + np.float32(shift)) * scale)
        return np.minimum(places, count - 1).astype("int32")
    scale = 1 / factor if factor else ops.cast(count, "float32") / ops.cast(wanted, "float32")
    places = ops.floor((ops.cast(ops.arange(wanted), "float32") + shift) * scale)
    return ops.minimum(ops.cast(places, "int32"), count - 1)


def _within(positions):
    """The positions with those before the first entry drawn to it."""
    return np.maximum(positions, 0.0) if isinstance(positions, np.ndarray) else ops.maximum(positions, 0.0)


def _resized(x, axis, count, wanted, factor, mode, align_corners):
    """`x` with `wanted` entries along an axis that has `count` of them."""
    if isinstance(count, int) and isinstance(wanted, int) and count == wanted:
        return x
    if mode == "area":
        return averaged(x, axis, wanted)
    if mode in ("nearest", "nearest-exact"):
        return ops.take(x, _nearest(count, wanted, factor, 0.5 if mode == "nearest-exact" else 0.0), axis)
    dtype = "float64" if keras.backend.standardize_dtype(x.dtype) == "float64" else "float32"
    positions = _positions(count, wanted, factor, align_corners, dtype)
    places, weights = _taps(positions if mode == "bicubic" else _within(positions), count, mode)
    shape = [-1 if i == axis else 1 for i in range(len(x.shape))]
    rows = [
        ops.cast(ops.take(x, place, axis), dtype) * ops.reshape(ops.cast(weight, dtype), shape)
        for place, weight in zip(places, weights, strict=True)
    ]
    return ops.cast(sum(rows[1:], rows[0]), x.dtype)


def _scaled(count, factor):
    """A size times a factor, rounded down."""
    if isinstance(count, int):
        return math.floor(float(count) * factor)
    if float(factor).is_integer():
        return count * int(factor)
    return ops.cast(ops.floor(ops.cast(count, "float32") * factor), "int32")


def resize(x, size=None, scale_factor=None, mode="nearest", align_corners=False):
    """Resize the axes of `x` between batch and channels to `size`, or by `scale_factor`, as torch does.

    `mode` is "nearest", "nearest-exact", "linear" (also "bilinear", "trilinear"), "bicubic" or "area".
    """
    rank = len(x.shape) - 2
    sizes = size if isinstance(size, tuple | list) else (size,) * rank
    factors = scale_factor if isinstance(scale_factor, tuple | list) else (scale_factor,) * rank
    for axis, (wanted, factor) in enumerate(zip(sizes, factors, strict=True), start=1):
        count = x.shape[axis] if x.shape[axis] is not None else ops.shape(x)[axis]
        if wanted is None:
            wanted = _scaled(count, factor)
        x = _resized(x, axis, count, wanted, factor, mode, align_corners)
    return x


# The network.


EXPANSION = 4
CHANNELS = 3
BLOCKS = 1
FUSE = 3
DROPOUT = 0.0
LEVELS = 4


def _projection(in_channels, channels, stride):
    if stride == 1 and in_channels == channels:
        return None
    return keras.Sequential(
        [
            keras.layers.Conv2D(channels, 1, strides=stride, use_bias=False),
            keras.layers.BatchNormalization(momentum=0.9, epsilon=1e-5),
        ]
    )


@keras.saving.register_keras_serializable(package="port")
def conv_unit(in_channels, out_channels, kernel_size=1, rate=1):
    conv = keras.layers.Conv2D(out_channels, kernel_size, padding="same", dilation_rate=rate, use_bias=False)
    return keras.Sequential(
        [conv, keras.layers.BatchNormalization(momentum=0.9, epsilon=1e-5), keras.layers.ReLU()]
    )


def widths(width):
    return tuple(width * 2**level for level in range(LEVELS + 1))


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


def resize_to(images, size):
    """Resize bilinearly: centres of pixels at half numbers, the border repeated, no antialiasing.

    Shapes: (N, H, W, C) -> (N, C, *size).

    Args:
        images: floating, of any range.
        size: height and width wanted, in pixels.

    Returns:
        The resized images, in the same dtype.

    Source: PyTorch, torch.nn.functional.interpolate with align_corners=False.
    """
    return resize(images, size=tuple(size), mode="bilinear")


@keras.saving.register_keras_serializable(package="port")
class Bottleneck(keras.layers.Layer):
    """A 3 x 3 convolution between two of 1 x 1, and a shortcut; the 3 x 3 one has the stride.

    Shapes: (N, H, W, in_channels) -> (N, ceil(H / stride), ceil(W / stride), 4 * channels).

    Args:
        in_channels: channels of the input.
        channels: channels of the 3 x 3 convolution.
        stride: of the 3 x 3 convolution, in pixels.
        dilation: the first number is that of the 3 x 3 convolution, in pixels.

    Source: He et al., "Deep Residual Learning for Image Recognition", figure 5, right; torchvision, resnet50.
    """

    def __init__(self, in_channels, channels, stride=1, dilation=(1, 1), **kwargs):
        super().__init__(**kwargs)
        end, rate = EXPANSION * channels, dilation[0]
        self.conv1 = keras.layers.Conv2D(channels, 1, use_bias=False)
        self.bn1 = keras.layers.BatchNormalization(momentum=0.9, epsilon=1e-5)
        self.conv2 = PaddedConv2D(
            channels, 3, strides=stride, padding=rate, dilation_rate=rate, use_bias=False
        )
        self.bn2 = keras.layers.BatchNormalization(momentum=0.9, epsilon=1e-5)
        self.conv3 = keras.layers.Conv2D(end, 1, use_bias=False)
        self.bn3 = keras.layers.BatchNormalization(momentum=0.9, epsilon=1e-5)
        self.downsample = _projection(in_channels, end, stride)

    def call(self, x):
        """Apply the block to `x`."""
        shortcut = x if self.downsample is None else self.downsample(x)
        out = ops.relu(self.bn1(self.conv1(x)))
        out = ops.relu(self.bn2(self.conv2(out)))
        return ops.relu(self.bn3(self.conv3(out)) + shortcut)


@keras.saving.register_keras_serializable(package="port")
class ImagePooling(keras.layers.Layer):
    """Average the whole picture, convolve 1 x 1, and give the result to every pixel.

    Shapes: (N, H, W, in_channels) -> (N, H, W, out_channels).

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.

    Source: Chen et al., "Rethinking Atrous Convolution", section 3.3; the bilinear resize of one pixel is that pixel.
    """

    def __init__(self, in_channels, out_channels, **kwargs):
        super().__init__(**kwargs)
        for index, layer in enumerate(
            [keras.layers.GlobalAveragePooling2D(keepdims=True), *conv_unit(in_channels, out_channels).layers]
        ):
            setattr(self, str(index), layer)

    def in_sequence(self, x):
        for name in ("0", "1", "2", "3"):
            x = getattr(self, name)(x)
        return x

    def call(self, x):
        """Apply the block to `x`."""
        inner = self.in_sequence(x)
        return ops.broadcast_to(
            inner, (ops.shape(inner)[0], ops.shape(x)[1], ops.shape(x)[2], ops.shape(inner)[3])
        )


@keras.saving.register_keras_serializable(package="port")
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
        in_channels,
        rates=(12, 24, 36),
        out_channels=256,
        separable=False,
        fuse=1,
        dropout=0.5,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.rates = tuple(rates)
        unit = not_ported("separable_unit") if separable else conv_unit
        convs = [conv_unit(in_channels, out_channels)]
        convs += [unit(in_channels, out_channels, 3, rate) for rate in self.rates]
        convs.append(ImagePooling(in_channels, out_channels))
        self.convs = list(convs)
        joined = conv_unit(len(convs) * out_channels, out_channels, fuse)
        self.project = keras.Sequential([*joined.layers, keras.layers.Dropout(dropout)])

    def call(self, x):
        """Apply the block to `x`."""
        return self.project(ops.concatenate([branch(x) for branch in self.convs], axis=-1))


@keras.saving.register_keras_serializable(package="port")
class UpBottleneck(keras.layers.Layer):
    """ResNet's bottleneck block with a transposed convolution in its middle, and one in its shortcut.

    Shapes: (N, H, W, in_channels) -> (N, out_channels, 2 * H, 2 * W).

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output, a multiple of 4.

    Source: lecture, slide 26 (Kak & Bouman, Purdue, 2025): bars are convolutions or transposed ones, BN, etc.
    """

    def __init__(self, in_channels, out_channels, **kwargs):
        super().__init__(**kwargs)
        inner = out_channels // 4
        self.conv1 = keras.layers.Conv2D(inner, 1, use_bias=False)
        self.bn1 = keras.layers.BatchNormalization(momentum=0.9, epsilon=1e-5)
        self.conv2 = keras.layers.Conv2DTranspose(inner, 4, strides=2, padding="same", use_bias=False)
        self.bn2 = keras.layers.BatchNormalization(momentum=0.9, epsilon=1e-5)
        self.conv3 = keras.layers.Conv2D(out_channels, 1, use_bias=False)
        self.bn3 = keras.layers.BatchNormalization(momentum=0.9, epsilon=1e-5)
        self.upsample = keras.Sequential(
            [
                keras.layers.Conv2DTranspose(out_channels, 2, strides=2, use_bias=False),
                keras.layers.BatchNormalization(momentum=0.9, epsilon=1e-5),
            ]
        )

    def call(self, x):
        """Apply the block to `x`."""
        out = ops.relu(self.bn1(self.conv1(x)))
        out = ops.relu(self.bn2(self.conv2(out)))
        return ops.relu(self.bn3(self.conv3(out)) + self.upsample(x))


@keras.saving.register_keras_serializable(package="port")
class UncertaintyAttention(keras.layers.Layer):
    """Stress the skipped features where a coarser prediction is undecided.

    Shapes: (N, H, W, channels) and scores (N, h, w, num_classes) -> (N, H, W, channels).

    Args:
        channels: of the features.

    Source: lecture, slide 26 (Kak & Bouman, Purdue, 2025) names it; `_shared/buildingnet.py` lists what this package chose.
    """

    def __init__(self, channels, **kwargs):
        super().__init__(**kwargs)
        self.refine = conv_unit(channels, channels, 3)

    def call(self, x, scores):
        """Apply the block to the features `x`."""
        share = ops.sigmoid(resize_to(scores, ops.shape(x)[1:-1]))
        uncertainty = ops.max(4 * share * (1 - share), axis=-1, keepdims=True)  # (N, H, W, 1)
        return self.refine(x * (1 + uncertainty))


@keras.saving.register_keras_serializable(package="port")
class BuildingNet(PlainConfig, keras.Model):
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

    def __init__(self, num_classes=1, width=64, rates=(2, 4, 6), deep_supervision=True, **kwargs):
        super().__init__(**kwargs)
        self.rates = tuple(rates)
        self.deep_supervision = deep_supervision
        counts = widths(width)
        self.stem = conv_unit(CHANNELS, width, 3)
        self.down = [
            keras.Sequential(
                [
                    Bottleneck(counts[max(level - 1, 0)], count // 4, 1 if level == 0 else 2),
                    *(Bottleneck(count, count // 4) for _ in range(BLOCKS - 1)),
                ]
            )
            for level, count in enumerate(counts)
        ]
        self.aspp = ASPP(counts[-1], self.rates, counts[-1] // 4, fuse=FUSE, dropout=DROPOUT)
        rising = counts[-2::-1]
        enter = (counts[-1] // 4, *rising)
        self.coarse = keras.layers.Conv2D(num_classes, 1)
        self.up = [UpBottleneck(*pair) for pair in zip(enter, rising, strict=False)]
        self.attention = [UncertaintyAttention(count) for count in rising]
        self.join = [Bottleneck(2 * count, count // 4) for count in rising]
        self.heads = [keras.layers.Conv2D(num_classes, 1) for count in rising]

    def call(self, x):
        """Segment the images `x`."""
        check_images(x, CHANNELS)
        skips, y = [], self.stem(x)
        for block in self.down:
            y = block(y)
            skips.append(y)
        y = self.aspp(skips.pop())  # (N, H/16, W/16, 4 * width)
        scores = [self.coarse(y)]
        for level in range(LEVELS):
            skip = skips.pop()
            y = cut(self.up[level](y), 0, skip)
            y = self.join[level](ops.concatenate((self.attention[level](skip, scores[-1]), y), axis=-1))
            scores.append(self.heads[level](y))
        if not self.deep_supervision:
            raise ValueError("not ported: return scores[-1]")
        return [resize_to(each, ops.shape(x)[1:-1]) for each in reversed(scores)]


def build():
    """Make the model, and its weights by a first call; their values are to be loaded."""
    model = BuildingNet(width=16)
    model(ops.zeros((1, 33, 50, 3)))
    return model
