"""The dtype that the models are held in: another function there is found, and honest rounding is not."""

from __future__ import annotations

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
from parity.verdict.runs.own_dtype import own_dtype
from tests.unit.test_probes import X, compared, pair, plain
from tests.unit.test_unproven import lines


def in_float32(factor: float) -> Any:
    return lambda s, x: s.c(x) * (1.0 + (factor - 1.0) * float(x.dtype == torch.float32))


@pytest.mark.parametrize("factor", [2.0, 1.3, 1.01])
def test_another_function_in_float32_is_a_difference(factor: float) -> None:
    report = compared(plain, in_float32(factor))
    assert report.verdict == "DIVERGED", str(report)
    assert "the torch side as it is, in float32" in report.first.evidence
    assert report.first.kind == "precision"
    call = lambda s, x: s.c(x) * (1.0 + (factor - 1.0) * float("float32" in str(x.dtype)))  # noqa: E731
    assert "the keras side as it is" in compared(call, plain).first.evidence


def test_a_little_less_exact_is_named() -> None:
    report = compared(plain, in_float32(1.00003))
    assert report.verdict == "EQUAL", str(report)
    (line,) = [text for text in lines(report, "dtypes") if "as it is" in text]
    assert "in float32, is" in line
    assert "(dtype='float32' compares it)" in line


def test_one_element_alone_is_named() -> None:
    def forward(self: Any, x: Any) -> Any:
        y = self.c(x)
        if x.dtype == torch.float32:
            y = y.clone()
            y[0, 0, 0, 0] += 0.5
        return y

    assert len(lines(compared(plain, forward), "dtypes")) == 1


def test_values_that_flip_at_a_step_are_no_difference() -> None:
    report = compared(
        lambda s, x: ops.floor(s.c(x) * 1e4) + s.c(x), lambda s, x: (s.c(x) * 1e4).floor() + s.c(x)
    )
    assert report.verdict == "EQUAL", str(report)


HONEST = {
    "a convolution": (plain, plain),
    "a deep sum": (lambda s, x: ops.cumsum(s.c(x), 2) + 1e3, lambda s, x: s.c(x).cumsum(3) + 1e3),
    "a normalisation": (lambda s, x: (s.c(x) - ops.mean(s.c(x), (1, 2), keepdims=True)) * 1e-3,
                        lambda s, x: (s.c(x) - s.c(x).mean((2, 3), keepdim=True)) * 1e-3),
    "a softmax": (lambda s, x: ops.softmax(30 * s.c(x)), lambda s, x: torch.softmax(30 * s.c(x), 1)),
    "labels": (lambda s, x: ops.argmax(s.c(x), -1), lambda s, x: s.c(x).argmax(1)),
    "cancelled": (lambda s, x: s.c(x) + 1e4 - 1e4, lambda s, x: s.c(x) + 1e4 - 1e4),
}  # fmt: skip


@pytest.mark.parametrize("name", HONEST)
def test_honest_rounding_is_nothing(name: str) -> None:
    report = compared(*HONEST[name])
    assert report.verdict == "EQUAL", str(report)
    assert lines(report, "dtypes") == []


def test_what_overflows_is_named_and_no_difference() -> None:
    report = compared(lambda s, x: ops.sqrt(ops.square(s.c(x) * 1e25)), lambda s, x: (s.c(x) * 1e25).abs())
    assert report.verdict == "EQUAL", str(report)
    assert lines(report, "dtypes") == ["in float32 not compared: the outputs of keras are not finite there"]


def test_what_raises_is_named() -> None:
    def forward(self: Any, x: Any) -> Any:
        if x.dtype == torch.float32:
            raise ValueError("float64 alone")
        return self.c(x)

    model, module = pair(plain, plain)
    module._function = forward
    (line,) = lines(parity.compare(model, module, X), "dtypes")
    assert line.startswith("in float32 not compared: the torch side raised ValueError: float64 alone")


def test_the_dtype_that_a_model_is_held_in() -> None:
    assert own_dtype(adapt(nn.Conv2d(3, 4, 3))) == "float32"
    assert own_dtype(adapt(nn.Conv2d(3, 4, 3).double())) == "float64"
    assert own_dtype(adapt(nn.Conv2d(3, 4, 3).bfloat16())) == "bfloat16"
    assert own_dtype(adapt(nn.ReLU())) == "float32"
    mixed = keras.Sequential([keras.Input((3,)), L.Dense(2, dtype="mixed_float16")])
    assert own_dtype(adapt(mixed.layers[0])) == "float16"


def test_models_held_in_float64_and_in_bfloat16() -> None:
    for dtype, policy in ((torch.float64, "float64"), (torch.bfloat16, "bfloat16")):
        model = keras.Sequential([keras.Input((9, 12, 3)), L.Conv2D(4, 3, name="0", dtype=policy)])
        module = nn.Sequential(nn.Conv2d(3, 4, 3)).to(dtype)
        randomise(adapt(module))
        parity.transfer(module, model)
        report = parity.compare(model, module, X)
        assert report.verdict == "EQUAL", str(report)
        assert lines(report, "dtypes") == []


def test_weights_and_dtypes_come_back() -> None:
    model, module = pair(plain, plain)
    before = {name: value.clone() for name, value in module.state_dict().items()}
    parity.compare(model, module, X)
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())
    assert {value.dtype for value in module.state_dict().values()} == {torch.float32}
    assert {np.dtype(str(value.dtype)) for value in model.weights} == {np.dtype("float32")}
