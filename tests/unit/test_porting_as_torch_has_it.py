"""Ports from Keras to torch: what torch has a module or a function for is written with it, and variants are one class."""

from __future__ import annotations

import re
from typing import Any

import keras
import numpy as np
from keras import layers as L
from keras import ops

from parity.porting.to_torch.write import write
from tests.unit.test_porting_to_torch import DRAWN, IMAGES, check, graph


class OptionalBlock(L.Layer):
    """A block that may halve the image: both paths have the source's names whether or not they are changed."""

    def __init__(self, width: int, halves: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.halves = halves
        self.conv = L.Conv2D(width, 3, padding="same")
        if halves:
            self.smaller = L.Conv2D(width, 1, strides=2)

    def call(self, x: Any) -> Any:
        identity = x
        out = ops.relu(self.conv(x))
        if self.halves:
            out = self.smaller(out)
            identity = self.smaller(identity)
        return out + identity


def test_an_optional_step_of_a_named_value_has_what_stands_for_it() -> None:
    port = check(graph(L.Conv2D(4, 1), OptionalBlock(4), OptionalBlock(4, True), OptionalBlock(4)), IMAGES)
    assert port.text.count("class OptionalBlock") == 1
    assert (
        "        identity = x\n        if self.halves:\n            identity = self.smaller(x)\n" in port.text
    )


class MaxPool2d(L.Layer):
    """Torch's pooling, by its name and arguments."""

    def __init__(self, kernel_size: int, stride: int = 2, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.kernel_size, self.stride = kernel_size, stride

    def call(self, x: Any) -> Any:
        return ops.max_pool(x, self.kernel_size, self.stride)


class AvgPool2d(L.Layer):
    """A maximum under the name of torch's mean."""

    def __init__(self, kernel_size: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.kernel_size = kernel_size

    def call(self, x: Any) -> Any:
        return ops.max_pool(x, self.kernel_size)


class Pool(MaxPool2d):
    """The same under a name that torch has not."""


class ConvTranspose2d(L.Layer):
    """Torch's transposed convolution: its padding cuts, and the kernel has Keras' axes."""

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: int, padding: int = 0, **kwargs: Any
    ):
        super().__init__(**kwargs)
        self.in_channels, self.out_channels = in_channels, out_channels
        self.kernel_size, self.padding = kernel_size, padding
        self.kernel = self.add_weight(
            shape=(kernel_size, kernel_size, out_channels, in_channels), name="kernel"
        )
        self.bias = self.add_weight(shape=(out_channels,), name="bias")

    def call(self, x: Any) -> Any:
        y, cut = ops.conv_transpose(x, self.kernel), self.padding
        return y[:, cut:-cut, cut:-cut] + self.bias


def test_a_layer_with_the_name_and_the_numbers_of_a_torch_module_is_that_module() -> None:
    port = check(graph(ConvTranspose2d(3, 4, 3, padding=1)), IMAGES)
    assert "nn.ConvTranspose2d(3, 4, 3, padding=1)" in port.text
    assert port.text.count("class ") == 1


def test_a_name_of_torch_alone_makes_no_module() -> None:
    port = check(graph(L.Conv2D(4, 1), AvgPool2d(2)), IMAGES)  # the run says that it is no mean
    assert "nn.AvgPool2d" not in port.text
    assert "F.max_pool2d(" in port.text
    assert "nn.Pool" not in check(graph(L.Conv2D(4, 1), Pool(2)), IMAGES).text


class Resized(keras.Model):
    """Bilinear resizing that is written with NumPy and rows taken by number."""

    def __init__(self, shift: float = 0.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.shift = shift
        self.conv = L.Conv2D(4, 3, strides=2)

    def along(self, x: Any, axis: int, target: int) -> Any:
        length = x.shape[axis]
        place = np.clip((np.arange(target) + 0.5) * length / target - 0.5 + self.shift, 0, length - 1)
        low = place.astype("int32")
        share = ops.cast((place - low).reshape((-1, 1, 1) if axis == 1 else (-1, 1)), x.dtype)
        high = np.minimum(low + 1, length - 1)
        return ops.take(x, low, axis=axis) * (1 - share) + ops.take(x, high, axis=axis) * share

    def call(self, x: Any) -> Any:
        small = self.conv(x)
        return self.along(self.along(small, 1, x.shape[1]), 2, x.shape[2])


def test_bilinear_resizing_that_is_written_out_is_interpolate() -> None:
    port = check(Resized(), IMAGES, IMAGES[:, :13, :16])
    assert re.search(r'F\.interpolate\(.*x\.shape\[2\], x\.shape\[3\]\), mode="bilinear"\)', port.text)


def test_another_rule_of_resizing_is_refused() -> None:
    model = Resized(0.25)
    model(IMAGES)
    assert write(model, IMAGES).unwritten


class Taking(keras.Model):
    """Channels and rows by their numbers."""

    def call(self, x: Any) -> Any:
        turned = ops.take(x, [2, 1, 0], axis=-1)
        return turned + ops.take(x, ops.convert_to_tensor([3]), axis=1), ops.take(x, 1, axis=-1)


def test_numbers_along_any_axis_are_indices() -> None:
    text = check(Taking(), IMAGES).text
    assert "x[:, [2, 1, 0]]" in text


class Chain(L.Layer):
    """Layers that functions make."""

    def __init__(self, makers: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.made = [maker() for maker in makers]

    def call(self, x: Any) -> Any:
        for layer in self.made:
            x = layer(x)
        return x


def test_layers_that_a_constructor_is_given_are_a_sequential() -> None:
    inner = [lambda: L.Conv2D(4, 1), L.ReLU]
    port = check(graph(Chain([lambda: Chain(inner), lambda: Chain([lambda: L.Conv2D(5, 3)])])), IMAGES)
    assert "class Chain" not in port.text
    assert "<function" not in port.text


class Wide(L.Layer):
    """Options in an order of their own."""

    def __init__(self, rate: float = 0.5, channels: int = 6, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.rate, self.channels = rate, channels
        self.dense = L.Dense(channels)

    def call(self, x: Any) -> Any:
        return self.dense(x) * self.rate


def test_arguments_of_the_source_stay_in_its_order() -> None:
    port = check(graph(Wide(0.25, 7), shape=(5,)), DRAWN.normal(size=(2, 5)).astype("float32"))
    assert "def __init__(self, rate=0.5, channels=6):" in port.text


class Rows(keras.Model):
    """A list of rows too long for a line, and its results under names."""

    def __init__(self, width: int = 8, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.stem = L.Conv2D(width, 3, padding="same")
        self.rows = [
            keras.Sequential([L.SeparableConv2D(width, 3, padding="same"), L.BatchNormalization(), L.ReLU()])
            for _ in range(2)
        ]

    def call(self, x: Any) -> Any:
        x = self.stem(x)
        for row in self.rows:
            x = x + row(x)
        return {"out": x}


def test_a_long_list_of_equal_rows_is_a_comprehension() -> None:
    assert re.search(r"nn\.ReLU\(\),\n +\)\n +for _ in range\(2\)\n +\],", check(Rows(), IMAGES).text)
