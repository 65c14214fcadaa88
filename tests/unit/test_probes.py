"""Further probes: what equal outputs on one input do not show is found by other inputs, other weights, and later calls."""

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
from torch.nn import functional as F

import parity
from parity.adapters import adapt
from parity.adapters.probe import randomise

X = np.random.default_rng(3).standard_normal((2, 9, 12, 3)).astype(np.float32)
ODD = np.random.default_rng(4).standard_normal((2, 33, 65, 3)).astype(np.float32)


class Module(nn.Module):
    """One convolution, and a function of it and the input."""

    def __init__(self, forward: Callable[..., Any], **modules: Any) -> None:
        super().__init__()
        self.c = nn.Conv2d(3, 4, 3, padding=1)
        for name, module in modules.items():
            setattr(self, name, module)
        self._function = forward

    def forward(self, x: Any) -> Any:
        return self._function(self, x)


class Model(keras.Model):
    def __init__(self, call: Callable[..., Any], **layers: Any) -> None:
        super().__init__()
        self.c = L.Conv2D(4, 3, padding="same")
        for name, layer in layers.items():
            setattr(self, name, layer)
        self._function = call

    def call(self, x: Any) -> Any:
        return self._function(self, x)


def pair(
    call: Callable[..., Any], forward: Callable[..., Any], layers: Any = None, modules: Any = None
) -> Any:
    """A Keras and a torch model with the same random weights."""
    model, module = Model(call, **(layers or {})), Module(forward, **(modules or {}))
    model(X)
    randomise(adapt(module))
    parity.transfer(module, model)
    return model, module


def compared(call: Callable[..., Any], forward: Callable[..., Any], inputs: Any = X, **more: Any) -> Any:
    return parity.compare(*pair(call, forward, **more), inputs)


def plain(self: Any, x: Any) -> Any:
    return self.c(x)


# --- what one input does not show ------------------------------------------------------------------

SMALL = X / 50

FAULTS: dict[str, tuple[Any, Any, Any, str]] = {
    "relu6 for relu": (
        lambda s, x: ops.relu(s.c(x)), lambda s, x: F.relu6(s.c(x)), SMALL, "times"),
    "relu for relu6": (
        lambda s, x: ops.relu6(s.c(x)), lambda s, x: F.relu(s.c(x)), SMALL, "times"),
    "a clamp at 50": (
        lambda s, x: s.c(x), lambda s, x: s.c(x).clamp(max=50.0), X, "times"),
    "a clamp at -30 in Keras": (
        lambda s, x: ops.maximum(s.c(x), -30.0), lambda s, x: s.c(x), X, "times"),
    "an absolute value": (
        lambda s, x: s.c(ops.abs(x)), lambda s, x: s.c(x), np.abs(X), "inputs negated"),
    "a branch on the batch": (
        plain, lambda s, x: s.c(x) if x.shape[0] > 1 else 2 * s.c(x), X, "batch 1"),
    "a branch on a batch of two": (
        plain, lambda s, x: s.c(x) if x.shape[0] != 2 else 2 * s.c(x), X[:1], "batch 2"),
    "a branch on the height": (
        lambda s, x: s.c(x) if x.shape[1] > 50 else 2 * s.c(x), plain, np.tile(X, (1, 9, 1, 1)), "sizes"),
    "a branch on an even width": (
        plain, lambda s, x: s.c(x) if x.shape[3] % 2 else 2 * s.c(x), ODD, "even sizes"),
    "a branch on an odd height": (
        plain, lambda s, x: 2 * s.c(x) if x.shape[2] % 2 else s.c(x), X[:, :8], "odd sizes"),
    "a branch on the sign of the mean": (
        plain, lambda s, x: s.c(x) if float(x.mean()) > 0 else 2 * s.c(x), np.abs(X), "inputs negated"),
    "a branch on the sign of the mean, of the sum": (
        plain, lambda s, x: s.c(x) if float(x.sum()) < 0 else 2 * s.c(x), -np.abs(X), "inputs"),
    "a step for large values": (
        plain, lambda s, x: s.c(x) if float(x.abs().max()) < 100 else 2 * s.c(x), X, "times 64"),
}  # fmt: skip


@pytest.mark.parametrize("name", FAULTS)
def test_a_further_probe_shows_it(name: str) -> None:
    call, forward, inputs, where = FAULTS[name]
    report = compared(call, forward, inputs)
    assert report.verdict == "DIVERGED", str(report)
    assert report.findings
    assert all(finding.evidence.startswith("with ") and where in finding.evidence.partition(":")[0]
               for finding in report.findings), str(report)  # fmt: skip
    assert report.max_rel_diff > 0
    assert parity.compare(*pair(call, forward), inputs, quick=True).verdict == "EQUAL"


def test_same_padding_at_even_sizes() -> None:
    """With odd sizes TensorFlow's "same" pads as torch does; with even sizes it pads the far side alone."""
    report = compared(
        lambda s, x: s.d(s.c(x)), lambda s, x: s.d(s.c(x)), ODD,
        layers={"d": L.Conv2D(5, 3, strides=2, padding="same")}, modules={"d": nn.Conv2d(4, 5, 3, 2, 1)},
    )  # fmt: skip
    assert report.verdict == "DIVERGED", str(report)
    assert report.first.keras == "d"
    assert report.first.cause == "same-padding-asymmetry"
    assert "even sizes" in report.first.evidence


class Gate(L.Layer):
    def build(self, shape: Any) -> None:
        self.alpha = self.add_weight(name="alpha", shape=(1,), initializer="zeros")

    def call(self, x: Any) -> Any:
        return self.alpha * x


class TorchGate(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.alpha = nn.Parameter(torch.zeros(1))

    def forward(self, x: Any) -> Any:
        return self.alpha * x


def gated(forward: Any) -> Any:
    model = Model(
        lambda s, x: x[..., :1] * 0 + s.c(x) + s.gate(s.d(x)), gate=Gate(), d=L.Conv2D(4, 3, padding="same")
    )
    module = Module(forward, gate=TorchGate(), d=nn.Conv2d(3, 4, 3, padding=1))
    model(X)
    randomise(adapt(module))
    with torch.no_grad():
        module.gate.alpha.zero_()
    parity.transfer(module, model)
    return model, module


def test_what_a_zero_switches_off_speaks_with_other_weights() -> None:
    pair = gated(lambda s, x: s.c(x) + s.gate(torch.tanh(s.d(x))))
    before = pair[0].get_weights(), {name: value.clone() for name, value in pair[1].state_dict().items()}
    report = parity.compare(*pair, X)
    assert report.verdict == "DIVERGED", str(report)
    assert "weights drawn anew" in report.first.evidence
    assert parity.compare(*gated(lambda s, x: s.c(x) + s.gate(s.d(x))), X).verdict == "EQUAL"
    for old, new in zip(before[0], pair[0].get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
    for name, value in pair[1].state_dict().items():
        assert torch.equal(value, before[1][name])
        assert value.dtype == before[1][name].dtype


# --- later calls -----------------------------------------------------------------------------------


def test_a_model_that_counts_its_calls_is_not_repeatable() -> None:
    def forward(self: Any, x: Any) -> Any:
        self.calls += 1
        return self.c(x) if self.calls < 6 else self.c(x) + 1

    model, module = pair(plain, plain)
    module.calls, module._function = 0, forward
    report = parity.compare(model, module, X)
    assert report.verdict == "INCONCLUSIVE", str(report)
    assert [finding.kind for finding in report.findings] == ["not-repeatable"]
    assert "torch" in report.first.evidence


def test_a_keras_model_that_counts_its_calls_is_not_repeatable() -> None:
    def call(self: Any, x: Any) -> Any:
        self.calls += 1
        return self.c(x) if self.calls < 6 else self.c(x) + 1

    model, module = pair(lambda s, x: s.c(x), plain)
    object.__setattr__(model, "calls", 0)
    model._function = call
    report = parity.compare(model, module, X)
    assert report.verdict == "INCONCLUSIVE", str(report)
    assert {finding.kind for finding in report.findings} == {"not-repeatable"}


@pytest.mark.parametrize("quick", [False, True])
def test_state_in_a_buffer_is_found(quick: bool) -> None:
    """parity puts statistics back after each pass; what a user's second call gives is looked at all the same."""

    def forward(self: Any, x: Any) -> Any:
        out = self.c(x) + self.seen
        self.seen += 0.5
        return out

    model, module = pair(plain, plain)
    module.register_buffer("seen", torch.zeros(()), persistent=False)
    module._function = forward
    report = parity.compare(model, module, X, quick=quick)
    assert report.verdict == "INCONCLUSIVE", str(report)
    assert report.first.kind == "not-repeatable"
    assert float(module.seen) == 0.0


# --- what is no difference -------------------------------------------------------------------------


def test_a_probe_that_both_sides_refuse_is_unproven() -> None:
    def keras_check(self: Any, x: Any) -> Any:
        if x.shape[1] % 3:
            raise ValueError("a multiple of 3")
        return self.c(x)

    def torch_check(self: Any, x: Any) -> Any:
        if x.shape[2] % 3:
            raise ValueError("a multiple of 3")
        return self.c(x)

    report = compared(keras_check, torch_check, np.tile(X, (1, 3, 1, 1)))
    assert report.verdict == "EQUAL", str(report)
    assert any("even sizes not tried: both sides refused" in line for line in report.unproven)


def test_a_probe_that_one_side_refuses_is_unproven_and_says_which() -> None:
    def forward(self: Any, x: Any) -> Any:
        if x.shape[0] == 1:
            raise ValueError("no single pictures")
        return self.c(x)

    report = compared(plain, forward)
    assert report.verdict == "EQUAL", str(report)
    line = next(line for line in report.unproven if "batch 1" in line)
    assert "the torch side alone refused" in line
    assert "no single pictures" in line


def test_nan_on_both_sides_is_unproven_and_on_one_side_a_difference() -> None:
    both = compared(
        lambda s, x: ops.sqrt(x) + s.c(x)[..., :3], lambda s, x: torch.sqrt(x) + s.c(x)[:, :3], np.abs(X)
    )
    assert both.verdict == "EQUAL", str(both)
    assert any("NaN or infinite on both sides" in line for line in both.unproven)
    one = compared(
        lambda s, x: ops.sqrt(ops.abs(x)) + s.c(x)[..., :3],
        lambda s, x: torch.sqrt(x) + s.c(x)[:, :3],
        np.abs(X),
    )
    assert one.verdict == "DIVERGED", str(one)


def test_quick_says_what_it_leaves_out() -> None:
    report = compared(plain, plain)
    assert report.verdict == "EQUAL"
    assert len(report.proof.probes) == 4
    model, module = pair(plain, plain)
    quick = parity.compare(model, module, X, quick=True)
    assert quick.verdict == "EQUAL"
    assert quick.proof.probes == ("the inputs as they are",)
    assert "further probes: not run (--quick)" in quick.unproven
