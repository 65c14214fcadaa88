"""Gradients and training steps of every model of the zoo and of mUnet: EQUAL, with the frameworks' rules made one."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import keras
import numpy as np
import pytest

import parity
from parity.adapters import adapt
from parity.adapters.probe import randomise
from parity.cli import main
from tests.conftest import needs
from tests.zoo import CASES


def transferred(name: str, momentum: float = 0.9) -> tuple[Any, Any]:
    model, module = CASES[name].build()
    for layer in model._flatten_layers():
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = momentum  # the zoo has Keras' default, which is another one
    randomise(adapt(module), 3)
    parity.transfer(module, model, CASES[name].mapping or None, inputs=CASES[name].inputs())
    return model, module


@pytest.mark.parametrize("name", CASES)
def test_gradients_and_two_steps(name: str) -> None:
    pair, values = transferred(name), CASES[name].inputs()
    mapping = CASES[name].mapping or None
    report = parity.compare(*pair, values, mapping=mapping, gradients=True, train_steps=2, match_rules=True)
    assert report.verdict == "EQUAL", str(report)
    assert report.training["gradients_inference"] < 1e-11
    assert report.training["gradients_training"] < 1e-11
    assert report.training["training"] < 1e-11
    losses = report.training["losses"]["keras"]
    assert np.isfinite(losses).all()
    assert losses[0] != losses[1]


@pytest.mark.parametrize("name", ["functional with branches", "layers used twice", "dense after Flatten"])
def test_gradients_alone_are_equal_without_matching_any_rule(name: str) -> None:
    report = parity.compare(
        *transferred(name, 0.99), CASES[name].inputs(), mapping=CASES[name].mapping or None, gradients=True
    )
    assert report.verdict == "EQUAL", str(report)


@pytest.mark.slow
def test_munet_trains_the_same_with_no_rule_matched() -> None:
    """Its normalisation has one rule in both halves."""
    from tf_impl.munet import mUnet as KerasNet
    from torch_impl.munet import mUnet as TorchNet

    model, module = KerasNet(depth=4), TorchNet(depth=4)
    randomise(adapt(module), 3)
    parity.transfer(module, model)
    values = np.random.default_rng(0).standard_normal((2, 16, 24, 3)).astype(np.float32)
    report = parity.compare(model, module, values, gradients=True, train_steps=3)
    assert report.verdict == "EQUAL", str(report)
    assert not report.findings
    assert report.training["training"] < 1e-11


BACKENDS = """
import torch
import parity
from tests.parity.test_training_catalogue import transferred
from tests.zoo import CASES

(model, module), values = transferred("layers used twice"), CASES["layers used twice"].inputs()
report = parity.compare(model, module, values, gradients=True, train_steps=1, match_rules=True)
assert report.verdict == "EQUAL", str(report)
assert report.training["gradients_training"] < 1e-11
assert any("running-variance" in note for note in report.notes)
plain = type(module.norm).forward
module.norm.forward = lambda x: plain(module.norm, x).detach()
report = parity.compare(model, module, values, gradients=True)
assert report.verdict == "DIVERGED", str(report)
assert {(f.kind, f.torch) for f in report.findings} == {("gradient", "norm")}, str(report)
"""


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_on_other_backends(backend: str) -> None:
    if backend == "jax":
        needs("jax")
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", BACKENDS],
        env={**os.environ, "KERAS_BACKEND": backend},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]


def test_from_the_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    command = ["check", "Conv2d", "--gradients", "--train-steps", "2", "--transfer", "torch-to-keras"]
    assert main(command) == 0, capsys.readouterr().out
    assert main([*command, "--optimizer", "adam", "--lr", "0.01"]) == 1
    assert "adam-epsilon" in capsys.readouterr().out
    assert main([*command, "--optimizer", "adam", "--lr", "0.01", "--match-rules"]) == 0


def test_a_bias_in_front_of_a_normalisation_is_no_false_alarm(capsys: pytest.CaptureFixture[str]) -> None:
    """Its gradient is rounding alone, of another size in either framework, of which Adam would make steps."""
    command = ["check", "SkipBlockDN", "--gradients", "--train-steps", "2", "--optimizer", "adamw"]
    assert main([*command, "--match-rules", "--transfer", "torch-to-keras"]) == 0, capsys.readouterr().out
