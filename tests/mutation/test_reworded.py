"""Texts are for people: with each of them crossed out, pairs, verdicts and causes stay what they are."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import keras
import pytest
import torch
from keras import layers as L
from torch import nn

import parity
from parity.adapters import adapt
from parity.adapters.numbering import numbered_alike
from parity.adapters.probe import randomise
from parity.causes.case import Explanation
from parity.causes.steps.compare import StepPair
from parity.causes.steps.identify import Step
from parity.core.finding import Finding
from parity.pairing.evidence import Evidence
from parity.pairing.pairs import Pairing
from parity.pairing.problems import sentences
from parity.replay.located import Apart, Compared
from parity.weights.models import pair_models
from tests.mutation.test_natural_faults import CASES, compared
from tests.zoo_apart import CASES as APART

TEXTS = {Explanation: "evidence", Finding: "evidence", Apart: "text", Compared: "text"}


def crossed_out(text: str) -> str:
    return re.sub(r"\w", "x", text)


@pytest.fixture
def silent(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Every text of pairing and causes is crossed out where it is made."""

    def without_words(kind: type, name: str) -> Callable[..., None]:
        made: Callable[..., None] = kind.__init__

        def init(self: Any, *values: Any, **named: Any) -> None:
            made(self, *values, **named)
            object.__setattr__(self, name, crossed_out(getattr(self, name)))

        return init

    for kind, name in TEXTS.items():
        monkeypatch.setattr(kind, "__init__", without_words(kind, name))
    monkeypatch.setattr(Step, "__str__", lambda self: crossed_out(self.name))
    monkeypatch.setattr(StepPair, "text", property(lambda self: "x"))
    for problem_kind in sentences.SENTENCES:
        monkeypatch.setitem(sentences.SENTENCES, problem_kind, lambda problem: "x")
    for member in Evidence:
        monkeypatch.setattr(member, "_value_", f"x{member.name}")
    return


@pytest.mark.usefixtures("silent")
@pytest.mark.parametrize("name", CASES)
def test_causes(name: str) -> None:
    cause, report = compared(name)
    wanted = {"EQUAL": "EQUAL", "missing-bias": "INCONCLUSIVE"}.get(cause, "DIVERGED")
    assert report.verdict == wanted
    assert {finding.cause for finding in report.findings} == {cause} - {"EQUAL"}
    assert not any(re.search(r"[a-wyz]", finding.evidence) for finding in report.findings)


def softmax_that_comes_twice() -> tuple[Any, Any]:
    """Keras applies one softmax in front of its softmax layer, without a layer of its own."""
    image = keras.Input((7, 9, 3))
    x = keras.ops.softmax(L.Conv2D(4, 3, name="a")(image))
    model = keras.Model(image, L.Conv2D(2, 1, name="b")(L.Softmax(name="s")(x)))
    module = nn.Sequential()
    for name, layer in (("a", nn.Conv2d(3, 4, 3)), ("s", nn.Softmax(1)), ("b", nn.Conv2d(4, 2, 1))):
        module.add_module(name, layer)
    return model, module


@pytest.mark.parametrize("words", [True, False])
def test_a_second_softmax_is_known_by_its_step(words: bool, request: pytest.FixtureRequest) -> None:
    if not words:
        request.getfixturevalue("silent")
    model, module = softmax_that_comes_twice()
    randomise(adapt(module), 1)
    parity.transfer(module, model)
    report = parity.compare(model, module)
    assert [finding.cause for finding in report.findings] == ["double-softmax"], str(report)


class NamedSoftmax(nn.Module):
    """An activation that Keras lacks behind a layer that is called softmax, and that is none."""

    def __init__(self) -> None:
        super().__init__()
        self.softmax, self.last = nn.Conv2d(3, 4, 3), nn.Softmax(1)

    def forward(self, x: Any) -> Any:
        return self.last(torch.relu(self.softmax(x)))


def test_a_layer_s_name_is_no_softmax() -> None:
    image = keras.Input((7, 9, 3))
    model = keras.Model(image, L.Softmax(name="last")(L.Conv2D(4, 3, name="softmax")(image)))
    module = NamedSoftmax()
    randomise(adapt(module), 1)
    parity.transfer(module, model)
    assert [finding.cause for finding in parity.compare(model, module).findings] == ["activation-missing"]


# --- pairs -----------------------------------------------------------------------------------------------


def seen(pairing: Pairing) -> list[Any]:
    """Everything of a pairing but its words."""
    return [
        [(pair.keras, pair.torch, pair.evidence.name, pair.slots, pair.constants) for pair in pairing.pairs],
        pairing.problems, pairing.unmatched_keras, pairing.unmatched_torch, pairing.ops, pairing.level,
        len(pairing.notes),
    ]  # fmt: skip


def lone_bias() -> tuple[Any, Any]:
    image = keras.Input((7, 9, 3))
    model = keras.Model(image, L.Conv2D(4, 3, name="b")(L.Conv2D(4, 3, use_bias=False, name="a")(image)))
    return model, nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3))


def ambiguous() -> tuple[Any, Any]:
    image = keras.Input((7, 9, 3))
    first, second = L.Conv2D(4, 3, name="p")(image), L.Conv2D(4, 3, activation="relu", name="q")(image)

    class Module(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.u, self.v, self.w = nn.Conv2d(3, 4, 3), nn.Conv2d(3, 4, 3), nn.Linear(5, 2)

        def forward(self, x: Any) -> Any:
            return torch.tanh(self.u(x)) + torch.sigmoid(self.v(x))

    return keras.Model(image, first + second), Module()


def one_layer_less() -> tuple[Any, Any]:
    """The two dataflows are not the same: neighbours decide."""
    image = keras.Input((7, 9, 4))
    x = image
    for number in range(3):
        x = L.BatchNormalization(name=f"n{number}")(L.Conv2D(4, 1, name=f"c{number}")(x))
    convolutions = [nn.Conv2d(4, 4, 1) for _ in range(3)]
    norms = [nn.BatchNorm2d(4), nn.BatchNorm2d(4)]
    steps = convolutions[0], norms[0], convolutions[1], convolutions[2], norms[1]
    return keras.Model(image, x), nn.Sequential(*steps)


def pairings() -> list[list[Any]]:
    found = []
    for build in (*APART.values(), lone_bias, ambiguous, one_layer_less):
        model, module, *more = build()
        found.append(seen(pair_models(adapt(model), adapt(module), None, more[0] if more else None)))
    model, module = lone_bias()
    mapping = {"a": "0", "nowhere": "2", "b.kernel": "2"}
    return [*found, seen(pair_models(adapt(model), adapt(module), mapping, None))]


def test_pairs(request: pytest.FixtureRequest) -> None:
    before = numbered_alike(pairings)
    assert sum(bool(problems) for _, problems, *_ in before) >= 3
    request.getfixturevalue("silent")
    assert numbered_alike(pairings) == before


@pytest.mark.usefixtures("silent")
def test_a_lone_bias_is_named_by_what_the_layer_lacks() -> None:
    model, module = lone_bias()
    nn.init.zeros_(module[0].bias)  # so that nothing differs for want of it
    parity.transfer(module, model, strict=False)
    found = [finding for finding in parity.compare(model, module).findings if finding.cause == "missing-bias"]
    assert [(finding.keras, finding.torch, finding.fix) for finding in found] == [
        ("a", "0", "give Keras layer a a bias")
    ]
