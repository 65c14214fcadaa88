"""Activations whose settings Keras' own layers do not have."""

import keras
from keras import ops


class _Elementwise(keras.layers.Layer):
    """A function of each value; the settings are `names`."""

    names = ()

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {**super().get_config(), **{name: getattr(self, name) for name in self.names}}


@keras.saving.register_keras_serializable(package="port")
class GELU(_Elementwise):
    """GELU, `approximate` by a hyperbolic tangent or exact."""

    names = ("approximate",)

    def __init__(self, approximate=False, **kwargs):
        super().__init__(**kwargs)
        self.approximate = approximate

    def call(self, x):
        return ops.gelu(x, approximate=self.approximate)


@keras.saving.register_keras_serializable(package="port")
class Clip(_Elementwise):
    """Values limited to `min_val` and `max_val`."""

    names = ("min_val", "max_val")

    def __init__(self, min_val=-1.0, max_val=1.0, **kwargs):
        super().__init__(**kwargs)
        self.min_val, self.max_val = min_val, max_val

    def call(self, x):
        return ops.clip(x, self.min_val, self.max_val)


@keras.saving.register_keras_serializable(package="port")
class Softplus(_Elementwise):
    """log(1 + exp(beta * x)) / beta; the value itself where beta * x is above `threshold`."""

    names = ("beta", "threshold")

    def __init__(self, beta=1.0, threshold=20.0, **kwargs):
        super().__init__(**kwargs)
        self.beta, self.threshold = beta, threshold

    def call(self, x):
        scaled = x * self.beta
        return ops.where(scaled > self.threshold, x, ops.softplus(scaled) / self.beta)


@keras.saving.register_keras_serializable(package="port")
class CELU(_Elementwise):
    """max(0, x) + min(0, alpha * (exp(x / alpha) - 1))."""

    names = ("alpha",)

    def __init__(self, alpha=1.0, **kwargs):
        super().__init__(**kwargs)
        self.alpha = alpha

    def call(self, x):
        return ops.celu(x, self.alpha)


@keras.saving.register_keras_serializable(package="port")
class Threshold(_Elementwise):
    """The value where it is above `threshold`, and `value` elsewhere."""

    names = ("threshold", "value")

    def __init__(self, threshold, value, **kwargs):
        super().__init__(**kwargs)
        self.threshold, self.value = threshold, value

    def call(self, x):
        return ops.where(x > self.threshold, x, ops.full_like(x, self.value))


@keras.saving.register_keras_serializable(package="port")
class Softshrink(_Elementwise):
    """Values drawn towards zero by `lambd`."""

    names = ("lambd",)

    def __init__(self, lambd=0.5, **kwargs):
        super().__init__(**kwargs)
        self.lambd = lambd

    def call(self, x):
        return ops.where(x > self.lambd, x - self.lambd, ops.where(x < -self.lambd, x + self.lambd, x * 0))


@keras.saving.register_keras_serializable(package="port")
class Hardshrink(_Elementwise):
    """Values within `lambd` of zero set to zero."""

    names = ("lambd",)

    def __init__(self, lambd=0.5, **kwargs):
        super().__init__(**kwargs)
        self.lambd = lambd

    def call(self, x):
        return ops.where(ops.abs(x) > self.lambd, x, ops.zeros_like(x))


@keras.saving.register_keras_serializable(package="port")
class RandomizedLeakyReLU(_Elementwise):
    """A leaky ReLU whose slope is drawn for each value in training, and is the mean slope otherwise."""

    names = ("lower", "upper")

    def __init__(self, lower=1 / 8, upper=1 / 3, **kwargs):
        super().__init__(**kwargs)
        self.lower, self.upper = lower, upper
        self.seed_generator = keras.random.SeedGenerator()

    def call(self, x, training=None):
        slope = (self.lower + self.upper) / 2
        if training:
            slope = keras.random.uniform(
                ops.shape(x), self.lower, self.upper, dtype=x.dtype, seed=self.seed_generator
            )
        return ops.where(x >= 0, x, x * slope)


@keras.saving.register_keras_serializable(package="port")
class LogSoftmax(_Elementwise):
    """The logarithm of the softmax along `axis`."""

    names = ("axis",)

    def __init__(self, axis=-1, **kwargs):
        super().__init__(**kwargs)
        self.axis = axis

    def call(self, x):
        return ops.log_softmax(x, axis=self.axis)


@keras.saving.register_keras_serializable(package="port")
class Softmin(_Elementwise):
    """The softmax of the negative values along `axis`."""

    names = ("axis",)

    def __init__(self, axis=-1, **kwargs):
        super().__init__(**kwargs)
        self.axis = axis

    def call(self, x):
        return ops.softmax(-x, axis=self.axis)


@keras.saving.register_keras_serializable(package="port")
class GLU(_Elementwise):
    """The first half of an axis, gated by the sigmoid of the second."""

    names = ("axis",)

    def __init__(self, axis=-1, **kwargs):
        super().__init__(**kwargs)
        self.axis = axis

    def call(self, x):
        first, second = ops.split(x, 2, axis=self.axis)
        return first * ops.sigmoid(second)

    def compute_output_shape(self, input_shape):
        shape = list(input_shape)
        shape[self.axis] //= 2
        return tuple(shape)
