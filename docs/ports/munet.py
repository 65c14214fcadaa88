"""mUnet, ported from PyTorch. Images are N, H, W, C.

Proved equal to torch_impl.munet:mUnet(depth=4) by parity 0.2.0 (Keras 3.15.1, TensorFlow 2.21.0, JAX 0.10.2,
PyTorch 2.13.0+cpu):
- outputs: one probe, 54 layers, 22400 elements, greatest difference 2.2e-15; 12 layers of the source never
  run, and have no weights here
- second size: 3x72x120x3
- reload: 160 tensors saved, loaded and the same
"""

import inspect
from typing import NamedTuple

import keras
from keras import ops


# What Keras has no layer for, or computes otherwise.


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


class _TransposedConv:
    """The gradient of a padded convolution: `padding` is cut off both ends, `output_padding` is added at the last."""

    def __init__(
        self,
        filters,
        kernel_size,
        strides=1,
        padding=0,
        output_padding=0,
        dilation_rate=1,
        groups=1,
        use_bias=True,
        **kwargs,
    ):
        super().__init__(
            filters,
            kernel_size,
            strides,
            use_bias=use_bias,
            **{**kwargs, "data_format": "channels_last"},
        )

        def spread(number):
            return (number,) * self.rank if isinstance(number, int) else tuple(number)

        self.padding, self.output_padding = spread(padding), spread(output_padding)
        self.dilation_rate, self.groups = spread(dilation_rate), groups

    def build(self, input_shape):
        filters, self.filters = self.filters, self.filters // self.groups
        use_bias, self.use_bias = self.use_bias, False
        super().build(input_shape)  # kernel: (*kernel_size, filters / groups, channels)
        self.filters, self.use_bias = filters, use_bias
        if use_bias:
            self.bias = self.add_weight(name="bias", shape=(filters,), initializer=self.bias_initializer)

    def call(self, inputs):
        kernel = self._dilated(self.kernel)
        parts = zip(
            ops.split(inputs, self.groups, axis=-1), ops.split(kernel, self.groups, axis=-1), strict=True
        )
        outputs = [
            ops.conv_transpose(x, k, self.strides, padding="valid", data_format="channels_last")
            for x, k in parts
        ]
        outputs = self._cropped(outputs[0] if self.groups == 1 else ops.concatenate(outputs, axis=-1))
        return outputs + self.bias if self.use_bias else outputs

    def _dilated(self, kernel):
        """The kernel with dilation_rate - 1 zeros between its taps."""
        for axis, rate in enumerate(self.dilation_rate):
            if rate > 1:
                size = kernel.shape[axis]
                kernel = ops.expand_dims(kernel, axis + 1)
                kernel = ops.pad(
                    kernel, [(0, (rate - 1) * (i == axis + 1)) for i in range(len(kernel.shape))]
                )
                kernel = ops.reshape(kernel, (*kernel.shape[:axis], size * rate, *kernel.shape[axis + 2 :]))
                kernel = kernel[(*[slice(None)] * axis, slice(0, rate * (size - 1) + 1))]
        return kernel

    def _cropped(self, x):
        """The part of the full result that padding and output padding leave."""
        ends = []
        for k, s, p, more, d in zip(
            self.kernel_size, self.strides, self.padding, self.output_padding, self.dilation_rate, strict=True
        ):
            span = d * (k - 1) + 1
            ends.append(
                (p, p - more + max(span, s) - span)
            )  # the backends give at least `strides` pixels each
        x = x[(slice(None), *(slice(first, -last if last > 0 else None) for first, last in ends))]
        return ops.pad(x, [(0, 0), *((0, max(-last, 0)) for _, last in ends), (0, 0)])

    def compute_output_shape(self, input_shape):
        axes = zip(
            input_shape[1:-1],
            self.kernel_size,
            self.strides,
            self.padding,
            self.output_padding,
            self.dilation_rate,
            strict=True,
        )
        sizes = [
            n if n is None else (n - 1) * s - 2 * p + d * (k - 1) + more + 1 for n, k, s, p, more, d in axes
        ]
        return (input_shape[0], *sizes, self.filters)

    def get_config(self):
        return {**super().get_config(), "groups": self.groups}


@keras.saving.register_keras_serializable(package="port")
class TransposedConv2D(_TransposedConv, keras.layers.Conv2DTranspose):
    """Conv2DTranspose that cuts `padding` off all sides and adds `output_padding` at the bottom and the right."""


# The network.


class Slices(NamedTuple):
    """Which entries of three arrays run at the three places at which the schedules differ."""

    down128: slice  # skip128DN_arr after the third save
    up128: slice  # skip128UP_arr after bn1UP
    up64: slice  # skip64UP_arr before the second save is written


def schedule_slices(schedule, depth):
    quarter = depth // 2 // 4
    first, rest = slice(None, quarter), slice(quarter, None)
    table = {
        "released": Slices(down128=rest, up128=first, up64=rest),  # DLStudio 2.5.8
        "printed": Slices(down128=first, up128=first, up64=first),  # lecture, slides 70-71
        "intended": Slices(down128=rest, up128=rest, up64=rest),  # every block once
    }
    if schedule not in table:
        raise ValueError(f"schedule must be one of {sorted(table)}; got schedule={schedule!r}. Choose one.")
    return quarter, table[schedule]


def _run(blocks, x):
    for block in blocks:
        x = block(x)
    return x


def _first_half(x):
    return x[..., : ops.shape(x)[-1] // 2]


def _overwrite(saved, x):
    """Put `saved` in the place of the first channels of `x`, without writing into `x`."""
    return ops.concatenate((saved, x[..., ops.shape(saved)[-1] :]), axis=-1)


@keras.saving.register_keras_serializable(package="port")
class SkipBlockDN(keras.layers.Layer):
    """Two convolutions (one where the channels change) with a shortcut, for the downward leg of the U.

    One `downsampler` halves both the main path and the shortcut; a shortcut that must double its channels
    is repeated. Where the channels change, conv2 and bn2 are declared but not used, as in the package.

    Shapes: (N, H, W, in_ch) -> (N, H', W', out_ch); H' = ceil(H / 2) with `downsample`, else H.

    Args:
        in_ch: channels of the input.
        out_ch: channels of the output: `in_ch`, or with the shortcut also 2 * `in_ch`.
        downsample: whether to halve height and width; needs `out_ch` equal to `in_ch`.
        skip_connections: whether the shortcut is added.

    Raises:
        ValueError: the shortcut or the downsampler does not fit the channels.

    Source: lecture, slide 66 (Kak & Bouman, Purdue, 2025); DLStudio 2.5.8, SemanticSegmentation.SkipBlockDN.
    """

    def __init__(self, in_ch, out_ch, downsample=False, skip_connections=True, **kwargs):
        super().__init__(**kwargs)
        self.downsample = downsample
        self.skip_connections = skip_connections
        self.in_ch = in_ch
        self.out_ch = out_ch
        self.conv1 = keras.layers.Conv2D(out_ch, 3, padding="same")
        self.conv2 = keras.layers.Conv2D(out_ch, 3, padding="same")
        self.bn1 = keras.layers.BatchNormalization(momentum=0.9, epsilon=1e-5)
        self.bn2 = keras.layers.BatchNormalization(momentum=0.9, epsilon=1e-5)
        if downsample:
            self.downsampler = keras.layers.Conv2D(out_ch, 1, strides=2)

    def build(self, input_shape):
        """Run once; a layer that this does not call has no weights."""
        self.compute_output_spec(keras.KerasTensor(input_shape, self.compute_dtype))

    def call(self, x):
        """Apply the block to `x`."""
        identity = x
        out = ops.relu(self.bn1(self.conv1(x)))
        if self.in_ch == self.out_ch:
            out = ops.relu(self.bn2(self.conv2(out)))
        if self.downsample:
            out = self.downsampler(out)
            identity = self.downsampler(identity)
        if not self.skip_connections:
            raise ValueError("not ported: return out")
        if self.in_ch != self.out_ch:
            identity = ops.concatenate((identity, identity), axis=-1)
        return out + identity


@keras.saving.register_keras_serializable(package="port")
class SkipBlockUP(keras.layers.Layer):
    """Two transposed convolutions (one where the channels change) with a shortcut, for the upward leg.

    One `upsampler` doubles both the main path and the shortcut; it fills every second row and column alone.
    A shortcut that must halve its channels keeps the last half. Where the channels change, convT2 and bn2 are
    declared but not used, as in the package.

    Shapes: (N, H, W, in_ch) -> (N, H', W', out_ch); H' = 2 * H with `upsample`, else H.

    Args:
        in_ch: channels of the input.
        out_ch: channels of the output: `in_ch`, or with the shortcut also `in_ch` / 2.
        upsample: whether to double height and width; needs `out_ch` equal to `in_ch`.
        skip_connections: whether the shortcut is added.

    Raises:
        ValueError: the shortcut or the upsampler does not fit the channels.

    Source: lecture, slide 67 (Kak & Bouman, Purdue, 2025); DLStudio 2.5.8, SemanticSegmentation.SkipBlockUP.
    """

    def __init__(self, in_ch, out_ch, upsample=False, skip_connections=True, **kwargs):
        super().__init__(**kwargs)
        self.upsample = upsample
        self.skip_connections = skip_connections
        self.in_ch = in_ch
        self.out_ch = out_ch
        self.convT1 = keras.layers.Conv2DTranspose(out_ch, 3, padding="same")
        self.convT2 = keras.layers.Conv2DTranspose(out_ch, 3, padding="same")
        self.bn1 = keras.layers.BatchNormalization(momentum=0.9, epsilon=1e-5)
        self.bn2 = keras.layers.BatchNormalization(momentum=0.9, epsilon=1e-5)
        if upsample:
            self.upsampler = TransposedConv2D(out_ch, 1, strides=2, output_padding=1, dilation_rate=2)

    def build(self, input_shape):
        """Run once; a layer that this does not call has no weights."""
        self.compute_output_spec(keras.KerasTensor(input_shape, self.compute_dtype))

    def call(self, x):
        """Apply the block to `x`."""
        identity = x
        out = ops.relu(self.bn1(self.convT1(x)))  # the package has a second ReLU here: no effect
        if self.in_ch == self.out_ch:
            out = ops.relu(self.bn2(self.convT2(out)))
        if self.upsample:
            out = self.upsampler(out)
            identity = self.upsampler(identity)
        if not self.skip_connections:
            raise ValueError("not ported: return out")
        if self.in_ch != self.out_ch:
            identity = identity[..., self.out_ch :]
        return out + identity


@keras.saving.register_keras_serializable(package="port")
class mUnet(PlainConfig, keras.Model):
    """A U of skip blocks: down to 1/8 of the size and up again, one output channel for each class.

    Half of the channels are saved at three places on the way down; on the way up they overwrite the first
    half. The defaults are the network of DLStudio 2.5.8: its state_dict loads, and the outputs are equal.

    Shapes: (N, H, W, 3) -> (N, H', W', num_classes); H and W multiples of 8 or one more, H' = H - H % 8.

    Args:
        skip_connections: whether the blocks have their shortcuts (the U's own connections always exist).
        depth: twice the number of blocks in each of the four arrays, at least 2.
        num_classes: channels of the output.
        head: "dlstudio" fills the pixels of even row and column alone (the rest is the bias), "dense" all.
        schedule: "released" runs the blocks as DLStudio 2.5.8 does, "printed" as the lecture prints them,
            "intended" each block once; the first two run some blocks twice, with one set of running
            statistics for both, and others never.

    Raises:
        ValueError: an option without a meaning, or an image of the wrong channels or size.

    Source: lecture, slides 68-71 (Kak & Bouman, Purdue, 2025); DLStudio 2.5.8, SemanticSegmentation.mUNet.
    """

    def __init__(
        self, skip_connections=True, depth=16, num_classes=5, head="dlstudio", schedule="released", **kwargs
    ):
        super().__init__(**kwargs)
        self._quarter, self._slices = schedule_slices(schedule, depth)

        def array(block, channels):
            return [block(channels, channels, **skip) for _ in range(depth // 2)]

        skip = {"skip_connections": skip_connections}
        self.conv_in = keras.layers.Conv2D(64, 3, padding="same")
        self.pool = keras.layers.MaxPooling2D(2)
        # the way down
        self.bn1DN = keras.layers.BatchNormalization(momentum=0.9, epsilon=1e-5)
        self.bn2DN = keras.layers.BatchNormalization(momentum=0.9, epsilon=1e-5)
        self.skip64DN_arr = array(SkipBlockDN, 64)
        self.skip64dsDN = SkipBlockDN(64, 64, downsample=True, **skip)
        self.skip64to128DN = SkipBlockDN(64, 128, **skip)
        self.skip128DN_arr = array(SkipBlockDN, 128)
        self.skip128dsDN = SkipBlockDN(128, 128, downsample=True, **skip)
        # the way up
        self.bn1UP = keras.layers.BatchNormalization(momentum=0.9, epsilon=1e-5)
        self.bn2UP = keras.layers.BatchNormalization(momentum=0.9, epsilon=1e-5)
        self.skip64UP_arr = array(SkipBlockUP, 64)
        self.skip64usUP = SkipBlockUP(64, 64, upsample=True, **skip)
        self.skip128to64UP = SkipBlockUP(128, 64, **skip)
        self.skip128UP_arr = array(SkipBlockUP, 128)
        self.skip128usUP = SkipBlockUP(128, 128, upsample=True, **skip)
        if head == "dense":
            raise ValueError(
                "not ported: self.conv_out = ConvTranspose2d(64, num_classes, 4, stride=2, padd ..."
            )
        else:
            self.conv_out = TransposedConv2D(
                num_classes, 3, strides=2, padding=2, output_padding=1, dilation_rate=2
            )

    def build(self, input_shape):
        """Run once; a layer that this does not call has no weights."""
        self.compute_output_spec(keras.KerasTensor(input_shape, self.compute_dtype))

    def call(self, x):
        """Segment the images `x`."""
        q, slices = self._quarter, self._slices
        x = self.pool(ops.relu(self.conv_in(x)))  # (N, H/2, W/2, 64)
        x = _run(self.skip64DN_arr[:q], x)
        save1 = _first_half(x)
        x = self.skip64dsDN(x)  # (N, H/4, W/4, 64)
        x = self.bn1DN(_run(self.skip64DN_arr[q:], x))
        save2 = _first_half(x)
        x = self.skip64to128DN(x)  # (N, H/4, W/4, 128)
        x = self.bn2DN(_run(self.skip128DN_arr[:q], x))
        save3 = _first_half(x)
        x = _run(self.skip128DN_arr[slices.down128], x)
        x = self.skip128dsDN(x)  # (N, H/8, W/8, 128)
        x = self.skip128usUP(x)  # (N, H/4, W/4, 128)
        x = self.bn1UP(_overwrite(save3, _run(self.skip128UP_arr[:q], x)))
        x = _run(self.skip128UP_arr[slices.up128], x)
        x = self.skip128to64UP(x)  # (N, H/4, W/4, 64)
        x = self.bn2UP(_overwrite(save2, _run(self.skip64UP_arr[slices.up64], x)))
        x = self.skip64usUP(x)  # (N, H/2, W/2, 64)
        x = _overwrite(save1, _run(self.skip64UP_arr[:q], x))
        return self.conv_out(x)


def build():
    """Make the model, and its weights by a first call; their values are to be loaded."""
    model = mUnet(depth=4)
    model(ops.zeros((1, 40, 56, 3)))
    return model
