"""Pooling to an output size that is given: windows that cover an axis evenly, whatever its size."""

import keras
import numpy as np
from keras import ops


def windows(count, wanted):
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
    weights = ops.cast(windows(count, wanted), x.dtype)
    weights = weights / ops.sum(weights, axis=1, keepdims=True)
    return ops.moveaxis(ops.tensordot(x, weights, axes=[[axis], [1]]), -1, axis)


def greatest(x, axis, wanted):
    """The greatest values of `wanted` windows along an axis."""
    count = x.shape[axis] if x.shape[axis] is not None else ops.shape(x)[axis]
    x = ops.expand_dims(ops.moveaxis(x, axis, -1), -2)
    x = ops.where(windows(count, wanted), x, ops.full_like(x, float("-inf")))
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
