"""Columns of a picture as a sequence: features merged from rows and channels, which each side counts in its own order."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import torch
from keras import layers as L
from keras import ops
from torch import nn

import parity

SHAPE = (2, 10, 13, 3)
CELLS = ("dense", "lstm", "gru", "norm", "conv")


def network(cell: str, operations: bool = False) -> Any:
    """Convolution, then (N, H, W, C) as W steps of H * C features."""
    image = keras.Input(SHAPE[1:])
    x = L.Conv2D(4, 3, padding="same", activation="relu", name="stem")(image)
    if operations:
        x = ops.reshape(ops.transpose(x, (0, 2, 1, 3)), (-1, 13, 40))
    else:
        x = L.Reshape((13, 40))(L.Permute((2, 1, 3))(x))
    if cell == "norm":
        x = L.LayerNormalization(epsilon=1e-5, name="norm")(x)
    if cell in {"lstm", "gru"}:
        x = (L.LSTM if cell == "lstm" else L.GRU)(6, return_sequences=True, name="rnn")(x)
    if cell == "conv":
        x = L.Conv1D(5, 3, padding="same", name="line")(x)
    return keras.Model(image, L.Dense(3, name="head")(x))


class Network(nn.Module):
    """The same; torch's features are (C, H), or (H, C) as Keras' where `alike`."""

    def __init__(self, cell: str, alike: bool = False) -> None:
        super().__init__()
        self.cell, self.alike = cell, alike
        self.stem = nn.Conv2d(3, 4, 3, padding=1)
        if cell == "norm":
            self.norm = nn.LayerNorm(40)
        if cell in {"lstm", "gru"}:
            self.rnn = (nn.LSTM if cell == "lstm" else nn.GRU)(40, 6, batch_first=True)
        if cell == "conv":
            self.line = nn.Conv1d(40, 5, 3, padding=1)
        self.head = nn.Linear({"lstm": 6, "gru": 6, "conv": 5}.get(cell, 40), 3)

    def forward(self, x: Any) -> Any:
        x = torch.relu(self.stem(x))
        x = x.permute(0, 3, 2, 1).flatten(2) if self.alike else x.permute(0, 3, 1, 2).flatten(2)
        if self.cell == "norm":
            x = self.norm(x)
        if self.cell in {"lstm", "gru"}:
            x = self.rnn(x)[0]
        if self.cell == "conv":
            x = self.line(x.transpose(1, 2)).transpose(1, 2)
        return self.head(x)


def values() -> np.ndarray[Any, Any]:
    return np.random.default_rng(0).standard_normal(SHAPE).astype(np.float32)


def drawn(model: Any) -> None:
    rng = np.random.default_rng(1)
    for variable in model.weights:
        if "seed" not in variable.path:
            variable.assign(0.4 * rng.standard_normal(variable.shape))


@pytest.mark.parametrize("alike", [False, True])
@pytest.mark.parametrize("cell", CELLS)
def test_weights_are_copied_in_each_sides_order(cell: str, alike: bool) -> None:
    model, module = network(cell, operations=cell == "dense"), Network(cell, alike).eval()
    drawn(model)
    before = [value.numpy().copy() for value in model.weights]
    parity.transfer(model, module, inputs=values())
    report = parity.compare(model, module, values(), gradients=True)
    assert report.verdict == "EQUAL", str(report)
    drawn_anew = network(cell, operations=cell == "dense")
    parity.transfer(module, drawn_anew, inputs=values())
    for value, again in zip(before, drawn_anew.weights, strict=True):
        np.testing.assert_array_equal(value, again.numpy())


def test_a_copy_in_keras_order_is_named() -> None:
    model, module = network("dense"), Network("dense").eval()
    drawn(model)
    parity.transfer(model, module, inputs=values())
    module.head.weight.data = torch.from_numpy(model.get_layer("head").kernel.numpy().T.copy())
    report = parity.compare(model, module, values())
    assert report.verdict == "DIVERGED"
    (finding,) = report.findings
    assert (finding.torch, finding.cause, finding.fix_verified) == ("head", "flatten-order", True), str(
        report
    )
