"""Steps that choose: what went one way in every probe is named, and what went both ways is not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from keras import ops
from torch.nn import functional as F

from parity.probes.choices import absorbed, ways_of, went
from tests.unit.test_probes import X, compared, plain
from tests.unit.test_unproven import lines

ONE_WAY: dict[str, tuple[Any, str]] = {
    "a comparison": (lambda s, x: s.c(x) * (1 + (s.c(x) > 1e9).to(x.dtype)), "gt in the model itself: it was never true"),
    "another": (lambda s, x: s.c(x) * (s.c(x) < 1e9).to(x.dtype), "lt in the model itself: it was never false"),
    "a condition": (lambda s, x: torch.where(s.c(x).isnan(), 0, s.c(x)), "isnan in the model itself: it was never true"),
    "a mask": (lambda s, x: s.c(x).masked_fill(s.c(x) == 0, 7), "eq in the model itself: it was never true"),
    "the greater of two": (lambda s, x: torch.maximum(s.c(x), torch.full((), -1e9, dtype=x.dtype)),
                           "maximum in the model itself: its first operand was never less"),
    "the smaller of two": (lambda s, x: torch.minimum(s.c(x), x.new_tensor(1e9)),
                           "minimum in the model itself: its first operand was never greater"),
    "a slice": (lambda s, x: s.c(x)[:, :, :500], "slice in the model itself: it never reached its stop"),
    "a slice of the last axis": (lambda s, x: s.c(x)[..., 0:500:1], "slice in the model itself: it never reached"),
    "padding": (lambda s, x: F.pad(s.c(x), (0, max(0, 9 - x.shape[3]))), "pad in the model itself: it never changed"),
    "NaN": (lambda s, x: torch.nan_to_num(s.c(x)), "nantonum in the model itself: it never changed anything"),
    "a remainder": (lambda s, x: s.c(torch.fmod(x, 1e9)), "fmod in the model itself: it never changed anything"),
    "a norm": (lambda s, x: F.normalize(s.c(x)) * s.c(x).norm(dim=1, keepdim=True),
               "normalize in the model itself: no norm was ever as small"),
}  # fmt: skip


@pytest.mark.parametrize("name", ONE_WAY)
def test_one_way_alone_is_named(name: str) -> None:
    forward, text = ONE_WAY[name]
    found = lines(compared(plain, forward), "limits")
    assert any(line.startswith(text) for line in found), found


IN_KERAS: dict[str, tuple[Any, str]] = {
    "an operator": (lambda s, x: s.c(x) * ops.cast(s.c(x) < 1e9, x.dtype), "never false"),
    "an operation": (lambda s, x: ops.where(ops.greater(s.c(x), 1e9), 0.0, s.c(x)), "never true"),
    "the greater of two": (lambda s, x: ops.maximum(s.c(x), ops.full((1,), -1e9, dtype=x.dtype)), "never less"),
    "a slice": (lambda s, x: s.c(x)[:, :500], "it never reached its stop"),
    "padding": (lambda s, x: ops.pad(s.c(x), ((0, 0), (0, 0), (0, max(0, 9 - x.shape[2])), (0, 0))), "never changed"),
}  # fmt: skip


@pytest.mark.parametrize("name", IN_KERAS)
def test_one_way_alone_is_named_in_keras(name: str) -> None:
    call, text = IN_KERAS[name]
    found = lines(compared(call, plain), "limits")
    assert any(text in line and "(keras)" in line for line in found), found


def test_both_ways_are_not_named() -> None:
    def call(self: Any, x: Any) -> Any:
        y = self.c(x)
        y = ops.pad(y, ((0, 0), (0, 0), (0, y.shape[2] % 2), (0, 0)))[:, 1:3, :-1]
        return ops.where(y > 0, y, 0.5 * y) + ops.maximum(y[:, :1], y[:, 1:])

    def forward(self: Any, x: Any) -> Any:
        y = self.c(x)
        y = F.pad(y, (0, y.shape[3] % 2))[:, :, 1:3, :-1]
        return torch.where(y > 0, y, 0.5 * y) + torch.maximum(y[:, :, :1], y[:, :, 1:])

    report = compared(call, forward, X)
    assert lines(report, "limits") == []
    assert report.proof.limits.reached == report.proof.limits.of > 5


def test_what_varies_is_not_named() -> None:
    """The greatest and the least, sums of exponentials, zeros that are made, sums with zero, and a factor of zero."""

    def call(self: Any, x: Any) -> Any:
        y = self.c(x)
        z = ops.max(y, axis=-1, keepdims=True) + ops.logsumexp(y, axis=1, keepdims=True)
        return y + ops.zeros_like(y) + z - 0.0 * y + ops.min(y, axis=2, keepdims=True)

    def forward(self: Any, x: Any) -> Any:
        y = self.c(x)
        z = y.amax(1, keepdim=True) + torch.logsumexp(y, 2, keepdim=True)
        return y + torch.zeros_like(y) + z - 0.0 * y + y.amin(3, keepdim=True)

    report = compared(call, forward, X)
    assert report, str(report)
    assert lines(report, "limits") == []
    assert report.proof.limits.reached == report.proof.limits.of == 6


def test_the_ways_along_an_axis() -> None:
    stack = np.stack([np.arange(6.0), np.full(6, -1e6)])
    assert went("max", [stack], [stack.max(0)], {"dim": 0}) == set()
    assert went("amin", [stack], [stack.min(0)], {"axis": (0,)}) == set()
    assert went("max", [stack.T], [stack.max(0)], {"dim": 0}) == {"places"}
    assert went("logsumexp", [stack], [stack.max(0)], {"1": 0}) == set()
    assert went("logsumexp", [stack], [stack.max(0) + 1e-9], {"1": 0}) == {"done"}
    assert not ways_of("max", {}, 1)  # of all elements
    films = np.stack([np.arange(6.0).reshape(2, 3), np.full((2, 3), -1e6)])[None]
    assert went("amax", [films], [films.max((0, 1))], {"dim": (0, 1)}) == set()
    assert went("amax", [films], [films.max((1, 3))], {"axis": [1, -1]}) == set()
    turned = np.stack([films[0], films[0][::-1]])
    assert went("amax", [turned], [turned.max((1, 3))], {"axis": (3, 1)}) == {"places"}
    assert (
        went("max", [stack], [stack.max(0)], {"dim": 7}) == set()
    )  # an axis that is not read counts as never seen
    assert ways_of("max", {}, 2) == {"less", "greater"}


def test_what_a_sum_absorbs() -> None:
    value, small, zero = np.ones((2, 3)), np.full((2, 3), 1e-30), np.zeros((2, 3))
    assert absorbed([value, small], value + small, {})
    assert absorbed([value], value + 1e-30, {"1": 1e-30})
    assert not absorbed([value, zero], value + zero, {})
    assert not absorbed([value], value + 0.0, {"1": 0.0})
    assert not absorbed([value, value], value + value, {})
    changed = value.copy()
    assert not absorbed([changed, small], changed, {})  # written in place: what it held before is gone


def test_slices_in_the_words_of_either_framework() -> None:
    masks = {"begin_mask": 1, "end_mask": 0, "ellipsis_mask": 0, "new_axis_mask": 0, "shrink_axis_mask": 2}
    settings = {**masks, "1": [0, 3], "2": [9, 4], "3": [1, 1]}
    assert ways_of("slice", settings, 1)
    assert went("slice", [], [np.zeros((9, 5))], settings) == {"done"}
    assert went("slice", [], [np.zeros((8, 5))], settings) == set()
    assert not ways_of("slice", {**settings, "end_mask": 1}, 1)
    for index, shape, full in (
        ((slice(None), slice(2, 6)), (3, 4), True),
        ((slice(None), slice(2, 6)), (3, 3), False),
        ((0, slice(0, 7, 2)), (4,), True),
        ((Ellipsis, slice(0, 7)), (2, 9, 6), False),
        ((None, slice(5)), (1, 5), True),
    ):
        assert (went("slice", [], [np.zeros(shape)], {"1": index}) == {"done"}) is full
    assert not ways_of("slice", {"1": (slice(None, -1), slice(3, None))}, 1)
