"""Networks written once, with named layers and a forward function over `tests.attacks.ops`, and built on either side."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import keras
import numpy as np
import torch
from keras import layers as L
from torch import nn

from tests.attacks.ops import KERAS, TORCH

SHAPE = (2, 12, 16, 3)

Forward = Callable[..., Any]
"""forward(ops, m, *inputs): m has the layers by name, `memory` (a dict of its own), `training` and `me`, the model."""


def images(seed: int = 0, shape: tuple[int, ...] = SHAPE) -> np.ndarray:
    """Random images, float32."""
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


@dataclass(frozen=True)
class Layer:
    """One layer: how either framework makes it."""

    keras: Callable[[str], Any]
    torch: Callable[[], nn.Module]


def conv(inside: int = 3, out: int = 4, size: int = 3, bias: bool = True, **more: Any) -> Layer:
    """A convolution without padding; `keras_more` and `torch_more` are arguments of one side."""
    keras_more, torch_more = more.pop("keras_more", {}), more.pop("torch_more", {})
    return Layer(
        lambda name: L.Conv2D(out, size, use_bias=bias, name=name, **keras_more),
        lambda: nn.Conv2d(inside, out, size, bias=bias, **torch_more),
    )


def dense(inside: int, out: int, bias: bool = True, **keras_more: Any) -> Layer:
    """A dense layer over the last axis."""
    return Layer(
        lambda name: L.Dense(out, use_bias=bias, name=name, **keras_more),
        lambda: nn.Linear(inside, out, bias=bias),
    )


def batch_norm(channels: int = 4, eps: float = 1e-5) -> Layer:
    """A batch normalisation."""
    return Layer(
        lambda name: L.BatchNormalization(epsilon=eps, momentum=0.9, name=name),
        lambda: nn.BatchNorm2d(channels, eps=eps),
    )


def layer_norm(size: int, eps: float = 1e-5) -> Layer:
    """A normalisation over the last axis."""
    return Layer(
        lambda name: L.LayerNormalization(epsilon=eps, name=name), lambda: nn.LayerNorm(size, eps=eps)
    )


def embedding(rows: int, size: int) -> Layer:
    """A table of vectors."""
    return Layer(lambda name: L.Embedding(rows, size, name=name), lambda: nn.Embedding(rows, size))


class KerasNetwork(keras.Model):
    """A subclassed Keras model, whose forward function runs anew in every call."""

    def __init__(self, forward: Forward, layers: Mapping[str, Layer]) -> None:
        super().__init__()
        made = {name: layer.keras(name) for name, layer in layers.items()}
        for name, layer in made.items():
            setattr(self, name, layer)
        object.__setattr__(self, "_holder", SimpleNamespace(**made, memory={}, me=self))
        object.__setattr__(self, "_written", forward)

    def build(self, shape: Any) -> None:
        """Nothing: the first call builds the layers, and runs on numbers."""
        self.built = True

    def call(self, x: Any, training: bool = False) -> Any:
        self._holder.training = training
        return self._written(KERAS, self._holder, x)


class TorchNetwork(nn.Module):
    """The torch module."""

    def __init__(self, forward: Forward, layers: Mapping[str, Layer]) -> None:
        super().__init__()
        made = {name: layer.torch() for name, layer in layers.items()}
        for name, layer in made.items():
            self.add_module(name, layer)
        self._holder = SimpleNamespace(**made, memory={}, me=self)
        self._written = forward

    def forward(self, *inputs: Any) -> Any:
        self._holder.training = self.training
        return self._written(TORCH, self._holder, *inputs)


@dataclass(frozen=True)
class Written:
    """A network: its layers by name, and what it computes.

    Attributes:
        forward: see `Forward`.
        layers: by name.
        live: the forward function runs anew in every call, also in Keras (else the model is functional there).
    """

    forward: Forward
    layers: Mapping[str, Layer]
    live: bool = False

    def in_keras(self, inputs: list[np.ndarray]) -> Any:
        """The Keras model, built."""
        if self.live:
            model = KerasNetwork(self.forward, self.layers)
            model(*[keras.ops.convert_to_tensor(value) for value in inputs])
            return model
        made = {name: layer.keras(name) for name, layer in self.layers.items()}
        holder = SimpleNamespace(**made, memory={}, training=False)
        symbols = [
            keras.Input(
                (*(None if v.ndim == 4 else n for n in v.shape[1:-1]), *v.shape[-1:]), dtype=str(v.dtype)
            )
            for v in inputs
        ]
        return keras.Model(symbols if len(symbols) > 1 else symbols[0], self.forward(KERAS, holder, *symbols))

    def in_torch(self) -> nn.Module:
        """The torch module, in evaluation mode."""
        return TorchNetwork(self.forward, self.layers).eval()


def seeded(seed: int = 0) -> None:
    """Both frameworks' own random weights are the same in every run."""
    keras.utils.set_random_seed(seed)
    torch.manual_seed(seed)
