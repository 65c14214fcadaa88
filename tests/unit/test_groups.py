"""One cause is one entry with its places, the greatest effect first; the numbers stay those of the findings."""

from __future__ import annotations

import keras
import pytest
import torch
from keras import layers as L
from torch import nn

import parity
from parity.adapters import adapt
from parity.adapters.probe import randomise
from parity.core.finding import Finding, Fix, Kind
from parity.report.groups import groups
from parity.report.text import listed, screen

DEPTH = 4


def finding(place: str, cause: str | None, effect: float | None, fix: str = "") -> Finding:
    return Finding(place, place, Kind.LAYER, cause, f"at {place}", fix or None, effect=effect)


FOUND = [
    finding("bn0", "batchnorm-epsilon", 8e-4, "eps=0.001 on bn0"),
    finding("bn1", "batchnorm-epsilon", 9e-4, "eps=0.001 on bn1"),
    finding("cat", "concat-order", 1.65),
    finding("bn2", "batchnorm-epsilon", 7e-4, "eps=0.002 on bn2"),
    finding("a", None, 0.5),
    finding("b", None, 0.5),
    finding("gone", None, None),
]


def test_findings_of_one_cause_and_fix_are_one_entry_and_the_greatest_comes_first() -> None:
    found = [(group.numbers, group.main.cause) for group in groups(FOUND)]
    assert found == [
        ((7,), None),  # what has no number, such as a missing call, is no small difference
        ((3,), "concat-order"),
        ((5,), None),
        ((6,), None),
        ((1, 2), "batchnorm-epsilon"),
        ((4,), "batchnorm-epsilon"),  # another fix
    ]


def test_layers_whose_names_stand_in_other_words_are_one_entry_too() -> None:
    found = [
        finding(name, "batchnorm-epsilon", 1e-3, f"eps=0.001 on layer {name}, as in Keras") for name in "ab"
    ]
    assert [group.numbers for group in groups(found)] == [(1, 2)]


def test_the_text_names_every_place_once() -> None:
    lines = listed(FOUND)
    assert [line[:5] for line in lines if line[2].isdigit()][1] == "  3. "
    place = next(i for i, line in enumerate(lines) if line.startswith("  1. "))
    assert "     2 x batchnorm-epsilon: the same at bn1" in lines[place:]
    assert sum("bn1" in line for line in lines) == 1


def model() -> keras.Model:
    x = image = keras.Input((9, 8, 3))
    for i in range(DEPTH):
        x = L.BatchNormalization(epsilon=1e-3, name=f"bn{i}")(L.Conv2D(4, 3, padding="same", name=f"c{i}")(x))
    x = L.Concatenate()([x, L.Conv2D(4, 1, name="side")(x)])
    return keras.Model(image, [L.Conv2D(2, 1, name="head")(x), L.Conv2D(3, 1, name="box")(x)])


class Port(nn.Module):
    def __init__(self, turned: bool, squashed: bool) -> None:
        super().__init__()
        self.turned, self.squashed = turned, squashed
        for i in range(DEPTH):
            setattr(self, f"c{i}", nn.Conv2d(4 if i else 3, 4, 3, padding=1))
            setattr(self, f"bn{i}", nn.BatchNorm2d(4))
        self.side, self.head, self.box = nn.Conv2d(4, 4, 1), nn.Conv2d(8, 2, 1), nn.Conv2d(8, 3, 1)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        for i in range(DEPTH):
            x = getattr(self, f"bn{i}")(getattr(self, f"c{i}")(x))
        parts = (x, self.side(x))
        x = torch.cat(parts[::-1] if self.turned else parts, dim=1)
        box = self.box(x)
        return self.head(x), torch.tanh(box) if self.squashed else box


@pytest.mark.parametrize("turned", [False, True])
def test_a_report_says_each_cause_once(turned: bool) -> None:
    report = parity.compare(*_copied(Port(turned, squashed=False)))
    causes = [group.main.cause for group in groups(report.findings)]
    assert causes == (["concat-order"] if turned else []) + ["batchnorm-epsilon"]
    assert [entry["cause"] for entry in report.to_dict()["causes"]] == causes
    assert f"{DEPTH} x batchnorm-epsilon: the same at bn1, bn2, bn3" in str(report)
    assert len(report.findings) == DEPTH + 2 * turned  # each place stays a finding: layer and repro need it
    assert "the same at bn1" in screen(report, height=40)


def test_of_several_outputs_the_one_that_differs_is_named() -> None:
    report = parity.compare(*_copied(Port(turned=False, squashed=True)))
    found = next(entry for entry in report.findings if entry.kind is Kind.OUTPUT)
    assert "output 2 of 2" in found.evidence
    assert "output 1 of 2" not in found.evidence


def _copied(port: Port) -> tuple[keras.Model, Port]:
    made = model()
    randomise(adapt(port))
    parity.transfer(port, made)
    return made, port


def test_the_lines_that_a_fix_names_do_not_keep_findings_apart() -> None:
    findings = [
        Finding(name, name, Kind.LAYER, "batchnorm-epsilon", "text", Fix(f"epsilon on {name}", f"eps on {name}"),
                keras_at=f"k.py:{line}", torch_at=f"t.py:{line}")
        for line, name in enumerate(("first", "second", "third"), 10)
    ]  # fmt: skip
    for reference in ("keras", "torch"):
        (entry,) = groups([finding.for_reference(reference) for finding in findings])
        assert len(entry.findings) == 3
