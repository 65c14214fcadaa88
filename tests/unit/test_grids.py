"""A grid of tokens is one tensor, whether a side holds it as (N, H, W, C) or as (N, L, C)."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import torch
from keras import layers as L
from keras import ops
from torch import nn
from torch.nn import functional as F

import parity
from parity.adapters import adapt
from parity.adapters.probe import randomise
from parity.replay.tensors import regrouped

X = np.random.default_rng(3).normal(size=(2, 8, 12, 3)).astype("float32")


class KerasStage(keras.Model):
    """Patches, a block of a norm and an MLP, and merged patches, as a grid or as tokens."""

    def __init__(self, tokens: bool, epsilon: float = 1e-5) -> None:
        super().__init__()
        self.tokens = tokens
        self.patches = L.Conv2D(6, 2, strides=2, name="patches")
        self.norm = L.LayerNormalization(epsilon=epsilon, name="norm")
        self.up, self.down = L.Dense(9, name="up"), L.Dense(6, name="down")
        self.merged, self.head = L.Dense(5, name="merged"), L.Dense(4, name="head")

    def call(self, x: Any) -> Any:
        y = self.patches(x)
        if self.tokens:
            y = ops.reshape(y, (-1, 24, 6))
        y = y + self.down(ops.relu(self.up(self.norm(y))))
        y = ops.reshape(y, (-1, 2, 2, 3, 2, 6))
        y = ops.reshape(ops.transpose(y, (0, 1, 3, 2, 4, 5)), (-1, 2, 3, 24))
        y = self.merged(ops.reshape(y, (-1, 6, 24)) if self.tokens else y)
        return self.head(ops.mean(y, axis=1 if self.tokens else (1, 2)))


class Stage(nn.Module):
    def __init__(self, tokens: bool, gain: float = 1.0) -> None:
        super().__init__()
        self.tokens, self.gain = tokens, gain
        self.embed, self.ln = nn.Conv2d(3, 6, 2, 2), nn.LayerNorm(6)
        self.fc1, self.fc2 = nn.Linear(6, 9), nn.Linear(9, 6)
        self.reduction, self.top = nn.Linear(24, 5), nn.Linear(5, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.embed(x).permute(0, 2, 3, 1)
        if self.tokens:
            y = y.flatten(1, 2)
        y = y + self.fc2(F.relu(self.fc1(self.ln(y)))) * self.gain
        y = y.reshape(-1, 2, 2, 3, 2, 6).permute(0, 1, 3, 2, 4, 5).reshape(-1, 2, 3, 24)
        y = self.reduction(y.reshape(-1, 6, 24) if self.tokens else y)
        return self.top(y.flatten(1, -2).mean(1))


class Images(Stage):
    """The same with 1 x 1 convolutions over images whose channels come first."""

    def __init__(self) -> None:
        super().__init__(False)
        self.fc1, self.fc2 = nn.Conv2d(6, 9, 1), nn.Conv2d(9, 6, 1)  # type: ignore[assignment]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.embed(x)
        z = self.ln(y.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        y = (y + self.fc2(F.relu(self.fc1(z)))).permute(0, 2, 3, 1)
        y = y.reshape(-1, 2, 2, 3, 2, 6).permute(0, 1, 3, 2, 4, 5).reshape(-1, 6, 24)
        return self.top(self.reduction(y).mean(1))


def reports(model: Any, module: nn.Module) -> list[Any]:
    model(X)
    found = []
    for turn, (source, target) in enumerate(((module, model), (model, module))):
        randomise(adapt(source), turn)
        parity.transfer(source, target, inputs=X)
        found.append(parity.compare(model, module, X))
    return found


@pytest.mark.parametrize("tokens", [True, False])
def test_a_grid_and_tokens_are_equal(tokens: bool) -> None:
    for report in reports(KerasStage(tokens), Stage(not tokens)):
        assert report, str(report)


def test_tokens_and_images_are_equal() -> None:
    for report in reports(KerasStage(True), Images()):
        assert report, str(report)


@pytest.mark.parametrize("module", [lambda: Stage(True), lambda: Stage(False), Images])
@pytest.mark.parametrize("tokens", [True, False])
def test_a_fault_is_named_and_nothing_else_is_blamed(tokens: bool, module: Any) -> None:
    report = reports(KerasStage(tokens, epsilon=1e-3), module())[0]
    assert [(one.torch, one.cause, one.fix_verified) for one in report.findings] == [
        ("ln", "layernorm-epsilon", True)
    ]


@pytest.mark.parametrize("tokens", [True, False])
def test_a_fault_between_layers_is_found_at_its_place_alone(tokens: bool) -> None:
    report = reports(KerasStage(tokens), Stage(not tokens, gain=0.5))[0]
    assert report.verdict == "DIVERGED"
    assert [one.torch for one in report.findings] == ["reduction"]


def test_places_and_channels_must_be_the_same() -> None:
    grid = np.zeros((2, 4, 6, 5))
    assert regrouped([grid], [np.zeros((2, 24, 5))])[0].shape == (2, 24, 5)
    assert regrouped([grid], [np.zeros((2, 5, 24))])[0].shape == (2, 24, 5)
    tokens = grid.reshape(2, 24, 5)
    assert regrouped([tokens], [grid])[0].shape == (2, 4, 6, 5)
    assert regrouped([tokens], [np.zeros((2, 5, 4, 6))])[0].shape == (2, 4, 6, 5)
    for shape in ((2, 23, 5), (2, 20, 6), (1, 24, 5), (48, 5)):
        assert regrouped([grid], [np.zeros(shape)])[0] is grid
