"""How many terms a step adds up, read from real traces of both frameworks, and how far that moves its result."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import torch
from keras import layers as L
from keras import ops
from torch import nn
from torch.nn import functional as F

from parity.adapters import adapt
from parity.core.trace import Node, NodeObserver, Values
from parity.replay.accumulation import KINDS, PIECE, moved, plain_kind, roundoffs, share_alike, steps, terms

N, H, W, C = 2, 6, 10, 8
IMAGE = np.random.default_rng(0).standard_normal((N, H, W, C))


class Terms(NodeObserver):
    """Counts the terms of every step that adds up."""

    def __init__(self) -> None:
        self.found: list[int] = []
        self._taken: list[tuple[int, ...]] = []

    def before(self, node: Node, inputs: Values) -> None:
        self._taken = inputs.shapes()

    def after(self, node: Node, outputs: Values) -> None:
        if plain_kind(node) in KINDS:
            self.found.append(terms(node, self._taken, node.shapes[0]))


def in_keras(step: Any) -> list[int]:
    inputs = keras.Input((H, W, C), dtype="float64")
    seen = Terms()
    adapt(keras.Model(inputs, step(inputs))).trace([IMAGE], seen)
    return seen.found


class Module(nn.Module):
    def __init__(self, step: Any) -> None:
        super().__init__()
        self.step = step

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.step(x)


def in_torch(step: Any) -> list[int]:
    seen = Terms()
    adapt(Module(step).double().eval()).trace([IMAGE.transpose(0, 3, 1, 2)], seen)
    return seen.found


STEPS: dict[str, tuple[Any, Any, int]] = {
    "mean": (lambda x: ops.mean(x, (1, 2)), lambda x: x.mean((2, 3)), H * W),
    "sum of a row": (lambda x: ops.sum(x, 2), lambda x: x.sum(3), W),
    "variance": (lambda x: ops.var(x, (1, 2)), lambda x: x.var((2, 3)), H * W),
    "pooling": (L.GlobalAveragePooling2D(), nn.AdaptiveAvgPool2d(1), H * W),
    "average pooling": (L.AveragePooling2D(2), nn.AvgPool2d(2), 4),
    "groups": (L.GroupNormalization(2), nn.GroupNorm(2, C), H * W * C // 2),
    "groups by function": (L.GroupNormalization(4), lambda x: F.group_norm(x, 4), H * W * C // 4),
    "instances": (L.GroupNormalization(-1), nn.InstanceNorm2d(C), H * W),
    "layer": (L.LayerNormalization(), lambda x: F.layer_norm(x.permute(0, 2, 3, 1), (C,)), C),
    "softmax": (lambda x: ops.softmax(x, 1), lambda x: torch.softmax(x, 2), H),
    "channels": (
        lambda x: ops.einsum("nhwc,nhwd->ncd", x, x),
        lambda x: torch.einsum("nchw,ndhw->ncd", x, x),
        round((N * (H * W) ** 2) ** 0.5),
    ),
    "products of matrices": (
        lambda x: ops.matmul(ops.transpose(x, (0, 3, 1, 2)), ops.transpose(x, (0, 3, 2, 1))),
        lambda x: x @ x.transpose(2, 3),
        W,
    ),
    "attention": (
        lambda x: ops.dot_product_attention(x, x, x),
        lambda x: F.scaled_dot_product_attention(*[x.permute(0, 3, 2, 1)] * 3),
        W,
    ),
    "convolution": (L.Conv2D(4, (5, 9)), nn.Conv2d(C, 4, (5, 9)), 5 * 9 * C // 64),
    "dense": (
        lambda x: L.Dense(3)(L.Flatten()(x)),
        nn.Sequential(nn.Flatten(), nn.Linear(H * W * C, 3)),
        H * W * C // 64,
    ),
}


@pytest.mark.parametrize("name", STEPS)
def test_both_sides_count_the_same_terms(name: str) -> None:
    keras_step, torch_step, count = STEPS[name]
    assert in_keras(keras_step) == in_torch(torch_step) == [count]


def test_a_step_that_adds_up_nothing_has_one_term() -> None:
    assert terms(Node(0, "relu", "relu", "op"), [(2, 6, 10, 8)], (2, 6, 10, 8)) == 1
    assert terms(Node(0, "max", "max", "op"), [(2, 6, 10, 8)], (2, 8)) == 1


def test_equal_terms_drift() -> None:
    flat = np.full((1, 40, 50, 3), 0.3)
    assert share_alike(flat, 2.0**-52) == 1.0
    assert share_alike(np.random.default_rng(0).standard_normal((1, 40, 50, 3)), 2.0**-52) < 0.01
    assert roundoffs(2000, 1.0) > 4 * roundoffs(2000, 0.0) > 0.0
    assert roundoffs(1) == 0.0
    # What is claimed of equal terms is so: one by one they are off by more than a random walk.
    total = np.float32(0)
    for value in np.full(10_000, 0.3, np.float32):
        total += value
    off = abs(float(total) - 10_000 * float(np.float32(0.3))) / (3000.0 * 2.0**-24)
    assert roundoffs(10_000, 0.0) < off < 64 * roundoffs(10_000, 1.0)


def test_movements_are_even_and_their_own_everywhere() -> None:
    """Of mean zero and mean square one, without a period, another for each seed; what they move is not written to."""
    size = 3 * PIECE + 5
    first, again, other = (steps(np.random.default_rng(seed), (size,)) for seed in (0, 0, 1))
    assert np.array_equal(first, again)
    assert abs(first.mean()) < 0.01
    assert abs(np.sqrt(np.mean(first**2)) - 1.0) < 0.01
    assert np.abs(first).max() <= 3.0**0.5
    assert abs(np.corrcoef(first, other)[0, 1]) < 0.01
    for lag in (1, 2, PIECE - 1, PIECE, PIECE + 1):
        assert abs(np.corrcoef(first[lag:], first[:-lag])[0, 1]) < 0.02, lag
    value = np.arange(1.0, size + 1.0)
    kept = value.copy()
    after = moved(np.random.default_rng(0), value, 1e-3)
    assert np.array_equal(value, kept)
    assert np.allclose((after / value - 1.0) * 1e3, first, atol=1e-9)
    assert (
        moved(np.random.default_rng(0), np.zeros((0, 3)), 1.0).shape
        == steps(np.random.default_rng(0), (0, 3)).shape
    )
    assert moved(np.random.default_rng(0), np.asarray(2.0), 1e-3).shape == ()
