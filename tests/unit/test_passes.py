"""How many passes a comparison makes of each side, and what those that serve two ends still show."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import torch
from keras import layers as L
from torch import nn

import parity
from parity.adapters import adapt
from parity.adapters.probe import randomise
from parity.probes.branches.files import OwnFiles
from parity.probes.branches.watch import watching

X = np.random.default_rng(3).standard_normal((2, 9, 12, 3)).astype(np.float32)

KERAS_PASSES = 9
"""The main input twice, three probes, three calls of one shape in turn, and one in the models' own dtype; and the call
in turn that the probe of its shape saves."""


class Model(keras.Model):
    def __init__(self) -> None:
        super().__init__()
        self.c, self.calls, self.kinks = L.Conv2D(4, 3, padding="same"), [], 10**9

    def call(self, x: Any) -> Any:
        self.calls.append(x.shape)
        return self.c(x) if len(self.calls) < self.kinks else self.c(x) + 1


class Module(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.c = nn.Conv2d(3, 4, 3, padding=1)

    def forward(self, x: torch.Tensor) -> Any:
        return self.c(x)


def pair() -> tuple[Model, Module]:
    model, module = Model(), Module().eval()
    model(X)
    randomise(adapt(module))
    parity.transfer(module, model)
    model.calls.clear()
    return model, module


def test_each_keras_pass_of_equal_models_serves_an_end() -> None:
    model, module = pair()
    report = parity.compare(model, module, X)
    assert report.verdict == "EQUAL", str(report)
    assert len(model.calls) <= KERAS_PASSES, model.calls


@pytest.mark.parametrize("call", range(2, KERAS_PASSES))
def test_what_changes_from_any_call_on_is_found(call: int) -> None:
    """Whichever pass is the first one that gives something else: the side is never taken for equal."""
    model, module = pair()
    model.kinks = call
    assert parity.compare(model, module, X).verdict != "EQUAL"


# --- where nobody need watch -----------------------------------------------------------------------


def hooked(module: Any, args: Any, output: Any) -> Any:
    return output if output.shape[0] else output + 1


def stepped(row: Any) -> Any:
    return row if row.shape else row + 1


class Mapped(L.Layer):
    def call(self, x: Any) -> Any:
        return keras.ops.map(stepped, x)


def test_the_users_code_within_a_frameworks_step_is_watched() -> None:
    """A hook runs within a layer of torch's own, and a function within one of Keras' operations."""
    module = nn.Conv2d(3, 4, 3)
    module.register_forward_hook(hooked)
    layer = Mapped()
    layer(X)
    for model, values, wanted in (
        (nn.Sequential(module), np.moveaxis(X, -1, 1), hooked),
        (layer, X, stepped),
    ):
        with watching(OwnFiles([model])) as seen:
            adapt(model).trace([np.ascontiguousarray(values)])
        assert wanted.__code__ in seen.codes, type(model)


# --- values that are put back ----------------------------------------------------------------------


@pytest.mark.parametrize("side", ["keras", "torch"])
def test_a_value_that_is_held_comes_back(side: str) -> None:
    wide = np.random.default_rng(0).standard_normal((300, 400)).astype(np.float32)
    if side == "keras":
        layer = L.Dense(400)
        layer.build((None, 300))
        adapter, path = adapt(layer), "kernel"
    else:
        adapter, path = adapt(nn.Linear(300, 400)), "weight"
        wide = np.ascontiguousarray(wide.T)
    before = adapter.read(path)
    back = adapter.held(path)
    adapter.write(path, wide, fresh=True)
    np.testing.assert_array_equal(adapter.read(path), wide)
    back()
    np.testing.assert_array_equal(adapter.read(path), before)
