"""Dropout that a user wrote, known by what it does: it is torch's, or whole examples; anything else is refused."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from keras import layers as L
from keras import ops

import parity
from parity.core.verdict import Verdict
from parity.porting.to_torch.write import write

ROWS = np.random.default_rng(0).normal(size=(8, 6)).astype("float32")


class Own(L.Layer):
    """A random step of training; its kind is a function of the input and of the seeds."""

    def __init__(self, kind: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.kind, self.rate, self.seed = kind, 0.3, keras.random.SeedGenerator(1)

    def call(self, x: Any, training: bool | None = None) -> Any:
        return self.kind(x, self.rate, self.seed) if training else x


def elements(x: Any, rate: float, seed: Any) -> Any:
    return keras.random.dropout(x, rate, seed=seed)


def branch(x: Any, rate: float, seed: Any) -> Any:
    drawn = keras.random.uniform((ops.shape(x)[0], 1), seed=seed)
    return x / (1 - rate) * ops.floor(1 - rate + drawn)


def noise(x: Any, rate: float, seed: Any) -> Any:
    return x + rate * keras.random.normal(ops.shape(x), seed=seed)


def columns(x: Any, rate: float, seed: Any) -> Any:
    drawn = keras.random.uniform((1, x.shape[1]), seed=seed)
    return x / (1 - rate) * ops.floor(1 - rate + drawn)


def unscaled(x: Any, rate: float, seed: Any) -> Any:
    return x * ops.floor(1 - rate + keras.random.uniform(ops.shape(x), seed=seed))


def net(kind: Any) -> Any:
    x = inputs = keras.Input((6,))
    x = L.Add()([x, Own(kind)(L.Dense(6, activation="tanh")(x))])
    return keras.Model(inputs, L.Dense(3)(x))


@pytest.mark.parametrize(("kind", "module"), [(elements, "nn.Dropout(0.3)"), (branch, "DropPath(0.3)")])
def test_it_is_written_and_proved_in_training_too(kind: Any, module: str) -> None:
    model = net(kind)
    seeds = [np.array(variable) for variable in model.non_trainable_variables]
    port = write(model, ROWS)
    assert module in port.text
    assert not port.unwritten
    for before, variable in zip(seeds, model.non_trainable_variables, strict=True):
        assert np.array_equal(before, variable)  # the runs that look at it draw from seeds of their own
    made = parity.port(model, ROWS)
    assert made.verdict is Verdict.EQUAL, [*map(str, made.proofs)]
    assert "training" in {proof.name for proof in made.proofs}


@pytest.mark.parametrize("kind", [noise, columns, unscaled])
def test_what_drops_otherwise_is_refused(kind: Any) -> None:
    assert write(net(kind), ROWS).unwritten
