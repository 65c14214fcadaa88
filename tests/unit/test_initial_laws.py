"""The laws of first values: identified, compared, and the models left as they were."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import torch
from keras import layers as L
from torch import nn

import parity
from parity.training.initial.laws import differ, fans_of, law_of

I = keras.initializers  # noqa: E741


def draws(name: str) -> np.ndarray[Any, Any]:
    rng = np.random.default_rng(0)
    size = (16, 64, 32)
    return {
        "constant": np.full(size, 0.5),
        "uniform": rng.uniform(-0.25, 0.25, size),
        "normal": 0.05 * rng.standard_normal(size),
        "orthogonal": np.stack([np.linalg.qr(rng.standard_normal((64, 32)))[0] for _ in range(16)]),
        "other": rng.uniform(0.0, 1.0, size),
    }[name]


@pytest.mark.parametrize("name", ["constant", "uniform", "normal", "orthogonal", "other"])
def test_laws_are_identified(name: str) -> None:
    law = law_of(draws(name), [fans_of((64, 32))])
    assert law.kind == name
    expected = {"constant": 0.5, "uniform": 0.25, "normal": 0.05, "orthogonal": 1.0}.get(name)
    assert expected is None or abs(law.scale / expected - 1.0) < 0.01
    assert law.name == {"uniform": "glorot"}.get(name, "")  # sqrt(6 / 96) is 0.25


def test_equal_laws_do_not_differ_and_near_ones_do() -> None:
    rng = np.random.default_rng(1)
    a = rng.uniform(-0.25, 0.25, (16, 512))
    fans = [fans_of((64, 32))]
    for factor, other in ((1.0, False), (1.02, True), (0.5, True)):
        b = factor * rng.uniform(-0.25, 0.25, (16, 512))
        assert differ(a, b, law_of(a, fans), law_of(b, fans)) == other
    b = 0.25 / np.sqrt(3.0) * rng.standard_normal((16, 512))  # the same deviation
    assert differ(a, b, law_of(a, fans), law_of(b, fans))


def pair(initialiser: Any, bias: Any = "zeros") -> tuple[Any, Any, Any]:
    image = keras.Input((6,))
    layer = L.Dense(5, kernel_initializer=initialiser, bias_initializer=bias, name="a")
    model, module = keras.Model(image, layer(image)), nn.Sequential()
    module.add_module("a", nn.Linear(6, 5))
    parity.transfer(module, model)
    return model, module, np.random.default_rng(0).standard_normal((4, 6)).astype(np.float32)


def test_a_law_that_differs_is_a_note_and_strictly_a_finding() -> None:
    model, module, values = pair("glorot_uniform")
    before = [module.a.weight.detach().clone(), keras.ops.convert_to_numpy(model.get_layer("a").kernel)]
    state = torch.get_rng_state()
    report = parity.compare(model, module, values, initialisers=True, quick=True)
    assert report.verdict == "EQUAL", str(report)
    (note,) = [note for note in report.notes if "a.kernel" in note]
    assert "glorot uniform, bound 0.739 in Keras; kaiming a=sqrt(5) uniform, bound 0.408 in torch" in note
    assert any("a.bias" in note and "zeros" in note for note in report.notes), report.notes
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(module.a.weight, before[0])
    assert np.array_equal(keras.ops.convert_to_numpy(model.get_layer("a").kernel), before[1])
    report = parity.compare(model, module, values, initialisers="strict", quick=True)
    assert report.verdict == "DIVERGED"
    assert {finding.keras for finding in report.findings} == {"a"}
    assert len(report.findings) == 2


def test_equal_laws_are_equal_strictly() -> None:
    bound = 1.0 / np.sqrt(6.0)
    same = [I.RandomUniform(-bound, bound) for _ in range(2)]
    report = parity.compare(*pair(*same), initialisers="strict", quick=True)
    assert report.verdict == "EQUAL", str(report)
    assert any("agree in 2 tensors" in note for note in report.notes)


class Own(nn.Module):
    """A module whose tensor no class draws again."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Linear(6, 5)
        self.scale = nn.Parameter(torch.ones(5))

    def forward(self, x: Any) -> Any:
        return self.a(x) * self.scale


class OwnKeras(L.Layer):
    def __init__(self) -> None:
        super().__init__()
        self.a = L.Dense(5)

    def build(self, shape: Any) -> None:
        self.a.build(shape)
        self.scale = self.add_weight(shape=(5,), initializer="ones", name="scale")

    def call(self, x: Any) -> Any:
        return self.a(x) * self.scale


def test_a_law_that_is_not_known_is_named() -> None:
    model, module, values = OwnKeras(), Own(), np.ones((2, 6), np.float32)
    model(values)
    parity.transfer(module, model)
    report = parity.compare(model, module, values, initialisers=True, quick=True)
    assert any("not known of scale" in note for note in report.notes), report.notes
    report = parity.compare(model, module, values, initialisers="strict", quick=True)
    assert any(finding.kind == "not-compared" for finding in report.findings)
