"""Paired layers whose tensors have other ranks: heads merged, tokens as a grid, positions held once for all examples."""

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
from parity.adapters import adapt
from parity.adapters.probe import randomise
from parity.replay.tensors import compare, same_groups


class Positions(L.Layer):
    """Adds a table to data whose length says how many rows."""

    def build(self, shape: Any) -> None:
        self.table = self.add_weight(shape=(16, shape[-1]), name="table", initializer="random_normal")

    def call(self, x: Any) -> Any:
        rows = ops.slice(self.table, (0, 0), (ops.shape(x)[1], self.table.shape[1]))
        return ops.broadcast_to(rows, ops.shape(x))


def keras_model(epsilon: float = 1e-5) -> Any:
    tokens = keras.Input((7,), dtype="int32")
    x = L.Embedding(11, 12, name="words")(tokens)
    x = L.Add()([x, Positions(name="positions")(x)])
    x = L.EinsumDense("abc,cde->abde", (None, 3, 4), bias_axes="de", name="heads")(x)
    x = ops.tanh(x)
    x = L.EinsumDense("abde,dec->abc", (None, 12), bias_axes="c", name="together")(x)
    return keras.Model(tokens, L.LayerNormalization(epsilon=epsilon, name="norm")(x))


class Torch(nn.Module):
    def __init__(self, first: int = 0) -> None:
        super().__init__()
        self.words, self.positions = nn.Embedding(11, 12), nn.Embedding(16, 12)
        self.heads, self.together, self.norm = nn.Linear(12, 12), nn.Linear(12, 12), nn.LayerNorm(12)
        self.first = first

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        numbers = torch.arange(tokens.shape[1])[None] + self.first
        x = self.words(tokens) + self.positions(numbers)
        return self.norm(self.together(torch.tanh(self.heads(x))))


TOKENS = np.random.default_rng(0).integers(0, 11, (2, 7)).astype(np.int32)


def compared(model: Any, module: nn.Module, way: str = "torch") -> parity.Report:
    source, target = (module, model) if way == "torch" else (model, module)
    randomise(adapt(source), 0)
    parity.transfer(source, target, inputs=TOKENS)
    return parity.compare(model, module, TOKENS)


@pytest.mark.parametrize("way", ["torch", "keras"])
def test_equal_models_are_equal(way: str) -> None:
    report = compared(keras_model(), Torch(), way)
    assert report, report.findings


@pytest.mark.parametrize("way", ["torch", "keras"])
def test_one_fault_is_one_finding_whatever_the_ranks(way: str) -> None:
    report = compared(keras_model(epsilon=1e-3), Torch(), way)
    assert [(finding.keras, finding.cause) for finding in report.findings] == [("norm", "layernorm-epsilon")]


def test_positions_counted_from_another_number_differ_at_their_table() -> None:
    report = compared(keras_model(), Torch(first=2))
    assert report.verdict == "DIVERGED"
    assert {finding.keras for finding in report.findings} == {"positions"}


def test_what_ranks_may_stand_for_one_another() -> None:
    assert same_groups((2, 7, 3, 4), (2, 7, 12))
    assert same_groups((2, 28, 5), (2, 4, 7, 5))
    assert not same_groups((2, 7, 12), (14, 12)), "the examples stay apart"
    assert not same_groups((2, 7, 12), (2, 12, 7))
    grid = np.arange(120.0).reshape(2, 3, 4, 5)
    tokens = grid.reshape(2, 12, 5)
    found = compare([grid], [tokens], one_pixel=True)
    assert not found.differs
    assert found.replacement is not None
    assert found.replacement[0].shape == tokens.shape
    image = np.moveaxis(grid, -1, 1)
    found = compare([tokens], [image], one_pixel=True)
    assert not found.differs
    assert found.replacement is not None
    np.testing.assert_array_equal(found.replacement[0], image)
    assert compare([grid], [tokens + 1e-3], one_pixel=True).differs
    assert compare([grid], [tokens]).misshapen, "outputs of other shapes are a difference"
    once = np.broadcast_to(grid[:1], grid.shape)
    assert not compare([once], [grid[:1]], one_pixel=True).differs
    assert compare([grid], [grid[:1]], one_pixel=True).misshapen
