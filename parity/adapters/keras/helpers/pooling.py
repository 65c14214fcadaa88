"""Pooling with padding in pixels, rounding up and dilation, as torch pools; for 1, 2 and 3 axes; and to a given size."""

import math

import keras
import numpy as np
from keras import ops

from parity.adapters.keras.helpers.padding import pad


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


@keras.saving.register_keras_serializable(package="port")
class PaddedAveragePooling(_PaddedPooling):
    """The mean of each window; `count_include_pad` says whether the zeros of `padding` count.

    With `divisor_override`, the sum of each window divided by that number.
    """

    def __init__(
        self,
        pool_size,
        strides=None,
        padding=0,
        ceil_mode=False,
        count_include_pad=True,
        divisor_override=None,
        **kwargs,
    ):
        super().__init__(pool_size, strides, padding, ceil_mode=ceil_mode, **kwargs)
        self.count_include_pad, self.divisor_override = count_include_pad, divisor_override

    def call(self, x):
        windows = self.windows(len(x.shape) - 2)
        means = self._means(self.padded(x, 0.0))
        if self.divisor_override is not None:
            return means * (math.prod(window[0] for window in windows) / self.divisor_override)
        counted = [(before, before) if self.count_include_pad else (0, 0) for _, _, before, _ in windows]
        rims = [
            (before - first, after - last)
            for (_, _, before, after), (first, last) in zip(windows, counted, strict=True)
        ]
        if not any(width > 0 for pair in rims for width in pair):
            return means
        ones = pad(ops.ones_like(x[:1, ..., :1]), ((0, 0), *counted, (0, 0)), value=1.0)
        return means / self._means(pad(ones, ((0, 0), *rims, (0, 0))))

    def _means(self, x):
        windows = self.windows(len(x.shape) - 2)
        spans, steps = tuple(window[0] for window in windows), tuple(window[1] for window in windows)
        return ops.average_pool(x, spans, steps, padding="valid", data_format="channels_last")

    def get_config(self):
        config = super().get_config()
        del config["dilation"]
        more = {"count_include_pad": self.count_include_pad, "divisor_override": self.divisor_override}
        return {**config, **more}


@keras.saving.register_keras_serializable(package="port")
class PowerPooling(_PaddedPooling):
    """The p-norm of each window: the root of the sum of the powers."""

    def __init__(self, norm_type, pool_size, strides=None, ceil_mode=False, **kwargs):
        super().__init__(pool_size, strides, ceil_mode=ceil_mode, **kwargs)
        self.norm_type = norm_type

    def call(self, x):
        windows = self.windows(len(x.shape) - 2)
        spans, steps = tuple(window[0] for window in windows), tuple(window[1] for window in windows)
        powers = self.padded(x**self.norm_type, 0.0)
        ones = self.padded(ops.ones_like(x[:1, ..., :1]), 0.0)
        count = ops.average_pool(ones, spans, steps, padding="valid", data_format="channels_last")
        means = ops.average_pool(powers, spans, steps, padding="valid", data_format="channels_last")
        total = (
            means / count * math.prod(spans)
        )  # torch takes the mean of what there is times the window's size
        return total ** (1 / self.norm_type)

    def get_config(self):
        config = super().get_config()
        for name in ("padding", "dilation"):
            del config[name]
        return {**config, "norm_type": self.norm_type}


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


def greatest(x, axis, wanted):
    """The greatest values of `wanted` windows along an axis."""
    count = x.shape[axis] if x.shape[axis] is not None else ops.shape(x)[axis]
    x = ops.expand_dims(ops.moveaxis(x, axis, -1), -2)
    x = ops.where(shared_windows(count, wanted), x, ops.full_like(x, float("-inf")))
    return ops.moveaxis(ops.max(x, axis=-1), -1, axis)


class _AdaptivePooling(keras.layers.Layer):
    """Pool the axes between batch and channels to `output_size`: one number or one for each; None keeps an axis."""

    def __init__(self, output_size, **kwargs):
        super().__init__(**kwargs)
        self.output_size = output_size

    def sizes(self, rank):
        """The wanted size of each axis."""
        return self.output_size if isinstance(self.output_size, tuple | list) else (self.output_size,) * rank

    def compute_output_shape(self, input_shape):
        sizes = zip(self.sizes(len(input_shape) - 2), input_shape[1:-1], strict=True)
        return (input_shape[0], *(n if size is None else size for size, n in sizes), input_shape[-1])

    def get_config(self):
        return {**super().get_config(), "output_size": self.output_size}


@keras.saving.register_keras_serializable(package="port")
class AdaptiveAveragePooling(_AdaptivePooling):
    """The means of as many windows as `output_size` says."""

    def call(self, x):
        for axis, size in enumerate(self.sizes(len(x.shape) - 2), start=1):
            x = x if size is None else averaged(x, axis, size)
        return x


@keras.saving.register_keras_serializable(package="port")
class AdaptiveMaxPooling(_AdaptivePooling):
    """The greatest values of as many windows as `output_size` says."""

    def call(self, x):
        for axis, size in enumerate(self.sizes(len(x.shape) - 2), start=1):
            x = x if size is None else greatest(x, axis, size)
        return x
