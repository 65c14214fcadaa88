"""Pairs for the attacks: small Keras models and torch modules, with the weights copied over."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import torch
from keras import layers as L
from torch import nn

import parity

SHAPE = (2, 12, 16, 3)


def images(seed: int = 0, shape: tuple[int, ...] = SHAPE) -> np.ndarray:
    """Random images, float32."""
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


class Module(nn.Module):
    """Modules by name and a forward function over them."""

    def __init__(self, forward: Callable[..., Any], **modules: nn.Module) -> None:
        super().__init__()
        self._function = forward
        for name, module in modules.items():
            self.add_module(name, module)

    def forward(self, *inputs: Any) -> Any:
        return self._function(self, *inputs)


def functional(
    *steps: Any, shape: tuple[int | None, ...] = (None, None, 3), dtype: str = "float32"
) -> keras.Model:
    """A functional Keras model of layers and functions in a row."""
    value = image = keras.Input(shape, dtype=dtype)
    for step in steps:
        value = step(value)
    return keras.Model(image, value)


def conv(channels: int = 4, seed: int = 0) -> nn.Conv2d:
    """A convolution with weights of its own seed."""
    torch.manual_seed(seed)
    return nn.Conv2d(3, channels, 3)


def norm(eps: float = 1e-5, channels: int = 4) -> nn.BatchNorm2d:
    """A normalisation with statistics that hide nothing."""
    module = nn.BatchNorm2d(channels, eps=eps).eval()
    generator = torch.Generator().manual_seed(1)
    module.running_mean.normal_(0, 0.3, generator=generator)
    module.running_var.uniform_(0.5, 2.0, generator=generator)
    with torch.no_grad():
        module.weight.uniform_(0.5, 1.5, generator=generator)
        module.bias.normal_(0, 0.3, generator=generator)
    return module


def keras_conv(channels: int = 4) -> Any:
    """The convolution in Keras."""
    return L.Conv2D(channels, 3, name="c")


def copied(model: Any, module: nn.Module, inputs: Any) -> tuple[Any, nn.Module]:
    """Both models with torch's weights."""
    module.eval()
    parity.transfer(module, model, inputs=inputs)
    return model, module
