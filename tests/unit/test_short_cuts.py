"""torch's own short cut through attention is no model that looks at who calls it; such a model is found all the same."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import torch
from keras import layers as L
from torch import nn

import parity
from parity.adapters import adapt
from parity.adapters.probe import randomise

WIDTH = 128


class Block(nn.Module):
    """Attention and two dense layers, each behind a normalisation."""

    def __init__(self) -> None:
        super().__init__()
        self.before, self.between = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.attention = nn.MultiheadAttention(WIDTH, 4, batch_first=True)
        self.wide, self.narrow = nn.Linear(WIDTH, 4 * WIDTH), nn.Linear(4 * WIDTH, WIDTH)

    def forward(self, x: Any) -> Any:
        y = self.before(x)
        x = x + self.attention(y, y, y, need_weights=False)[0]
        return x + self.narrow(nn.functional.gelu(self.wide(self.between(x))))


def pair() -> tuple[Any, Any, Any]:
    """Four such blocks on both sides, with the same weights."""
    x = tokens = keras.Input((None, WIDTH))
    for _ in range(4):
        y = L.LayerNormalization(epsilon=1e-5)(x)
        x = x + L.MultiHeadAttention(4, WIDTH // 4)(y, y)
        y = L.LayerNormalization(epsilon=1e-5)(x)
        x = x + L.Dense(WIDTH)(L.Dense(4 * WIDTH, activation="gelu")(y))
    model, module = keras.Model(tokens, x), nn.Sequential(*(Block() for _ in range(4))).eval()
    randomise(adapt(module), 1)
    parity.transfer(module, model)
    return model, module, np.random.default_rng(0).standard_normal((4, 64, WIDTH)).astype(np.float32)


def test_equal_transformers_are_equal() -> None:
    model, module, sample = pair()
    before = torch.backends.mha.get_fastpath_enabled()
    report = parity.compare(model, module, sample)
    assert report.verdict == "EQUAL", str(report)
    assert torch.backends.mha.get_fastpath_enabled() == before


def test_a_model_that_gives_something_else_when_watched_is_found() -> None:
    """It adds something unless torch functions are overridden, as they are in a traced pass."""
    model, module, sample = pair()
    last = module[3]
    plain = last.forward

    def forward(x: Any) -> Any:
        watched = bool(torch.overrides._get_current_function_mode_stack())
        return plain(x) + (1e-6 if watched else 0.0)

    last.forward = forward
    report = parity.compare(model, module, sample)
    assert report.verdict != "EQUAL", str(report)
