"""Dropout at the same places on both sides, used in the same way: the rates alone do not say it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
import torch
from keras import layers as L
from torch import nn
from torch.nn import functional as F

import parity
from parity.training.dropout.masks import Elements, Examples, order_of

VECTORS = np.random.default_rng(0).standard_normal((4, 12)).astype(np.float32)
IMAGES = np.random.default_rng(1).standard_normal((2, 9, 12, 3)).astype(np.float32)
TOKENS = np.random.default_rng(2).standard_normal((2, 6, 12)).astype(np.float32)


class Module(nn.Module):
    def __init__(self, forward: Callable[[Any, Any], Any], **layers: nn.Module) -> None:
        super().__init__()
        self._forward = forward
        for name, layer in layers.items():
            self.add_module(name, layer)
        self.d, self.e = nn.Dropout(0.3), nn.Dropout(0.3)

    def forward(self, x: torch.Tensor) -> Any:
        return self._forward(self, x)


def of_vectors(*between: Any) -> keras.Model:
    """Dense, what is given, dense."""
    return keras.Sequential([keras.Input((12,)), L.Dense(16, name="a"), *between, L.Dense(4, name="b")])


def compared(model: Any, module: nn.Module, x: Any) -> Any:
    parity.transfer(module.eval(), model)
    return parity.compare(model, module, x, quick=True, gradients=True)


def vectors(forward: Callable[[Any, Any], Any]) -> Module:
    return Module(forward, a=nn.Linear(12, 16), n=nn.LayerNorm(16, eps=1e-3), b=nn.Linear(16, 4))


def in_place() -> keras.Model:
    return of_vectors(L.LayerNormalization(name="n"), L.Dropout(0.3))


ELSEWHERE = {
    "in front of the normalisation": lambda s, x: s.b(s.n(s.d(s.a(x)))),
    "on the input": lambda s, x: s.b(s.n(s.a(s.d(x)))),
    "on the output": lambda s, x: s.d(s.b(s.n(s.a(x)))),
    "around the sum": lambda s, x: s.b(s.d(s.n(s.a(x)) + s.a(x)) - s.a(x)),
    "a mask of ones": lambda s, x: s.b(s.n(s.a(x)) * (F.dropout(torch.ones(len(x), 16), 0.3, s.training) > 0)),
}  # fmt: skip


@pytest.mark.parametrize("name", ELSEWHERE)
def test_dropout_at_another_place_is_a_difference(name: str) -> None:
    """Without dropout both are the same function: inference, gradients and the rates agree."""
    report = compared(in_place(), vectors(ELSEWHERE[name]), VECTORS)
    assert report.verdict == "DIVERGED", str(report)
    (finding,) = report.findings
    assert finding.kind == "training"
    assert finding.cause is None
    assert "dropout stands at other places" in finding.evidence


EQUAL: dict[str, Callable[[Any, Any], Any]] = {
    "the same place": lambda s, x: s.b(s.d(s.n(s.a(x)))),
    "scaled behind": lambda s, x: s.b(s.d(s.n(s.a(x)) * 4.0) / 4.0),
    "scaled by weights of either sign": lambda s, x: s.b(s.d(s.n(s.a(x)) * -2.0) * -0.5),
    "in another shape": lambda s, x: s.b(s.d(s.n(s.a(x)).view(-1, 4, 4)).flatten(1)),
    "axes exchanged": lambda s, x: s.b(s.d(s.n(s.a(x)).T).T),
}


@pytest.mark.parametrize("name", EQUAL)
def test_what_makes_no_difference_makes_none(name: str) -> None:
    report = compared(in_place(), vectors(EQUAL[name]), VECTORS)
    assert report.verdict == "EQUAL", str(report)


def test_a_relu_may_stand_on_either_side() -> None:
    report = compared(
        of_vectors(L.LayerNormalization(name="n"), L.ReLU(), L.Dropout(0.3)),
        vectors(lambda s, x: s.b(F.relu(s.d(s.n(s.a(x)))))),
        VECTORS,
    )
    assert report.verdict == "EQUAL", str(report)


def images(
    dropout: Any, forward: Callable[[Any, Any], Any], bias: bool = True
) -> tuple[keras.Model, nn.Module]:
    model = keras.Sequential(
        [
            keras.Input((None, None, 3)),
            L.Conv2D(4, 3, padding="same", name="a"),
            dropout,
            L.Conv2D(4, 3, padding="same", use_bias=bias, name="b"),
        ]
    )
    module = Module(forward, a=nn.Conv2d(3, 4, 3, padding=1), b=nn.Conv2d(4, 4, 3, padding=1, bias=bias))
    module.s = nn.Dropout2d(0.3)
    return model, module


def test_channels_of_images_are_those_of_the_other_order_of_axes() -> None:
    for dropout, name in ((L.SpatialDropout2D(0.3), "s"), (L.Dropout(0.3), "d")):
        report = compared(*images(dropout, lambda s, x, name=name: s.b(getattr(s, name)(s.a(x)))), IMAGES)
        assert report.verdict == "EQUAL", str(report)
        assert not [note for note in report.notes if "dropout stands" in note]


def test_the_other_side_of_a_step_without_a_bias_is_seen_by_elements_alone() -> None:
    for name in ("s", "d"):
        dropout = L.SpatialDropout2D(0.3) if name == "s" else L.Dropout(0.3)
        report = compared(
            *images(dropout, lambda s, x, name=name: getattr(s, name)(s.b(s.a(x))), bias=False), IMAGES
        )
        assert report.verdict != "EQUAL", str(report)


def test_branches_that_run_in_another_order_are_equal() -> None:
    i = keras.Input((12,))
    left, right = L.Dense(16, name="a")(i), L.Dense(16, name="c")(i)
    model = keras.Model(i, L.Dense(4, name="b")(keras.ops.tanh(L.Dropout(0.3)(left)) + L.Dropout(0.3)(right)))

    def forward(s: Any, x: Any) -> Any:
        second = s.d(s.c(x))
        return s.b(torch.tanh(s.e(s.a(x))) + second)

    module = Module(forward, a=nn.Linear(12, 16), c=nn.Linear(12, 16), b=nn.Linear(16, 4))
    report = compared(model, module, VECTORS)
    assert report.verdict == "EQUAL", str(report)


def test_features_of_a_flattened_image_are_in_each_sides_own_order() -> None:
    def made(*between: Any) -> keras.Model:
        return keras.Sequential(
            [keras.Input((5, 7, 3)), L.Conv2D(4, 3, name="a"), L.Flatten(), *between, L.Dense(4, name="b")]
        )

    def module(forward: Any) -> nn.Module:
        return Module(forward, a=nn.Conv2d(3, 4, 3), b=nn.Linear(60, 4))

    images = np.random.default_rng(3).standard_normal((2, 5, 7, 3)).astype(np.float32)
    model = made(L.Dropout(0.3), L.Activation("tanh"))
    report = compared(model, module(lambda s, x: s.b(torch.tanh(s.d(s.a(x).flatten(1))))), images)
    assert report.verdict == "EQUAL", str(report)
    assert not [note for note in report.notes if "dropout stands" in note]
    report = compared(model, module(lambda s, x: s.b(s.d(torch.tanh(s.a(x).flatten(1))))), images)
    assert report.verdict == "DIVERGED", str(report)


def test_time_in_front_of_the_batch() -> None:
    model = keras.Sequential(
        [keras.Input((None, 12)), L.Dense(16, name="a"), L.Dropout(0.3), L.Dense(4, name="b")]
    )

    def forward(s: Any, x: Any) -> Any:
        return s.b(s.d(s.a(x.transpose(0, 1)))).transpose(0, 1)

    report = compared(model, Module(forward, a=nn.Linear(12, 16), b=nn.Linear(16, 4)), TOKENS)
    assert report.verdict == "EQUAL", str(report)
    wrong = Module(
        lambda s, x: s.b(s.a(s.d(x.transpose(0, 1)))).transpose(0, 1), a=nn.Linear(12, 16), b=nn.Linear(16, 4)
    )
    assert compared(model, wrong, TOKENS).verdict == "DIVERGED"


def test_a_batch_that_is_folded_into_another_axis_is_said() -> None:
    """There is no telling the examples apart: the rates are compared, and a note says that the places were not."""
    model = keras.Sequential(
        [keras.Input((6, 12)), L.Dense(16, name="a"), L.Dropout(0.3), L.Dense(4, name="b")]
    )

    def forward(s: Any, x: Any) -> Any:
        return s.b(s.d(s.a(x.flatten(0, 1)))).unflatten(0, (-1, 6))

    report = compared(model, Module(forward, a=nn.Linear(12, 16), b=nn.Linear(16, 4)), TOKENS)
    assert report.verdict == "EQUAL", str(report)
    assert any("where dropout stands was not compared" in note for note in report.notes)


def test_a_norm_of_what_is_dropped_is_no_difference() -> None:
    """Of an example that is dropped as a whole a norm is no number, on one side or on both."""

    def unit(x: Any) -> Any:
        return x / keras.ops.sqrt(keras.ops.sum(x * x, -1, keepdims=True))

    model = of_vectors(L.Dropout(0.3), L.Lambda(unit))
    module = Module(
        lambda s, x: s.b(F.normalize(s.d(s.a(x)), dim=-1)), a=nn.Linear(12, 16), b=nn.Linear(16, 4)
    )
    report = compared(model, module, VECTORS)
    assert report.verdict == "EQUAL", str(report)


@pytest.mark.parametrize("place", ["the same", "in front of the sum"])
def test_dropout_within_an_attention_stays_off(place: str) -> None:
    """torch's attention drops within a function: the other random layers are compared all the same."""
    i = keras.Input((6, 12))
    y = L.MultiHeadAttention(3, 4, dropout=0.2, name="m")(i, i)
    y = L.LayerNormalization(epsilon=1e-5, name="n")(i + L.Dropout(0.3)(y))
    model = keras.Model(i, L.Dense(4, name="b")(y))

    def forward(s: Any, x: Any) -> Any:
        y = s.m(x, x, x, need_weights=False)[0]
        return s.b(s.n(x + s.d(y) if place == "the same" else s.d(x + y)))

    attention = nn.MultiheadAttention(12, 3, dropout=0.2, batch_first=True)
    module = Module(forward, m=attention, n=nn.LayerNorm(12), b=nn.Linear(12, 4))
    report = compared(model, module, TOKENS)
    assert report.verdict == ("EQUAL" if place == "the same" else "DIVERGED"), str(report)
    assert not [note for note in report.notes if "dropout stands" in note]


@pytest.mark.parametrize("place", ["the same", "around the sum"])
def test_a_branch_that_is_left_out_has_one_number_for_each_example(place: str) -> None:
    """Keras draws for the shape of the noise, torch for a tensor of ones: the numbers of examples are the same."""
    i = keras.Input((None, None, 3))
    a = L.Conv2D(4, 3, padding="same", name="a")(i)
    y = L.Conv2D(4, 3, padding="same", name="c")(a)
    model = keras.Model(i, L.Conv2D(2, 1, name="b")(a + L.Dropout(0.3, noise_shape=(None, 1, 1, 1))(y)))

    def forward(s: Any, x: Any) -> Any:
        a = s.a(x)
        kept = F.dropout(torch.ones(len(x), 1, 1, 1, dtype=x.dtype), 0.3, s.training)
        return s.b(a + s.c(a) * kept if place == "the same" else (a + s.c(a)) * kept)

    layers = {"a": nn.Conv2d(3, 4, 3, padding=1), "c": nn.Conv2d(4, 4, 3, padding=1), "b": nn.Conv2d(4, 2, 1)}
    report = compared(model, Module(forward, **layers), IMAGES)
    assert report.verdict == ("EQUAL" if place == "the same" else "DIVERGED"), str(report)
    assert not [note for note in report.notes if "dropout stands" in note]


def test_dropout_in_place_drops_what_goes_on() -> None:
    """What the function returns may be left alone: it changes what it was given."""

    def forward(s: Any, x: Any) -> Any:
        y = s.n(s.a(x)) * 1.0
        F.dropout(y, 0.3, s.training, inplace=True)
        return s.b(y)

    report = compared(in_place(), vectors(forward), VECTORS)
    assert report.verdict == "EQUAL", str(report)


def test_a_rate_of_one_leaves_nothing() -> None:
    for mask in (Examples(5), Elements([(5, 3)], [(0, (0, 1))])):
        factor = mask.factor((5, 3), 1.0, "element")
        assert factor is not None
        assert not factor.any()


def test_orders_of_axes() -> None:
    assert order_of((5, 9, 12, 3), (5, 3, 9, 12)) == (0, 3, 1, 2)
    assert order_of((5, 8, 8, 3), (5, 3, 8, 8)) == (0, 3, 1, 2)
    assert order_of((5, 6, 12), (5, 6, 12)) == (0, 1, 2)
    assert order_of((5, 6, 12), (6, 5, 12)) == (1, 0, 2)
    assert order_of((5, 1, 1, 8), (5, 8)) == (0, 1)
    assert order_of((5, 6, 12), (5, 72)) is None
    assert order_of((5, 4, 4, 4, 7), (4, 5, 4, 7, 4)) is None


def test_masks_are_the_same_on_both_sides() -> None:
    examples = Examples(5)
    mask = examples.factor((9, 5, 3), 0.5, "element")
    assert mask is not None
    assert mask.shape == (1, 5, 1)
    assert mask.ravel().tolist() == [2.0, 1.0, 2.0, 1.0, 2.0]
    shapes = [(5, 9, 12, 3)]
    keras_side = Elements(shapes, [(0, (0, 1, 2, 3))]).factor((5, 9, 12, 3), 0.4, "element")
    torch_side = Elements(shapes, [(0, (0, 3, 1, 2))]).factor((5, 3, 9, 12), 0.4, "element")
    assert keras_side is not None
    assert torch_side is not None
    assert np.array_equal(np.moveaxis(torch_side, 1, -1), keras_side)
    assert set(np.unique(keras_side)) == {0.0, 1.0 / 0.6}
    channels = Elements(shapes, [(0, (0, 1, 2, 3))]).factor((5, 9, 12, 3), 0.4, "channel")
    assert channels is not None
    assert np.array_equal(channels, np.broadcast_to(channels[:, :1, :1], channels.shape))
    assert len(np.unique(channels[:, 0, 0])) == 2
