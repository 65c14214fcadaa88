"""Weight layouts, against loops over every index, and activations whose layout must be found out."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from parity.core import layout

# families, torch shape, Keras shape, image flattened in front; then the Keras index for each torch index
RULES: list[tuple[tuple[str | None, str | None], tuple[int, ...], tuple[int, ...], Any, Any]] = [
    (("conv", "conv"), (5, 2, 3), (3, 2, 5), None, lambda o, i, k: (k, i, o)),
    (("conv", "conv"), (5, 2, 3, 4), (3, 4, 2, 5), None, lambda o, i, h, w: (h, w, i, o)),
    (("conv", "conv"), (5, 2, 3, 4, 6), (3, 4, 6, 2, 5), None, lambda o, i, d, h, w: (d, h, w, i, o)),
    (("conv_transpose", "conv_transpose"), (2, 5, 3, 4), (3, 4, 5, 2), None, lambda i, o, h, w: (h, w, o, i)),
    (("depthwise", "conv"), (6, 1, 3, 4), (3, 4, 2, 3), None, lambda c, _, h, w: (h, w, c // 3, c % 3)),
    (("depthwise", "conv"), (6, 1, 3), (3, 6, 1), None, lambda c, _, k: (k, c, 0)),
    (("dense", "dense"), (5, 3), (3, 5), None, lambda o, i: (i, o)),
    (("dense", "dense"), (5, 24), (24, 5), (2, 3, 4),
     lambda o, i: ((i % 6) * 4 + i // 6, o)),  # torch counts C, H, W; Keras H, W, C
    (("dense", "conv"), (5, 3, 1, 1), (3, 5), None, lambda o, i, *_: (i, o)),
    (("conv", "dense"), (5, 3), (1, 1, 3, 5), None, lambda o, i: (0, 0, i, o)),
    (("prelu", "prelu"), (4,), (1, 1, 4), None, lambda c: (0, 0, c)),
    (("embedding", "embedding"), (7, 3), (7, 3), None, lambda n, d: (n, d)),
    (("batchnorm", "batchnorm"), (7,), (7,), None, lambda c: (c,)),
    ((None, "conv"), (5, 2, 3, 4), (3, 4, 2, 5), None, lambda o, i, h, w: (h, w, i, o)),
]  # fmt: skip


@pytest.mark.parametrize(("families", "torch", "keras", "image", "index"), RULES)
def test_every_value_goes_to_its_place_and_back(
    families: Any, torch: tuple[int, ...], keras: tuple[int, ...], image: Any, index: Any
) -> None:
    rule = layout.weight_layout(families, torch, keras, image)
    assert rule is not None
    values = np.arange(float(np.prod(torch))).reshape(torch)
    there = rule.to_keras(values)
    assert there.shape == keras
    for place in np.ndindex(*torch):
        assert there[index(*place)] == values[place]
    assert np.array_equal(rule.to_torch(there), values)


REFUSED: list[tuple[Any, tuple[int, ...], tuple[int, ...]]] = [
    (("conv", "conv"), (5, 2, 3, 4), (4, 3, 2, 5)),
    (("conv", "conv"), (5, 2, 3, 4), (5, 2, 3, 4)),
    (("conv_transpose", "conv_transpose"), (2, 5, 3, 4), (3, 4, 2, 5)),
    (("depthwise", "conv"), (6, 2, 3, 4), (3, 4, 2, 3)),
    (("dense", "dense"), (5, 3), (5, 3)),
    (("dense", "conv"), (5, 3, 2, 1), (6, 5)),
    (("dense", "conv"), (5, 3, 1, 1), (5, 3)),
    (("batchnorm", "batchnorm"), (7,), (8,)),
    (("prelu", "prelu"), (1,), (4,)),
]


@pytest.mark.parametrize(("families", "torch", "keras"), REFUSED)
def test_no_rule_is_forced(families: Any, torch: tuple[int, ...], keras: tuple[int, ...]) -> None:
    assert layout.weight_layout(families, torch, keras) is None


def test_vectors_after_a_flattening() -> None:
    rule = layout.vector_after_flatten((24,), (2, 3, 4))
    values = np.arange(24.0)
    for h, w, c in np.ndindex(2, 3, 4):
        assert rule.to_keras(values)[(h * 3 + w) * 4 + c] == values[(c * 2 + h) * 3 + w]


@given(st.permutations(range(5)), st.lists(st.integers(1, 4), min_size=1, max_size=5))
def test_any_permutation_comes_back(places: list[int], shape: list[int]) -> None:
    """Not by st.randoms: Hypothesis collects garbage for each one, of all that other tests have loaded."""
    order = [place for place in places if place < len(shape)]
    rule = layout.permuted(tuple(shape), tuple(order))
    values = np.arange(np.prod(shape)).reshape(shape)
    assert np.array_equal(rule.to_torch(rule.to_keras(values)), values)


# --- activations ------------------------------------------------------------------------------------

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("shape", [(2, 3, 4), (2, 3, 4, 5), (2, 3, 4, 5, 6), (2, 3, 3, 3), (2, 3, 3)])
@pytest.mark.parametrize("first", [True, False])
def test_either_layout_of_an_activation_is_recognised(shape: tuple[int, ...], first: bool) -> None:
    keras = RNG.standard_normal(shape)
    torch = layout.activation_to_torch(keras) if first else keras
    fit = layout.aligned(keras, torch)
    assert fit is not None
    assert np.array_equal(fit[0], keras)


@pytest.mark.parametrize(
    ("keras", "torch"),
    [((2, 5, 6, 1), (2, 3, 5, 6)), ((2, 5, 6, 3), (2, 1, 5, 6)), ((2, 5, 6, 3), (2, 3, 6, 5)), ((2, 5), (2, 5, 1)),
     ((2, 5), (5, 2)), ((2, 5), (1, 5)), ((), (1,))],
)  # fmt: skip
def test_shapes_that_cannot_agree(keras: tuple[int, ...], torch: tuple[int, ...]) -> None:
    assert layout.aligned(np.zeros(keras), np.zeros(torch)) is None
