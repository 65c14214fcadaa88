"""DeepLabV3Plus, ported from PyTorch. Images are N, H, W, C.

Proved equal to torch_impl.deeplab:DeepLabV3Plus(backbone='resnet18', channels=32, width=8) by parity 0.2.0
(Keras 3.15.1, TensorFlow 2.21.0, JAX 0.10.2, PyTorch 2.13.0+cpu):
- outputs: one probe, 59 layers, 138600 elements, greatest difference 1.0e-14
- second size: 5x44x64x3
- reload: 147 tensors saved, loaded and the same
"""

import inspect
import math
import re
from typing import NamedTuple

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


class Unit(NamedTuple):
    """The arguments of one residual block."""

    in_channels: int
    channels: int
    stride: int
    dilation: tuple[int, int]  # of the block's first 3 x 3 convolution, and of a second one


EXPANSION = 4
BOTTLENECKS = (50, 101)
CHANNELS = 3
LAYERS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3)}
NAMES = ("resnet18", "resnet34", "resnet50", "resnet101", "resnet18_v2", "resnet34_v2", "vgg16")


def _projection(in_channels, channels, stride):
    if stride == 1 and in_channels == channels:
        return None
    return keras.Sequential(
        [
            keras.layers.Conv2D(channels, 1, strides=stride, use_bias=False),
            keras.layers.BatchNormalization(momentum=0.9, epsilon=1e-5),
        ]
    )


def out_channels(depth, width):
    expansion = EXPANSION if depth in BOTTLENECKS else 1
    return tuple(width * 2**stage * expansion for stage in range(4))


def _stage(block, units):
    return keras.Sequential([*(block(*unit) for unit in units)])


def plan(depth, output_stride, multi_grid, width):
    ends = out_channels(depth, width)
    stages, reached, rate = [], 4, 1
    for stage, count in enumerate(LAYERS[depth]):
        stride, before = (1 if stage == 0 else 2), rate
        if stride == 2 and reached == output_stride:
            stride, rate = 1, 2 * rate
        reached *= stride
        rates = [(before if block == 0 else rate, rate) for block in range(count)]
        if stage == 3 and multi_grid is not None:
            rates = [(rate * each, rate * each) for each in multi_grid]
        enter = width if stage == 0 else ends[stage - 1]
        stages.append(
            tuple(
                Unit(
                    *(
                        (enter, width * 2**stage, stride)
                        if block == 0
                        else (ends[stage], width * 2**stage, 1)
                    ),
                    each,
                )
                for block, each in enumerate(rates)
            )
        )
    return tuple(stages)


@keras.saving.register_keras_serializable(package="port")
def conv_unit(in_channels, out_channels, kernel_size=1, rate=1):
    conv = keras.layers.Conv2D(out_channels, kernel_size, padding="same", dilation_rate=rate, use_bias=False)
    return keras.Sequential(
        [conv, keras.layers.BatchNormalization(momentum=0.9, epsilon=1e-5), keras.layers.ReLU()]
    )


def make_backbone(body, output_stride=32, width=64, multi_grid=None, allowed=NAMES):
    if body not in allowed:
        raise ValueError(f"backbone must be one of {', '.join(allowed)}; got backbone={body!r}. Choose one.")
    depth = int(re.findall(r"\d+", body)[0])
    if body.startswith("resnet") and not body.endswith("_v2"):
        return ResNet(depth, None, output_stride, multi_grid, width)
    if multi_grid is not None:
        raise ValueError(
            f"multi_grid must be None with {body}; got multi_grid={tuple(multi_grid)}. Use resnet18 to resnet101."
        )
    if body == "vgg16":
        raise ValueError("not ported: return VGG16(output_stride, width=width)")
    raise ValueError("not ported: return ResNetV2(depth, None, output_stride, width)")


def low_level(backbone):
    return 1 if backbone.startswith("vgg") else 0


def default_rates(rates, output_stride):
    return tuple(rates) if rates is not None else tuple(rate * 16 // output_stride for rate in (6, 12, 18))


def check_images(x, channels):
    """Refuse what is no batch of images with `channels` channels."""
    if ops.shape(x)[-1] != channels:
        raise ValueError(
            f"images must be (N, H, W, {channels}); got shape={tuple(x.shape)}. "
            "Put the channels second, and add the batch axis."
        )


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
class BasicBlock(keras.layers.Layer):
    """Two 3 x 3 convolutions and a shortcut.

    Shapes: (N, H, W, in_channels) -> (N, ceil(H / stride), ceil(W / stride), channels).

    Args:
        in_channels: channels of the input.
        channels: channels of the output.
        stride: of the first convolution, in pixels.
        dilation: of the first and the second convolution, in pixels.

    Source: He et al., "Deep Residual Learning for Image Recognition", figure 5, left.
    """

    def __init__(self, in_channels, channels, stride=1, dilation=(1, 1), **kwargs):
        super().__init__(**kwargs)
        first, second = dilation
        self.conv1 = PaddedConv2D(
            channels, 3, strides=stride, padding=first, dilation_rate=first, use_bias=False
        )
        self.bn1 = keras.layers.BatchNormalization(momentum=0.9, epsilon=1e-5)
        self.conv2 = keras.layers.Conv2D(channels, 3, padding="same", dilation_rate=second, use_bias=False)
        self.bn2 = keras.layers.BatchNormalization(momentum=0.9, epsilon=1e-5)
        self.downsample = _projection(in_channels, channels, stride)

    def call(self, x):
        """Apply the block to `x`."""
        shortcut = x if self.downsample is None else self.downsample(x)
        out = ops.relu(self.bn1(self.conv1(x)))
        return ops.relu(self.bn2(self.conv2(out)) + shortcut)


@keras.saving.register_keras_serializable(package="port")
class ResNet(keras.layers.Layer):
    """A residual network for images; its state_dict has the names of torchvision's published weights.

    Shapes: (N, H, W, 3) -> (N, num_classes); or, with num_classes=None, a list of the four stages' feature
        maps (N, H', W', C), H' = ceil(H / stride) with stride 4, 8, 16, 32, or less by `output_stride`.

    Args:
        depth: 18, 34, 50 or 101 layers; from 50 on the blocks are bottlenecks.
        num_classes: of the classifier, or None to leave it away and give feature maps.
        output_stride: 32, 16 or 8; below 32 the last stages dilate instead of halving, and compute the same
            features at more places.
        multi_grid: a rate for each block of the last stage, multiplied by the stage's own; None for all alike.
        width: channels of the first stage.

    Raises:
        ValueError: an option without a meaning, or an input that is no batch of RGB images.

    Source: He et al., "Deep Residual Learning for Image Recognition"; torchvision, resnet18 to resnet101, with
        replace_stride_with_dilation; Chen et al., "Rethinking Atrous Convolution", section 3.1.1 (multi-grid).
    """

    def __init__(self, depth=18, num_classes=1000, output_stride=32, multi_grid=None, width=64, **kwargs):
        super().__init__(**kwargs)
        stages = plan(depth, output_stride, multi_grid, width)
        self.num_classes = num_classes
        self.out_channels = out_channels(depth, width)
        block = not_ported("Bottleneck") if depth in BOTTLENECKS else BasicBlock
        self.conv1 = PaddedConv2D(width, 7, strides=2, padding=3, use_bias=False)
        self.bn1 = keras.layers.BatchNormalization(momentum=0.9, epsilon=1e-5)
        self.maxpool = PaddedMaxPooling(3, strides=2, padding=1)
        self.layer1, self.layer2, self.layer3, self.layer4 = (_stage(block, units) for units in stages)

    def call(self, x):
        """Classify the images `x`, or give their feature maps."""
        check_images(x, CHANNELS)
        x = self.maxpool(ops.relu(self.bn1(self.conv1(x))))  # (N, H/4, W/4, width)
        features = []
        for stage in (self.layer1, self.layer2, self.layer3, self.layer4):
            x = stage(x)
            features.append(x)
        return features


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
class DeepLabV3Plus(PlainConfig, keras.Model):
    """DeepLab v3's features, enlarged, joined with a few of stride 4, refined by two 3 x 3 convolutions, and enlarged.

    Shapes: (N, H, W, 3) -> (N, H, W, num_classes).

    Args:
        num_classes: channels of the output.
        backbone: as `DilatedFCN` takes it.
        output_stride: of the features, 32, 16 or 8.
        rates: of ASPP, in pixels; None is 6, 12, 18 at stride 16, and twice that at stride 8.
        multi_grid: a rate for each block of the backbone's last stage, such as (1, 2, 4); None for all alike.
        separable: whether the 3 x 3 convolutions of ASPP and of the decoder are depthwise separable.
        low_channels: to which the features of stride 4 are reduced.
        channels: of ASPP and of the decoder.
        width: channels of the backbone's first stage.

    Raises:
        ValueError: an option without a meaning, or an input that is no batch of RGB images.

    Source: Chen et al., "Encoder-Decoder with Atrous Separable Convolution for Semantic Image Segmentation", figure 2.
    """

    def __init__(
        self,
        num_classes=21,
        backbone="resnet50",
        output_stride=16,
        rates=None,
        multi_grid=None,
        separable=False,
        low_channels=48,
        channels=256,
        width=64,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.rates = default_rates(rates, output_stride)
        self.backbone = make_backbone(backbone, output_stride, width, multi_grid)
        self._low = low_level(backbone)
        self.aspp = ASPP(self.backbone.out_channels[-1], self.rates, channels, separable)
        self.low = conv_unit(self.backbone.out_channels[self._low], low_channels)
        unit = not_ported("separable_unit") if separable else conv_unit
        self.decoder = keras.Sequential(
            [unit(channels + low_channels, channels, 3), unit(channels, channels, 3)]
        )
        self.head = keras.layers.Conv2D(num_classes, 1)

    def call(self, x):
        """Segment the images `x`."""
        features = self.backbone(x)
        low = self.low(features[self._low])  # (N, H/4, W/4, low_channels)
        high = resize_to(self.aspp(features[-1]), ops.shape(low)[1:-1])
        return resize_to(self.head(self.decoder(ops.concatenate((high, low), axis=-1))), ops.shape(x)[1:-1])


def build():
    """Make the model, and its weights by a first call; their values are to be loaded."""
    model = DeepLabV3Plus(backbone="resnet18", channels=32, width=8)
    model(ops.zeros((1, 33, 50, 3)))
    return model
