"""Steps that give two values alone, wherever they stand: equal networks are EQUAL behind them, and others are not."""

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
from parity.core.finding import Kind
from parity.replay.hiding_steps import at_ends
from tests.attacks.attempt import Attempt, unexplained
from tests.attacks.rows.hidden_outputs import ENDS, FAR, KIND, with_tail
from tests.attacks.written import Written, conv

X = np.random.default_rng(0).standard_normal((2, 12, 15, 3)).astype("float32")


@pytest.mark.parametrize("side", ["keras", "torch"])
@pytest.mark.parametrize("name", ENDS)
def test_equal_networks_are_equal(name: str, side: str) -> None:
    net = with_tail(ENDS[name], FAR)
    report = Attempt(KIND, name, net, net, side).report()
    # Of random weights, all examples may have the same labels, which is said.
    assert {finding.kind for finding in report.findings} <= {Kind.CONSTANT_OUTPUT}, str(report)
    assert report.findings or report.verdict == "EQUAL"
    assert any("hiding steps" in note for note in report.notes), "this case hides nothing"


FORMS: dict[str, Any] = {
    "a gate": lambda xp, m, x: m.d(x) * xp.sigmoid(m.c(x) * FAR),
    "ones like a tensor": lambda xp, m, x: m.c(x) * xp.ones_like(m.d(x)),
    "a softmax over one value": lambda xp, m, x: m.c(x) * xp.softmax(xp.mean(m.d(x), axis=xp.C, keepdims=True), axis=xp.C),
    "a dead ReLU": lambda xp, m, x: m.c(x) + xp.relu(m.d(x) - 1e6),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore:You are using a softmax over axis:UserWarning")
@pytest.mark.parametrize("form", FORMS)
def test_equal_forms_are_equal(form: str) -> None:
    net = Written(FORMS[form], {"c": conv(), "d": conv()})
    assert Attempt(KIND, form, net, net).report().verdict == "EQUAL"


class Inside(nn.Module):
    """Two layers with a sigmoid in between, whose scores are far apart."""

    def __init__(self, epsilon: float = 1e-5) -> None:
        super().__init__()
        self.bn = nn.BatchNorm2d(3, eps=epsilon)
        self.conv = nn.Conv2d(3, 4, 3)
        self.fc = nn.Linear(4, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(torch.sigmoid(self.conv(self.bn(x))).mean((2, 3)))


def inside() -> Any:
    x = image = keras.Input((None, None, 3))
    x = L.Conv2D(4, 3, activation="sigmoid", name="conv")(L.BatchNormalization(epsilon=1e-5, name="bn")(x))
    return keras.Model(image, L.Dense(5, name="fc")(L.GlobalAveragePooling2D()(x)))


@pytest.mark.parametrize("epsilon", [1e-5, 1e-3])
def test_an_activation_inside_a_layer_at_its_ends(epsilon: float) -> None:
    module, model = Inside(epsilon).eval(), inside()
    randomise(adapt(module), 0)
    with torch.no_grad():
        module.conv.weight *= 1e6
    parity.transfer(module, model, inputs=X)
    with unexplained():
        report = parity.compare(model, module, X)
    assert (report.verdict == "EQUAL") == (epsilon == 1e-5), str(report)


@pytest.mark.parametrize(
    ("values", "wanted"),
    [
        ([0.0, 1.0, 1.0], True),
        ([-1.0, 1.0, 1.0], True),
        ([0.0, 1e-40, 1.0, 1.0 - 1e-15], True),
        ([1.0, 1.0], True),
        ([1.0], True),
        ([0.7], False),
        ([0.0, 1.0], False),  # of two values, two are nothing special
        ([0.0, 0.0], False),  # a dead ReLU
        ([0.0, 0.5, 1.0], False),
        ([0.0, 1e-3, 1.0], False),
        ([np.inf, 1.0, 1.0], False),
        ([], False),
    ],
)
def test_what_two_values_are(values: list[float], wanted: bool) -> None:
    assert at_ends(np.array(values)) is wanted
    many = np.array(values * 1000)
    assert at_ends(many) is (wanted or values in ([0.7], [0.0, 1.0]))
    assert at_ends(-many) is at_ends(many)
