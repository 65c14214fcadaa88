"""Normalisations of classes of one's own that hold their activation, and networks whose sizes differ: causes are found."""

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


class NormAct(nn.BatchNorm2d):
    """A batch normalisation with its activation as a layer inside."""

    def __init__(self, channels: int, eps: float) -> None:
        super().__init__(channels, eps=eps)
        self.drop, self.act = nn.Identity(), nn.ReLU()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, False, 0.0, self.eps)
        out: torch.Tensor = self.act(self.drop(y))
        return out


class OwnNorm(nn.Module):
    """The same by other names, in one class."""

    def __init__(self, channels: int, eps: float) -> None:
        super().__init__()
        self.little, self.g, self.b = (
            eps,
            nn.Parameter(torch.ones(channels)),
            nn.Parameter(torch.zeros(channels)),
        )
        self.register_buffer("m", torch.zeros(channels))
        self.register_buffer("v", torch.ones(channels))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.batch_norm(x, self.m, self.v, self.g, self.b, False, 0.0, self.little).relu()


class Plain(nn.Module):
    def __init__(self, channels: int, eps: float) -> None:
        super().__init__()
        self.bn = nn.BatchNorm2d(channels, eps)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.relu(self.bn(x))


Norm = Callable[[int, float], nn.Module]


class Block(nn.Module):
    def __init__(self, norm: Norm, eps: float, stride: int) -> None:
        super().__init__()
        self.stride, self.n1, self.n2 = stride, norm(8, eps), norm(8, eps)
        self.c1, self.c2 = nn.Conv2d(8, 8, 3, stride, 1, bias=False), nn.Conv2d(8, 8, 3, 1, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        shortcut = F.max_pool2d(x, 1, self.stride) if self.stride > 1 else x
        out: torch.Tensor = shortcut + self.c2(self.n2(self.c1(self.n1(x))))
        return out


class Net(nn.Module):
    def __init__(self, norm: Norm, eps: float, strides: tuple[int, ...]) -> None:
        super().__init__()
        self.stem, self.norm, self.head = nn.Conv2d(3, 8, 3, padding=1), norm(8, eps), nn.Linear(8, 5)
        self.blocks = nn.Sequential(*(Block(norm, eps, stride) for stride in strides))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.head(self.norm(self.blocks(self.stem(x))).mean((2, 3)))
        return out


def keras_net(epsilon: float, strides: tuple[int, ...]) -> keras.Model:
    def norm(x: Any) -> Any:
        return L.Activation("relu")(L.BatchNormalization(epsilon=epsilon)(x))

    inputs = keras.Input((None, None, 3))
    x = L.Conv2D(8, 3, padding="same")(inputs)
    for stride in strides:
        y = L.ZeroPadding2D(1)(norm(x))
        y = norm(L.Conv2D(8, 3, strides=stride, use_bias=False)(y))
        shortcut = L.MaxPooling2D(1, strides=stride)(x) if stride > 1 else x
        x = shortcut + L.Conv2D(8, 3, padding="same")(y)
    return keras.Model(inputs, L.Dense(5)(L.GlobalAveragePooling2D()(norm(x))))


def compared(norm: Norm, eps: float, epsilon: float, strides: Any = ((2, 1), (2, 1))) -> Any:
    model, module = keras_net(epsilon, strides[0]), Net(norm, eps, strides[1]).eval()
    x = np.random.default_rng(0).normal(size=(2, 13, 17, 3)).astype(np.float32)
    randomise(adapt(module), 3)
    parity.transfer(module, model, inputs=x)
    return parity.compare(model, module, x, quick=True)


@pytest.mark.parametrize("norm", [NormAct, OwnNorm, Plain])
@pytest.mark.parametrize("epsilon", [1e-3, 1.001e-5])
def test_the_epsilon_of_a_normalisation_with_its_activation(norm: Norm, epsilon: float) -> None:
    """Each of the five is named, and tried; with equal ones the two are EQUAL."""
    assert compared(norm, epsilon, epsilon).verdict == "EQUAL"
    report = compared(norm, 1e-5, epsilon)
    assert [(finding.cause, finding.fix_verified) for finding in report.findings] == [
        ("batchnorm-epsilon", True)
    ] * 5


@pytest.mark.parametrize("norm", [NormAct, Plain])
def test_causes_are_found_where_the_sizes_differ(norm: Norm) -> None:
    """The strides stand in other blocks: torch cannot add what Keras gave, and every layer is judged all the same."""
    report = compared(norm, 1e-5, 1e-3, ((1, 2), (2, 1)))
    causes = [finding.cause for finding in report.findings]
    assert causes.count("batchnorm-epsilon") == 5, str(report)
    assert {cause for cause in causes if cause} <= {"batchnorm-epsilon", "stride-value", "stride-placement"}
    assert not any("could not be looked for" in finding.evidence for finding in report.findings)
    assert all(finding.fix_verified for finding in report.findings if finding.cause)
