"""As many tokens as features, flattened: which of the two axes has the features is told by what made them."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import torch
from keras import layers as L
from torch import nn

import parity

PICTURES = np.random.default_rng(0).normal(size=(2, 16, 16, 3)).astype("float32")


def keras_model(norm: bool) -> Any:
    x = inputs = keras.Input((16, 16, 3))
    x = L.Reshape((16, 16))(L.Conv2D(16, 4, strides=4)(x))
    x = L.LayerNormalization(epsilon=1e-6)(x) if norm else x
    return keras.Model(inputs, L.Dense(5)(L.Dropout(0.5)(L.Flatten()(x))))


class Tokens(nn.Module):
    """Patches as tokens (N, T, C), or as they come from the convolution (N, C, T)."""

    def __init__(self, norm: bool, turned: bool) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 16, 4, stride=4)
        self.norm = nn.LayerNorm(16, eps=1e-6) if norm else None
        self.dense, self.turned = nn.Linear(256, 5), turned

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.conv(x).flatten(2)
        x = x.transpose(1, 2) if self.turned else x
        x = x if self.norm is None else self.norm(x)
        return self.dense(x.flatten(1))


@pytest.mark.parametrize(("norm", "turned"), [(True, True), (False, True), (False, False)])
def test_features_are_found_where_the_layer_in_front_has_them(norm: bool, turned: bool) -> None:
    model = keras_model(norm)
    module = Tokens(norm, turned).eval()
    parity.transfer(model, module, inputs=PICTURES)
    assert parity.compare(model, module, PICTURES)
