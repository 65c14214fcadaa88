"""Models that compute in float32 within: equal where both sides do, and a cause where one side alone does."""

from __future__ import annotations

import math
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
from tests.attacks.attempt import unexplained

SIZE, HEADS = 12, 3


def tokens() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(2, 7, SIZE)).astype(np.float32)


# --- a normalisation --------------------------------------------------------------------------------------


class TorchRms(nn.Module):
    def __init__(self, cast: bool, eps: float = 1e-6) -> None:
        super().__init__()
        self.weight, self.cast, self.eps = nn.Parameter(torch.rand(SIZE) + 0.5), cast, eps

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = x.to(torch.float32) if self.cast else x
        return self.weight * (y * torch.rsqrt(y.pow(2).mean(-1, keepdim=True) + self.eps)).to(x.dtype)


class KerasRms(L.Layer):
    def __init__(self, cast: bool, eps: float = 1e-6, **more: Any) -> None:
        super().__init__(**more)
        self.cast, self.eps = cast, eps

    def build(self, shape: Any) -> None:
        self.scale = self.add_weight(shape=shape[-1:], name="scale")

    def call(self, x: Any) -> Any:
        y = ops.cast(x, "float32") if self.cast else x
        y = y * ops.rsqrt(ops.mean(ops.square(y), axis=-1, keepdims=True) + self.eps)
        return ops.cast(y, self.compute_dtype) * self.scale


class TorchBlocks(nn.Module):
    def __init__(self, cast: bool, eps: float = 1e-6) -> None:
        super().__init__()
        self.a, self.n = nn.Linear(SIZE, SIZE), TorchRms(cast, eps)
        self.b, self.m, self.c = nn.Linear(SIZE, SIZE), TorchRms(cast, eps), nn.Linear(SIZE, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.c(self.m(self.b(self.n(self.a(x)))))
        return out


def keras_blocks(cast: bool, eps: float = 1e-6) -> keras.Model:
    x = inputs = keras.Input((7, SIZE))
    for layer in (L.Dense(SIZE, name="a"), KerasRms(cast, eps, name="n"), L.Dense(SIZE, name="b"),
                  KerasRms(cast, eps, name="m"), L.Dense(5, name="c")):  # fmt: skip
        x = layer(x)
    return keras.Model(inputs, x)


# --- an attention with rotary positions ---------------------------------------------------------------------


class TorchTurning(nn.Module):
    """q and k turned by their positions: frequencies kept in a buffer or not, softmax in float32 or not."""

    def __init__(self, kept: bool = True, cast: bool = True, base: float = 10_000.0) -> None:
        super().__init__()
        self.q, self.k, self.v, self.o = (nn.Linear(SIZE, SIZE, False) for _ in range(4))
        self.cast, self.base, self.kept = cast, base, kept
        if kept:
            self.register_buffer("inv_freq", self.frequencies(), persistent=False)

    def frequencies(self) -> torch.Tensor:
        half = SIZE // HEADS // 2
        return 1.0 / (self.base ** (torch.arange(half, dtype=torch.float32) / half))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        n, length = x.shape[:2]
        q, k, v = (part(x).view(n, length, HEADS, -1).transpose(1, 2) for part in (self.q, self.k, self.v))
        steps = self.inv_freq if self.kept else self.frequencies()
        angle = torch.arange(length).float()[:, None] * steps.float()
        cos, sin = angle.cos().to(x.dtype), angle.sin().to(x.dtype)

        def turned(y: torch.Tensor) -> torch.Tensor:
            a, b = y.chunk(2, -1)
            return torch.cat([a * cos - b * sin, b * cos + a * sin], -1)

        scores = turned(q) @ turned(k).transpose(-1, -2) / (SIZE // HEADS) ** 0.5
        shares = (
            torch.softmax(scores, -1, dtype=torch.float32).to(x.dtype) if self.cast else scores.softmax(-1)
        )
        out: torch.Tensor = self.o((shares @ v).transpose(1, 2).reshape(n, length, SIZE))
        return out


class KerasTurning(L.Layer):
    def __init__(self, cast: bool = True, kept: bool = False) -> None:
        super().__init__()
        self.q, self.k, self.v, self.o = (L.Dense(SIZE, use_bias=False) for _ in range(4))
        self.cast, self.table = cast, self.frequencies() if kept else None

    def frequencies(self) -> Any:
        half = SIZE // HEADS // 2
        powers = ops.arange(half, dtype="float32") / ops.cast(half, "float32")
        return ops.power(ops.cast(10_000.0, "float32"), -powers)

    def call(self, x: Any) -> Any:
        length = x.shape[1]

        def by_heads(y: Any) -> Any:
            return ops.transpose(ops.reshape(y, (-1, length, HEADS, SIZE // HEADS)), (0, 2, 1, 3))

        steps = self.frequencies() if self.table is None else self.table
        angle = ops.expand_dims(ops.cast(ops.arange(length), "float32"), 1) * ops.cast(steps, "float32")
        cos, sin = ops.cast(ops.cos(angle), x.dtype), ops.cast(ops.sin(angle), x.dtype)

        def turned(y: Any) -> Any:
            a, b = ops.split(y, 2, axis=-1)
            return ops.concatenate([a * cos - b * sin, b * cos + a * sin], axis=-1)

        q, k, v = by_heads(self.q(x)), by_heads(self.k(x)), by_heads(self.v(x))
        scores = ops.matmul(turned(q), ops.swapaxes(turned(k), -1, -2)) / (SIZE // HEADS) ** 0.5
        scores = ops.cast(scores, "float32") if self.cast else scores
        mixed = ops.matmul(ops.cast(ops.softmax(scores, axis=-1), x.dtype), v)
        return self.o(ops.reshape(ops.transpose(mixed, (0, 2, 1, 3)), (-1, length, SIZE)))


class TorchAttention(nn.Module):
    def __init__(self, **settings: Any) -> None:
        super().__init__()
        self.a, self.t, self.c = nn.Linear(SIZE, SIZE), TorchTurning(**settings), nn.Linear(SIZE, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.a(x)
        out: torch.Tensor = self.c(x + self.t(x))
        return out


def keras_attention(**settings: Any) -> keras.Model:
    inputs = keras.Input((7, SIZE))
    x = L.Dense(SIZE)(inputs)
    return keras.Model(inputs, L.Dense(5)(x + KerasTurning(**settings)(x)))


# --- a normalisation in front of a sum over what a mask leaves ------------------------------------------------


class TorchPooled(nn.Module):
    def __init__(self, cast: bool, distances: bool = False) -> None:
        super().__init__()
        self.a, self.n, self.s, self.c = (
            nn.Linear(SIZE, SIZE), TorchRms(cast), nn.Linear(SIZE, 1), nn.Linear(SIZE, 5)
        )  # fmt: skip
        self.distances = distances

    def forward(self, x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        x = self.n(self.a(x))
        scores = self.s(x)[..., 0] + (1 - mask.to(x.dtype)) * -1e9
        if self.distances:
            far = torch.arange(x.shape[1]).float() / 3
            scores = scores + (far / math.log(5.0)).to(x.dtype)
        out: torch.Tensor = self.c((scores.softmax(-1)[..., None] * x).sum(1))
        return out


class KerasPooling(L.Layer):
    def __init__(self, distances: bool) -> None:
        super().__init__()
        self.s, self.distances = L.Dense(1), distances

    def call(self, x: Any, mask: Any) -> Any:
        scores = self.s(x)[..., 0] + (1 - ops.cast(mask, x.dtype)) * -1e9
        if self.distances:
            far = ops.cast(ops.arange(x.shape[1]), "float32") / 3
            scores = scores + ops.cast(far / ops.cast(ops.log(5.0), "float32"), x.dtype)
        return ops.sum(ops.softmax(scores, axis=-1)[..., None] * x, axis=1)


def keras_pooled(cast: bool, distances: bool = False) -> keras.Model:
    x, mask = keras.Input((7, SIZE)), keras.Input((7,), dtype="int32")
    y = KerasRms(cast, name="n")(L.Dense(SIZE, name="a")(x))
    return keras.Model([x, mask], L.Dense(5, name="c")(KerasPooling(distances)(y, mask)))


# --- the tests ----------------------------------------------------------------------------------------------


def compared(model: Any, module: nn.Module, to_keras: bool = True, **more: Any) -> Any:
    x, module = tokens(), module.eval()
    source, target = (module, model) if to_keras else (model, module)
    randomise(adapt(source), 1)
    parity.transfer(source, target, inputs=x)
    return parity.compare(model, module, x, **{"quick": True, **more})


def causes(report: Any) -> set[tuple[str | None, bool]]:
    return {(finding.cause, finding.fix_verified) for finding in report.findings}


@pytest.mark.parametrize("to_keras", [True, False])
def test_both_sides_cast_at_the_same_layers(to_keras: bool) -> None:
    report = compared(keras_blocks(True), TorchBlocks(True), to_keras, quick=False)
    assert report.verdict == "EQUAL", str(report)
    said = [
        note for note in report.notes if note.startswith("both sides compute in float32 within 2 layers (")
    ]
    assert len(said) == 1, report.notes
    assert said[0].endswith("judged in float64 with these casts lifted")
    assert said[0].count("test_float32_casts.py:") == 2


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_other_dtypes_keep_the_casts(dtype: str) -> None:
    assert compared(keras_blocks(True), TorchBlocks(True), dtype=dtype).verdict == "EQUAL"


@pytest.mark.parametrize("to_keras", [True, False])
@pytest.mark.parametrize("side", ["keras", "torch"])
def test_one_side_alone_casts(side: str, to_keras: bool) -> None:
    report = compared(keras_blocks(side == "keras"), TorchBlocks(side == "torch"), to_keras)
    assert causes(report) == {("float32-cast", True)}, str(report)
    assert report.verdict == "DIVERGED"
    assert [finding.torch for finding in report.findings] == ["n", "m"]
    at = report.findings[0].keras_at if side == "keras" else report.findings[0].torch_at
    assert "test_float32_casts.py:" in str(at)
    assert 1e-9 < report.max_rel_diff < 1e-6


def test_one_layer_of_two_casts_on_one_side_alone() -> None:
    module = TorchBlocks(True)
    module.m.cast = False
    report = compared(keras_blocks(True), module)
    assert causes(report) == {("float32-cast", True)}
    assert report.verdict == "DIVERGED"
    assert [finding.torch for finding in report.findings] == ["m"]
    assert any("within 1 layer (" in note for note in report.notes)


def test_a_difference_behind_the_casts_is_found() -> None:
    with unexplained():
        report = compared(keras_blocks(True, 1e-5), TorchBlocks(True, 1e-6))
    assert report.verdict == "DIVERGED"
    assert "float32-cast" not in {f.cause for f in report.findings}
    assert {finding.torch for finding in report.findings} == {"n", "m"}


@pytest.mark.parametrize("to_keras", [True, False])
@pytest.mark.parametrize(
    ("torch_kept", "keras_kept"), [(True, False), (False, True), (True, True), (False, False)]
)
def test_rotary_tables_in_float32(torch_kept: bool, keras_kept: bool, to_keras: bool) -> None:
    """Kept on one side and computed on the other, they are the same to float32 rounding alone."""
    report = compared(keras_attention(kept=keras_kept), TorchAttention(kept=torch_kept), to_keras)
    assert report.verdict == "EQUAL", str(report)


def test_a_kept_table_is_said() -> None:
    report = compared(keras_attention(), TorchAttention())
    assert any("keeps t.inv_freq in float32" in note for note in report.notes), report.notes


@pytest.mark.parametrize("side", ["keras", "torch"])
def test_a_softmax_in_float32_on_one_side(side: str) -> None:
    report = compared(keras_attention(cast=side == "keras"), TorchAttention(cast=side == "torch"))
    assert causes(report) == {("softmax-precision", True)}, str(report)
    assert report.verdict == "DIVERGED"


@pytest.mark.parametrize("factor", [1.0 + 1e-6, 1.01])
def test_another_table_is_no_rounding(factor: float) -> None:
    with unexplained():
        report = compared(keras_attention(), TorchAttention(base=10_000.0 * factor))
    assert report.verdict == "DIVERGED", str(report)


def test_models_come_back_as_they_were() -> None:
    model, module = keras_attention(), TorchAttention().eval()
    x = tokens()
    randomise(adapt(module), 1)
    parity.transfer(module, model, inputs=x)
    before = module(torch.from_numpy(x)).detach(), np.array(model(x)), module.t.inv_freq.clone()
    assert parity.compare(model, module, x).verdict == "EQUAL"
    assert torch.equal(before[0], module(torch.from_numpy(x)))
    assert np.array_equal(before[1], np.array(model(x)))
    assert torch.equal(before[2], module.t.inv_freq)
    assert module.t.inv_freq.dtype == torch.float32


def masked() -> list[np.ndarray]:
    return [tokens(), np.array([[1] * 7, [1, 1, 1, 1, 0, 0, 0]], np.int32)]


def pooled(keras_casts: bool, torch_casts: bool, distances: bool = False) -> Any:
    module, model = TorchPooled(torch_casts, distances).eval(), keras_pooled(keras_casts, distances)
    randomise(adapt(module), 1)
    parity.transfer(module, model, inputs=masked())
    return parity.compare(model, module, masked())


@pytest.mark.parametrize("side", ["keras", "torch"])
def test_a_mask_is_exact_and_excuses_no_cast(side: str) -> None:
    """Moved by one rounding and multiplied by -1e9, it would move the scores by more than float32 does."""
    report = pooled(side == "keras", side == "torch")
    assert causes(report) == {("float32-cast", True)}, str(report)
    assert [finding.torch for finding in report.findings] == ["n"]


@pytest.mark.parametrize("casts", [(False, False), (True, True)])
def test_a_mask_in_front_of_equal_sides(casts: tuple[bool, bool]) -> None:
    assert pooled(*casts).verdict == "EQUAL"


def test_a_number_that_is_float32_already_is_lifted_with_what_it_divides() -> None:
    """Keras makes log(5.0) in float32, which divides a tensor that was lifted."""
    report = pooled(False, True, distances=True)
    assert causes(report) == {("float32-cast", True)}, str(report)
    assert [finding.torch for finding in report.findings] == ["n"]
    assert "with the casts lifted both sides agree" in str(report.first.evidence)
