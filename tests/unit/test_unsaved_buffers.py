"""Buffers that a module does not save (tables of numbers, frequencies) are no weights, and no hindrance to pairing."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import torch
from keras import ops
from torch import nn

import parity
from parity.adapters import adapt
from parity.adapters.probe import randomise


class RotatedKeras(keras.layers.Layer):
    """A scale of its own behind a table of constants."""

    def __init__(self) -> None:
        super().__init__()
        self.gain = self.add_weight(shape=(6,), name="gain", initializer="ones")
        self.dense = keras.layers.Dense(6)

    def call(self, x: Any) -> Any:
        waves = np.cos(np.arange(6) / 4).astype("float32")
        return self.dense(x * ops.convert_to_tensor(waves, x.dtype)) * self.gain


class Rotated(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.amplification = nn.Parameter(torch.ones(6))
        self.linear = nn.Linear(6, 6)
        self.register_buffer(
            "waves", torch.from_numpy(np.cos(np.arange(6) / 4).astype(np.float32)), persistent=False
        )

    def forward(self, x: Any) -> Any:
        return self.linear(x * self.waves.to(x.dtype)) * self.amplification


def pair() -> tuple[Any, Any]:
    image = keras.Input((6,))
    return keras.Model(image, RotatedKeras()(image)), Rotated()


@pytest.mark.parametrize("direction", ["torch", "keras"])
def test_a_layer_of_its_own_with_an_unsaved_buffer_is_paired(direction: str) -> None:
    model, module = pair()
    source, target = (module, model) if direction == "torch" else (model, module)
    randomise(adapt(source), 0)
    parity.transfer(source, target)
    x = np.random.default_rng(0).standard_normal((3, 6)).astype(np.float32)
    report = parity.compare(model, module, x)
    assert report, report


def test_another_buffer_is_a_difference() -> None:
    model, module = pair()
    parity.transfer(model, module)
    module.waves[2] += 1e-3
    x = np.random.default_rng(0).standard_normal((3, 6)).astype(np.float32)
    assert parity.compare(model, module, x).verdict == "DIVERGED"
