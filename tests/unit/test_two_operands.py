"""Two layers of one shape whose results meet in a step: which is which follows from the steps between, not from names."""

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

X = np.random.default_rng(0).standard_normal((2, 7, 6)).astype(np.float32)

Step = Callable[[Any, Any], Any]
KINDS: dict[str, tuple[Step, Step]] = {
    "product": (
        lambda q, k: torch.softmax((q.unsqueeze(2) * k.unsqueeze(1)).sum(-1), -1),
        lambda q, k: ops.softmax(ops.sum(ops.expand_dims(q, 2) * ops.expand_dims(k, 1), -1), -1),
    ),
    "product, the other one first": (
        lambda q, k: torch.softmax((q.unsqueeze(2) * k.unsqueeze(1)).sum(-1), -1),
        lambda q, k: ops.softmax(ops.sum(k[:, None] * q[:, :, None], -1), -1),
    ),
    "difference, the other one first": (
        lambda q, k: torch.softmax(((q.unsqueeze(2) - k.unsqueeze(1)) ** 2).sum(-1), -1),
        lambda q, k: ops.softmax(ops.sum((ops.expand_dims(k, 1) - ops.expand_dims(q, 2)) ** 2, -1), -1),
    ),
    "sum": (
        lambda q, k: torch.softmax(torch.tanh(q.unsqueeze(2) + k.unsqueeze(1)).sum(-1), -1),
        lambda q, k: ops.softmax(ops.sum(ops.tanh(ops.expand_dims(q, 2) + ops.expand_dims(k, 1)), -1), -1),
    ),
    "maximum": (
        lambda q, k: torch.cumsum(torch.maximum(q.unsqueeze(2), k.unsqueeze(1)).sum(-1), 1),
        lambda q, k: ops.cumsum(ops.sum(ops.maximum(ops.expand_dims(q, 2), ops.expand_dims(k, 1)), -1), 1),
    ),
    "einsum": (
        lambda q, k: torch.softmax(torch.einsum("bid,bjd->bij", q, k), -1),
        lambda q, k: ops.softmax(ops.einsum("bid,bjd->bij", q, k), -1),
    ),
}


class Torch(nn.Module):
    def __init__(self, step: Step) -> None:
        super().__init__()
        self.a, self.b, self.step = nn.Linear(6, 5), nn.Linear(6, 5), step

    def forward(self, x: Any) -> Any:
        return self.step(self.a(x), self.b(x))


class Keras(keras.Model):
    def __init__(self, step: Step, second_first: bool) -> None:
        super().__init__()
        self.u, self.v, self.step, self.second_first = L.Dense(5), L.Dense(5), step, second_first

    def build(self, shape: Any) -> None:
        self.u.build(shape)
        self.v.build(shape)
        super().build(shape)

    def call(self, x: Any) -> Any:
        if self.second_first:
            v = self.v(x)
            return self.step(self.u(x), v)
        return self.step(self.u(x), self.v(x))


def pair(step: tuple[Step, Step], second_first: bool) -> tuple[Any, Any]:
    model, module = Keras(step[1], second_first), Torch(step[0]).eval()
    model.build((None, 7, 6))
    randomise(adapt(module), 1)
    return model, module


@pytest.mark.parametrize("second_first", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_equal_pairs(kind: str, second_first: bool) -> None:
    """Whichever of the layers runs first, and whichever operand is written first."""
    model, module = pair(KINDS[kind], second_first)
    parity.transfer(module, model, inputs=X)
    assert np.array_equal(model.u.kernel, module.a.weight.detach().numpy().T)
    report = parity.compare(model, module, X, quick=True)
    assert report.verdict == "EQUAL", str(report)


@pytest.mark.parametrize("kind", KINDS)
def test_operands_that_are_exchanged_are_no_other_axis(kind: str) -> None:
    """The operands' own weights, the operands exchanged: a difference, and no fault of the softmax."""
    torch_step, keras_step = KINDS[kind]
    model, module = pair((torch_step, lambda q, k: keras_step(k, q)), False)
    for dense, linear in ((model.u, module.a), (model.v, module.b)):
        dense.kernel.assign(linear.weight.detach().numpy().T)
        dense.bias.assign(linear.bias.detach().numpy())
    report = parity.compare(model, module, X, quick=True)
    assert report.verdict == "DIVERGED", str(report)
    assert not {finding.cause for finding in report.findings} - {"weight-not-copied", None}, str(report)


def test_a_softmax_over_the_other_axis_is_named() -> None:
    torch_step, _ = KINDS["product"]
    model, module = pair(
        (
            torch_step,
            lambda q, k: ops.softmax(ops.sum(q[:, :, None] * k[:, None] + 0.1 * q[:, :, None], -1), 1),
        ),
        False,
    )
    module.step = lambda q, k: torch.softmax((q[:, :, None] * k[:, None] + 0.1 * q[:, :, None]).sum(-1), -1)
    parity.transfer(module, model, inputs=X)
    report = parity.compare(model, module, X, quick=True)
    assert report.verdict == "DIVERGED", str(report)
    assert "softmax-axis" in {finding.cause for finding in report.findings}, str(report)
