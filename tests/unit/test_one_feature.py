"""Attention on a series of one feature: its kernels have one row, and are dense all the same."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import torch
from keras import layers as L
from torch import nn

import parity

VALUES = np.random.default_rng(0).standard_normal((3, 11, 1)).astype(np.float32)


class Attention(nn.Module):
    def __init__(self, heads: int = 3, width: int = 4) -> None:
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value = (nn.Linear(1, heads * width) for _ in range(3))
        self.output = nn.Linear(heads * width, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        q, k, v = (
            layer(x).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for layer in (self.query, self.key, self.value)
        )
        weights = (q @ k.transpose(-2, -1) / q.shape[-1] ** 0.5).softmax(-1)
        return self.output((weights @ v).transpose(1, 2).flatten(2))


@pytest.mark.parametrize("name", ["attention", "looked_at"])
@pytest.mark.parametrize("way", ["keras", "torch"])
def test_its_weights_are_paired_and_copied(name: str, way: str) -> None:
    series = keras.Input((None, 1))
    model = keras.Model(
        series, L.Dense(5, name="last")(L.MultiHeadAttention(3, 4, name="attention")(series, series))
    )
    module = nn.Sequential()
    module.add_module(name, Attention())
    module.add_module("last", nn.Linear(1, 5))
    source, target = (model, module) if way == "keras" else (module, model)
    parity.transfer(source, target, inputs=VALUES)
    report = parity.compare(model, module, VALUES, gradients=True)
    assert report.verdict == "EQUAL", report
