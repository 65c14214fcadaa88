"""What counts as equal: element by element, nothing broadcast, and rounding told apart from lower precision."""

from __future__ import annotations

from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

import parity
from parity.adapters import adapt
from parity.adapters.patching import restored
from parity.adapters.probe import randomise
from parity.core.tolerance import STRUCTURE, beyond, difference, limits
from parity.verdict.outputs import beyond_own

A = np.arange(24.0).reshape(2, 3, 4)
NAN, INF = np.nan, np.inf
DIFFERENCES: list[tuple[Any, Any, float, float, int]] = [
    # reference, other, greatest absolute and relative difference, elements that are not finite
    ([1.0, -4.0], [1.0, -4.0], 0.0, 0.0, 0),
    ([1.0, -4.0], [1.5, -4.0], 0.5, 0.125, 0),
    ([0.0, 0.0], [0.0, 1e-30], 1e-30, INF, 0),
    ([NAN, 1.0], [NAN, 1.0], 0.0, 0.0, 1),
    ([NAN, 1.0], [2.0, 1.0], INF, INF, 1),
    ([INF, 1.0], [INF, 1.0], 0.0, 0.0, 1),
    ([INF, 1.0], [-INF, 1.0], INF, INF, 1),
    ([-0.0], [0.0], 0.0, 0.0, 0),
    ([1j], [2j], 1.0, 1.0, 0),
]


@pytest.mark.parametrize(("a", "b", "absolute", "relative", "non_finite"), DIFFERENCES)
def test_difference(a: Any, b: Any, absolute: float, relative: float, non_finite: int) -> None:
    gap = difference(np.array(a), np.array(b))
    assert (gap.max_abs, gap.max_rel, gap.non_finite) == (absolute, relative, non_finite)
    assert gap.within() == (relative <= STRUCTURE)


def test_the_place_and_the_count() -> None:
    other = A.copy()
    other[1, 2, 0] += 0.5
    other[0, 1, 1] -= 0.25
    gap = difference(A, other)
    assert gap.index == (1, 2, 0)
    assert (gap.mismatched, gap.size) == (2, 24)
    assert "2 of 24 elements" in str(gap)


@pytest.mark.parametrize("shape", [(2, 3, 1), (1, 3, 4), (3, 4), (2, 3, 4, 1), (4, 3, 2)])
def test_nothing_is_broadcast(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="shapes must be the same"):
        difference(A, np.zeros(shape))


def test_where_elements_are_beyond_their_limits() -> None:
    first = np.array([[1.0, np.nan, np.inf], [np.nan, 5.0, -np.inf]])
    second = np.array([[1.5, np.nan, np.inf], [7.0, 5.0, np.inf]])
    limit = np.array([[0.5, 0.0, 0.0], [1e9, 0.0, np.inf]])
    assert beyond(first, second, limit).tolist() == [[False, False, False], [True, False, False]]
    assert beyond(first, second, np.full((2, 3), 0.4)).tolist() == [[True, False, False], [True, False, True]]
    assert beyond(np.array([3], np.uint8), np.array([5], np.uint8), 2.0).tolist() == [False]
    assert beyond(np.array([5], np.uint8), np.array([3], np.uint8), 1.0).tolist() == [True]
    assert beyond(np.array(1.0), np.array(2.0), 0.5).item() is True
    with pytest.raises(ValueError, match="shapes must be the same"):
        beyond(first, second[:1], 1.0)


def test_a_spread_explains_what_an_element_s_own_rounding_does_not() -> None:
    """Each element by its own spread, which is in torch's layout; NaN on one side alone by none."""
    keras = np.arange(24.0).reshape(1, 2, 3, 4)
    torch = np.ascontiguousarray(keras.transpose(0, 3, 1, 2))
    torch[0, 1, 1, 2] += 1e-9
    torch[0, 3, 0, 1] += 1e-9
    outputs = [("a", keras), ("b", keras[0, 0, 0])], [("a", torch), ("b", keras[0, 0, 0] + 1e-10)]
    plain = {name: limits(value) for name, value in outputs[0]}
    found = beyond_own(*outputs, plain)
    assert [(one.place, one.at.sum(), one.gap.round(12).tolist()) for one in found] == [
        (0, 2, [1e-9, 1e-9]), (1, 4, [1e-10] * 4)
    ]  # fmt: skip
    spread = np.zeros(torch.shape)
    spread[0, 1, 1, 2] = 1e-11
    assert [one.explained([spread, np.full(4, 1e-12)]) for one in found] == [False, True]
    spread[0, 3, 0, 1] = 1e-11
    assert found[0].explained([spread, np.zeros(4)])
    spread[0, 3, 0, 1] = 1e-12
    assert not found[0].explained([spread, np.zeros(4)])
    torch[0, 0, 0, 0] = np.nan
    (lost, _) = beyond_own(*outputs, plain)
    assert not lost.explained([np.full(torch.shape, 1e9), np.zeros(4)])


def test_nothing_compared_is_not_within() -> None:
    assert not difference(np.zeros((0, 3)), np.zeros((0, 3))).within()


# --- float32: rounding is excused, lower precision is not ------------------------------------------


def network() -> tuple[Any, Any, Any]:
    from tf_impl.munet import mUnet as KerasNet
    from torch_impl.munet import mUnet as TorchNet

    model, module = KerasNet(depth=4), TorchNet(depth=4)
    randomise(adapt(module), 0)
    parity.transfer(module, model)
    return model, module, np.random.default_rng(0).uniform(0, 255, (2, 16, 24, 3)).astype(np.float32)


@pytest.fixture(scope="module")
def net() -> tuple[Any, Any, Any]:
    return network()


def low_bits_off(value: Any, bits: int) -> Any:
    """The nearest float32 with so many bits less; other dtypes stay."""
    array = np.array(value)
    if array.dtype != np.float32:
        return array
    half, mask = np.int32(1 << (bits - 1)), np.int32(~((1 << bits) - 1))
    return ((array.view(np.int32) + half) & mask).view(np.float32)


@contextmanager
def reduced_torch(layer: Any, bits: int) -> Any:
    import torch

    def hook(_: Any, inputs: Any) -> Any:
        return tuple(torch.from_numpy(low_bits_off(value.detach().numpy(), bits)) for value in inputs)

    handle = layer.register_forward_pre_hook(hook)
    try:
        yield
    finally:
        handle.remove()


def reduced_keras(layer: Any, bits: int) -> Any:
    import keras

    plain = layer.call
    return restored(layer, "call", lambda x: plain(keras.ops.convert_to_tensor(low_bits_off(x, bits))))


TF32, BFLOAT16 = 13, 16


def test_an_honest_pair_is_equal(net: tuple[Any, Any, Any]) -> None:
    report = parity.compare(*net, dtype="float32")
    assert report.verdict == "EQUAL", str(report)
    assert set(report.precision) == {
        "keras_error", "torch_error", "disagreement", "conditioning", "allowed", "keras_roundoffs", "torch_roundoffs",
    }  # fmt: skip
    assert 0.0 < report.precision["torch_error"] < report.precision["allowed"]


@pytest.mark.parametrize("size", [33, 211])
def test_the_rounded_coordinates_of_a_resize_are_honest(size: int) -> None:
    from tf_impl.layers import UpSampling2d as KerasLayer
    from torch_impl.layers import UpSampling2d as TorchLayer

    values = np.random.default_rng(0).standard_normal((1, size, size + 9, 2)).astype(np.float32)
    model = KerasLayer((2, 3), mode="bilinear")
    report = parity.compare(model, TorchLayer((2, 3), mode="bilinear"), values, dtype="float32")
    assert report.verdict == "EQUAL", str(report)


@pytest.mark.parametrize("bits", [TF32, BFLOAT16])
@pytest.mark.parametrize("side", ["keras", "torch"])
@pytest.mark.parametrize("layer", ["conv_in", "skip128DN_arr.0.conv1", "conv_out"])
def test_one_layer_in_lower_precision_is_named_by_its_side(
    net: tuple[Any, Any, Any], layer: str, side: str, bits: int
) -> None:
    model, module, _ = net
    if side == "torch":
        change = reduced_torch(module.get_submodule(layer), bits)
    else:
        change = reduced_keras(model.skip128DN_arr[0].conv1 if "." in layer else getattr(model, layer), bits)
    with change:
        assert parity.compare(*net, quick=True).verdict == "EQUAL"  # in float64 nothing is wrong
        report = parity.compare(*net, dtype="float32", quick=True)  # rounding is judged on the one input
    assert report.verdict == "DIVERGED", str(report)
    assert report.first is not None
    assert report.first.kind == "precision"
    assert f"the {side} side" in report.first.evidence


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_other_dtypes_of_an_honest_pair(dtype: str) -> None:
    from tf_impl.layers import Conv2d as KerasLayer
    from torch_impl.layers import Conv2d as TorchLayer

    arguments = (3, 8, (3, 5), 2)
    model, module = KerasLayer(*arguments), TorchLayer(*arguments)
    parity.transfer(module, model)
    values = np.random.default_rng(0).standard_normal((2, 21, 34, 3)).astype(np.float32)
    report = parity.compare(model, module, values, dtype=dtype)
    assert report.verdict == "EQUAL", str(report)
    assert report.precision["torch_error"] > 1e-5  # it was computed in that dtype
