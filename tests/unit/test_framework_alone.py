"""Passes that nothing of the user's can run in are not watched; where anything of theirs can, they are."""

from __future__ import annotations

import sys
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
from parity.adapters.sites.unwatched import watches
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


class Branching(L.Conv2D):
    """Its branches are in what Keras calls of it: the convolution, and the mask."""

    def convolution_op(self, inputs: Any, kernel: Any) -> Any:
        return super().convolution_op(inputs, kernel) if inputs.shape[0] != 77 else inputs

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        return None if inputs.shape[0] != 77 else mask


class Activity(keras.regularizers.Regularizer):
    def __call__(self, x: Any) -> Any:
        return ops.sum(x) if x.shape[0] != 77 else x


class Called(keras.Model):
    def __init__(self, part: Any) -> None:
        super().__init__()
        self.part = part

    def call(self, x: Any) -> Any:
        return self.part(x) * 2.0 if x.shape[0] != 77 else x


@pytest.mark.parametrize(
    ("part", "names"),
    [
        (lambda: Branching(3, 2), {"call", "convolution_op", "compute_mask"}),
        (lambda: L.Conv2D(3, 2, activation=branching), {"call", "branching"}),
        (
            lambda: Branching(3, 2, activation=branching),
            {"call", "convolution_op", "compute_mask", "branching"},
        ),
        (lambda: L.Dense(3, activity_regularizer=Activity()), {"call", "__call__"}),
        (lambda: Called(L.Dense(3, activation=branching)), {"call", "branching"}),
    ],
)
def test_what_keras_calls_of_a_layer_is_watched(part: Callable[[], Any], names: set[str]) -> None:
    model = Called(part())
    x = np.zeros((2, 5, 5, 4), np.float32)
    model(x)
    side = adapt(model)
    gathered = Gathered((side, adapt(nn.Linear(4, 3))))
    with side.precision("float64"):
        gathered.run(side, [x.astype(np.float64)], gradients=False)
    gathered.accept()
    own = {code.co_name for code in gathered.branches.codes if code.co_filename == __file__}
    assert own == names
    assert 0 < gathered.branches.share().reached < gathered.branches.share().of


def test_keras_own_code_around_a_call_is_not() -> None:
    """A trace function that stays for all of Keras' code costs half a pass."""
    model = Called(Branching(3, 2))
    x = np.zeros((2, 5, 5, 4), np.float32)
    model(x)
    side = adapt(model)
    entered: list[str] = []

    def enter(frame: Any, event: str, argument: Any) -> None:
        entered.append(frame.f_code.co_filename)

    with watches(enter):
        sys.settrace(enter)
        try:
            side.trace([x])
        finally:
            sys.settrace(None)
    assert __file__ in entered
    assert not [file for file in entered if file.endswith("keras/src/layers/layer.py")]
