"""Causes as they are listed: their numbers are explained, one cause is one entry, and a fix is said for both sides."""

from __future__ import annotations

import keras
import numpy as np
import torch
from keras import layers as L
from torch import nn

import parity
from parity.core.errors import in_a_line
from parity.core.finding import Finding, Fix, Kind
from parity.report.groups import groups
from parity.report.text import listed

EXPLAINED = "numbers count the findings in execution order"


def found(effect: float, layer: int, cause: str = "attention-scale") -> Finding:
    in_torch = f"multiply the scores of torch layers.{layer} by 0.5"
    return Finding(
        f"encoder_{layer}.out", f"layers.{layer}.out", Kind.WIRING, cause, "twice the scores", effect=effect,
        fix=Fix(f"multiply the scores of Keras encoder_{layer} by 2", in_torch, in_torch), fix_verified=True,
    )  # fmt: skip


def test_numbers_out_of_order_are_explained() -> None:
    small, great = found(0.1, 0, "first"), found(0.9, 1, "second")
    assert EXPLAINED in listed([small, great])[-1]
    assert not any(EXPLAINED in line for line in listed([great, small]))


def test_a_fix_that_names_the_layer_around_is_one_cause() -> None:
    (entry,) = groups([found(0.9, 0), found(0.8, 1)])
    assert entry.also == "the same at encoder_1.out / layers.1.out"


def test_a_fix_is_said_for_the_other_side_too() -> None:
    lines = [line.strip() for line in listed([found(0.9, 0)])]
    assert lines[-2:] == [
        "Fix (verified): multiply the scores of torch layers.0 by 0.5",
        "or multiply the scores of Keras encoder_0 by 2",
    ]
    assert Fix("in one", "in the other").otherwise == ""
    assert Fix("same", "same", "same").otherwise == ""
    assert Fix("k", "t", "k").otherwise == "in torch: t"


class Activations(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.third = nn.Linear(5, 6), nn.Linear(6, 6), nn.Linear(6, 2)
        self.act, self.again = nn.LeakyReLU(), nn.LeakyReLU()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.third(self.again(self.second(self.act(self.first(x)))))


def test_a_fix_names_the_layer_that_takes_the_step() -> None:
    """One default of two activations is one cause, and its fix is theirs, not that of the layer behind."""
    x = keras.Input((5,))
    y = L.LeakyReLU(name="act")(L.Dense(6, name="first")(x))
    y = L.LeakyReLU(name="again")(L.Dense(6, name="second")(y))
    model, module = keras.Model(x, L.Dense(2, name="third")(y)), Activations().eval()
    parity.transfer(module, model)
    values = np.random.default_rng(0).standard_normal((3, 5)).astype("float32")
    report = parity.compare(model, module, values, quick=True)
    (entry,) = groups(report.findings)
    assert entry.main.cause == "leaky-relu-slope"
    assert {finding.keras for finding in entry.findings} == {"act", "again"}
    assert f"at Keras {entry.main.keras}" in str(entry.main.fix)
    assert f"at torch {entry.main.torch}" in str(entry.main.fix)


def test_tensorflow_s_own_names_are_left_out_of_errors() -> None:
    error = ValueError(
        "Concatenate failed. {{function_node __wrapped__ConcatV2_N_2_device_/job:localhost}} Dimension 1"
    )
    assert in_a_line(error) == "ValueError: Concatenate failed. Dimension 1"
    wrapped = RuntimeError("Exception encountered when calling Concatenate.call().\n\n" + "sizes " * 40)
    assert in_a_line(wrapped, 40) == "RuntimeError: Concatenate: sizes sizes sizes ..."
