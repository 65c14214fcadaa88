"""Normalisations that Keras has no layer for."""

import keras
import numpy as np
from keras import ops

from parity.adapters.keras.helpers.padding import pad


@keras.saving.register_keras_serializable(package="port")
class BatchStatistics(keras.layers.Layer):
    """Batch normalisation that takes the batch's own statistics always, and keeps none."""

    def __init__(self, epsilon=1e-5, center=True, scale=True, **kwargs):
        super().__init__(**kwargs)
        self.epsilon, self.center, self.scale = epsilon, center, scale

    def build(self, input_shape):
        channels = (input_shape[-1],)
        self.gamma = self.add_weight(name="gamma", shape=channels, initializer="ones") if self.scale else None
        self.beta = self.add_weight(name="beta", shape=channels, initializer="zeros") if self.center else None

    def call(self, x):
        mean, variance = ops.moments(x, axes=tuple(range(len(x.shape) - 1)))
        return ops.batch_normalization(
            x, mean, variance, axis=-1, offset=self.beta, scale=self.gamma, epsilon=self.epsilon
        )

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        names = ("epsilon", "center", "scale")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}


@keras.saving.register_keras_serializable(package="port")
class RootMeanSquare(keras.layers.Layer):
    """Divide by the root of the mean square over the last axis; without `epsilon`, the dtype's own is added."""

    def __init__(self, epsilon=None, scale=True, **kwargs):
        super().__init__(**kwargs)
        self.epsilon, self.scale = epsilon, scale

    def build(self, input_shape):
        shape = (input_shape[-1],)
        self.gamma = self.add_weight(name="gamma", shape=shape, initializer="ones") if self.scale else None

    def call(self, x):
        dtype = keras.backend.standardize_dtype(x.dtype)
        least = np.finfo(dtype).eps if self.epsilon is None else self.epsilon
        y = x * ops.rsqrt(ops.mean(ops.square(x), axis=-1, keepdims=True) + least)
        return y * self.gamma if self.scale else y

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {**super().get_config(), "epsilon": self.epsilon, "scale": self.scale}


@keras.saving.register_keras_serializable(package="port")
class LocalResponseNormalization(keras.layers.Layer):
    """Divide by (k + alpha * mean square of `size` neighbouring channels) ** beta."""

    def __init__(self, size, alpha=1e-4, beta=0.75, k=1.0, **kwargs):
        super().__init__(**kwargs)
        self.size, self.alpha, self.beta, self.k = size, alpha, beta, k

    def call(self, x):
        rims = [(0, 0)] * (len(x.shape) - 1) + [(self.size // 2, (self.size - 1) // 2)]
        squares, channels = pad(ops.square(x), rims), x.shape[-1]
        total = sum(squares[..., i : i + channels] for i in range(self.size))
        return x / (total / self.size * self.alpha + self.k) ** self.beta

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        names = ("size", "alpha", "beta", "k")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}
