"""Deep sums under a softmax: the proof of a port draws statistics that fit, and looks behind activations within layers."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import torch
from keras import layers as L
from torch import nn

import parity
from parity.adapters import adapt
from parity.adapters.probe import randomise
from parity.core.finding import Kind
from parity.core.verdict import Verdict
from parity.porting.in_scale import in_scale

DRAWN = np.random.default_rng(0)


def deep(blocks: int = 24) -> Any:
    """Sums of what came in and of a normalised layer, many times."""
    x = inputs = keras.Input((12,))
    for _ in range(blocks):
        x = L.Add()([x, L.Dense(12)(L.BatchNormalization()(x))])
    return keras.Model(inputs, L.Dense(5, activation="softmax")(x), name="deep")


def test_statistics_fit_what_comes_in() -> None:
    model = deep()
    randomise(adapt(model))
    x = DRAWN.normal(size=(8, 12)).astype("float32")
    sums = keras.Model(model.input, model.layers[-2].output)
    before = float(np.abs(sums(x)).max())
    assert in_scale(adapt(model), [x]) == 24
    assert float(np.abs(sums(x)).max()) < 60 < 1000 < before


def test_the_port_of_a_deep_sum_is_proved() -> None:
    x = DRAWN.normal(size=(8, 12)).astype("float32")
    port = parity.port(deep, x, quick=True)
    assert port.verdict is Verdict.EQUAL, [*map(str, port.proofs)]


class Linears(nn.Module):
    """The same as two Dense layers with their activations."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(6, 8), nn.Linear(8, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.softmax(self.b(torch.relu(self.a(x))), -1)


def test_what_a_softmax_within_a_layer_hides_is_looked_at() -> None:
    layers = [L.Dense(8, activation="relu", name="a"), L.Dense(5, activation="softmax", name="b")]
    model, module = keras.Sequential([keras.Input((6,)), *layers]), Linears()
    for variable in model.weights:
        variable.assign(DRAWN.normal(0, 30, variable.shape))
    parity.transfer(model, module)
    x = DRAWN.normal(size=(9, 6)).astype("float32")
    report = parity.compare(model, module, x)
    assert all(finding.kind is not Kind.HIDDEN for finding in report.findings), str(report)
    with torch.no_grad():  # the same classes, of other scores
        module.b.bias += torch.tensor([0.3, 0.2, 0.1, 0.0, -0.1])
    assert parity.compare(model, module, x).verdict is not Verdict.EQUAL
