"""Attention with learned places: fused on one side, apart on the other; and whole numbers that constants make."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("keras")
pytest.importorskip("torch")

import keras
import torch
from torch import nn

import parity

LENGTH, HEADS, SIZE = 5, 2, 4
WIDTH = HEADS * SIZE
PLACES = np.arange(LENGTH)[:, None] - np.arange(LENGTH)[None] + LENGTH - 1
TOKENS = np.random.default_rng(0).uniform(-1, 1, (3, LENGTH, WIDTH)).astype(np.float32)


class Fused(keras.layers.Layer):  # type: ignore[misc,name-defined]
    """Query, key and value in one layer, and a table of its own."""

    def build(self, shape: Any) -> None:
        self.qkv = keras.layers.Dense(3 * WIDTH, name="qkv")
        self.qkv.build(shape)
        self.proj = keras.layers.Dense(WIDTH, name="proj")
        self.proj.build(shape)
        self.table = self.add_weight(shape=(2 * LENGTH - 1, HEADS), initializer="random_normal", name="table")

    def call(self, x: Any) -> Any:
        ops = keras.ops
        parts = ops.transpose(ops.reshape(self.qkv(x), (-1, LENGTH, 3, HEADS, SIZE)), (2, 0, 3, 1, 4))
        query, key, value = ops.unstack(parts, 3, axis=0)
        scores = ops.matmul(query * SIZE**-0.5, ops.transpose(key, (0, 1, 3, 2)))
        scores = scores + ops.transpose(ops.take(self.table, PLACES, axis=0), (2, 0, 1))
        mixed = ops.matmul(ops.softmax(scores), value)
        return self.proj(ops.reshape(ops.transpose(mixed, (0, 2, 1, 3)), (-1, LENGTH, WIDTH)))


class Relative(nn.Module):
    """The places as a module, which counts in floating point."""

    def __init__(self) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(2 * LENGTH - 1, HEADS))

    def forward(self) -> Any:
        at = torch.arange(LENGTH).double()
        places = at[:, None] - at[None] + (LENGTH - 1.0)
        return self.bias[places.long()].permute(2, 0, 1)


class Apart(nn.Module):
    def __init__(self, swapped: bool = False) -> None:
        super().__init__()
        self.a, self.b, self.c, self.d = (nn.Linear(WIDTH, WIDTH) for _ in range(4))
        self.relative = Relative()
        self.swapped = swapped

    def forward(self, x: Any) -> Any:
        heads = [layer(x).view(-1, LENGTH, HEADS, SIZE).transpose(1, 2) for layer in (self.a, self.b, self.c)]
        bias = self.relative()
        bias = bias.transpose(1, 2) if self.swapped else bias
        mixed = nn.functional.scaled_dot_product_attention(*heads, attn_mask=bias[None])
        return self.d(mixed.transpose(1, 2).flatten(2))


class Net(nn.Module):
    def __init__(self, swapped: bool = False) -> None:
        super().__init__()
        self.first, self.second = Apart(), Apart(swapped)
        self.ln = nn.LayerNorm(WIDTH)

    def forward(self, x: Any) -> Any:
        return self.ln(x + self.second(x + self.first(x)))


def pair(swapped: bool = False) -> tuple[Any, Any]:
    x = keras.Input((LENGTH, WIDTH))
    y = x + Fused(name="one")(x)
    y = x + Fused(name="two")(y)
    model = keras.Model(x, keras.layers.LayerNormalization(epsilon=1e-5)(y))
    module = Net(swapped).eval()
    rng = np.random.default_rng(1)
    model.set_weights([rng.uniform(-1, 1, w.shape) for w in model.get_weights()])
    with torch.no_grad():
        for weight in module.parameters():
            weight.uniform_(-1, 1)
    return model, module


@pytest.mark.parametrize("to_torch", [False, True])
def test_a_fused_layer_is_three_although_a_table_is_added_to_its_scores(to_torch: bool) -> None:
    model, module = pair()
    source, target = (model, module) if to_torch else (module, model)
    result = parity.transfer(source, target, inputs=TOKENS)
    assert result.copied == 2 * 9 + 2
    report = parity.compare(model, module, TOKENS)
    assert report, str(report)


def test_a_fault_in_the_table_is_found() -> None:
    model, module = pair(swapped=True)
    parity.transfer(module, model, inputs=TOKENS)
    assert parity.compare(model, module, TOKENS).verdict == "DIVERGED"
    model, module = pair()
    parity.transfer(module, model, inputs=TOKENS)
    with torch.no_grad():
        module.second.relative.bias[3] += 0.1
    report = parity.compare(model, module, TOKENS)
    assert report.verdict == "DIVERGED"
    assert {finding.torch for finding in report.findings} & {
        "second.relative",
        "second.relative.bias",
        "second.d",
    }


def test_places_that_constants_make_are_exact_and_what_data_make_is_not() -> None:
    from parity.adapters import adapt
    from parity.replay.spread import spreads

    class Places(nn.Module):
        def __init__(self, of_data: bool) -> None:
            super().__init__()
            self.of_data = of_data
            self.table = torch.randn(7).double()

        def forward(self, x: Any) -> Any:
            at = (x[:, :3] > 0).double() * 2.0 if self.of_data else torch.arange(3.0).double() * 2.0
            at = (at + 1.0) * 1.0
            return x[:, :3] * self.table[at.long()]

    x = np.random.default_rng(0).uniform(0.5, 1.0, (4, 3))
    for of_data in (False, True):
        side = adapt(Places(of_data))
        with side.precision("float64"):
            moved = list(spreads(side, [x]))[-1][0].max()
        assert (moved < 1e-14) != of_data, moved
