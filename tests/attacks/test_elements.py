"""Each element is judged by its own rounding: what a great neighbour hides, and what only looks different."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from keras import layers as L
from keras import ops
from torch import nn

import parity
from tests.attacks.pairs import SHAPE, Module, conv, copied, functional, images, keras_conv, norm

HELD = np.zeros((10, 14, 4))
HELD[0, 0] = 1.0


def keras_fill(value: float) -> Callable[[Any], Any]:
    return lambda v: ops.where(ops.convert_to_tensor(HELD > 0), ops.full_like(v, np.float32(value)), v)


def torch_fill(value: float) -> Callable[[Any], Any]:
    held = torch.tensor(HELD > 0).permute(2, 0, 1)
    return lambda v: torch.where(held, torch.full_like(v, float(np.float32(value))), v)


def keras_added(value: float) -> Callable[[Any], Any]:
    return lambda v: v + ops.cast(ops.convert_to_tensor(HELD * float(np.float32(value))), v.dtype)


def torch_added(value: float) -> Callable[[Any], Any]:
    return lambda v: v + (torch.tensor(HELD) * float(np.float32(value))).permute(2, 0, 1).to(v.dtype)


FILLS = {"-1e30": -1e30, "float32's lowest": float(np.finfo(np.float32).min), "-1e9": -1e9, "-1e4": -1e4,
         "minus infinity": -np.inf}  # fmt: skip

# What differs between the sides, in front of the fill: (Keras steps, torch function, its modules).
FAULTS: dict[str, tuple[Callable[[], list[Any]], Callable[[Any, Any], Any], Callable[[], dict[str, nn.Module]]]] = {
    "30 % more": (lambda: [keras_conv(), lambda v: v * 1.3], lambda s, x: s.c(x), lambda: {"c": conv()}),
    "one part in 1e9": (lambda: [keras_conv(), lambda v: v * (1 + 2.0**-30)], lambda s, x: s.c(x),
                        lambda: {"c": conv()}),
    "epsilon": (lambda: [keras_conv(), L.BatchNormalization(epsilon=1e-3, name="n")], lambda s, x: s.n(s.c(x)),
                lambda: {"c": conv(), "n": norm()}),
    "ReLU against sigmoid": (lambda: [keras_conv(), ops.relu], lambda s, x: torch.sigmoid(s.c(x)),
                             lambda: {"c": conv()}),
    "tanh-gelu against erf-gelu": (lambda: [keras_conv(), lambda v: ops.gelu(v, approximate=True)],
                                   lambda s, x: nn.functional.gelu(s.c(x)), lambda: {"c": conv()}),
}  # fmt: skip


@pytest.mark.parametrize("fill", FILLS)
@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("how", ["put in", "added"])
def test_a_fill_hides_no_difference(fault: str, fill: str, how: str) -> None:
    steps, forward, modules = FAULTS[fault]
    value = FILLS[fill]
    if how == "added" and not np.isfinite(value):
        pytest.skip("zero times infinity is no mask")
    to_keras, to_torch = (keras_fill, torch_fill) if how == "put in" else (keras_added, torch_added)
    model = functional(*steps(), to_keras(value))
    module = Module(lambda s, x: to_torch(value)(forward(s, x)), **modules())
    report = parity.compare(*copied(model, module, images()), images())
    assert report.verdict == "DIVERGED", str(report)


@pytest.mark.parametrize("fill", [name for name in FILLS if name != "minus infinity"])
@pytest.mark.parametrize("how", ["put in", "added"])
def test_the_same_beside_a_fill_is_equal(fill: str, how: str) -> None:
    to_keras, to_torch = (keras_fill, torch_fill) if how == "put in" else (keras_added, torch_added)
    value = FILLS[fill]
    model = functional(keras_conv(), L.BatchNormalization(epsilon=1e-5, name="n"), to_keras(value))
    module = Module(lambda s, x: to_torch(value)(s.n(s.c(x))), c=conv(), n=norm())
    report = parity.compare(*copied(model, module, images()), images())
    assert report.verdict == "EQUAL", str(report)


def keras_moments(v: Any) -> Any:
    v = v + 1000.0
    return ops.mean(ops.square(v), axis=(1, 2)) - ops.square(ops.mean(v, axis=(1, 2)))


NEAR_CONSTANT = (5.0 + 1e-7 * np.random.default_rng(0).standard_normal(SHAPE)).astype(np.float32)


def denormal() -> nn.Conv2d:
    module = conv()
    with torch.no_grad():
        module.weight[0, 0] = 1e-41
    return module


# Equal, and far apart in relative terms at some elements: (Keras steps, torch function, its modules, input).
HOSTILE: dict[str, tuple[Callable[[], list[Any]], Callable[[Any, Any], Any], Callable[[], dict[str, nn.Module]], Any]] = {
    "variance from moments, mean 1000": (
        lambda: [keras_conv(), keras_moments], lambda s, x: (s.c(x) + 1000.0).var((2, 3), unbiased=False),
        lambda: {"c": conv()}, images()),
    "(y + 1e6) - 1e6": (
        lambda: [keras_conv(), lambda v: (v + 1e6) - 1e6], lambda s, x: s.c(x), lambda: {"c": conv()}, images()),
    "a sum in another order": (
        lambda: [keras_conv(), lambda v: ops.sum(v * 1e3, axis=(1, 2))],
        lambda s, x: (s.c(x) * 1e3).flip(2).sum(3).sum(2), lambda: {"c": conv()}, images()),
    "LayerNorm over near-constant rows": (
        lambda: [L.LayerNormalization(epsilon=1e-12, name="n"), L.Dense(5, name="d")],
        lambda s, x: s.d(s.n(x.permute(0, 2, 3, 1))),
        lambda: {"n": nn.LayerNorm(3, eps=1e-12), "d": nn.Linear(3, 5)}, NEAR_CONSTANT),
    "denormal weights": (
        lambda: [keras_conv(), lambda v: v], lambda s, x: s.c(x), lambda: {"c": denormal()}, images()),
    "softmax of great scores": (
        lambda: [keras_conv(), lambda v: ops.softmax(v * 200.0, axis=-1)],
        lambda s, x: torch.softmax(s.c(x) * 200.0, 1), lambda: {"c": conv()}, images()),
    "log of a softmax": (
        lambda: [keras_conv(), lambda v: ops.log_softmax(v * 20.0, axis=-1)],
        lambda s, x: torch.log_softmax(s.c(x) * 20.0, 1), lambda: {"c": conv()}, images()),
    "a difference of neighbours": (
        lambda: [keras_conv(), lambda v: v[:, 1:] - v[:, :-1]], lambda s, x: (lambda y: y[:, :, 1:] - y[:, :, :-1])(s.c(x)),
        lambda: {"c": conv()}, np.ones(SHAPE, np.float32) + 1e-6 * images()),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_equal_and_ill_conditioned_is_equal(name: str) -> None:
    steps, forward, modules, values = HOSTILE[name]
    shape = (None, 16, 3) if "LayerNorm" in name else (None, None, 3)
    model, module = copied(functional(*steps(), shape=shape), Module(forward, **modules()), values)
    report = parity.compare(model, module, values)
    assert report.verdict == "EQUAL", str(report)


def test_a_fault_in_front_of_a_cancellation_is_found() -> None:
    model = functional(keras_conv(), L.BatchNormalization(epsilon=1e-3, name="n"), lambda v: (v + 1e6) - 1e6)
    module = Module(lambda s, x: s.n(s.c(x)), c=conv(), n=norm())
    report = parity.compare(*copied(model, module, images()), images())
    assert report.verdict == "DIVERGED"
    assert report.first is not None
    assert report.first.cause == "batchnorm-epsilon", str(report)


# Weights that differ without effect on this input: (build both, change the torch side, input).
def _dead_channel(module: nn.Module) -> None:
    with torch.no_grad():
        module.d.weight[:, 1] += 0.5


def _behind_zeros(module: nn.Module) -> None:
    with torch.no_grad():
        module.d.weight += 0.25


def dead_pair() -> tuple[Any, nn.Module]:
    first = conv()
    with torch.no_grad():
        first.weight[1], first.bias[1] = 0.0, -1.0
    model = functional(keras_conv(), ops.relu, L.Conv2D(2, 1, name="d"))
    module = Module(lambda s, x: s.d(torch.relu(s.c(x))), c=first, d=nn.Conv2d(4, 2, 1))
    return copied(model, module, images())


def gated_pair() -> tuple[Any, nn.Module]:
    model = functional(
        keras_conv(), lambda v: v, lambda v: v[:, 1:-1, 1:-1] + 0.0 * L.Conv2D(4, 3, name="d")(v)
    )
    module = Module(
        lambda s, x: (lambda y: y[:, :, 1:-1, 1:-1] + 0.0 * s.d(y))(s.c(x)), c=conv(), d=nn.Conv2d(4, 4, 3)
    )
    return copied(model, module, images())


@pytest.mark.parametrize(("build", "change"), [(dead_pair, _dead_channel), (gated_pair, _behind_zeros)])
def test_weights_that_differ_are_a_difference(build: Any, change: Any) -> None:
    model, module = build()
    assert parity.compare(model, module, images()).verdict == "EQUAL"
    change(module)
    report = parity.compare(model, module, images())
    assert report.verdict == "DIVERGED", str(report)
    assert [(finding.kind, finding.torch) for finding in report.findings] == [("weight", "d")]


def test_rows_that_no_token_met() -> None:
    tokens = np.array([[0, 1, 2], [2, 1, 0]], np.int32)
    model = functional(L.Embedding(7, 5, name="e"), shape=(None,), dtype="int32")
    module = Module(lambda s, x: s.e(x), e=nn.Embedding(7, 5))
    copied(model, module, tokens)
    with torch.no_grad():
        module.e.weight[6] += 1.0
    report = parity.compare(model, module, tokens)
    assert report.verdict == "DIVERGED", str(report)
    assert report.findings[0].kind == "weight"


@pytest.mark.parametrize("name", ["chaos", "a sine of 1e15", "cancellation", "denormals"])
def test_an_output_that_is_noise_proves_nothing(name: str) -> None:
    def chaos(v: Any, sigmoid: Any) -> Any:
        v = sigmoid(v)
        for _ in range(60):
            v = 3.99 * v * (1.0 - v)
        return v

    steps: dict[str, tuple[Any, Any]] = {
        "chaos": (lambda v: chaos(v, ops.sigmoid), lambda v: chaos(v, torch.sigmoid)),
        "a sine of 1e15": (lambda v: ops.sin(v * 1e15), lambda v: torch.sin(v * 1e15)),
        "cancellation": (lambda v: (v + 1e14) - 1e14, lambda v: (v * 1.3 + 1e14) - 1e14),
        "denormals": (lambda v: v * 1e-20 * 1e-25, lambda v: v * 1e-20 * 1e-25),
    }
    keras_step, torch_step = steps[name]
    model = functional(keras_conv(), keras_step)
    module = Module(lambda self, x: torch_step(self.c(x)), c=conv())
    report = parity.compare(*copied(model, module, images()), images(), quick=True)
    assert report.verdict == "INCONCLUSIVE", str(report)
    assert [finding.kind for finding in report.findings] == ["noise"]
