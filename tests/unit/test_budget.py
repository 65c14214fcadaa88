"""The search for causes has a budget in work, which is said, kept, and changes no verdict."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import torch
from keras import layers as L
from torch import nn

import parity
from parity.causes import explain
from parity.causes.steps.budget import Budget, BudgetSpent, spend


def test_what_a_place_leaves_is_there_for_the_next() -> None:
    """Two places share ten units: the first takes two, so the second may take eight."""
    budget = Budget(10)
    with budget.shared(2):
        assert budget.share == 5
        spend(0, 2)
    with budget.shared(1):
        assert budget.share == 8
        spend(7_000)
        with pytest.raises(BudgetSpent):
            spend(0)
    assert budget.left == 0
    spend(10**9)  # no search is going on


def pair() -> tuple[Any, Any]:
    """Three tanh-approximated GELUs in torch where Keras has the exact one, with dense layers around each."""
    x = image = keras.Input((6,))
    for _ in range(3):
        x = keras.activations.gelu(L.Dense(6)(x), approximate=False)
    module = nn.Sequential(*[part for _ in range(3) for part in (nn.Linear(6, 6), nn.GELU("tanh"))])
    return keras.Model(image, L.Dense(2)(x)), nn.Sequential(*module, nn.Linear(6, 2))


def test_a_spent_budget_is_said_and_changes_no_verdict(monkeypatch: pytest.MonkeyPatch) -> None:
    """With work enough the causes are named; without, the same places are found, and each says what is missing."""
    torch.manual_seed(0)
    model, module = pair()
    inputs = np.random.default_rng(0).standard_normal((4, 6)).astype(np.float32)
    parity.transfer(model, module, inputs=inputs)
    whole = parity.compare(model, module, inputs)
    monkeypatch.setattr(explain, "WORK", 6)
    poor, again = (parity.compare(model, module, inputs) for _ in range(2))
    assert whole.verdict == poor.verdict == "DIVERGED"
    assert {item.cause for item in whole.findings} == {"gelu-approximation"}
    assert {item.cause for item in poor.findings} == {None}
    for item in poor.findings:
        assert "; its cause was not looked for: the " in item.evidence, item.evidence
    assert len(poor.findings) == len(whole.findings)
    assert [item.evidence for item in poor.findings] == [item.evidence for item in again.findings]
