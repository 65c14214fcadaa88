"""Ports of what forward bodies draw at random in training: switched off on both sides, and compared by rate and kind."""

from __future__ import annotations

import types
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

import parity
from parity.porting.to_keras.write import write


def stochastic_depth(x: torch.Tensor, p: float, training: bool) -> torch.Tensor:
    if p == 0.0 or not training:
        return x
    noise = x.new_empty((x.shape[0],) + (1,) * (x.ndim - 1)).bernoulli_(1.0 - p)
    return x * noise.div_(1.0 - p)


class Net(nn.Module):
    def __init__(self, p: float = 0.3) -> None:
        super().__init__()
        self.p = p
        self.conv = nn.Conv2d(3, 4, 1)
        self.head = nn.Linear(4, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.conv(x)
        x = x + stochastic_depth(torch.relu(x), self.p, self.training)
        x = F.dropout2d(x, 0.4, training=self.training).mean((2, 3))
        return self.head(F.dropout(x, p=0.25, training=self.training))


X = np.random.default_rng(0).standard_normal((2, 5, 6, 3)).astype("float32")


def ported(text_of: Any = lambda text: text) -> tuple[Any, Any]:
    """(the Keras port, the torch module), with the same weights."""
    torch.manual_seed(0)
    source = Net().eval()
    port = write(Net, torch.from_numpy(X.transpose(0, 3, 1, 2).copy()))
    assert not port.unwritten
    room = types.ModuleType("port")
    exec(text_of(port.text), vars(room))
    model = room.build()
    model(X)
    parity.transfer(source, model, inputs=X)
    return model, source


def trained(model: Any, source: Any) -> Any:
    return parity.compare(model, source, X, quick=True, gradients=True)


def test_functions_of_chance_train_alike() -> None:
    report = trained(*ported())
    assert str(report.verdict) == "EQUAL", str(report)


@pytest.mark.parametrize(
    ("right", "wrong"), [("random_dropout(x, 0.25", "random_dropout(x, 0.5"), ("1.0 - p", "1.0 - p / 2")]
)
def test_another_rate_is_found(right: str, wrong: str) -> None:
    def changed(text: str) -> str:
        assert right in text, text
        return text.replace(right, wrong)

    report = trained(*ported(changed))
    assert "dropout-rate" in {finding.cause for finding in report.findings}, str(report)


def test_examples_are_dropped_whole() -> None:
    model, _ = ported()
    y = np.asarray(model(np.repeat(X[:1], 64, axis=0), training=True))
    assert len(np.unique(y.round(5), axis=0)) > 4
