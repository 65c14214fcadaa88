"""Far out GELU is a small difference of large numbers: two sides round it otherwise, and are EQUAL all the same."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
import torch
from keras import layers as L
from torch import nn
from torch.nn import functional as F

import parity
from parity.adapters import adapt
from parity.adapters.probe import randomise


class GELUActivation(nn.Module):
    """As transformers has it: a class that parity does not know."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.gelu(x)


class Written(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * 0.5 * (1.0 + torch.erf(x / 2**0.5))


def tanh_gelu(x: Any) -> Any:
    return keras.activations.gelu(x, approximate=True)


def compared(activation: Any, make: Callable[[], nn.Module], built_in: bool, scale: int = 8) -> parity.Report:
    inside = [L.Dense(5, activation=activation)] if built_in else [L.Dense(5), L.Activation(activation)]
    model = keras.Sequential([keras.Input((9, 12)), *inside])
    module = nn.Sequential(nn.Linear(12, 5), make()).eval()
    x = (
        np.random.default_rng(0).standard_normal((2, 9, 12)).astype(np.float32) * scale
    )  # out to where erf is -1
    randomise(adapt(module), 0)
    parity.transfer(module, model, inputs=x)
    return parity.compare(model, module, x)


@pytest.mark.parametrize("built_in", [True, False], ids=["built in", "layer"])
@pytest.mark.parametrize("make", [nn.GELU, GELUActivation, Written], ids=lambda make: make.__name__)
def test_equal_gelus_are_equal_far_out(make: Callable[[], nn.Module], built_in: bool) -> None:
    report = compared("gelu", make, built_in)
    assert report, report.findings


def test_equal_tanh_gelus_are_equal_far_out() -> None:
    report = compared(tanh_gelu, lambda: nn.GELU("tanh"), built_in=True)
    assert report, report.findings


def test_another_gelu_is_still_found() -> None:
    assert compared("gelu", lambda: nn.GELU("tanh"), built_in=True, scale=1).verdict == "DIVERGED"


def test_a_small_shift_far_out_is_still_found() -> None:
    class Shifted(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return F.gelu(x) + 1e-12 * (x < -5)

    assert compared("gelu", Shifted, built_in=True).verdict == "DIVERGED"
