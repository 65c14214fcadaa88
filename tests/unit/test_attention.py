"""Attention in any form, and layers that one side has in one and the other side apart: transfer, and the proof."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
import torch
from keras import layers as L
from keras import ops
from torch import nn
from torch.nn import functional as F

import parity
from parity.adapters import adapt
from parity.adapters.probe import randomise

SIZE, HEADS, TOKENS = 12, 3, 5


# --- torch ----------------------------------------------------------------------------------------------


def by_heads(x: torch.Tensor, heads: int) -> torch.Tensor:
    return x.unflatten(-1, (heads, -1)).transpose(1, 2)


def attend(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, way: str, shared: int = 1, causal: bool = False
) -> torch.Tensor:
    """Attention of tokens whose features hold the heads; `shared` queries have one key."""
    q, k, v = by_heads(q, HEADS), by_heads(k, HEADS // shared), by_heads(v, HEADS // shared)
    k, v = k.repeat_interleave(shared, 1), v.repeat_interleave(shared, 1)
    if way == "function":
        return F.scaled_dot_product_attention(q, k, v, is_causal=causal).transpose(1, 2).flatten(2)
    scores = q @ k.transpose(-2, -1) if way == "matmul" else torch.einsum("bhtd,bhsd->bhts", q, k)
    scores = scores * q.shape[-1] ** -0.5
    if causal:
        scores = scores.masked_fill(torch.ones(scores.shape[-2:]).triu(1).bool(), float("-inf"))
    shares = torch.softmax(scores, -1)
    mixed = shares @ v if way == "matmul" else torch.einsum("bhts,bhsd->bhtd", shares, v)
    return mixed.transpose(1, 2).flatten(2)


class TorchApart(nn.Module):
    def __init__(self, way: str, bias: bool = True, shared: int = 1, causal: bool = False) -> None:
        super().__init__()
        self.way, self.shared, self.causal = way, shared, causal
        self.q, self.o = nn.Linear(SIZE, SIZE, bias), nn.Linear(SIZE, SIZE, bias)
        self.k, self.v = nn.Linear(SIZE, SIZE // shared, bias), nn.Linear(SIZE, SIZE // shared, bias)

    def forward(self, x: torch.Tensor, context: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.o(
            attend(self.q(x), self.k(context), self.v(context), self.way, self.shared, self.causal)
        )
        return out


class Turned(nn.Module):
    """x @ W + b."""

    def __init__(self, inputs: int, outputs: int, bias: bool) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(inputs, outputs))
        self.bias = nn.Parameter(torch.randn(outputs)) if bias else None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        product = x @ self.weight
        return product if self.bias is None else product + self.bias


class TorchFused(nn.Module):
    """Query, key and value by one layer: one after the other, or head by head."""

    def __init__(self, way: str, bias: bool = True, dense: Any = nn.Linear) -> None:
        super().__init__()
        self.way = way
        self.qkv, self.proj = dense(SIZE, 3 * SIZE, bias), nn.Linear(SIZE, SIZE, bias)

    def parts(self, y: torch.Tensor) -> Any:
        if self.way == "chunk":
            return y.chunk(3, -1)
        if self.way == "slices":
            return y[..., :SIZE], y[..., SIZE : 2 * SIZE], y[..., 2 * SIZE :]
        if self.way == "unbind":
            stacked = y.reshape(*y.shape[:2], 3, HEADS, -1).permute(2, 0, 3, 1, 4)
            return [part.transpose(1, 2).flatten(2) for part in stacked.unbind(0)]
        within = y.view(*y.shape[:2], HEADS, -1).transpose(1, 2).chunk(3, -1)
        return [part.transpose(1, 2).flatten(2) for part in within]

    def forward(self, x: torch.Tensor, context: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.proj(attend(*self.parts(self.qkv(x)), "matmul"))
        return out


class TorchLayer(nn.Module):
    """torch's own layer."""

    def __init__(
        self, bias: bool = True, first: bool = True, sizes: Any = None, causal: bool = False
    ) -> None:
        super().__init__()
        self.first, self.causal = first, causal
        self.m = nn.MultiheadAttention(SIZE, HEADS, bias=bias, batch_first=first, kdim=sizes, vdim=sizes)

    def forward(self, x: torch.Tensor, context: torch.Tensor) -> torch.Tensor:
        if not self.first:
            x, context = x.transpose(0, 1), context.transpose(0, 1)
        mask = torch.ones(TOKENS, TOKENS).triu(1).bool() if self.causal else None
        out: torch.Tensor = self.m(x, context, context, attn_mask=mask)[0]
        return out if self.first else out.transpose(0, 1)


class TorchNet(nn.Module):
    """Two blocks, so that nothing is unique by its sizes."""

    def __init__(self, make: Callable[[], nn.Module], crossing: bool = False) -> None:
        super().__init__()
        self.crossing = crossing
        self.blocks = nn.ModuleList(make() for _ in range(2))
        self.norms = nn.ModuleList(nn.LayerNorm(SIZE, 1e-3) for _ in range(2))
        self.head = nn.Linear(SIZE, SIZE)

    def forward(self, x: torch.Tensor, context: torch.Tensor | None = None) -> torch.Tensor:
        for block, norm in zip(self.blocks, self.norms, strict=True):
            y = norm(x)
            x = x + block(y, y if context is None else context)
        out: torch.Tensor = self.head(x)
        return out


# --- Keras --------------------------------------------------------------------------------------------


def attend_in_keras(q: Any, k: Any, v: Any, way: str, shared: int = 1, causal: bool = False) -> Any:
    def heads(x: Any, count: int) -> Any:
        return ops.reshape(x, (-1, x.shape[1], count, x.shape[-1] // count))

    q, k, v = heads(q, HEADS), heads(k, HEADS // shared), heads(v, HEADS // shared)
    k, v = ops.repeat(k, shared, 2), ops.repeat(v, shared, 2)
    if way == "function":
        mixed = ops.dot_product_attention(q, k, v, is_causal=causal)
    else:
        scores = ops.einsum("bthd,bshd->bhts", q, k) * (q.shape[-1] ** -0.5)
        if causal:
            future = np.triu(np.ones((q.shape[1], k.shape[1])), 1)
            scores = scores + ops.cast(-1e9 * future, scores.dtype)
        mixed = ops.einsum("bhts,bshd->bthd", ops.softmax(scores), v)
    return ops.reshape(mixed, (-1, q.shape[1], SIZE))


class KerasApart(L.Layer):
    def __init__(self, way: str, bias: bool = True, shared: int = 1, causal: bool = False) -> None:
        super().__init__()
        self.way, self.shared, self.causal = way, shared, causal
        self.q, self.k, self.v, self.o = (
            L.Dense(units, use_bias=bias) for units in (SIZE, SIZE // shared, SIZE // shared, SIZE)
        )

    def call(self, x: Any, context: Any) -> Any:
        q, k, v = self.q(x), self.k(context), self.v(context)
        return self.o(attend_in_keras(q, k, v, self.way, self.shared, self.causal))


class KerasFused(L.Layer):
    def __init__(self, way: str, bias: bool = True) -> None:
        super().__init__()
        self.way, self.qkv, self.proj = way, L.Dense(3 * SIZE, use_bias=bias), L.Dense(SIZE, use_bias=bias)

    def call(self, x: Any, context: Any) -> Any:
        y = self.qkv(x)
        if self.way == "split":
            parts = ops.split(y, 3, -1)
        elif self.way == "slices":
            parts = [y[..., :SIZE], y[..., SIZE : 2 * SIZE], y[..., 2 * SIZE :]]
        else:
            stacked = ops.transpose(ops.reshape(y, (-1, TOKENS, HEADS, 3, SIZE // HEADS)), (3, 0, 1, 2, 4))
            parts = [ops.reshape(stacked[i], (-1, TOKENS, SIZE)) for i in range(3)]
        return self.proj(attend_in_keras(*parts, "einsum"))


class KerasByHeads(L.Layer):
    """One EinsumDense for query, key and value."""

    def __init__(self, bias: bool = True) -> None:
        super().__init__()
        sizes = (None, 3, HEADS, SIZE // HEADS)
        self.qkv = L.EinsumDense("btc,cnhd->btnhd", sizes, bias_axes="nhd" if bias else None)
        self.o = L.EinsumDense("bthd,hdc->btc", (None, SIZE), bias_axes="c" if bias else None)

    def call(self, x: Any, context: Any) -> Any:
        q, k, v = ops.unstack(self.qkv(x), 3, 2)
        shares = ops.softmax(ops.einsum("bshd,bthd->bhts", k, q) / float(SIZE // HEADS) ** 0.5)
        return self.o(ops.einsum("bhts,bshd->bthd", shares, v))


class KerasLayer(L.Layer):
    """Keras' own layers."""

    def __init__(self, bias: bool = True, shared: int = 0, causal: bool = False) -> None:
        super().__init__()
        self.causal = causal
        self.m = (
            L.GroupQueryAttention(SIZE // HEADS, HEADS, HEADS // shared, use_bias=bias)
            if shared
            else L.MultiHeadAttention(HEADS, SIZE // HEADS, use_bias=bias)
        )

    def call(self, x: Any, context: Any) -> Any:
        return self.m(x, context, use_causal_mask=self.causal)


def keras_net(make: Callable[[], Any], crossing: bool = False, size: int = SIZE) -> keras.Model:
    inputs = [keras.Input((TOKENS, SIZE)), *([keras.Input((7, size))] if crossing else [])]
    x = inputs[0]
    for _ in range(2):
        y = L.LayerNormalization(epsilon=1e-3)(x)
        x = x + make()(y, inputs[-1] if crossing else y)
    return keras.Model(inputs if crossing else inputs[0], L.Dense(SIZE)(x))


# --- what must hold -------------------------------------------------------------------------------------


def tokens(count: int = TOKENS, size: int = SIZE) -> np.ndarray:
    return np.random.default_rng(count).normal(size=(2, count, size)).astype(np.float32)


def both_ways(build: Callable[[], keras.Model], make: Callable[[], nn.Module], x: Any) -> None:
    """Strictly and without hints: what is carried over, either way, computes the same."""
    for to_torch in (True, False):
        model, module = build(), make().eval()
        source, target = (model, module) if to_torch else (module, model)
        randomise(adapt(source), 3)
        parity.transfer(source, target, inputs=x)
        report = parity.compare(model, module, x, quick=True)
        assert report.verdict == "EQUAL", str(report)


KERAS: dict[str, Callable[[bool], Any]] = {
    "layer": KerasLayer,
    "apart, function": lambda bias: KerasApart("function", bias),
    "apart, einsum": lambda bias: KerasApart("einsum", bias),
    "fused, split": lambda bias: KerasFused("split", bias),
    "fused, slices": lambda bias: KerasFused("slices", bias),
    "fused, by heads": lambda bias: KerasFused("heads", bias),
    "einsum by heads": KerasByHeads,
}
TORCH: dict[str, Callable[[bool], nn.Module]] = {
    "layer": TorchLayer,
    "layer, time first": lambda bias: TorchLayer(bias, first=False),
    "apart, function": lambda bias: TorchApart("function", bias),
    "apart, matmul": lambda bias: TorchApart("matmul", bias),
    "apart, einsum": lambda bias: TorchApart("einsum", bias),
    "fused, chunk": lambda bias: TorchFused("chunk", bias),
    "fused, slices": lambda bias: TorchFused("slices", bias),
    "fused, unbind": lambda bias: TorchFused("unbind", bias),
    "fused, by heads": lambda bias: TorchFused("heads", bias),
    "fused, x @ W": lambda bias: TorchFused("chunk", bias, Turned),
}


@pytest.mark.parametrize("keras_way", KERAS)
@pytest.mark.parametrize("torch_way", TORCH)
def test_attention_in_any_form(keras_way: str, torch_way: str) -> None:
    """All projections are square: no size tells query, key, value and result apart. Some have no biases."""
    bias = (len(keras_way) + len(torch_way)) % 3 > 0
    both_ways(
        lambda: keras_net(lambda: KERAS[keras_way](bias)), lambda: TorchNet(lambda: TORCH[torch_way](bias)),
        tokens(),
    )  # fmt: skip


@pytest.mark.parametrize("size", [SIZE, 8])
@pytest.mark.parametrize("keras_way", ["layer", "apart, function"])
def test_attention_to_a_context(keras_way: str, size: int) -> None:
    """Keys and values of another sequence, of the same size and of another one."""
    make = (lambda: TorchLayer(sizes=size)) if size != SIZE else (lambda: TorchApart("matmul"))
    both_ways(
        lambda: keras_net(lambda: KERAS[keras_way](True), True, size),
        lambda: TorchNet(make, True),
        [tokens(), tokens(7, size)],
    )


@pytest.mark.parametrize("keras_way", ["layer", "einsum"])
@pytest.mark.parametrize("torch_way", ["function", "matmul"])
def test_queries_that_share_a_key(keras_way: str, torch_way: str) -> None:
    both_ways(
        lambda: keras_net(
            lambda: KerasLayer(shared=3) if keras_way == "layer" else KerasApart("einsum", shared=3)
        ),
        lambda: TorchNet(lambda: TorchApart(torch_way, shared=3)),
        tokens(),
    )


@pytest.mark.parametrize("keras_way", ["layer", "function", "einsum"])
@pytest.mark.parametrize("torch_way", ["layer", "function", "matmul"])
def test_causal_attention(keras_way: str, torch_way: str) -> None:
    def in_keras() -> Any:
        return KerasLayer(causal=True) if keras_way == "layer" else KerasApart(keras_way, causal=True)

    def in_torch() -> nn.Module:
        return TorchLayer(causal=True) if torch_way == "layer" else TorchApart(torch_way, causal=True)

    both_ways(lambda: keras_net(in_keras), lambda: TorchNet(in_torch), tokens())


# --- turned positions, and gates: one dense layer for two -------------------------------------------------


class TorchTurning(nn.Module):
    """Query and key are turned by their position, in halves or in pairs."""

    def __init__(self, halves: bool) -> None:
        super().__init__()
        self.halves, self.qkv, self.o = halves, nn.Linear(SIZE, 3 * SIZE, False), nn.Linear(SIZE, SIZE, False)

    def turn(self, x: torch.Tensor) -> torch.Tensor:
        half = x.shape[-1] // 2
        steps = 10.0 ** (-torch.arange(half, dtype=x.dtype) / half)
        angle = torch.arange(x.shape[-2], dtype=x.dtype)[:, None] * steps
        if self.halves:
            both = torch.cat([angle, angle], -1)
            a, b = x.chunk(2, -1)
            return x * both.cos() + torch.cat([-b, a], -1) * both.sin()
        a, b = x[..., ::2], x[..., 1::2]
        cos, sin = angle.cos(), angle.sin()
        return torch.stack([a * cos - b * sin, b * cos + a * sin], -1).flatten(-2)

    def forward(self, x: torch.Tensor, context: torch.Tensor) -> torch.Tensor:
        q, k, v = (by_heads(part, HEADS) for part in self.qkv(x).chunk(3, -1))
        mixed = F.scaled_dot_product_attention(self.turn(q), self.turn(k), v)
        out: torch.Tensor = self.o(mixed.transpose(1, 2).flatten(2))
        return out


class KerasTurning(L.Layer):
    def __init__(self, halves: bool) -> None:
        super().__init__()
        self.halves = halves
        self.q, self.k, self.v, self.o = (L.Dense(SIZE, use_bias=False) for _ in range(4))

    def turn(self, x: Any) -> Any:
        half = x.shape[-1] // 2
        steps = 10.0 ** (-ops.arange(half, dtype=x.dtype) / half)
        angle = (ops.arange(TOKENS, dtype=x.dtype)[:, None] * steps)[:, None]
        cos, sin = ops.cos(angle), ops.sin(angle)
        a, b = ops.split(x, 2, -1) if self.halves else (x[..., ::2], x[..., 1::2])
        turned = [a * cos - b * sin, b * cos + a * sin]
        if self.halves:
            return ops.concatenate(turned, -1)
        return ops.reshape(ops.stack(turned, -1), (-1, TOKENS, HEADS, 2 * half))

    def call(self, x: Any, context: Any) -> Any:
        q, k, v = (
            ops.reshape(dense(x), (-1, TOKENS, HEADS, SIZE // HEADS)) for dense in (self.q, self.k, self.v)
        )
        mixed = ops.dot_product_attention(self.turn(q), self.turn(k), v)
        return self.o(ops.reshape(mixed, (-1, TOKENS, SIZE)))


@pytest.mark.parametrize("halves", [True, False])
def test_turned_positions(halves: bool) -> None:
    both_ways(
        lambda: keras_net(lambda: KerasTurning(halves)),
        lambda: TorchNet(lambda: TorchTurning(halves)),
        tokens(),
    )


class TorchGate(nn.Module):
    def __init__(self, fused: bool) -> None:
        super().__init__()
        self.fused, self.o = fused, nn.Linear(2 * SIZE, SIZE)
        self.a = nn.Linear(SIZE, (2 + 2 * fused) * SIZE)
        if not fused:
            self.g = nn.Linear(SIZE, 2 * SIZE)

    def forward(self, x: torch.Tensor, context: torch.Tensor) -> torch.Tensor:
        a, g = self.a(x).chunk(2, -1) if self.fused else (self.a(x), self.g(x))
        out: torch.Tensor = self.o(a * F.silu(g))
        return out


class KerasGate(L.Layer):
    def __init__(self, fused: bool) -> None:
        super().__init__()
        self.fused, self.a, self.g, self.o = (
            fused, L.Dense((2 + 2 * fused) * SIZE), None if fused else L.Dense(2 * SIZE), L.Dense(SIZE)
        )  # fmt: skip

    def call(self, x: Any, context: Any) -> Any:
        a, g = ops.split(self.a(x), 2, -1) if self.g is None else (self.a(x), self.g(x))
        return self.o(a * ops.silu(g))


@pytest.mark.parametrize("fused", ["keras", "torch", "both"])
def test_a_gate_and_what_it_gates_by_one_layer(fused: str) -> None:
    both_ways(
        lambda: keras_net(lambda: KerasGate(fused != "torch")),
        lambda: TorchNet(lambda: TorchGate(fused != "keras")),
        tokens(),
    )


def test_a_part_without_a_counterpart_is_refused() -> None:
    """Two thirds of a fused layer are not enough."""

    class Less(TorchApart):
        def forward(self, x: torch.Tensor, context: torch.Tensor) -> torch.Tensor:
            out: torch.Tensor = self.o(attend(self.q(x), self.k(x), self.k(x), "matmul"))
            return out

    model, module = keras_net(lambda: KerasFused("split")), TorchNet(lambda: Less("matmul")).eval()
    with pytest.raises(parity.PairingError, match="qkv"):
        parity.transfer(model, module, inputs=tokens())
