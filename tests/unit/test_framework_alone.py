"""Passes that nothing of the user's can run in are not watched; where anything of theirs can, they are."""

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
from parity.probes.branches.framework import framework_alone
from parity.probes.gathered import Gathered


def branching(x: Any) -> Any:
    return ops.relu(x) if x.shape[0] != 77 else x


class Penalty(keras.regularizers.Regularizer):
    def __call__(self, x: Any) -> Any:
        return 0.0


class Scaled(L.Dense):
    def call(self, inputs: Any) -> Any:
        return super().call(inputs)


def image() -> Any:
    return keras.Input((5, 4))


ALONE: dict[str, Callable[[Any], Any]] = {
    "dense": lambda i: L.Dense(3, activation="relu")(i),
    "steps": lambda i: ops.relu(L.Dense(3)(i)) * 2.0,
    "recurrent": lambda i: L.Bidirectional(L.LSTM(3))(i),
    "attention": lambda i: L.MultiHeadAttention(2, 4)(i, i),
    "regularised": lambda i: L.Dense(3, kernel_regularizer="l2", kernel_constraint="max_norm")(i),
}
NOT_ALONE: dict[str, Callable[[Any], Any]] = {
    "activation": lambda i: L.Dense(3, activation=branching)(i),
    "activation layer": lambda i: L.Activation(branching)(i),
    "lambda": lambda i: L.Lambda(branching, output_shape=(5, 4))(i),
    "mapped function": lambda i: ops.map(lambda v: v * 2.0, i),
    "regulariser": lambda i: L.Dense(3, kernel_regularizer=Penalty())(i),
    "layer": lambda i: Scaled(3)(i),
    "layer within a wrapper": lambda i: L.TimeDistributed(Scaled(3))(i),
}


def seen(model: Any) -> bool:
    return framework_alone(model, adapt(model).objects.values())


@pytest.mark.parametrize("name", ALONE)
def test_the_frameworks_own(name: str) -> None:
    i = image()
    assert seen(keras.Model(i, ALONE[name](i)))


@pytest.mark.parametrize("name", NOT_ALONE)
def test_something_of_the_users(name: str) -> None:
    i = image()
    assert not seen(keras.Model(i, NOT_ALONE[name](i)))


def test_a_replaced_function(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the model, or of a class of Keras'."""
    i = image()
    model = keras.Model(i, L.Dense(3)(i))
    plain = L.Dense.call
    monkeypatch.setattr(L.Dense, "call", lambda self, inputs: plain(self, inputs))
    assert not seen(model)
    monkeypatch.undo()
    assert seen(model)
    model.call = lambda inputs, training=None, mask=None: inputs
    assert not seen(model)


def test_branches_of_a_function_of_the_users_are_said() -> None:
    """The Keras side's activation has a branch that no probe takes; it stands in the report."""
    i = image()
    model = keras.Model(i, L.Dense(3, activation=branching)(i))
    module = nn.Sequential(nn.Linear(4, 3), nn.ReLU())
    randomise(adapt(module), 2)
    parity.transfer(module, model)
    report = parity.compare(model, module, np.ones((2, 5, 4), np.float32))
    assert report.verdict == "EQUAL", str(report)
    assert any("test_framework_alone.py" in str(entry) for entry in report.unproven), str(report)


class Experts(nn.Module):
    """Two experts; the input's scale chooses one."""

    def __init__(self) -> None:
        super().__init__()
        self.small, self.large = nn.Linear(4, 3), nn.Linear(4, 3)

    def forward(self, x: Any) -> Any:
        return self.large(x) if bool(x.abs().max() > 20.0) else self.small(x)


class KerasExperts(keras.Model):
    def __init__(self) -> None:
        super().__init__()
        self.small, self.large = L.Dense(3, name="small"), L.Dense(3, name="large")

    def build(self, shape: Any) -> None:
        self.small.build(shape)
        self.large.build(shape)
        super().build(shape)

    def call(self, x: Any) -> Any:
        return self.large(x) if bool(ops.max(ops.abs(x)) > 20.0) else self.small(x)


def test_a_weight_that_one_probe_alone_reaches_moves_an_output() -> None:
    """Gradients are made on two inputs; where a tensor is still open, the other probes are asked as well."""
    model, module = KerasExperts(), Experts().eval()
    model.build((None, 4))
    randomise(adapt(module), 4)
    parity.transfer(module, model)
    sample = np.random.default_rng(0).uniform(0.5, 1.0, (2, 4)).astype(np.float32)
    report = parity.compare(model, module, sample)
    assert report.verdict == "EQUAL", str(report)
    assert report.proof is not None
    assert report.proof.tensors is not None
    assert (report.proof.tensors.of, report.proof.tensors.reached) == (4, 4), str(report)


def test_gradients_are_made_on_few_probes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of three passes that are gathered, one has gradients where no tokens are looked up."""
    asked: list[bool] = []
    plain = Gathered.run

    def run(self: Any, model: Any, values: Any, gradients: bool = True) -> Any:
        asked.extend([gradients] * (model.side == "torch"))
        return plain(self, model, values, gradients)

    monkeypatch.setattr(Gathered, "run", run)
    i = keras.Input((None, None, 3))
    model = keras.Model(i, L.Conv2D(4, 3, activation="relu")(L.Conv2D(5, 3, activation="relu")(i)))
    module = nn.Sequential(nn.Conv2d(3, 5, 3), nn.ReLU(), nn.Conv2d(5, 4, 3), nn.ReLU())
    with torch.no_grad():
        module[0].bias[0] = -1e3  # a channel that never moves anything, so that nothing is complete
        module[0].weight[0] = 0.0
    parity.transfer(module, model)
    parity.compare(model, module, np.random.default_rng(0).standard_normal((2, 39, 41, 3)).astype(np.float32))
    assert asked == [False, False, True]
