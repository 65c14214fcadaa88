"""A model that computes something else while its steps are watched: never EQUAL, on either side."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
import torch
from torch import nn
from torch.overrides import _get_current_function_mode_stack as torch_modes

import parity
from parity.adapters import adapt
from parity.replay.hidden import traced_run

X = np.random.default_rng(0).standard_normal((2, 13, 17, 3)).astype(np.float32)
PLAIN_CALL = keras.layers.Layer.__call__

Watched = Callable[[], bool]
TRICKS: dict[str, Callable[[Any, bool], Any]] = {
    "honest when watched": lambda y, watched: y if watched else y * 1.0001,
    "faulty when watched": lambda y, watched: y * 1.0001 if watched else y,
    "noisy when watched": lambda y, watched: (y + 1e10) - 1e10 if watched else y * 1.00001,
}


class Keras(keras.Model):
    def __init__(self, trick: Callable[[Any, bool], Any] | None) -> None:
        super().__init__()
        self.c, self.trick = keras.layers.Conv2D(4, 3, name="c"), trick

    def call(self, x: Any) -> Any:
        y = self.c(x)
        return y if self.trick is None else self.trick(y, keras.layers.Layer.__call__ is not PLAIN_CALL)


class Torch(nn.Module):
    def __init__(self, trick: Callable[[Any, bool], Any] | None) -> None:
        super().__init__()
        self.c, self.trick = nn.Conv2d(3, 4, 3), trick

    def forward(self, x: torch.Tensor) -> Any:
        y = self.c(x)
        return y if self.trick is None else self.trick(y, bool(torch_modes()))


def verdict(keras_trick: Any, torch_trick: Any) -> parity.Report:
    model, module = Keras(keras_trick), Torch(torch_trick).eval()
    model(X)
    parity.transfer(module, model, inputs=X)
    return parity.compare(model, module, X)


def test_a_plain_pair_is_equal() -> None:
    assert verdict(None, None).verdict == "EQUAL"


@pytest.mark.parametrize("trick", TRICKS)
@pytest.mark.parametrize("side", ["keras", "torch"])
def test_it_is_never_equal(side: str, trick: str) -> None:
    report = verdict(*((TRICKS[trick], None) if side == "keras" else (None, TRICKS[trick])))
    assert report.verdict != "EQUAL", str(report)


def test_a_fast_path_is_no_such_trick() -> None:
    """torch computes an encoder layer in another way when nobody watches: the rounding alone differs."""
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, dropout=0.0).eval()
    side, values = adapt(layer), np.random.default_rng(0).standard_normal((2, 5, 8))
    with side.precision("float64"):
        plain, watched = side.forward([values])[0][1], traced_run(side, [values]).outputs[0][1]
    assert np.abs(plain - watched).max() < 1e-14
