"""Steps within layers with weights that differ: named by the change of one torch step, with the line of the step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
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


class KerasStandardised(L.Layer):
    """A convolution whose kernels are standardised."""

    def __init__(self, filters: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.filters = filters

    def build(self, shape: Any) -> None:
        self.kernel = self.add_weight(shape=(3, 3, shape[-1], self.filters), name="kernel")
        self.bias = self.add_weight(shape=(self.filters,), name="bias")

    def call(self, x: Any) -> Any:
        mean = ops.mean(self.kernel, (0, 1, 2), keepdims=True)
        spread = ops.sqrt(ops.var(self.kernel, (0, 1, 2), keepdims=True) + 1e-3)
        return ops.conv(x, (self.kernel - mean) / spread, padding="same") + self.bias


class Standardised(nn.Conv2d):
    fault = ""

    def forward(self, x: Any) -> Any:
        axes = (2, 3) if self.fault == "axes" else (1, 2, 3)
        mean = self.weight.mean((1, 2, 3), keepdim=True)
        eps = 1e-5 if self.fault == "epsilon" else 1e-3
        if self.fault == "place":
            spread = self.weight.std((1, 2, 3), unbiased=False, keepdim=True) + eps
        else:
            spread = torch.sqrt(self.weight.var(axes, unbiased=self.fault == "unbiased", keepdim=True) + eps)
        return F.conv2d(x, (self.weight - mean) / spread, self.bias, padding=self.padding)


class ChannelNorm(nn.Module):
    """LayerNormalization over the channels of an image."""

    fault = ""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(channels)), nn.Parameter(torch.zeros(channels))

    def forward(self, x: Any) -> Any:
        if self.fault == "group":
            return F.group_norm(x, 1, self.weight, self.bias, 1e-3)
        dim = (2, 3) if self.fault == "axes" else 1
        centred = x - x.mean(1, keepdim=True)
        y = centred / torch.sqrt(centred.square().mean(dim, keepdim=True) + 1e-3)
        return y * self.weight[:, None, None] + self.bias[:, None, None]


class Rms(nn.Module):
    fault = ""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x: Any) -> Any:
        if self.fault == "cast":
            return self.weight * F.rms_norm(x.float(), x.shape[-1:], eps=1e-3).to(x.dtype)
        eps = 1e-5 if self.fault == "epsilon" else 1e-3
        return self.weight * (x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + eps))


@dataclass(frozen=True)
class Model:
    """Two Keras layers and two torch layers of one kind, with what comes in front."""

    keras: Callable[[], Any]
    torch: Callable[[int], nn.Module]
    image: bool = True


KINDS = {
    "standardised": Model(lambda: KerasStandardised(6), lambda width: Standardised(width, 6, 3, padding=1)),
    "channels": Model(lambda: L.LayerNormalization(epsilon=1e-3), ChannelNorm),
    "rms": Model(lambda: L.RMSNormalization(epsilon=1e-3), Rms, image=False),
}
FAULTS = (
    ("epsilon-place", "standardised", "place"), ("epsilon-value", "standardised", "epsilon"),
    ("variance-correction", "standardised", "unbiased"), ("axis-value", "standardised", "axes"),
    ("normalised-axes", "channels", "group"), ("axis-value", "channels", "axes"),
    ("rmsnorm-epsilon", "rms", "epsilon"), ("float32-cast", "rms", "cast"),
)  # fmt: skip


def pair(kind: str) -> tuple[keras.Model, nn.Module, Any]:
    keras.utils.set_random_seed(1)
    torch.manual_seed(1)
    known, rng = KINDS[kind], np.random.default_rng(2)
    shape = (9, 11, 3) if known.image else (7, 3)
    x = keras.Input(shape)
    first = L.Conv2D(6, 3, padding="same") if known.image else L.Dense(6)
    model = keras.Model(x, L.Dense(2)(known.keras()(ops.tanh(known.keras()(first(x))))))
    for weight in model.weights:
        weight.assign(rng.normal(0.0, 0.5, weight.shape))
    front = nn.Conv2d(3, 6, 3, padding=1) if known.image else nn.Linear(3, 6)
    back = nn.Conv2d(6, 2, 1) if known.image else nn.Linear(6, 2)
    module = nn.Sequential(front, known.torch(6), nn.Tanh(), known.torch(6), back).eval()
    parity.transfer(model, module)
    return model, module, rng.standard_normal((2, *shape)).astype("float32")


@pytest.mark.parametrize(("cause", "kind", "fault"), FAULTS)
def test_a_step_within_a_layer_is_named(cause: str, kind: str, fault: str) -> None:
    model, module, values = pair(kind)
    module[3].fault = fault
    report = parity.compare(model, module, values)
    first = report.first
    assert report.verdict == "DIVERGED"
    assert first is not None
    assert [finding.cause for finding in report.findings] == [cause], str(report)
    assert first.torch == "3"
    assert first.fix_verified
    assert "test_inner_step_faults.py:" in str(first.fix)


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_layers_are_equal(kind: str) -> None:
    report = parity.compare(*pair(kind))
    assert report.verdict == "EQUAL", str(report)
