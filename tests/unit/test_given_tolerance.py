"""A tolerance of the user's: for rounding in a dtype alone, never for the structure, and shown with the verdict."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import torch
from torch import nn

import parity
from parity.check import check_pair
from parity.core.errors import UsageError
from parity.report.rests import tolerated

INPUT = np.random.default_rng(0).standard_normal((4, 6)).astype(np.float32)


def model() -> keras.Model:
    return keras.Sequential([keras.Input((6,)), keras.layers.Dense(5, name="a")])


class Coarse(nn.Module):
    """In float32 it multiplies with bfloat16's digits, as TF32 does with its own."""

    def __init__(self, factor: float = 1.0) -> None:
        super().__init__()
        self.a, self.factor = nn.Linear(6, 5), factor

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if x.dtype is torch.float32:
            x = x.bfloat16().float()
        return self.a(x) * self.factor


def compared(factor: float = 1.0, **more: Any) -> parity.Report:
    keras_model, module = model(), Coarse(factor)
    parity.transfer(module, keras_model)
    return parity.compare(keras_model, module, INPUT, quick=True, **more)


def test_rounding_that_is_not_explained_is_allowed_and_said() -> None:
    assert compared(dtype="float32").verdict == "DIVERGED"
    assert compared(dtype="float32", tolerance=1e-5).verdict == "DIVERGED"
    report = compared(dtype="float32", tolerance=0.02)
    assert report.verdict == "EQUAL"
    (line,) = tolerated(report)
    assert line.startswith("tolerance 0.02 for float32: the torch side needs it, being 0.00")
    assert line in str(report)
    assert report.to_dict()["precision"]["tolerance"] == 0.02


def test_one_that_was_not_needed_is_said_too() -> None:
    keras_model, module = model(), nn.Sequential(nn.Linear(6, 5))
    parity.transfer(module, keras_model, mapping={"a": "0"})
    report = parity.compare(
        keras_model, module, INPUT, dtype="float32", tolerance=0.02, mapping={"a": "0"}, quick=True
    )
    assert report.verdict == "EQUAL"
    assert tolerated(report) == [
        "tolerance 0.02 for float32: rounding alone explains both sides, so nothing rests on it"
    ]


def test_the_structure_has_none() -> None:
    assert compared(1 + 1e-9, dtype="float32", tolerance=0.5).verdict == "DIVERGED"
    for tolerance, dtype in (
        (0.1, "float64"),
        (0, "float32"),
        (1.0, "float32"),
        ("1e-3", "float32"),
        (True, "float32"),
    ):
        with pytest.raises(UsageError, match="tolerance"):
            compared(dtype=dtype, tolerance=tolerance)


def test_the_check_of_a_pair_hands_it_on(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    name = __name__
    monkeypatch.setitem(__import__("sys").modules, "coarse_pair", __import__("sys").modules[name])
    result = check_pair(
        "p", "coarse_pair:model", "coarse_pair:Coarse", {"x": INPUT}, tolerance=0.02, quick=True
    )
    assert result.verdict == "EQUAL"
    assert "the torch side needs it" in tolerated(result)[0]


def test_a_pairing_that_is_tried_anew_keeps_the_tolerance(monkeypatch: pytest.MonkeyPatch) -> None:
    from parity.verdict import compare as module

    asked: list[object] = []
    plain = module.PairComparison

    def made(*arguments: object) -> object:
        asked.append(arguments[6])
        return plain(*arguments)

    monkeypatch.setattr(module, "PairComparison", made)
    monkeypatch.setattr(module, "by_roles", lambda named, *more: named)
    i = keras.Input((4,))
    model, other = keras.Model(i, keras.layers.Dense(2)(i)), torch.nn.Sequential(torch.nn.Linear(4, 2))
    parity.compare(model, other, np.ones((3, 4), "float32"), dtype="float32", tolerance=0.5)
    assert asked == [0.5, 0.5]
