"""Ports from Keras to torch: layers that are written with keras.ops and weights of their own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
from keras import ops

from parity.porting.to_torch.write import write
from tests.unit.test_porting_to_torch import check

DRAWN = np.random.default_rng(1)
IMAGES = DRAWN.normal(size=(2, 17, 22, 4)).astype("float32")
Calls = Callable[[Any, Callable[..., Any]], Any]

IMAGE_OPERATIONS: dict[str, Calls] = {
    "conv": lambda x, w: ops.conv(x, w(3, 3, 4, 6)),
    "conv, same": lambda x, w: ops.conv(x, w(3, 3, 4, 6), padding="same", dilation_rate=2),
    "conv, same with a stride": lambda x, w: ops.conv(x, w(3, 4, 4, 6), strides=2, padding="same"),
    "depthwise": lambda x, w: ops.depthwise_conv(x, w(3, 3, 4, 1), strides=2, padding="same"),
    "depthwise, multiplied": lambda x, w: ops.depthwise_conv(x, w(3, 3, 4, 2), padding="same"),
    "separable": lambda x, w: ops.separable_conv(x, w(3, 3, 4, 2), w(1, 1, 8, 5), padding="same"),
    "transposed": lambda x, w: ops.conv_transpose(x, w(3, 3, 5, 4), strides=2),
    "transposed, wide": lambda x, w: ops.conv_transpose(x, w(2, 2, 5, 4), strides=3),
    "transposed, same": lambda x, w: ops.conv_transpose(x, w(4, 4, 5, 4), strides=2, padding="same"),
    "transposed, odd": lambda x, w: ops.conv_transpose(x, w(3, 3, 5, 4), strides=2, padding="same"),
    "max_pool": lambda x, w: ops.max_pool(x, 3, 2, padding="same") * w(4),
    "average_pool": lambda x, w: ops.average_pool(x, (3, 2), padding="same") * w(4),
    "batch_normalization": lambda x, w: ops.batch_normalization(
        x, w(4), ops.square(w(4)) + 1.0, -1, offset=w(4), scale=w(4)
    ),
    "batch_normalization by weights": lambda x, w: ops.batch_normalization(x, w(4), w(4), -1, scale=w(4)),
    "layer_normalization": lambda x, w: ops.layer_normalization(x, w(4), w(4), epsilon=1e-3),
    "rms_normalization": lambda x, w: ops.rms_normalization(x, w(4)),
    "moments": lambda x, w: (
        (x - ops.moments(x, axes=(1, 2), keepdims=True)[0]) * ops.moments(x, axes=(1, 2), keepdims=True)[1] * w(4)
    ),
    "shrunk": lambda x, w: ops.soft_shrink(x, 0.2) + ops.hard_shrink(x, 0.3) * w(4) + ops.threshold(x, 0.1, 0.4),
    "glu": lambda x, w: ops.glu(x, axis=-1) * w(2),
}  # fmt: skip


class Written(keras.layers.Layer):
    """One operation with weights of its own."""

    def __init__(self, operation: Calls, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.operation = operation
        self.tables: dict[int, Any] = {}

    def build(self, shape: Any) -> None:
        made: list[Any] = []

        def weight(*shape: int) -> Any:
            value = self.add_weight(shape=shape, initializer="random_uniform", name=f"w{len(made)}")
            setattr(self, f"w{len(made)}", value)
            made.append(value)
            return value

        self.operation(keras.KerasTensor(shape), weight)
        self.count = len(made)

    def call(self, x: Any) -> Any:
        held = iter([getattr(self, f"w{number}") for number in range(self.count)])
        return self.operation(x, lambda *shape: next(held))


class WrittenNet(keras.Model):
    """A convolution, an operation, and a convolution."""

    def __init__(self, operation: Calls, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.before = keras.layers.Conv2D(4, 1)
        self.written = Written(operation)
        self.after = keras.layers.Conv2D(3, 1)

    def call(self, x: Any) -> Any:
        return self.after(self.written(self.before(x)))


@pytest.mark.parametrize("name", IMAGE_OPERATIONS)
def test_operations_with_weights_compute_the_same(name: str) -> None:
    keras.utils.set_random_seed(3)
    model = WrittenNet(IMAGE_OPERATIONS[name])
    model(IMAGES)
    for variable in model.written.variables:
        variable.assign(DRAWN.uniform(0.5, 1.5, variable.shape))
    port = check(model, IMAGES, IMAGES[:, :13, :16])
    if "_normalization" not in name:
        assert "x.permute" not in port.text


class OwnConvolution(keras.layers.Layer):
    """Pads by hand, and convolves with a kernel of its own."""

    def __init__(self, filters: int, rim: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.filters, self.rim = filters, rim

    def build(self, shape: Any) -> None:
        self.kernel = self.add_weight(shape=(3, 3, shape[-1], self.filters), name="kernel")
        self.bias = self.add_weight(shape=(self.filters,), name="bias")

    def call(self, x: Any) -> Any:
        x = ops.pad(x, ((0, 0), (self.rim, self.rim), (self.rim, self.rim), (0, 0)))
        return ops.conv(x, self.kernel, strides=2) + self.bias


def test_a_layer_that_is_one_convolution_is_torchs() -> None:
    layers = [OwnConvolution(5, 1), keras.layers.ReLU(), OwnConvolution(3, 2)]
    port = check(keras.Sequential(layers), IMAGES, IMAGES[:, :13, :16])
    assert "nn.Conv2d(4, 5, 3, stride=2, padding=1)" in port.text
    assert "nn.Conv2d(5, 3, 3, stride=2, padding=2)" in port.text


class Leaned(keras.layers.Layer):
    """Adds or takes away a weight: two classes of one name in torch."""

    def __init__(self, down: bool, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.down = down

    def build(self, shape: Any) -> None:
        self.weight = self.add_weight(shape=(shape[-1],), name="weight")

    def call(self, x: Any) -> Any:
        return x - self.weight if self.down else x + self.weight


class Pair(keras.layers.Layer):
    """A layer in a layer."""

    def __init__(self, down: bool, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.conv, self.lean = keras.layers.Conv2D(4, 1), Leaned(down)

    def call(self, x: Any) -> Any:
        return ops.relu(self.lean(self.conv(x)))


class PairNet(keras.Model):
    """Two pairs of one class that compute different things."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.first, self.second = Pair(False), Pair(True)

    def call(self, x: Any) -> Any:
        return self.second(self.first(x))


def test_classes_whose_members_are_of_two_classes_are_two() -> None:
    model = PairNet()
    model(IMAGES)
    for variable in model.variables:
        variable.assign(DRAWN.normal(size=variable.shape))
    check(model, IMAGES)


def test_a_long_table_that_the_call_computes_is_refused() -> None:
    table = np.linspace(0.0, 1.0, 80).astype("float32")
    x = inputs = keras.Input((None, None, 4))
    x = keras.layers.Conv2D(80, 1)(x)
    port = write(keras.Model(inputs, ops.multiply(x, ops.convert_to_tensor(table))), IMAGES)
    assert [item.operation for item in port.unwritten] == ["keras.ops.Multiply"]


class Shifted(keras.layers.Layer):
    """Adds what it drops, in training alone."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.drop = keras.layers.Dropout(0.5)

    def call(self, x: Any, training: bool = False) -> Any:
        x = ops.relu(x)
        if training:
            x = x + self.drop(x, training=training)
        return x


class Handed(keras.layers.Layer):
    """Hands the mode on, and does the same in both."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.drop = keras.layers.Dropout(0.5)
        self.norm = keras.layers.BatchNormalization()

    def call(self, x: Any, training: bool = False) -> Any:
        return self.drop(self.norm(x, training=training), training=training)


def test_what_training_alone_does_is_never_lost_in_silence() -> None:
    layers = [keras.layers.Conv2D(3, 1), Handed(), Shifted(), keras.layers.Dropout(0.1)]
    model = keras.Sequential([keras.Input((None, None, 4)), *layers])
    port = write(model, IMAGES)
    assert [item.operation for item in port.unwritten] == ["Shifted.call"]
    assert "training" in port.unwritten[0].reason
    assert port.unwritten[0].line > 0


class Counting(keras.layers.Layer):
    """Notes that it was trained."""

    def build(self, shape: Any) -> None:
        self.calls = self.add_weight(shape=(), initializer="zeros", trainable=False, name="calls")

    def call(self, x: Any, training: bool = False) -> Any:
        if training:
            self.calls.assign(1.0)
        return ops.relu(x)


def test_what_training_sets_is_told_and_not_set_by_the_writer() -> None:
    layer = Counting()
    model = keras.Sequential([keras.Input((None, None, 4)), keras.layers.Conv2D(3, 1), layer])
    port = write(model, IMAGES)
    assert [item.operation for item in port.unwritten] == ["Counting.call"]
    assert float(layer.calls) == 0.0


class Cropped(keras.layers.Layer):
    """Cuts two rows and four columns off the end."""

    def call(self, x: Any) -> Any:
        return x[:, : ops.shape(x)[1] - 2, : ops.shape(x)[2] - 4]


def test_a_size_follows_from_its_own_axis() -> None:
    images = DRAWN.normal(size=(2, 10, 12, 4)).astype("float32")  # 10 - 2 and 12 - 4 are one number
    model = keras.Sequential([keras.layers.Conv2D(3, 1), Cropped()])
    check(model, images, IMAGES)


class Ladder(keras.Model):
    """Keeps what each step gave in a list, and adds it on the way back."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.steps = [keras.layers.Conv2D(4, 3, padding="same") for _ in range(3)]
        self.back = [keras.layers.Conv2D(4, 3, padding="same") for _ in range(3)]

    def call(self, x: Any) -> Any:
        kept = []
        for step in self.steps:
            kept.append(x)
            x = step(x)
        for step in self.back:
            x = step(x + kept.pop())
        return x


def test_a_name_is_not_written_over_while_its_value_is_needed() -> None:
    check(Ladder(), IMAGES)
