"""Interpolation with torch's coordinates: nearest, linear and cubic along each axis, with or without aligned corners."""

import math

import keras
import numpy as np
from keras import ops

from parity.adapters.keras.helpers.pooling import averaged


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


def _scaled(count, factor):
    """A size times a factor, rounded down."""
    if isinstance(count, int):
        return math.floor(float(count) * factor)
    if float(factor).is_integer():
        return count * int(factor)
    return ops.cast(ops.floor(ops.cast(count, "float32") * factor), "int32")


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


def _nearest(count, wanted, factor, shift):
    """The entry that each new one repeats; torch computes it in float32."""
    if isinstance(count, int) and isinstance(wanted, int):
        scale = np.float32(1 / factor if factor else count / wanted)
        places = np.floor((np.arange(wanted, dtype="float32") + np.float32(shift)) * scale)
        return np.minimum(places, count - 1).astype("int32")
    scale = 1 / factor if factor else ops.cast(count, "float32") / ops.cast(wanted, "float32")
    places = ops.floor((ops.cast(ops.arange(wanted), "float32") + shift) * scale)
    return ops.minimum(ops.cast(places, "int32"), count - 1)


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


def _within(positions):
    """The positions with those before the first entry drawn to it."""
    return np.maximum(positions, 0.0) if isinstance(positions, np.ndarray) else ops.maximum(positions, 0.0)


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


@keras.saving.register_keras_serializable(package="port")
class Resize(keras.layers.Layer):
    """Resize the axes between batch and channels to `size`, or by `scale_factor`, with torch's coordinates."""

    def __init__(self, size=None, scale_factor=None, mode="nearest", align_corners=False, **kwargs):
        super().__init__(**kwargs)
        self.size, self.scale_factor, self.mode, self.align_corners = size, scale_factor, mode, align_corners

    def call(self, x):
        return resize(x, self.size, self.scale_factor, self.mode, self.align_corners)

    def compute_output_shape(self, input_shape):
        rank = len(input_shape) - 2
        sizes = self.size if isinstance(self.size, tuple | list) else (self.size,) * rank
        factors = (
            self.scale_factor if isinstance(self.scale_factor, tuple | list) else (self.scale_factor,) * rank
        )
        axes = zip(input_shape[1:-1], sizes, factors, strict=True)
        sizes = [
            size if size is not None else n if n is None else _scaled(n, factor) for n, size, factor in axes
        ]
        return (input_shape[0], *sizes, input_shape[-1])

    def get_config(self):
        names = ("size", "scale_factor", "mode", "align_corners")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}
