"""Fixes for the side that is not the reference, and where in the user's file they go."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers as L
from torch import nn
from torch.nn import functional as F

import parity
from parity.cli import main
from parity.core.finding import Fix

VALUES = np.random.default_rng(0).standard_normal((2, 12, 15, 3)).astype(np.float32)


class Ported(nn.Module):
    """A network whose torch side has four faults of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, stride=2, padding=1)
        self.norm = nn.BatchNorm2d(4, eps=1e-5)
        self.body = nn.Conv2d(4, 4, 3, padding=1)
        self.head = nn.Conv2d(4, 2, 1)

    def forward(self, x: Any) -> Any:
        x = F.leaky_relu(self.norm(self.stem(x)), 0.01)
        return self.head(F.gelu(self.body(x)))


def network() -> Any:
    """The Keras side: same padding, another epsilon, another slope, another GELU."""
    image = keras.Input((12, 15, 3))
    x = L.Conv2D(4, 3, strides=2, padding="same", name="stem")(image)
    x = L.BatchNormalization(epsilon=1e-2, name="norm")(x)
    x = L.LeakyReLU(negative_slope=0.2)(x)
    x = L.Conv2D(4, 3, padding="same", name="body")(x)
    return keras.Model(image, L.Conv2D(2, 1, name="head")(keras.ops.gelu(x, approximate=True)))


def compared(**more: Any) -> Any:
    model, module = network(), Ported().eval()
    rng = np.random.default_rng(1)
    for variable in model.weights:
        value = rng.standard_normal(variable.shape)
        variable.assign(np.abs(value) + 0.5 if "variance" in variable.path else value)
    parity.transfer(model, module)
    return parity.compare(model, module, VALUES, **more)


CAUSES = {"same-padding-asymmetry", "batchnorm-epsilon", "leaky-relu-slope", "gelu-approximation"}


@pytest.mark.parametrize(
    ("reference", "changed", "kept"), [("keras", "torch", "Keras"), ("torch", "Keras", "torch")]
)
def test_fixes_are_written_for_the_side_that_is_not_the_reference(
    reference: str, changed: str, kept: str
) -> None:
    report = compared(reference=reference)
    assert {finding.cause for finding in report.findings} == CAUSES, str(report)
    for finding in report.findings:
        assert finding.fix_verified, str(finding)
        assert f"{changed} layer" in finding.fix or f"at {changed}" in finding.fix, finding.fix
        assert f", or {kept}" not in finding.fix
        assert f"{kept} layer" not in finding.fix
        assert "test_reference.py:" in finding.fix, finding.fix


def test_without_a_reference_both_sides_are_said() -> None:
    report = compared()
    assert {finding.cause for finding in report.findings} == CAUSES, str(report)
    for finding in report.findings:
        assert isinstance(finding.fix, Fix)
        assert finding.to_dict()["fixes"] == {"keras": finding.fix.keras, "torch": finding.fix.torch}
    epsilon = next(f for f in report.findings if f.cause == "batchnorm-epsilon")
    assert str(epsilon.fix) == "epsilon=1e-05 on Keras layer norm, or eps=0.01 on torch layer norm"


def test_the_fix_of_the_reference_works() -> None:
    """What is said for torch, done in torch, makes the models equal; so does what is said for Keras."""
    model, module = network(), Ported().eval()
    parity.transfer(model, module)
    module.norm.eps = 1e-2
    module.stem.padding = (0, 0)
    plain = module.stem.forward

    def changed(x: Any) -> Any:
        x = F.leaky_relu(module.norm(plain(F.pad(x, (1, 1, 0, 1)))), 0.2)
        return module.head(F.gelu(module.body(x), approximate="tanh"))

    module.forward = changed  # type: ignore[method-assign]
    said = {f.cause: str(f.fix) for f in compared(reference="keras").findings}
    assert "F.pad(x, (1, 1, 0, 1))" in said["same-padding-asymmetry"], said
    report = parity.compare(model, module, VALUES)
    assert report.verdict == "EQUAL", str(report)


def test_an_unknown_reference_is_refused() -> None:
    with pytest.raises(parity.UsageError, match="reference must be 'keras' or 'torch'"):
        parity.compare(network(), Ported(), VALUES, reference="tensorflow")  # type: ignore[arg-type]


def test_a_fix_keeps_both_sides_words() -> None:
    fix = Fix("a in Keras", "b in torch")
    for same in (copy.deepcopy(fix), pickle.loads(pickle.dumps(fix))):
        assert (same, same.keras, same.torch) == ("a in Keras, or b in torch", "a in Keras", "b in torch")


def test_the_command_line_takes_the_reference(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place = "tests.unit.test_reference"
    arguments = ["check", "--keras", f"{place}:network", "--torch", f"{place}:Ported", "--input", "2x12x15x3"]
    assert main([*arguments, "--quick", "--reference", "torch", "--json", str(tmp_path / "r.json")]) == 1
    assert "on torch layer norm" not in capsys.readouterr().out
    text = (tmp_path / "r.json").read_text()
    assert "epsilon=1e-05 on Keras layer norm" in text
