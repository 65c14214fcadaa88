"""A Keras model that puts the channels of an image first before it flattens it, as ports from torch do."""

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
from parity.adapters.probe import build, randomise

L = keras.layers


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.fc = nn.Linear(4 * 5 * 7, 6)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(torch.relu(self.conv(x)).flatten(1))


class Turned(keras.Model):
    def __init__(self, turn: str) -> None:
        super().__init__()
        self.turn = turn
        self.conv = L.Conv2D(4, 3)
        self.permute = L.Permute((3, 1, 2)) if turn == "layer" else None
        self.fc = L.Dense(6)

    def call(self, x: Any) -> Any:
        x = ops.relu(self.conv(x))
        if self.turn == "transpose":
            x = ops.transpose(x, (0, 3, 1, 2))
        if self.turn == "moveaxis":
            x = ops.moveaxis(x, -1, 1)
        if self.turn == "swapaxes":
            x = ops.swapaxes(ops.swapaxes(x, 1, 3), 2, 3)
        if self.turn == "layer":
            x = self.permute(x)
        return self.fc(ops.reshape(x, (-1, 4 * 5 * 7)))


@pytest.mark.parametrize("direction", ["to keras", "to torch"])
@pytest.mark.parametrize("turn", ["transpose", "moveaxis", "swapaxes", "layer", "none"])
def test_rows_are_copied_in_the_order_in_which_they_are_read(turn: str, direction: str) -> None:
    x = np.random.default_rng(0).standard_normal((2, 7, 9, 3)).astype("float32")
    module, model = Net().eval(), Turned(turn)
    build(model, x)
    source, target = (module, model) if direction == "to keras" else (model, module)
    randomise(adapt(source), 0)
    parity.transfer(source, target, inputs=x)
    report = parity.compare(model, module, x, quick=True)
    assert report, str(report)


def test_a_turn_that_is_not_the_flattening_s_changes_nothing() -> None:
    class Twice(Turned):
        def call(self, x: Any) -> Any:
            x = ops.transpose(ops.transpose(x, (0, 2, 1, 3)), (0, 2, 1, 3))
            return self.fc(ops.reshape(ops.relu(self.conv(x)), (-1, 4 * 5 * 7)))

    x = np.random.default_rng(0).standard_normal((2, 7, 9, 3)).astype("float32")
    module, model = Net().eval(), Twice("none")
    build(model, x)
    randomise(adapt(module), 0)
    parity.transfer(module, model, inputs=x)
    assert parity.compare(model, module, x, quick=True)
