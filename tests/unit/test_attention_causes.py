"""What tells two attentions apart has a name, its place and a fix that was tried; where nothing does, they are EQUAL."""

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
from parity.causes.attention.positions import explain_positions

SIZE, HEADS, TOKENS = 12, 3, 5
EARLIER = torch.ones(TOKENS, TOKENS).tril().bool()
NO_LAST = torch.ones(TOKENS, TOKENS).bool().index_fill(1, torch.tensor([TOKENS - 1]), False)


def by_heads(x: torch.Tensor, heads: int) -> torch.Tensor:
    return x.unflatten(-1, (heads, -1)).transpose(1, 2)


class Settings(nn.Module):
    """What a fault changes."""

    heads, scale, dtype = HEADS, 0.0, None
    keep: torch.Tensor | None = None

    def attend(self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        q, k, v = (by_heads(x, self.heads) for x in (q, k, v))
        scores = q @ k.transpose(-2, -1) * (self.scale or q.shape[-1] ** -0.5)
        if self.keep is not None:
            scores = scores.masked_fill(~self.keep, float("-inf"))
        mixed = F.softmax(scores, -1, dtype=self.dtype).to(q.dtype) @ v
        return mixed.transpose(1, 2).flatten(2)


class WrittenOut(Settings):
    def __init__(self) -> None:
        super().__init__()
        self.q, self.k, self.v, self.o = (nn.Linear(SIZE, SIZE) for _ in range(4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.o(self.attend(self.q(x), self.k(x), self.v(x)))
        return out


class Fused(Settings):
    def __init__(self) -> None:
        super().__init__()
        self.qkv, self.o = nn.Linear(SIZE, 3 * SIZE), nn.Linear(SIZE, SIZE)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.o(self.attend(*self.qkv(x).chunk(3, -1)))
        return out


class ByFunction(WrittenOut):
    def attend(self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        q, k, v = (by_heads(x, self.heads) for x in (q, k, v))
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=self.keep, scale=self.scale or None)
        return mixed.transpose(1, 2).flatten(2)


class OwnLayer(Settings):
    """torch's own layer, whose mask says what to leave out."""

    def __init__(self, heads: int = HEADS) -> None:
        super().__init__()
        self.m = nn.MultiheadAttention(SIZE, heads, batch_first=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        mask = None if self.keep is None else ~self.keep
        out: torch.Tensor = self.m(x, x, x, attn_mask=mask)[0]
        return out


class Net(nn.Module):
    def __init__(self, block: nn.Module) -> None:
        super().__init__()
        self.norm, self.block, self.head = nn.LayerNorm(SIZE, 1e-3), block, nn.Linear(SIZE, SIZE)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.head(x + self.block(self.norm(x)))
        return out


class KerasApart(L.Layer):
    def __init__(self, function: bool) -> None:
        super().__init__()
        self.function = function
        self.q, self.k, self.v, self.o = (L.Dense(SIZE) for _ in range(4))

    def call(self, x: Any) -> Any:
        q, k, v = (
            ops.reshape(dense(x), (-1, TOKENS, HEADS, SIZE // HEADS)) for dense in (self.q, self.k, self.v)
        )
        if self.function:
            mixed = ops.dot_product_attention(q, k, v)
        else:
            shares = ops.softmax(ops.einsum("bthd,bshd->bhts", q, k) / float(SIZE // HEADS) ** 0.5)
            mixed = ops.einsum("bhts,bshd->bthd", shares, v)
        return self.o(ops.reshape(mixed, (-1, TOKENS, SIZE)))


def keras_net(way: str, keep: np.ndarray | None = None) -> keras.Model:
    inputs = keras.Input((TOKENS, SIZE))
    y = L.LayerNormalization(epsilon=1e-3)(inputs)
    if way == "layer":
        y = L.MultiHeadAttention(HEADS, SIZE // HEADS)(y, y, attention_mask=keep)
    else:
        y = KerasApart(way == "function")(y)
    return keras.Model(inputs, L.Dense(SIZE)(inputs + y))


def tokens() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(2, TOKENS, SIZE)).astype(np.float32)


def found(model: keras.Model, module: nn.Module, x: np.ndarray, fault: Callable[[], Any]) -> set[Any]:
    """(cause, whether its fix was tried) of what differs once a fault is seeded; before it the two are EQUAL."""
    randomise(adapt(module.eval()), 3)
    parity.transfer(module, model, inputs=x)
    control = parity.compare(model, module, x, quick=True)
    assert control.verdict == "EQUAL", str(control)
    fault()
    report = parity.compare(model, module, x, quick=True)
    assert report.verdict == "DIVERGED"
    return {(finding.cause, finding.fix_verified) for finding in report.findings}


PAIRS: dict[str, tuple[str, Callable[[], Any]]] = {
    "layer, written out": ("layer", WrittenOut),
    "einsum, fused": ("einsum", Fused),
    "function, function": ("function", ByFunction),
    "layer, layer": ("layer", OwnLayer),
    "einsum, layer": ("einsum", OwnLayer),
    "function, written out": ("function", WrittenOut),
}
FAULTS = {
    "attention-scale": {"scale": 1.0},
    "attention-mask": {"keep": EARLIER},
    "attention-mask ": {"keep": NO_LAST},
    "head-count": {"heads": 2},
    "softmax-precision": {"dtype": torch.float32},
}


CASES = [
    (cause, pair)
    for cause in FAULTS
    for pair, (_, make) in PAIRS.items()
    if not (cause in {"attention-scale", "softmax-precision"} and make is OwnLayer)
    and not (cause == "softmax-precision" and make is ByFunction)
]
"""torch's layer has no setting of a scale, nor of a dtype, and the function none of a dtype."""


@pytest.mark.parametrize(("cause", "pair"), CASES)
def test_a_fault_in_an_attention_has_its_name(cause: str, pair: str) -> None:
    way, make = PAIRS[pair]
    block = make()

    def fault() -> None:
        for name, value in FAULTS[cause].items():
            setattr(block, name, value)
            if name == "heads" and make is OwnLayer:
                block.m.num_heads, block.m.head_dim = value, SIZE // int(value)

    assert found(keras_net(way), Net(block), tokens(), fault) == {(cause.strip(), True)}


@pytest.mark.parametrize("make", [OwnLayer, ByFunction, Fused])
def test_a_mask_turned_round(make: Callable[[], Any]) -> None:
    """True keeps in Keras and in the function, and leaves out in torch's layer."""
    keep = np.random.default_rng(3).random((TOKENS, TOKENS)) > 0.5
    keep[:, 0], keep[:, 1] = True, False
    block = make()
    block.keep = torch.tensor(keep)

    def fault() -> None:
        block.keep = ~block.keep

    assert found(keras_net("layer", keep[None]), Net(block), tokens(), fault) == {("attention-mask", True)}


# --- positions ------------------------------------------------------------------------------------------


class TorchTurning(nn.Module):
    def __init__(self, halves: bool, fused: bool) -> None:
        super().__init__()
        self.halves, self.base, self.start, self.fused = halves, 10.0, (0, 0), fused
        self.qkv, self.o = nn.Linear(SIZE, 3 * SIZE, False), nn.Linear(SIZE, SIZE, False)
        if not fused:
            del self.qkv
            self.q, self.k, self.v = (nn.Linear(SIZE, SIZE, False) for _ in range(3))

    def turn(self, x: torch.Tensor) -> torch.Tensor:
        half = x.shape[-1] // 2
        steps = self.base ** (-torch.arange(half, dtype=x.dtype) / half)
        angle = torch.arange(x.shape[-2], dtype=x.dtype)[:, None] * steps
        cos, sin = angle.cos(), angle.sin()
        a, b = x.chunk(2, -1) if self.halves else (x[..., ::2], x[..., 1::2])
        parts = [a * cos - b * sin, b * cos + a * sin]
        return torch.cat(parts, -1) if self.halves else torch.stack(parts, -1).flatten(-2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        parts = self.qkv(x).chunk(3, -1) if self.fused else (self.q(x), self.k(x), self.v(x))
        q, k, v = (by_heads(part, HEADS) for part in parts)
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
        a, b = ops.split(x, 2, -1) if self.halves else (x[..., ::2], x[..., 1::2])
        parts = [a * ops.cos(angle) - b * ops.sin(angle), b * ops.cos(angle) + a * ops.sin(angle)]
        if self.halves:
            return ops.concatenate(parts, -1)
        return ops.reshape(ops.stack(parts, -1), (-1, TOKENS, HEADS, 2 * half))

    def call(self, x: Any) -> Any:
        q, k, v = (
            ops.reshape(dense(x), (-1, TOKENS, HEADS, SIZE // HEADS)) for dense in (self.q, self.k, self.v)
        )
        q, k = self.turn(q), self.turn(k)
        shares = ops.softmax(ops.einsum("bthd,bshd->bhts", q, k) / float(SIZE // HEADS) ** 0.5)
        return self.o(ops.reshape(ops.einsum("bhts,bshd->bthd", shares, v), (-1, TOKENS, SIZE)))


TURNINGS = [
    (cause, halves, fused)
    for cause in ("rotary-base", "rotary-convention")
    for halves in (True, False)
    for fused in (True, False)
]


@pytest.mark.parametrize(("cause", "halves", "fused"), TURNINGS)
def test_positions_that_turn_queries_and_keys(cause: str, halves: bool, fused: bool) -> None:
    inputs = keras.Input((TOKENS, SIZE))
    y = KerasTurning(halves)(L.LayerNormalization(epsilon=1e-3)(inputs))
    model = keras.Model(inputs, L.Dense(SIZE)(inputs + y))
    block = TorchTurning(halves, fused)

    def fault() -> None:
        if cause == "rotary-base":
            block.base = 100.0
        else:
            block.halves = not halves

    assert found(model, Net(block), tokens(), fault) == {(cause, True)}


class TorchPlaces(nn.Module):
    def __init__(self, way: str) -> None:
        super().__init__()
        self.way, self.first = way, 0
        self.words, self.dense, self.block = nn.Embedding(11, SIZE), nn.Linear(SIZE, SIZE), WrittenOut()
        if way == "embedding":
            self.places = nn.Embedding(9, SIZE)
        elif way == "table":
            self.table = nn.Parameter(torch.randn(1, 9, SIZE))

    def vectors(self) -> torch.Tensor:
        numbers = torch.arange(TOKENS) + self.first
        if self.way == "embedding":
            return self.places(numbers)  # type: ignore[no-any-return]
        if self.way == "table":
            return self.table[:, self.first : self.first + TOKENS]
        angles = numbers[:, None] * 10.0 ** (-torch.arange(SIZE // 2, dtype=torch.float64) / SIZE)
        return torch.cat([angles.sin(), angles.cos()], -1).to(self.dense.weight.dtype)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.block(self.dense(self.words(x.long()) + self.vectors()))
        return out


class KerasPlaces(L.Layer):
    def __init__(self, way: str) -> None:
        super().__init__()
        self.way = way
        if way == "embedding":
            self.places = L.Embedding(9, SIZE)

    def build(self, shape: Any) -> None:
        if self.way == "table":
            self.table = self.add_weight(shape=(9, SIZE), name="positions")

    def call(self, x: Any) -> Any:
        if self.way == "embedding":
            return x + self.places(ops.arange(TOKENS))
        if self.way == "table":
            return x + self.table[:TOKENS]
        angles = np.arange(TOKENS)[:, None] * 10.0 ** (-np.arange(SIZE // 2) / SIZE)
        return x + ops.cast(np.concatenate([np.sin(angles), np.cos(angles)], -1), x.dtype)


PLACES = ["embedding", "table", "waves"]


@pytest.mark.parametrize("way", PLACES)
@pytest.mark.parametrize("first", [1, 2])
def test_positions_counted_from_another_number(way: str, first: int) -> None:
    inputs = keras.Input((TOKENS,), dtype="int32")
    x = L.Dense(SIZE)(KerasPlaces(way)(L.Embedding(11, SIZE)(inputs)))
    model, module = keras.Model(inputs, KerasApart(False)(x)), TorchPlaces(way)
    ids = np.random.default_rng(0).integers(0, 11, (2, TOKENS)).astype(np.int32)

    def fault() -> None:
        module.first = first

    assert found(model, module, ids, fault) == {("position-offset", True)}


# --- sizes ----------------------------------------------------------------------------------------------


class Crossing(nn.Module):
    def __init__(self, first: bool, size: int) -> None:
        super().__init__()
        self.first, self.head = first, nn.Linear(SIZE, 5)
        self.m = nn.MultiheadAttention(SIZE, HEADS, batch_first=first, kdim=size, vdim=size)

    def forward(self, x: torch.Tensor, context: torch.Tensor | None = None) -> torch.Tensor:
        context = x if context is None else context
        if not self.first:
            x, context = x.transpose(0, 1), context.transpose(0, 1)
        out: torch.Tensor = self.m(x, context, context)[0]
        return self.head(out if self.first else out.transpose(0, 1))  # type: ignore[no-any-return]


SIZES = {"self": (True, SIZE, False), "time first": (False, SIZE, False), "context": (True, 8, True)}


@pytest.mark.parametrize("name", SIZES)
def test_key_dim_is_the_size_of_one_head(name: str) -> None:
    """Twelve tensors without a counterpart are one finding; with the fix the two are paired, and EQUAL."""
    first, size, crossing = SIZES[name]
    x = [
        tokens(),
        *([np.random.default_rng(1).normal(size=(2, 7, size)).astype(np.float32)] if crossing else []),
    ]

    def build(key_dim: int) -> keras.Model:
        inputs = [keras.Input((TOKENS, SIZE)), *([keras.Input((7, size))] if crossing else [])]
        y = L.MultiHeadAttention(HEADS, key_dim, name="m")(inputs[0], inputs[-1])
        return keras.Model(inputs if crossing else inputs[0], L.Dense(5)(y))

    module, values = Crossing(first, size).eval(), x if crossing else x[0]
    report = parity.compare(build(SIZE), module, values, quick=True)
    found_ = [(f.cause, f.keras, f.torch, f.fix_verified) for f in report.findings if f.kind == "unmatched"]
    assert report.verdict != "EQUAL"
    assert report.first.cause == "key-dim"
    assert found_ == [("key-dim", "m", "m", True)]
    assert f"key_dim={SIZE // HEADS}" in str(report.first.fix)
    model = build(SIZE // HEADS)
    parity.transfer(module, model, inputs=values)
    assert parity.compare(model, module, values, quick=True).verdict == "EQUAL"


def test_features_that_change_places_are_no_positions() -> None:
    """Sines and cosines of one step a row, in the other order or from another one on; and a table that is rolled."""
    table = np.random.default_rng(0).normal(size=(12, 8))
    place = ("k", "t")
    rows, further = table[:-2], table[2:]
    assert [one.cause for one in explain_positions(rows, further, place)] == ["position-offset"]
    assert [one.cause for one in explain_positions(rows, further.T, place)] == ["position-offset"]
    assert explain_positions(table, np.roll(table, 2, 0), place) == []
    for vectors in (table, table[:2]):
        assert explain_positions(vectors, np.roll(vectors, 4, 1), place) == []
        assert explain_positions(vectors[:, :6], vectors[:, 2:], place) == []
