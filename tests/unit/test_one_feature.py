"""Attention on a series of one feature: its kernels have one row, and are dense all the same."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import torch
from keras import layers as L
from torch import nn

import parity
from parity.adapters.torch.training.softmax import written_out
from parity.adapters.torch.training.watch import _shaken

VALUES = np.random.default_rng(0).standard_normal((3, 11, 1)).astype(np.float32)


class Attention(nn.Module):
    def __init__(self, heads: int = 3, width: int = 4) -> None:
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value = (nn.Linear(1, heads * width) for _ in range(3))
        self.output = nn.Linear(heads * width, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        q, k, v = (
            layer(x).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for layer in (self.query, self.key, self.value)
        )
        weights = (q @ k.transpose(-2, -1) / q.shape[-1] ** 0.5).softmax(-1)
        return self.output((weights @ v).transpose(1, 2).flatten(2))


# With these weights the softmax is saturated on the further batch: what its backward pass rounds is all that is left.
SATURATED = (1, 3, 9, 21)


@pytest.mark.parametrize("seed", SATURATED)
@pytest.mark.parametrize("name", ["attention", "looked_at"])
@pytest.mark.parametrize("way", ["keras", "torch"])
def test_its_weights_are_paired_and_copied(name: str, way: str, seed: int) -> None:
    keras.utils.set_random_seed(seed)
    series = keras.Input((None, 1))
    model = keras.Model(
        series, L.Dense(5, name="last")(L.MultiHeadAttention(3, 4, name="attention")(series, series))
    )
    module = nn.Sequential()
    module.add_module(name, Attention())
    module.add_module("last", nn.Linear(1, 5))
    source, target = (model, module) if way == "keras" else (module, model)
    parity.transfer(source, target, inputs=VALUES)
    report = parity.compare(model, module, VALUES, gradients=True)
    assert report.verdict == "EQUAL", report


@pytest.mark.parametrize("name", ["softmax", "log_softmax", "scaled_dot_product_attention"])
def test_a_softmax_in_steps_is_the_same(name: str) -> None:
    """Its result and its gradient where nothing is moved; and a gradient that moves where one element takes all."""
    torch.manual_seed(0)
    given = [torch.randn(2, 3, 5, 4, dtype=torch.float64, requires_grad=True) for _ in range(3)]
    mask = torch.rand(5, 5) > 0.3
    mask[:, 0] = True
    args = given if name == "scaled_dot_product_attention" else [given[0], 1]
    kwargs = {"attn_mask": mask} if len(args) == 3 else {}
    plain, steps = (
        getattr(torch.nn.functional, name)(*args, **kwargs),
        written_out(name, args, kwargs, lambda x: x),
    )
    assert steps is not None
    torch.testing.assert_close(steps, plain, rtol=1e-13, atol=1e-15)
    weights = torch.randn_like(plain)
    wanted, found = (torch.autograd.grad((y * weights).sum(), args[0])[0] for y in (plain, steps))
    torch.testing.assert_close(found, wanted, rtol=1e-11, atol=1e-14)
    single = [value.float() if isinstance(value, torch.Tensor) else value for value in args]
    assert written_out(name, single, kwargs, lambda x: x) is None


def test_the_rounding_of_a_saturated_softmax_shows_in_steps_alone() -> None:
    logits = torch.tensor([[800.0, 0.0, 0.0]], dtype=torch.float64, requires_grad=True)
    rng = np.random.default_rng(0)

    def gradient(result: torch.Tensor) -> float:
        return float(torch.autograd.grad((1e9 * result[:, 0]).sum(), logits)[0].abs().max())

    def in_steps() -> torch.Tensor:
        steps = written_out("softmax", [logits, -1], {}, lambda value: _shaken(rng, value))
        assert steps is not None
        return steps

    assert max(gradient(_shaken(rng, logits.softmax(-1))) for _ in range(8)) == 0.0
    assert 1e-8 < max(gradient(in_steps()) for _ in range(8)) < 1e-5  # one roundoff of 1e9 is 1e-7
