"""A mean over tokens that counts the padding on one side alone is named so, and by no function that is constant."""

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
from parity.adapters.torch.edits.functions import further, in_place_of

STEPS, WIDTH = 7, 6


class Pooled(nn.Module):
    """The mean of a dense layer's tokens, of those alone that the mask keeps."""

    def __init__(self, least: float) -> None:
        super().__init__()
        self.dense, self.head = nn.Linear(WIDTH, 8), nn.Linear(8, 3)
        self.least = least

    def forward(self, x: Any, mask: Any) -> Any:
        kept = mask[..., None].to(x.dtype)
        return self.head((self.dense(x).tanh() * kept).sum(1) / kept.sum(1).clamp(min=self.least))


def keras_pooled(masked: bool) -> keras.Model:
    x, mask = keras.Input((STEPS, WIDTH), name="x"), keras.Input((STEPS,), dtype="bool", name="mask")
    tokens = ops.tanh(L.Dense(8, name="dense")(x))
    if masked:
        kept = ops.cast(mask, "float32")[..., None]
        pooled = ops.sum(tokens * kept, 1) / ops.maximum(ops.sum(kept, 1), 1.0)
    else:
        pooled = L.GlobalAveragePooling1D()(tokens)
    return keras.Model([x, mask], L.Dense(3, name="head")(pooled))


def compared(masked: bool, least: float = 1.0) -> Any:
    keras.utils.set_random_seed(3)
    rng = np.random.default_rng(3)
    model, module = keras_pooled(masked), Pooled(least).eval()
    parity.transfer(model, module)
    values = [
        rng.standard_normal((2, STEPS, WIDTH)).astype("float32"),
        np.arange(STEPS) < np.array([[4], [6]]),
    ]
    return parity.compare(model, module, values)


@pytest.mark.parametrize("least", [1.0, 1e-9])
def test_a_mean_over_the_padding_is_named(least: float) -> None:
    report = compared(masked=False, least=least)
    assert report.verdict == "DIVERGED"
    assert [finding.cause for finding in report.findings] == ["sequence-mask"], str(report)
    assert report.first is not None
    assert report.first.fix_verified


def test_the_same_mean_is_equal() -> None:
    assert compared(masked=True).verdict == "EQUAL"


def test_nothing_is_tried_that_is_constant() -> None:
    """Over an axis of one value a softmax is 1 and a centred tensor 0, so that they would stand for any mask."""
    x = torch.tensor([0.5, 2.0, -1.0]).reshape(1, 3, 1)
    for edit in (*further(x), *in_place_of("softmax over axis 1", x.shape)):
        assert "axis 2" not in edit.keras, edit
