"""Biases that one side alone has in front of normalisations, with sums and pooling between."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("keras")
pytest.importorskip("torch")

import keras
import torch
from torch import nn

import parity
from parity.adapters import adapt
from parity.adapters.probe import randomise

L = keras.layers
IMAGE = np.random.default_rng(0).uniform(-1, 1, (2, 13, 17, 3)).astype(np.float32)


def keras_model(bias: bool = True, behind: str = "norm") -> Any:
    """Two blocks that normalise first; the last sum is normalised, or its ReLU taken."""
    image = keras.Input((13, 17, 3))
    x = L.MaxPooling2D(3, 2)(L.Conv2D(6, 3, use_bias=bias, name="stem")(image))
    for number in (1, 2):
        y = L.ReLU()(L.BatchNormalization(epsilon=1e-5, name=f"norm{number}")(x))
        y = L.Conv2D(6, 3, padding="same", use_bias=bias, name=f"conv{number}")(y)
        x = L.Add()([x, y])
    if behind == "norm":
        x = L.BatchNormalization(epsilon=1e-5, name="last")(x)
    return keras.Model(image, L.ReLU()(x))


class Net(nn.Module):
    def __init__(self, bias: bool = False, behind: str = "norm") -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 3, bias=bias)
        self.norm1, self.norm2 = nn.BatchNorm2d(6), nn.BatchNorm2d(6)
        self.conv1, self.conv2 = (nn.Conv2d(6, 6, 3, padding=1, bias=bias) for _ in range(2))
        self.last = nn.BatchNorm2d(6) if behind == "norm" else nn.Identity()

    def forward(self, x: Any) -> Any:
        x = torch.max_pool2d(self.stem(x), 3, 2)
        x = x + self.conv1(torch.relu(self.norm1(x)))
        x = x + self.conv2(torch.relu(self.norm2(x)))
        return torch.relu(self.last(x))


@pytest.mark.parametrize("in_keras", [True, False])
def test_the_side_that_has_them_gets_zeros_and_does_the_same(in_keras: bool) -> None:
    model, module = keras_model(in_keras), Net(not in_keras).eval()
    source, target = (module, model) if in_keras else (model, module)
    randomise(adapt(source), 1)
    parity.transfer(source, target, inputs=IMAGE)
    biases = [model.get_layer(n).bias.numpy() for n in ("stem", "conv1", "conv2")] if in_keras else [
        getattr(module, n).bias.detach().numpy() for n in ("stem", "conv1", "conv2")
    ]  # fmt: skip
    assert not any(bias.any() for bias in biases)
    report = parity.compare(model, module, IMAGE)
    assert report, str(report)


@pytest.mark.parametrize("in_keras", [True, False])
def test_a_bias_of_another_value_is_refused_in_a_sentence(in_keras: bool) -> None:
    model, module = keras_model(in_keras), Net(not in_keras).eval()
    source, target = (model, module) if in_keras else (module, model)
    randomise(adapt(source), 1)
    with pytest.raises(parity.PairingError, match=r"conv1"):
        parity.transfer(source, target, inputs=IMAGE)


def test_a_bias_that_became_another_is_found_and_named() -> None:
    model, module = keras_model(), Net().eval()
    randomise(adapt(module), 1)
    parity.transfer(module, model, inputs=IMAGE)
    model.get_layer("conv1").bias.assign(np.linspace(0.5, 1.0, 6))
    report = parity.compare(model, module, IMAGE)
    assert report.verdict == "DIVERGED"
    assert report.first is not None
    assert (report.first.keras, report.first.cause) == ("conv1", "missing-bias")


def test_the_true_cause_is_named_beside_them() -> None:
    model, module = keras_model(), Net().eval()
    randomise(adapt(module), 1)
    module.norm2.eps = 1e-3
    parity.transfer(module, model, inputs=IMAGE)
    report = parity.compare(model, module, IMAGE)
    assert report.verdict == "DIVERGED"
    assert {finding.cause for finding in report.findings} == {"batchnorm-epsilon"}


@pytest.mark.parametrize("in_keras", [True, False])
def test_a_bias_that_no_normalisation_takes_up_is_refused(in_keras: bool) -> None:
    model, module = keras_model(in_keras, "relu"), Net(not in_keras, "relu").eval()
    source, target = (module, model) if in_keras else (model, module)
    with pytest.raises(parity.PairingError):
        parity.transfer(source, target, inputs=IMAGE)
