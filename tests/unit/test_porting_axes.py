"""Orders of axes, reshapes and transposes: NumPy says whether they are right."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from parity.porting.to_keras.layout.axes import (
    channels_last,
    identity,
    moved,
    permuted,
    place_of_new,
    tail,
    with_axis,
    without,
)
from parity.porting.to_keras.layout.reshaping import groups, reshaped


def held(tensor: np.ndarray, order: tuple[int, ...]) -> np.ndarray:
    """How Keras holds a tensor of torch."""
    return np.transpose(tensor, order)


@st.composite
def tensors(draw: st.DrawFn, least: int = 1, most: int = 5) -> tuple[np.ndarray, tuple[int, ...]]:
    shape = draw(st.lists(st.integers(1, 4), min_size=least, max_size=most))
    order = tuple(draw(st.permutations(range(len(shape)))))
    return np.arange(math.prod(shape)).reshape(shape), order


@given(tensors(), st.randoms())
def test_a_permute_moves_no_data(drawn, random) -> None:
    tensor, order = drawn
    dims = list(range(tensor.ndim))
    random.shuffle(dims)
    after = permuted(order, dims)
    assert np.array_equal(held(np.transpose(tensor, dims), after), held(tensor, order))


@given(tensors(), st.randoms())
def test_moved_gives_the_transpose_between_two_orders(drawn, random) -> None:
    tensor, order = drawn
    wanted = list(order)
    random.shuffle(wanted)
    assert np.array_equal(
        np.transpose(held(tensor, order), moved(order, tuple(wanted))), held(tensor, tuple(wanted))
    )


@given(tensors(least=2), st.data())
def test_axes_go_and_come(drawn, data) -> None:
    tensor, order = drawn
    axis = data.draw(st.integers(-tensor.ndim, tensor.ndim - 1))
    kept = without(order, [axis])
    assert np.array_equal(
        held(tensor.sum(axis), kept), held(tensor, order).sum(order.index(axis % tensor.ndim))
    )
    new = data.draw(st.integers(0, tensor.ndim))
    at = place_of_new(order, new)
    assert np.array_equal(
        held(np.expand_dims(tensor, new), with_axis(order, new, at)), np.expand_dims(held(tensor, order), at)
    )


@given(tensors(), st.data())
def test_a_reshape_in_keras_order_is_torchs_or_refused(drawn, data) -> None:
    tensor, order = drawn
    if data.draw(st.booleans()):
        order = channels_last(tensor.ndim)
    sizes: list[int] = []
    for size in tensor.shape:
        factor = data.draw(st.sampled_from([f for f in (1, 2, 3, size) if size % f == 0]))
        sizes += [factor, size // factor]
    cut = data.draw(st.integers(1, len(sizes)))
    after = [math.prod(sizes[:cut]), *sizes[cut:]]
    fitting = reshaped(order, tensor.shape, after)
    if fitting is not None:
        keras = held(tensor, order).reshape([after[axis] for axis in fitting])
        assert np.array_equal(keras, held(tensor.reshape(after), fitting))


@pytest.mark.parametrize(
    ("before", "after", "order", "wanted"),
    [
        ((2, 8, 3, 5), (2, 8, 15), (0, 2, 3, 1), (0, 2, 1)),  # an image to tokens
        ((2, 8, 3, 5), (2, 120), (0, 2, 3, 1), None),  # flattened: the features come in another order
        ((2, 8, 1, 1), (2, 8), (0, 2, 3, 1), (0, 1)),  # one pixel
        ((2, 8), (2, 8, 1, 1), (0, 1), (0, 2, 3, 1)),  # and back
        ((2, 8, 3, 5), (2, 2, 4, 3, 5), (0, 2, 3, 1), (0, 3, 4, 1, 2)),  # groups of channels
        ((2, 4, 2, 3, 5), (2, 8, 3, 5), (0, 3, 4, 2, 1), None),  # merged when they were exchanged
        ((2, 6, 4), (2, 6, 2, 2), (0, 1, 2), (0, 1, 2, 3)),
    ],
)
def test_reshapes_as_networks_have_them(before, after, order, wanted) -> None:
    assert reshaped(order, before, after) == wanted


def test_a_reshape_to_another_number_of_elements_is_refused() -> None:
    with pytest.raises(ValueError, match="different numbers"):
        groups((2, 3), (7,))


@given(tensors(least=2))
def test_a_broadcast_operand_takes_the_order_of_the_last_axes(drawn) -> None:
    tensor, order = drawn
    rank = tensor.ndim - 1
    assert sorted(tail(order, rank)) == list(identity(rank))
