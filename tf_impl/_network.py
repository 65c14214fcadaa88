"""What the networks share: layers in a row, a pooling that keeps the odd row, first values, and checks."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, Literal

import keras
from keras import ops

from tf_impl._functional import Tensor
from tf_impl.initializers import bilinear_kernel
from tf_impl.layers import BatchNorm2d, Conv2d, ConvTranspose2d, MaxPool2d, Shape, register

Step = Callable[..., keras.layers.Layer]


@register
class Chain(keras.layers.Layer):
    """Layers one after the other; their paths are their numbers, as in PyTorch's Sequential.

    Shapes: those of the first layer's input and the last one's output.

    Args:
        steps: for each layer a function that makes it, given its name and dtype; None skips a number.
    """

    def __init__(self, steps: Sequence[Step | None], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._numbers = [str(number) for number, step in enumerate(steps) if step is not None]
        with keras.name_scope(self.name, caller=self):
            for number in self._numbers:
                setattr(self, number, steps[int(number)](name=number, dtype=self.dtype_policy))  # type: ignore[misc]
        self.built = True

    def __getitem__(self, number: int) -> keras.layers.Layer:
        """Give the layer of that number."""
        return getattr(self, str(number))

    def __iter__(self) -> Iterator[keras.layers.Layer]:
        """Give the layers in their order."""
        return (getattr(self, number) for number in self._numbers)

    def call(self, x: Tensor, training: bool | None = None) -> Tensor:
        """Apply every layer to `x`."""
        for layer in self:
            x = run(layer, x, training)
        return x


@register
class CeilMaxPool2d(MaxPool2d):
    """Take the greatest value of each window; what is left over at the bottom and the right makes one more.

    Shapes: (N, H, W, C) -> (N, ceil(H / kernel_size), ceil(W / kernel_size), C).

    Args:
        kernel_size: pixels, and the stride.

    Source: Caffe's pooling, which rounds sizes up.
    """

    def __init__(self, kernel_size: int, **kwargs: Any) -> None:
        super().__init__(kernel_size, **kwargs)

    def call(self, inputs: Tensor) -> Tensor:
        """Pool `inputs`, followed by as much minus infinity as the last window may need."""
        down, right = (size - 1 for size in self.kernel_size)
        x = ops.pad(inputs, ((0, 0), (0, down), (0, right), (0, 0)), constant_values=-math.inf)
        return super().call(x)

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Give the output's shape; an unknown size stays unknown."""
        axes = zip(input_shape[1:3], self.kernel_size, strict=True)
        return (input_shape[0], *(strided(size, kernel) for size, kernel in axes), input_shape[3])


def run(layer: keras.layers.Layer, x: Tensor, training: bool | None) -> Tensor:
    """Apply a layer; in training mode only where it knows of one."""
    return layer(x, training=training) if layer._call_has_training_arg else layer(x)


def unit_steps(in_channels: int, out_channels: int, kernel_size: int = 1, rate: int = 1) -> list[Step]:
    """Give what makes a convolution that keeps the size, its normalisation, and ReLU."""
    rim = rate * (kernel_size // 2)
    conv = partial(Conv2d, in_channels, out_channels, kernel_size, padding=rim, dilation=rate, bias=False)
    return [conv, partial(BatchNorm2d, out_channels), keras.layers.ReLU]


def linear(in_channels: int, out_channels: int, **kwargs: Any) -> keras.layers.Dense:
    """Make a dense layer with PyTorch's first values."""
    bound = 1 / math.sqrt(in_channels)
    first = keras.initializers.RandomUniform(-bound, bound)
    layer = keras.layers.Dense(
        out_channels, kernel_initializer=first, bias_initializer=first.clone(), **kwargs
    )
    layer.build((None, in_channels))
    return layer


def kaiming_normal(model: keras.layers.Layer, mode: Literal["fan_in", "fan_out"] = "fan_out") -> None:
    """Draw every convolution's kernel from He et al.'s normal distribution."""
    for each in model._flatten_layers():
        if isinstance(each, Conv2d):
            height, width, *channels = each.kernel.shape
            fan = height * width * channels[mode == "fan_out"]
            normal = keras.initializers.RandomNormal(0.0, math.sqrt(2 / fan))
            each.kernel.assign(normal(each.kernel.shape, each.kernel.dtype))


def zero_biases(model: keras.layers.Layer) -> None:
    """Begin with no bias."""
    for each in model._flatten_layers():
        if isinstance(each, Conv2d | ConvTranspose2d) and each.bias is not None:
            each.bias.assign(ops.zeros(each.bias.shape, each.bias.dtype))


def bilinear(layer: ConvTranspose2d) -> None:
    """Begin with bilinear interpolation."""
    size = layer.kernel_size
    layer.kernel.assign(bilinear_kernel(layer.in_channels, layer.out_channels, size, layer.kernel.dtype))


def xavier_uniform(layer: Conv2d) -> None:
    """Begin with Glorot & Bengio's uniform distribution."""
    layer.kernel.assign(keras.initializers.GlorotUniform()(layer.kernel.shape, layer.kernel.dtype))


def size_of(images: Tensor) -> tuple[int, int]:
    """Height and width of images; tensors where a graph leaves them open."""
    _, height, width, _ = ops.shape(images)
    return height, width


def cut(x: Tensor, offset: int, like: Tensor) -> Tensor:
    """Leave `offset` rows and columns away, and take as many as `like` has."""
    _, height, width, _ = ops.shape(like)
    return x[:, offset : offset + height, offset : offset + width]


def check_images(x: Tensor, channels: int) -> None:
    """Refuse what is no batch of images with `channels` channels."""
    if len(x.shape) != 4 or x.shape[3] != channels:
        raise ValueError(
            f"images must be (N, H, W, {channels}); got shape={tuple(x.shape)}. "
            "Put the channels last, and add the batch axis."
        )


def freeze(layer: keras.layers.Layer) -> None:
    """Leave the layer's parameters out of training."""
    layer.trainable = False


def strided(size: int | None, stride: int) -> int | None:
    """Rows that are left of `size` at a stride whose convolutions pad by half of their kernel."""
    return None if size is None else -(-size // stride)


def arguments(model: keras.layers.Layer, names: Sequence[str]) -> dict[str, Any]:
    """Give the configuration of a network: name, dtype and the constructor's arguments."""
    base = keras.layers.Layer.get_config(model)
    return {**base, **{name: getattr(model, name) for name in names}}


def spec(channels: int) -> keras.InputSpec:
    """Say that the input is images with `channels` channels."""
    return keras.InputSpec(shape=(None, None, None, channels))
