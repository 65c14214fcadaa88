"""Inputs drawn anew: what symmetric, constant, grey, whole or empty inputs hide."""

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
from parity.probes.change import Change, changed_inputs, drawn_like, further, resized
from parity.probes.draw import drawn
from parity.probes.sizes import candidates
from tests.unit.test_probes import X, compared, plain

CONSTANT = np.full((2, 9, 12, 3), 0.5, np.float32)
GREY = np.repeat(X[..., :1], 3, axis=-1)
TWICE = np.repeat(X[:1], 2, axis=0)

HIDDEN: dict[str, tuple[Any, Any, Any]] = {
    "constant images shifted": (plain, lambda s, x: s.c(torch.roll(x, 1, 2)), CONSTANT),
    "grey images as BGR": (plain, lambda s, x: s.c(x.flip(1)), GREY),
    "equal examples exchanged": (plain, lambda s, x: s.c(x).roll(1, 0), TWICE),
    "whole numbers rounded": (lambda s, x: s.c(ops.round(x)), lambda s, x: s.c(x), np.round(8 * X)),
    "zeros of another scale": (plain, lambda s, x: s.c(3 * x), 0 * X),
}


@pytest.mark.parametrize("name", HIDDEN)
def test_what_the_given_inputs_hide(name: str) -> None:
    call, forward, inputs = HIDDEN[name]
    report = compared(call, forward, inputs)
    assert report.verdict == "DIVERGED", str(report)
    assert compared(call, forward, inputs).first.evidence.startswith(("with inputs", "with batch"))
    same = call if call is not plain else lambda s, x: s.c(x)
    assert compared(same, (lambda s, x: s.c(x.round())) if "whole" in name else plain, inputs)


def test_equal_examples_of_a_model_with_fixed_sizes() -> None:
    model = keras.Sequential([keras.Input((6, 7, 3)), L.Conv2D(4, 3, name="0")])
    module = nn.Sequential(nn.Conv2d(3, 4, 3))
    module.forward = lambda x: module[0](x).roll(1, 0)  # type: ignore[method-assign,assignment]
    randomise(adapt(module))
    parity.transfer(module, model)
    assert parity.compare(model, module, TWICE[:, :6, :7]).verdict == "DIVERGED"


def test_floats_keep_scale_and_fills() -> None:
    value = np.full((40, 50), 3.0, np.float32)
    value[0, 0], value[1, 1], value[2, 2] = np.inf, -1e9, np.nan
    other = drawn(value)
    assert other.dtype == np.float32
    assert np.isposinf(other[0, 0])
    assert other[1, 1] == -1e9
    assert np.isnan(other[2, 2])
    rest = other[3:]
    assert 2.8 < np.std(rest) < 3.2
    assert abs(float(rest.mean())) < 0.3
    assert np.unique(rest).size > 0.99 * rest.size


def test_masks_stay_masks_and_no_row_is_empty() -> None:
    rows = np.zeros((30, 8))
    rows[:, 2:5] = 1
    for dtype in (np.float32, np.int32, bool):
        other = drawn(rows.astype(dtype))
        assert other.dtype == dtype
        assert set(np.unique(other).tolist()) <= {0, 1}
        assert (other != rows).any()
        assert other.astype(int).any(axis=1).all()


def test_whole_numbers_stay_in_range() -> None:
    tokens = np.array([[3, 9, 4], [5, 5, 5]])
    assert set(drawn(tokens, 100).ravel().tolist()) <= set(range(3, 10))
    assert np.unique(drawn(np.full((5, 20), 4), 7)).size > 2
    assert drawn(np.full((5, 20), 4), 7).max() < 7
    assert (drawn(np.full((5, 20), 4)) == 4).all()


def test_two_inputs_are_drawn_apart() -> None:
    first, second = changed_inputs([X, X], Change(drawn=True), {}, [(), ()])
    assert not np.array_equal(first, second)


def test_batches_of_one_two_and_three_are_met() -> None:
    for given in (1, 2, 3, 7):
        values = [np.ones((given, 9, 5, 3), np.float32)]
        assert {given, *(change.batch for change in further(values))} == {1, 2, 3, given}
    assert max(change.batch for change in further([np.ones((2, 9), np.float32)])) == 3
    few = further([np.ones((1, 9), np.float32)], smaller=False)
    assert [change.batch for change in few] == [2, 3, 1]


def test_odd_sizes_are_the_other_way_round_and_tiny_ones_grow() -> None:
    assert candidates([np.zeros((2, 66, 95, 3))], [(1, 2)], "odd")[0] == {66: 47, 95: 39}
    assert candidates([np.zeros((2, 95, 66, 3))], [(1, 2)], "odd")[0] == {66: 47, 95: 39}
    assert candidates([np.zeros((2, 9, 11, 3))], [(1, 2)], "odd")[0] == {9: 23, 11: 19}


def test_a_mask_stays_one_where_its_row_has_no_zero() -> None:
    """Later calls take one example of the main input; a mask of ones alone looks like tokens there."""
    mask = np.array([[1] * 6, [1, 1, 1, 1, 0, 0]], np.int32)
    tokens = np.arange(12, dtype=np.int32).reshape(2, 6)
    for shape in ((1, 5), (3, 8)):
        like = [resized(value, shape) for value in (tokens, mask)]
        made = drawn_like([tokens, mask], like, 12, False, 1_000)
        assert [value.shape for value in made] == [shape, shape]
        assert set(made[1].ravel().tolist()) == {0, 1}
        assert made[1][:, 0].all()
        assert made[0].max() > 1
