"""The epsilon of a normalisation is named, whoever wrote it: a framework's layer, an own class, a part of a larger layer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
import torch
from keras import layers as L
from keras import ops
from torch import nn

import parity
from parity.adapters import adapt
from parity.adapters.probe import randomise

SIZE = 12


class TorchNorm(nn.Module):
    """Written out: `centred` makes a layer normalisation of an RMS normalisation, `cast` computes in float32."""

    def __init__(self, eps: float, centred: bool = False, cast: bool = False) -> None:
        super().__init__()
        self.weight, self.eps, self.cast = nn.Parameter(torch.rand(SIZE) + 0.5), eps, cast
        self.bias = nn.Parameter(torch.rand(SIZE)) if centred else None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = x.to(torch.float32) if self.cast else x
        if self.bias is not None:
            y = y - y.mean(-1, keepdim=True)
        y = (y * torch.rsqrt(y.pow(2).mean(-1, keepdim=True) + self.eps)).to(x.dtype) * self.weight
        return y if self.bias is None else y + self.bias


class KerasNorm(L.Layer):
    def __init__(self, eps: float, centred: bool = False, cast: bool = False) -> None:
        super().__init__()
        self.eps, self.centred, self.cast = eps, centred, cast

    def build(self, shape: Any) -> None:
        self.gamma = self.add_weight(shape=shape[-1:], name="gamma")
        if self.centred:
            self.beta = self.add_weight(shape=shape[-1:], name="beta")

    def call(self, x: Any) -> Any:
        y = ops.cast(x, "float32") if self.cast else x
        if self.centred:
            y = y - ops.mean(y, axis=-1, keepdims=True)
        y = ops.cast(y * ops.rsqrt(ops.mean(ops.square(y), axis=-1, keepdims=True) + self.eps), x.dtype)
        return y * self.gamma + self.beta if self.centred else y * self.gamma


class TorchBlock(nn.Module):
    """A larger layer of a class of its own, with a normalisation within."""

    def __init__(self, eps: float) -> None:
        super().__init__()
        self.g, self.w = nn.Parameter(torch.rand(SIZE) + 0.5), nn.Parameter(torch.randn(SIZE, SIZE))
        self.eps = eps

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.eps) * self.g
        return x + torch.tanh(h @ self.w)


class KerasBlock(L.Layer):
    def __init__(self, eps: float) -> None:
        super().__init__()
        self.eps = eps

    def build(self, shape: Any) -> None:
        self.g = self.add_weight(shape=shape[-1:], name="g")
        self.w = self.add_weight(shape=(shape[-1], SIZE), name="w")

    def call(self, x: Any) -> Any:
        h = x * ops.rsqrt(ops.mean(ops.square(x), axis=-1, keepdims=True) + self.eps) * self.g
        return x + ops.tanh(ops.matmul(h, self.w))


class TorchGroups(nn.Module):
    def __init__(self, eps: float) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.rand(SIZE) + 0.5), nn.Parameter(torch.rand(SIZE))
        self.eps = eps

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = x.reshape(len(x), 3, -1)
        y = (y - y.mean(-1, keepdim=True)) / (y.var(-1, keepdim=True, unbiased=False) + self.eps).sqrt()
        return y.reshape(x.shape) * self.weight[:, None, None] + self.bias[:, None, None]


class TorchStatistics(nn.Module):
    def __init__(self, eps: float) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.rand(SIZE) + 0.5), nn.Parameter(torch.rand(SIZE))
        self.register_buffer("running_mean", torch.zeros(SIZE))
        self.register_buffer("running_var", torch.ones(SIZE))
        self.eps = eps

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        mean, var, weight, bias = (
            value[:, None, None] for value in (self.running_mean, self.running_var, self.weight, self.bias)
        )
        return (x - mean) / torch.sqrt(var + self.eps) * weight + bias


def keras_groups(eps: float) -> Any:
    return L.GroupNormalization(3, epsilon=eps)


Makes = tuple[Callable[[float], Any], Callable[[float], Any]]
TOKENS: dict[str, tuple[str, Makes]] = {
    "LayerNorm, layer": ("layernorm", (lambda e: L.LayerNormalization(epsilon=e), lambda e: nn.LayerNorm(SIZE, eps=e))),
    "LayerNorm, own": ("layernorm", (lambda e: KerasNorm(e, True), lambda e: nn.LayerNorm(SIZE, eps=e))),
    "own, LayerNorm": ("layernorm", (lambda e: L.LayerNormalization(epsilon=e), lambda e: TorchNorm(e, True))),
    "RMSNorm, layer": ("rmsnorm", (lambda e: L.RMSNormalization(epsilon=e), lambda e: nn.RMSNorm(SIZE, eps=e))),
    "RMSNorm, own": ("rmsnorm", (lambda e: KerasNorm(e), lambda e: nn.RMSNorm(SIZE, eps=e))),
    "own, RMSNorm": ("rmsnorm", (lambda e: L.RMSNormalization(epsilon=e), lambda e: TorchNorm(e))),
    "own, own": ("rmsnorm", (lambda e: KerasNorm(e), lambda e: TorchNorm(e))),
    "own, own, in float32": ("rmsnorm", (lambda e: KerasNorm(e, cast=True), lambda e: TorchNorm(e, cast=True))),
    "within a larger layer": ("rmsnorm", (KerasBlock, TorchBlock)),
}  # fmt: skip
IMAGES: dict[str, tuple[str, Makes]] = {
    "GroupNorm, layer": ("groupnorm", (keras_groups, lambda e: nn.GroupNorm(3, SIZE, eps=e))),
    "own, GroupNorm": ("groupnorm", (keras_groups, TorchGroups)),
    "own, BatchNorm": ("batchnorm", (lambda e: L.BatchNormalization(epsilon=e), TorchStatistics)),
}  # fmt: skip
NORMS = {**TOKENS, **IMAGES}
VALUES = [(1e-6, 1e-12), (1e-5, 1e-3)]


def built(name: str, keras_eps: float, torch_eps: float) -> tuple[Any, nn.Module, np.ndarray]:
    """Both sides with the normalisation in the middle, with the same weights, and an input."""
    _, (in_keras, in_torch) = NORMS[name]
    shape = (7, SIZE) if name in TOKENS else (9, 11, 3)
    inputs = keras.Input(shape)
    ends: tuple[Any, ...]
    if name in TOKENS:
        ends = L.Dense(SIZE), L.Dense(5), nn.Linear(SIZE, SIZE), nn.Linear(SIZE, 5)
    else:
        ends = L.Conv2D(SIZE, 3), L.Conv2D(5, 1), nn.Conv2d(3, SIZE, 3), nn.Conv2d(SIZE, 5, 1)
    model = keras.Model(inputs, ends[1](in_keras(keras_eps)(ends[0](inputs))))
    module = nn.Sequential(ends[2], in_torch(torch_eps), ends[3]).eval()
    x = np.random.default_rng(0).normal(size=(2, *shape)).astype(np.float32)
    return model, module, x


@pytest.mark.parametrize("to_keras", [True, False])
@pytest.mark.parametrize("values", VALUES)
@pytest.mark.parametrize("name", NORMS)
def test_another_epsilon_has_its_name(name: str, values: tuple[float, float], to_keras: bool) -> None:
    model, module, x = built(name, *values)
    source, target = (module, model) if to_keras else (model, module)
    randomise(adapt(source), 1)
    parity.transfer(source, target, inputs=x)
    report = parity.compare(model, module, x, quick=True)
    assert report.verdict == "DIVERGED"
    found = {(finding.cause, finding.fix_verified) for finding in report.findings}
    assert found == {(f"{NORMS[name][0]}-epsilon", True)}, str(report)
    assert all(f"{value:g}" in str(report) for value in values), str(report)


@pytest.mark.parametrize("name", NORMS)
def test_the_same_epsilon_is_equal(name: str) -> None:
    model, module, x = built(name, 1e-5, 1e-5)
    randomise(adapt(module), 1)
    parity.transfer(module, model, inputs=x)
    report = parity.compare(model, module, x, quick=True)
    assert report.verdict == "EQUAL", str(report)
