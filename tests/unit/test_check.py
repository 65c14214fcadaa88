"""`parity check` of one pair: what a round trip may change, and what it may not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import parity.check
from parity.check import check_pair

PAIR = """
import keras
from torch import nn

def model(bias):
    conv = keras.layers.Conv2D(4, (3, 2), use_bias=bias, name="conv")
    norm = keras.layers.BatchNormalization(epsilon=1e-5, name="norm")
    return keras.Sequential([keras.Input((None, None, 3)), conv, norm])

def module(bias):
    return nn.Sequential(nn.Conv2d(3, 4, (3, 2), bias=bias), nn.BatchNorm2d(4))
"""
PICTURES = {"random": np.random.default_rng(0).standard_normal((2, 9, 12, 3)).astype(np.float32)}


@pytest.fixture
def specs(keras_torch: None, tmp_path: Path) -> Any:
    """The pair's two strings, for a convolution with a bias on either side or on both."""
    path = tmp_path / "folded_pair.py"
    path.write_text(PAIR)
    return lambda keras, torch: (f"{path}:model({keras})", f"{path}:module({torch})")


@pytest.mark.parametrize(("keras", "torch"), [(False, True), (True, False), (True, True)])
def test_a_bias_that_becomes_a_running_mean_is_equal(specs: Any, keras: bool, torch: bool) -> None:
    """A bias in front of BatchNorm is held in the running mean by the side that has none: the same function."""
    result = check_pair("pair", *specs(keras, torch), PICTURES)
    assert result.verdict == "EQUAL", result.findings
    assert not result.findings
    assert len(result.reports) == 2


def test_a_second_copy_of_the_same_weights_must_be_the_first(
    specs: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The form may change on the way back; what is made of it again may not."""
    plain, calls = parity.check.transfer, [0]

    def third_is_wrong(source: Any, target: Any, *rest: Any, **more: Any) -> Any:
        done = plain(source, target, *rest, **more)
        calls[0] += 1
        if calls[0] == 3:
            target.weights[0].assign(target.weights[0] + 1)
        return done

    monkeypatch.setattr(parity.check, "transfer", third_is_wrong)
    result = check_pair("pair", *specs(False, True), PICTURES, directions=("torch-to-keras",))
    assert calls == [3]
    assert result.verdict != "EQUAL"
    places = {finding.torch for finding in result.findings if "round trip" in finding.evidence}
    assert places == {"0.bias", "1.running_mean"}
