"""Pairs of models as other people write them: nothing here comes from tf_impl or torch_impl."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np
import torch
from keras import layers as L
from keras import ops
from torch import nn

from tests.zoo_torch import (
    Branches,
    Embedded,
    Flattened,
    Heads,
    Normalised,
    OwnWeights,
    Padded,
    Shared,
    Unused,
    Wrapped,
    functional_sequence,
    sequence_with_activations,
    volume,
)

Build = Callable[[], Any]


@dataclass(frozen=True)
class Case:
    """One pair: how to build either side, and the shapes (or arrays) of the input in the Keras layout."""

    keras: Build
    torch: Build
    shapes: tuple[tuple[int, ...], ...]
    mapping: Mapping[str, Any] = field(default_factory=dict)
    tokens: int = 0

    def inputs(self, seed: int = 0) -> list[Any]:
        rng = np.random.default_rng(seed)
        if self.tokens:
            return [rng.integers(0, self.tokens, shape) for shape in self.shapes]
        return [rng.standard_normal(shape).astype(np.float32) for shape in self.shapes]

    def build(self) -> tuple[Any, Any]:
        model, module = self.keras(), self.torch()
        if not model.built:
            values = self.inputs()
            model(*values)
        return model, module


EDITED: list[Any] = []
"""The Keras and the torch model that `parity check --keras tests.zoo:edited_keras ...` sees."""


def edited_keras() -> Any:
    return EDITED[0]


def edited_torch() -> Any:
    return EDITED[1]


# --- a functional model with branches, named with underscores where torch has dots ----------------


def branches() -> Any:
    x = image = keras.Input((None, None, 3))
    x = L.Conv2D(8, (3, 5), padding="valid", name="stem_conv")(x)
    x = L.BatchNormalization(epsilon=1e-5, name="stem_bn")(x)
    x = L.ReLU(name="stem_relu")(x)
    left = L.Conv2D(8, 3, padding="same", dilation_rate=2, activation="relu", name="left")(x)
    right = L.DepthwiseConv2D(3, padding="same", name="right_0")(x)
    right = L.Conv2D(8, 1, use_bias=False, name="right_1")(right)
    joined = L.Concatenate(name="join")([left, right])
    y = L.Conv2D(8, 1, name="mix")(joined)
    y = L.Add(name="residual")([y, x])
    y = L.Conv2D(4, 1, name="head")(y)
    return keras.Model(image, y, name="branches")


# --- a subclassed model with nested Sequentials ---------------------------------------------------


class WrappedKeras(keras.Model):
    def __init__(self) -> None:
        super().__init__()
        self.stem = keras.Sequential(
            [L.Conv2D(6, 3, strides=2), L.BatchNormalization(epsilon=1e-5), L.ReLU()]
        )
        self.body = keras.Sequential(
            [
                keras.Sequential([L.Conv2D(6, 3, padding="same"), L.LeakyReLU(negative_slope=0.01)]),
                keras.Sequential([L.Conv2D(6, 3, padding="same"), L.LeakyReLU(negative_slope=0.01)]),
            ]
        )
        self.up = L.Conv2DTranspose(5, 2, strides=2)
        self.classify = L.Dense(3)

    def call(self, x: Any) -> Any:
        x = self.stem(x)
        x = x + self.body(x)
        return self.classify(ops.relu(self.up(x)))


def wrapped() -> Any:
    model = WrappedKeras()
    model(np.zeros((1, 15, 22, 3), np.float32))
    return model


class HeadsKeras(keras.Model):
    """Lists and dictionaries of layers, several outputs by name."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = [L.Conv2D(5, 3, padding="same") for _ in range(3)]
        self.heads = {"mask": L.Conv2D(2, 1), "edge": L.Conv2D(1, 1)}

    def call(self, x: Any) -> Any:
        for block in self.blocks:
            x = ops.tanh(block(x))
        return {name: head(x) for name, head in self.heads.items()}


class SharedKeras(keras.Model):
    """One layer called twice."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = L.Conv2D(4, 3, padding="same")
        self.norm = L.BatchNormalization(epsilon=1e-5)
        self.out = L.Conv2D(3, 1)

    def call(self, x: Any) -> Any:
        x = ops.relu(self.norm(self.conv(x)))
        return self.out(ops.relu(self.norm(self.conv(x))))


class UnusedKeras(keras.Model):
    """A layer that is built and never called."""

    def __init__(self) -> None:
        super().__init__()
        self.used = L.Conv2D(4, 3)
        self.spare = L.Conv2D(4, 3)
        self.spare.build((None, None, None, 3))

    def call(self, x: Any) -> Any:
        return self.used(x)


class OwnWeightsKeras(keras.layers.Layer):
    """Weights of the layer itself, of the same names on both sides."""

    def __init__(self) -> None:
        super().__init__()
        self.mix = self.add_weight(shape=(4, 7), name="mix", initializer="random_normal")
        self.shift = self.add_weight(shape=(7,), name="some_other_name", initializer="random_normal")
        self.scale = self.add_weight(shape=(7,), name="scale", trainable=False, initializer="ones")
        self.built = True

    def call(self, x: Any) -> Any:
        return (ops.matmul(x, self.mix) + self.shift) * self.scale


def normalised() -> Any:
    x = image = keras.Input((None, None, 4))
    x = L.Conv2D(6, 3, name="first")(x)
    x = L.GroupNormalization(3, epsilon=1e-5, name="group")(x)
    x = L.PReLU(shared_axes=(1, 2), name="prelu")(x)
    x = L.Conv2D(6, 3, groups=2, name="grouped")(x)
    x = L.BatchNormalization(epsilon=1e-5, scale=False, center=False, name="plain")(x)
    x = L.GlobalAveragePooling2D(name="pool")(x)
    x = L.Dense(5, name="dense")(x)
    return keras.Model(image, L.LayerNormalization(epsilon=1e-5, name="layer")(x))


def flattened() -> Any:
    return keras.Sequential(
        [
            keras.Input((7, 9, 3)),
            L.Conv2D(4, 3, name="conv"),
            L.MaxPooling2D(2, name="pool"),
            L.Flatten(name="flatten"),
            L.Dropout(0.5, name="drop"),
            L.BatchNormalization(epsilon=1e-5, name="norm"),
            L.Dense(6, activation="relu", name="hidden"),
            L.Dense(2, name="out"),
        ]
    )


class FlattenedByOpKeras(keras.Model):
    """The flattening is an operation, not a layer."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = L.Conv2D(4, 3)
        self.out = L.Dense(3)

    def call(self, x: Any) -> Any:
        x = self.conv(x)
        return self.out(ops.reshape(x, (ops.shape(x)[0], -1)))


def embedded() -> Any:
    return keras.Sequential(
        [
            keras.Input((11,), dtype="int32"),
            L.Embedding(13, 6, name="table"),
            L.LayerNormalization(epsilon=1e-5, name="norm"),
            L.Dense(4, activation="gelu", name="hidden"),
            L.Dense(13, name="out"),
        ]
    )


def padded() -> Any:
    x = image = keras.Input((None, None, 3))
    x = L.ZeroPadding2D(((1, 1), (2, 2)), name="pad")(x)
    x = L.Conv2D(4, (3, 5), strides=2, activation="relu", name="conv")(x)
    x = L.ZeroPadding2D(1, name="pad2")(x)
    x = L.AveragePooling2D(3, strides=1, name="pool")(x)
    return keras.Model(image, L.Conv2DTranspose(3, 3, strides=2, name="up")(x))


def two_inputs() -> Any:
    image, guide = keras.Input((None, None, 3), name="image"), keras.Input((None, None, 2), name="guide")
    both = L.Concatenate(name="cat")([L.Conv2D(4, 3, name="a")(image), L.Conv2D(4, 3, name="b")(guide)])
    return keras.Model([image, guide], L.Conv2D(2, 1, name="c")(both))


class TwoInputs(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Conv2d(3, 4, 3), nn.Conv2d(2, 4, 3), nn.Conv2d(8, 2, 1)

    def forward(self, image: Any, guide: Any) -> Any:
        return self.c(torch.cat([self.a(image), self.b(guide)], 1))


def nested() -> Any:
    inner_in = keras.Input((None, None, 4))
    inner = keras.Model(inner_in, L.ReLU(name="act")(L.Conv2D(4, 3, name="conv")(inner_in)), name="encoder")
    image = keras.Input((None, None, 3))
    x = L.Conv2D(4, 1, name="stem")(image)
    return keras.Model(image, L.Conv2D(2, 1, name="head")(inner(x)))


class Nested(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 1)
        self.encoder = nn.Sequential()
        self.encoder.add_module("conv", nn.Conv2d(4, 4, 3))
        self.encoder.add_module("act", nn.ReLU())
        self.head = nn.Conv2d(4, 2, 1)

    def forward(self, x: Any) -> Any:
        return self.head(self.encoder(self.stem(x)))


def signal() -> Any:
    return keras.Sequential(
        [
            keras.Input((None, 3)),
            L.Conv1D(4, 5, strides=2, name="conv"),
            L.DepthwiseConv1D(3, depth_multiplier=2, name="depthwise"),
            L.Conv1DTranspose(4, 3, strides=2, name="up"),
        ]
    )


def torch_signal() -> Any:
    module = nn.Sequential()
    module.add_module("conv", nn.Conv1d(3, 4, 5, stride=2))
    module.add_module("depthwise", nn.Conv1d(4, 8, 3, groups=4))
    module.add_module("up", nn.ConvTranspose1d(8, 4, 3, stride=2))
    return module


def keras_volume() -> Any:
    x = image = keras.Input((None, None, None, 2))
    x = L.Conv3D(4, (2, 3, 1), name="conv")(x)
    x = L.Conv3DTranspose(3, 2, strides=2, activation="relu", name="up")(x)
    return keras.Model(image, x)


def separable() -> Any:
    x = image = keras.Input((None, None, 3))
    return keras.Model(image, L.SeparableConv2D(5, 3, depth_multiplier=2, name="sep")(x))


class Separable(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(3, 6, 3, groups=3, bias=False)
        self.pointwise = nn.Conv2d(6, 5, 1)

    def forward(self, x: Any) -> Any:
        return self.pointwise(self.depthwise(x))


def sequence() -> Any:
    """Activations built in, so that positions differ from torch's."""
    return keras.Sequential(
        [
            keras.Input((None, None, 4)),
            L.Conv2D(4, 3, activation="relu"),
            L.Conv2D(4, 3, activation="relu"),
            L.Conv2D(4, 3),
        ]
    )


def functional_names() -> Any:
    """Layer names with dots, as torch's state_dict has them."""
    x = image = keras.Input((None, None, 3))
    for name in ("features.0", "features.2"):
        x = L.ReLU(name=f"{name}.relu")(L.Conv2D(4, 3, name=name)(x))
    return keras.Model(image, L.Conv2D(2, 1, name="classifier")(x))


CASES: dict[str, Case] = {
    "functional with branches": Case(branches, Branches, ((2, 15, 22, 3),)),
    "nested Sequentials": Case(WrappedKeras, Wrapped, ((2, 15, 22, 3),)),
    "lists and dictionaries": Case(HeadsKeras, Heads, ((2, 9, 12, 3),)),
    "layers used twice": Case(SharedKeras, Shared, ((2, 9, 12, 4),)),
    "layer never used": Case(UnusedKeras, Unused, ((2, 9, 12, 3),)),
    "weights of its own": Case(OwnWeightsKeras, OwnWeights, ((3, 4),)),
    "normalisations": Case(normalised, Normalised, ((2, 11, 14, 4),)),
    "dense after Flatten": Case(flattened, Flattened, ((3, 7, 9, 3),)),
    "dense after reshape": Case(
        FlattenedByOpKeras, lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(4 * 5 * 7, 3)),
        ((2, 7, 9, 3),), {"conv": "0", "out": "2"},
    ),
    "embedding": Case(embedded, Embedded, ((2, 11),), tokens=13),
    "explicit padding": Case(padded, Padded, ((2, 15, 22, 3),)),
    "two inputs": Case(two_inputs, TwoInputs, ((2, 9, 12, 3), (2, 9, 12, 2))),
    "nested functional": Case(nested, Nested, ((2, 9, 12, 3),)),
    "signals": Case(signal, torch_signal, ((2, 31, 3),)),
    "volumes": Case(keras_volume, volume, ((2, 5, 6, 7, 2),)),
    "separable": Case(separable, Separable, ((2, 9, 12, 3),), {"sep": ("depthwise", "pointwise")}),
    "sequence with activations": Case(sequence, sequence_with_activations, ((2, 9, 12, 4),)),
    "dotted names": Case(functional_names, functional_sequence, ((2, 9, 12, 3),)),
}  # fmt: skip
