"""Where two models part: between layers, inside layers, and nowhere else."""

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

X = np.random.default_rng(2).standard_normal((2, 12, 17, 3)).astype(np.float32)


def keras_side() -> Any:
    x = image = keras.Input((None, None, 3))
    x = L.Conv2D(4, 3, name="stem")(x)
    x = L.ReLU(name="relu")(x)
    x = L.ZeroPadding2D(((0, 1), (0, 1)), name="pad")(x)
    x = L.Conv2D(4, 3, strides=2, name="down")(x)
    pooled = L.MaxPooling2D(2, name="pool")(x)
    a = L.Conv2D(4, 3, padding="same", name="a")(pooled)
    b = L.Conv2D(4, 3, padding="same", name="b")(pooled)
    both = L.Concatenate(name="cat")([a, b])
    twice = L.Conv2D(8, 1, name="twice")
    x = twice(keras.activations.tanh(twice(both)))
    x = L.UpSampling2D(2, interpolation="bilinear", name="up")(x)
    return keras.Model(image, L.Conv2D(2, 1, name="head")(x))


class Torch(nn.Module):
    """The same; each step may be replaced."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.down = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3, stride=2)
        self.relu, self.pool = nn.ReLU(), nn.MaxPool2d(2)
        self.a, self.b = nn.Conv2d(4, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)
        self.twice, self.head = nn.Conv2d(8, 8, 1), nn.Conv2d(8, 2, 1)
        self.steps: dict[str, Callable[..., Any]] = {}

    def step(self, name: str, default: Callable[..., Any], *values: Any) -> Any:
        return self.steps.get(name, default)(*values)

    def forward(self, x: Any) -> Any:
        x = self.step("relu", self.relu, self.stem(x))
        x = self.down(self.step("pad", lambda y: F.pad(y, (0, 1, 0, 1)), x))
        x = self.step("pool", self.pool, x)
        x = self.step("cat", lambda a, b: torch.cat([a, b], 1), self.a(x), self.b(x))
        x = self.step("twice", lambda y: self.twice(torch.tanh(self.twice(y))), x)
        x = self.step("up", lambda y: F.interpolate(y, scale_factor=2, mode="bilinear"), x)
        return self.step("head", self.head, x)


@pytest.fixture(scope="module")
def pair() -> tuple[Any, Torch]:
    model, module = keras_side(), Torch()
    randomise(adapt(module), 4)
    parity.transfer(module, model)
    assert parity.compare(model, module, X).verdict == "EQUAL"
    return model, module


def corners(y: Any) -> Any:
    return F.interpolate(y, scale_factor=2, mode="bilinear", align_corners=True)


# the step that is replaced, by what, and the (kind, torch layer) of every finding
STEPS: dict[str, tuple[str, Callable[[Torch], Callable[..., Any]], list[tuple[str, str | None]]]] = {
    "activation left out": ("relu", lambda t: lambda y: y, [("missing-call", "relu")]),
    "padded on the wrong side": ("pad", lambda t: lambda y: F.pad(y, (1, 0, 1, 0)), [("wiring", "down")]),
    "average for maximum": ("pool", lambda t: nn.AvgPool2d(2), [("missing-call", "pool")]),
    # The weights of the two layers exchanged explain it as well, and that fix is tried.
    "operands swapped": ("cat", lambda t: lambda a, b: torch.cat([b, a], 1), [("layer", "b"), ("layer", "a")]),
    "called once": ("twice", lambda t: t.twice, [("missing-call", "twice")]),
    "called three times": (
        "twice", lambda t: lambda y: t.twice(t.twice(torch.tanh(t.twice(y)))), [("extra-call", "twice")]),
    "a step between two calls": ("twice", lambda t: lambda y: t.twice(t.twice(y)), [("wiring", "twice")]),
    "corners aligned": ("up", lambda t: corners, [("wiring", "head")]),
    "a step after the last layer": ("head", lambda t: lambda y: 1.001 * t.head(y), [("output", None)]),
}  # fmt: skip


@pytest.mark.parametrize("name", STEPS)
def test_wiring(pair: tuple[Any, Torch], name: str) -> None:
    model, module = pair
    step, make, wanted = STEPS[name]
    module.steps = {step: make(module)}
    try:
        report = parity.compare(model, module, X)
    finally:
        module.steps = {}
    assert report.verdict == "DIVERGED"
    assert [(finding.kind, finding.torch) for finding in report.findings] == wanted, str(report)
    if name == "operands swapped":
        assert any("If the names are right, a step behind them takes" in note for note in report.notes)


def test_a_fault_in_a_layer_used_twice_is_told_once(pair: tuple[Any, Torch]) -> None:
    model, module = pair
    before = module.twice.weight.detach().clone()
    module.twice.weight.data[0, 1] += 0.01
    report = parity.compare(model, module, X)
    module.twice.weight.data.copy_(before)
    assert [(finding.kind, finding.torch) for finding in report.findings] == [("layer", "twice")], str(report)
    assert "twice.weight (1 of 64 values" in report.findings[0].evidence


def test_wiring_and_layers_in_one_model(pair: tuple[Any, Torch]) -> None:
    model, module = pair
    before = module.stem.bias.detach().clone()
    module.stem.bias.data[0] += 0.5
    module.steps = {"cat": lambda a, b: torch.cat([b, a], 1), "up": corners}
    report = parity.compare(model, module, X)
    module.steps = {}
    module.stem.bias.data.copy_(before)
    wanted = [("layer", "stem"), ("wiring", "twice"), ("wiring", "head")]
    assert [(finding.kind, finding.torch) for finding in report.findings] == wanted, str(report)


def test_the_pair_is_as_it_was(pair: tuple[Any, Torch]) -> None:
    assert parity.compare(*pair, X, dtype="float32").verdict == "EQUAL"


class Masked(nn.Module):
    """A normalisation whose first channel is a fill value, and a convolution in front of it."""

    def __init__(self, eps: float, hostile: bool = False) -> None:
        super().__init__()
        self.stem, self.norm, self.head = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, eps=eps), nn.Conv2d(4, 2, 1)
        self.hostile = hostile

    def forward(self, x: Any) -> Any:
        y = self.norm(self.stem(x))
        return self.head((y + 1e8) - 1e8 if self.hostile else y)


def masked_keras() -> Any:
    x = image = keras.Input((None, None, 3))
    x = L.Conv2D(4, 3, name="stem")(x)
    x = L.BatchNormalization(epsilon=1e-3, name="norm")(x)
    return keras.Model(image, L.Conv2D(2, 1, name="head")(x))


def masked(eps: float, hostile: bool = False) -> tuple[Any, nn.Module]:
    model, module = masked_keras(), Masked(eps, hostile).eval()
    randomise(adapt(module))
    if not hostile:  # small enough to count as a scale
        module.norm.bias.data[0] = -1e7
        module.head.weight.data[:, 0] = 1e-7
    parity.transfer(module, model, inputs=X)
    return model, module


def test_a_fill_value_hides_no_difference_at_a_layer() -> None:
    report = parity.compare(*masked(1e-3 * (1 + 1e-4)), X)
    assert report.verdict == "DIVERGED"
    assert [(finding.keras, finding.kind) for finding in report.findings] == [("norm", "layer")], str(report)
    assert report.findings[0].cause == "batchnorm-epsilon"
    assert parity.compare(*masked(1e-3), X)


def test_rounding_that_a_step_enlarges_is_not_blamed_where_another_layer_is_faulty() -> None:
    model, module = masked(1e-3, hostile=True)
    assert parity.compare(model, module, X)
    module.head.bias.data[1] += 0.5
    report = parity.compare(model, module, X)
    assert {finding.keras for finding in report.findings} == {"head"}, str(report)


def looked_up(epsilon: float = 1e-5) -> Any:
    ids = keras.Input((None,), dtype="int32")
    x = L.GlobalAveragePooling1D()(L.Embedding(20, 6, name="rows")(ids))
    return keras.Model(ids, L.Dense(4, name="last")(L.LayerNormalization(epsilon=epsilon, name="norm")(x)))


class Bags(nn.Module):
    """The mean of looked up rows, in one layer."""

    def __init__(self, mode: str = "mean") -> None:
        super().__init__()
        self.bag, self.ln, self.out = nn.EmbeddingBag(20, 6, mode=mode), nn.LayerNorm(6), nn.Linear(6, 4)

    def forward(self, ids: Any) -> Any:
        return self.out(self.ln(self.bag(ids)))


@pytest.mark.parametrize(
    ("epsilon", "mode", "named"),
    [
        (1e-5, "mean", []),
        (1e-3, "mean", [("ln", "layernorm-epsilon")]),
        (1e-5, "sum", [("ln", "pool-kind")]),
    ],
)
def test_a_layer_that_does_more_than_its_partner_is_no_fault(
    epsilon: float, mode: str, named: list[tuple[str, str]]
) -> None:
    model, module = looked_up(epsilon), Bags(mode)
    ids = np.random.default_rng(5).integers(0, 20, (3, 7)).astype("int32")
    randomise(adapt(module), 1)
    parity.transfer(module, model, inputs=ids)
    report = parity.compare(model, module, ids)
    assert [(finding.torch, finding.cause) for finding in report.findings] == named, str(report)
