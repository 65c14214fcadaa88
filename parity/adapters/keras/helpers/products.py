"""Embeddings, products and distances: layers with torch's settings that Keras' own do not have."""

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="port")
class PaddedEmbedding(keras.layers.Embedding):
    """Embedding whose row `padding_idx` is never trained."""

    def __init__(self, input_dim, output_dim, padding_idx, **kwargs):
        super().__init__(input_dim, output_dim, **kwargs)
        self.padding_idx = padding_idx % input_dim

    def call(self, inputs):
        rows = super().call(inputs)
        fixed = ops.expand_dims(ops.equal(inputs, self.padding_idx), -1)
        return ops.where(fixed, ops.stop_gradient(rows), rows)

    def get_config(self):
        return {**super().get_config(), "padding_idx": self.padding_idx}


@keras.saving.register_keras_serializable(package="port")
class Bilinear(keras.layers.Layer):
    """x1 @ weight[k] @ x2 + bias[k] for each of `units` outputs k."""

    def __init__(self, units, use_bias=True, **kwargs):
        super().__init__(**kwargs)
        self.units, self.use_bias = units, use_bias

    def build(self, first_shape, second_shape):
        shape = (self.units, first_shape[-1], second_shape[-1])
        self.weight = self.add_weight(name="weight", shape=shape)
        self.bias = (
            self.add_weight(name="bias", shape=(self.units,), initializer="zeros") if self.use_bias else None
        )

    def call(self, first, second):
        y = ops.einsum("...i,kij,...j->...k", first, self.weight, second)
        return y + self.bias if self.use_bias else y

    def compute_output_shape(self, first_shape, second_shape):
        return (*first_shape[:-1], self.units)

    def get_config(self):
        return {**super().get_config(), "units": self.units, "use_bias": self.use_bias}


@keras.saving.register_keras_serializable(package="port")
class CosineSimilarity(keras.layers.Layer):
    """The cosine of the angle between two tensors along `axis`; a length is at least `epsilon`."""

    def __init__(self, axis=1, epsilon=1e-8, **kwargs):
        super().__init__(**kwargs)
        self.axis, self.epsilon = axis, epsilon

    def call(self, first, second):
        lengths = [ops.sqrt(ops.sum(ops.square(x), axis=self.axis)) for x in (first, second)]
        product = ops.sum(first * second, axis=self.axis)
        return product / (ops.maximum(lengths[0], self.epsilon) * ops.maximum(lengths[1], self.epsilon))

    def get_config(self):
        return {**super().get_config(), "axis": self.axis, "epsilon": self.epsilon}


@keras.saving.register_keras_serializable(package="port")
class PairwiseDistance(keras.layers.Layer):
    """The p-norm of the difference of two tensors along the last axis, with `epsilon` added to it."""

    def __init__(self, p=2.0, epsilon=1e-6, keepdims=False, **kwargs):
        super().__init__(**kwargs)
        self.p, self.epsilon, self.keepdims = p, epsilon, keepdims

    def call(self, first, second):
        powers = ops.abs(first - second + self.epsilon) ** self.p
        return ops.sum(powers, axis=-1, keepdims=self.keepdims) ** (1 / self.p)

    def get_config(self):
        names = ("p", "epsilon", "keepdims")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}
