"""Dropout that torch code writes out with torch.bernoulli: equal to a layer where it scales, and never where it compares."""

from __future__ import annotations

from collections.abc import Callable

import keras
import numpy as np
import pytest
import torch
from torch import nn

import parity

X = np.random.default_rng(0).normal(size=(3, 6)).astype("float32")
SCALED: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "divided": lambda x: x * torch.bernoulli(torch.ones_like(x), 0.7).div_(0.7),
    "by name": lambda x: x * torch.bernoulli(input=torch.ones_like(x), p=0.7) / 0.7,
    "in place": lambda x: torch.empty_like(x).bernoulli_(0.7) * x / 0.7,
}
OTHERWISE: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "not divided": lambda x: x * torch.bernoulli(torch.ones_like(x), 0.7),
    "compared": lambda x: x * (torch.bernoulli(torch.ones_like(x), 0.7) > 0.5),
    "compared behind a step": lambda x: x * (torch.bernoulli(torch.ones_like(x), 0.7).view(-1, 5) / 0.7 >= 1.0),
    "rounded": lambda x: x * torch.bernoulli(torch.ones_like(x), 0.7).ceil(),
    "chosen": lambda x: torch.where(torch.bernoulli(torch.ones_like(x), 0.7).bool(), x, 0.0),
    "another rate": lambda x: x * torch.bernoulli(torch.ones_like(x), 0.6) / 0.6,
}  # fmt: skip


class Dropping(nn.Module):
    """Two dense layers, and what drops between them in training."""

    def __init__(self, drop: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.a, self.b, self.drop = nn.Linear(6, 5), nn.Linear(5, 3), drop

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.a(x)
        return self.b(self.drop(x) if self.training else x)


def verdict(drop: Callable[[torch.Tensor], torch.Tensor]) -> str:
    inputs = keras.Input((6,))
    hidden = keras.layers.Dropout(0.3)(keras.layers.Dense(5, name="a")(inputs))
    model, module = keras.Model(inputs, keras.layers.Dense(3, name="b")(hidden)), Dropping(drop)
    parity.transfer(module, model, inputs=X)
    return str(parity.compare(model, module, X, quick=True, gradients=True).verdict)


@pytest.mark.parametrize("name", SCALED)
def test_draws_that_scale_are_dropout(name: str) -> None:
    assert verdict(SCALED[name]) == "EQUAL"


@pytest.mark.parametrize("name", OTHERWISE)
def test_draws_that_do_something_else_are_not(name: str) -> None:
    assert verdict(OTHERWISE[name]) != "EQUAL"
