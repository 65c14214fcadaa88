"""Heads that run in training alone: what is flattened in front of their dense layers is counted in each side's order."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import torch
from keras import layers as L
from torch import nn

import parity

X = np.random.default_rng(0).standard_normal((3, 9, 12, 3)).astype(np.float32)


class Net(keras.Model):
    """A network with a second head that helps training; its layers are called as torch's, or otherwise."""

    def __init__(self, own_names: bool) -> None:
        super().__init__()
        self.conv, self.last = L.Conv2D(5, 3, name="conv"), L.Dense(4, name="last")
        if own_names:
            self.squeeze, self.judge = L.Conv2D(6, 2, strides=2), L.Dense(7)
        else:
            self.aux, self.help = L.Conv2D(6, 2, strides=2, name="aux"), L.Dense(7, name="help")
        self.own_names = own_names

    def call(self, x: Any, training: bool = False) -> Any:
        x = keras.ops.relu(self.conv(x))
        last = self.last(keras.ops.mean(x, (1, 2)))
        if not training:
            return last
        conv, dense = (self.squeeze, self.judge) if self.own_names else (self.aux, self.help)
        y = conv(x)
        return last, dense(keras.ops.reshape(y, (-1, y.shape[1] * y.shape[2] * y.shape[3])))


class Twin(nn.Module):
    """The same."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.last = nn.Conv2d(3, 5, 3), nn.Linear(5, 4)
        self.aux, self.help = nn.Conv2d(5, 6, 2, stride=2), nn.Linear(6 * 3 * 5, 7)

    def forward(self, x: torch.Tensor) -> Any:
        x = torch.relu(self.conv(x))
        last = self.last(x.mean((2, 3)))
        return (last, self.help(self.aux(x).flatten(1))) if self.training else last


def built(own_names: bool) -> Net:
    model = Net(own_names)
    model(X, training=True)
    return model


@pytest.mark.parametrize("own_names", [False, True])
@pytest.mark.parametrize("way", ["keras", "torch"])
def test_rows_behind_a_flattening_that_training_alone_runs(own_names: bool, way: str) -> None:
    model, module = built(own_names), Twin()
    mapping = {"squeeze": "aux", "judge": "help"} if own_names else None
    source, target = (model, module) if way == "keras" else (module, model)
    parity.transfer(source, target, mapping=mapping, inputs=X)
    module.train()
    with torch.no_grad():
        wanted = module(torch.from_numpy(X).permute(0, 3, 1, 2))
    for given, other in zip(model(X, training=True), wanted, strict=True):
        np.testing.assert_allclose(np.asarray(given), other.numpy(), rtol=1e-4, atol=1e-5)
    report = parity.compare(model, module.eval(), X, gradients=True, train_steps=2, mapping=mapping)
    assert report.verdict == "EQUAL", report


def test_another_order_of_rows_is_no_equal() -> None:
    """The rows as the other side counts them: a fault that a pass in inference mode cannot show."""
    model, module = built(False), Twin()
    parity.transfer(module, model, inputs=X)
    rows = model.help.kernel.numpy().reshape(3, 5, 6, 7).transpose(2, 0, 1, 3).reshape(90, 7)
    model.help.kernel.assign(rows)
    report = parity.compare(model, module.eval(), X, gradients=True)
    assert report.verdict == "DIVERGED", report


def test_the_statistics_stay() -> None:
    """Where the rows are looked for in training mode, nothing of the model moves."""

    class Normed(Net):
        def __init__(self) -> None:
            super().__init__(False)
            self.norm = L.BatchNormalization(name="norm")

        def call(self, x: Any, training: bool = False) -> Any:
            return super().call(self.norm(x, training=training), training=training)

    model = Normed()
    model(X, training=True)
    before = [np.array(value) for value in model.get_weights()]
    parity.pair(model, Twin(), inputs=X)
    assert all(map(np.array_equal, before, model.get_weights()))


class Indexed(L.Layer):
    """A table that is read at whole numbers, which are saved with the weights, and a normalisation."""

    def build(self, shape: Any) -> None:
        self.table = self.add_weight(shape=(5, 2), name="table")
        self.index = self.add_weight((6,), "zeros", "int32", trainable=False, name="index")
        self.norm = L.BatchNormalization(epsilon=1e-5, momentum=0.9)

    def call(self, x: Any, training: bool | None = None) -> Any:
        rows = keras.ops.take(self.table, self.index, axis=0)
        return self.norm(x, training=training) + keras.ops.sum(rows, axis=0)[0]


class IndexedTwin(nn.Module):
    """The same."""

    def __init__(self) -> None:
        super().__init__()
        self.table, self.norm = nn.Parameter(torch.randn(5, 2)), nn.BatchNorm1d(4)
        self.register_buffer("index", torch.tensor([0, 3, 1, 4, 4, 2]))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.norm(x) + self.table[self.index].sum(0)[0]


def test_whole_numbers_among_the_weights_are_no_statistics() -> None:
    image = keras.Input((4,))
    model, module = keras.Model(image, Indexed(name="part")(image)), nn.Sequential()
    module.add_module("part", IndexedTwin())
    parity.transfer(module, model)
    values = np.random.default_rng(0).standard_normal((5, 4)).astype(np.float32)
    report = parity.compare(model, module, values, gradients=True, train_steps=2, match_rules=True)
    assert report.verdict == "EQUAL", report


class Counting(L.Layer):
    """A dense layer with a counter, which nothing changes."""

    def __init__(self, dtype: str) -> None:
        super().__init__(name="part")
        self.dense, self.kind = L.Dense(3, name="dense"), dtype

    def build(self, shape: Any) -> None:
        self.dense.build(shape)
        self.count = self.add_weight((1,), "zeros", self.kind, trainable=False, name="count")

    def call(self, x: Any) -> Any:
        return self.dense(x)


class CountingTwin(nn.Module):
    """The same; in training it counts, or does not."""

    def __init__(self, counts: bool, dtype: torch.dtype) -> None:
        super().__init__()
        self.dense, self.counts = nn.Linear(4, 3), counts
        self.register_buffer("count", torch.zeros(1, dtype=dtype))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.training and self.counts:
            self.count += 1
        return self.dense(x)


@pytest.mark.parametrize("steps", [0, 2])
@pytest.mark.parametrize("dtype", ["int32", "float32"])
@pytest.mark.parametrize("counts", [False, True])
def test_a_counter_that_one_side_moves_is_a_difference(counts: bool, dtype: str, steps: int) -> None:
    image = keras.Input((4,))
    model, module = keras.Model(image, Counting(dtype)(image)), nn.Sequential()
    module.add_module("part", CountingTwin(counts, getattr(torch, dtype)))
    parity.transfer(module, model)
    values = np.random.default_rng(0).standard_normal((5, 4)).astype(np.float32)
    report = parity.compare(model, module, values, gradients=True, train_steps=steps)
    assert report.verdict == ("DIVERGED" if counts else "EQUAL"), report
    assert not any(finding.cause for finding in report.findings), report
