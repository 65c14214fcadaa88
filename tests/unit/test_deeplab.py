"""DeepLab of both halves: parameter counts, equal outputs for every option, and what atrous convolution means."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.conftest import needs
from tests.networks import (
    assert_same_outputs,
    assert_trains_the_same,
    images,
    make,
    outputs,
    parameters,
    twins,
)

HALVES = ["tf_impl", "torch_impl"]
COUNTS: list[tuple[str, dict[str, Any], int]] = [
    ("DeepLabV3", {}, 39_638_869),
    ("DeepLabV3", {"auxiliary": True}, 42_004_074),
    ("DilatedFCN", {}, 32_957_013),
    ("DilatedFCN", {"auxiliary": True}, 35_322_218),
    ("DeepLabV3Plus", {}, 40_352_181),
]


@pytest.mark.parametrize(("name", "arguments", "count"), COUNTS)
def test_parameter_counts(name: str, arguments: dict[str, Any], count: int) -> None:
    needs("torch")
    import torch

    with torch.device("meta"):  # shapes alone
        assert parameters(make("torch_impl", name, **arguments)) == count


@pytest.mark.slow
def test_the_keras_half_has_the_count() -> None:
    assert parameters(make("tf_impl", "DeepLabV3Plus")) == 40_352_181


SMALL: dict[str, Any] = {"num_classes": 3, "width": 2}
CASES: list[tuple[str, dict[str, Any]]] = [
    ("DilatedFCN", {"auxiliary": True, "backbone": "resnet18", "width": 4}),
    ("DeepLabV2", {"backbone": "resnet18"}),
    ("DeepLabV2", {"backbone": "vgg16", "hidden": 5, "pooling": "concat"}),
    ("DeepLabV3", {"multi_grid": (1, 2, 4), "output_stride": 16, "channels": 5}),
    ("DeepLabV3", {"backbone": "resnet18_v2", "auxiliary": True, "channels": 5}),
    ("DeepLabV3Plus", {"backbone": "resnet18", "channels": 5}),
    ("DeepLabV3Plus", {"backbone": "vgg16", "separable": True, "channels": 5, "output_stride": 8}),
]


@pytest.mark.parametrize(("name", "arguments"), CASES)
def test_same_outputs(name: str, arguments: dict[str, Any]) -> None:
    model, module = twins(name, **{**SMALL, **arguments})
    for each in assert_same_outputs(model, module, images(33, 50)):
        assert each.shape == (2, 33, 50, 3)
    again = type(model).from_config(model.get_config())
    assert [v.shape for v in again.variables] == [v.shape for v in model.variables]


@pytest.mark.slow
def test_trains_the_same() -> None:
    assert_trains_the_same("ASPP", (13, 18), in_channels=3, rates=(2, 3), out_channels=4, separable=True)


@pytest.mark.parametrize("half", HALVES)
def test_the_lecture_s_atrous_example(half: str) -> None:
    """A step of 3 between two greys: 3 x 3 finds it two pixels wide, at rate 2 four pixels wide, with as many weights."""
    picture = np.where(np.arange(16) < 7, 4.0, 1.0) * np.ones((16, 1))
    kernel = np.array([[-1.0, 0, 1]] * 3)
    for rate, width in ((1, 2), (2, 4)):
        layer = make(half, "Conv2d", in_channels=1, out_channels=1, kernel_size=3, dilation=rate, bias=False)
        if half == "tf_impl":
            layer.kernel.assign(kernel[:, :, None, None])
        else:
            layer.weight.data[0, 0] = layer.weight.new_tensor(kernel)
        (found,) = outputs(layer, picture[None, :, :, None].astype(np.float32))
        assert found.shape == (1, 16 - 2 * rate, 16 - 2 * rate, 1)
        want = np.zeros(16 - 2 * rate)
        want[7 - 2 * rate : 7] = -9
        np.testing.assert_array_equal(found[0, :, :, 0], np.tile(want, (len(want), 1)))
        assert (want != 0).sum() == width


def seed(half: str) -> None:
    """The same first values at every run."""
    if half == "torch_impl":
        import torch

        torch.manual_seed(0)
    else:
        import keras

        keras.utils.set_random_seed(0)


@pytest.mark.parametrize("half", HALVES)
def test_aspp_sees_the_whole_picture(half: str) -> None:
    """One pixel changes every output through image pooling, and without it none beyond the greatest rate."""
    seed(half)
    block = make(half, "ASPP", in_channels=2, rates=(2, 3), out_channels=32)
    if half == "torch_impl":
        block.eval()
    x = images(20, 30, 2, "float32")
    changed = x.copy()
    changed[0, 0, 0] += 1000
    before, after = (outputs(block, each)[0] for each in (x, changed))
    assert (np.abs(after - before)[0].max(axis=-1) > 0).all()  # some of 32 channels survive the ReLU
    assert np.array_equal(after[1], before[1])
    branches = make(half, "AtrousBranches", in_channels=2, num_classes=3, rates=(2, 3))
    before, after = (outputs(branches, each)[0] for each in (x, changed))
    touched = np.abs(after - before)[0].max(axis=-1) > 0
    assert touched[3, 3]
    assert touched[0, 2]
    assert touched.sum() == 7  # the corner, and three places for each rate


@pytest.mark.parametrize("size", [(7, 9), (1, 1), (13, 40), (5, 3)])
def test_resizing_follows_one_rule(size: tuple[int, int]) -> None:
    needs("keras")
    needs("torch")
    import keras
    import torch

    import tf_impl
    import torch_impl

    x = images(5, 9)
    want = torch_impl.resize_to(torch.from_numpy(x.transpose(0, 3, 1, 2).copy()), size)
    want = want.permute(0, 2, 3, 1).numpy()
    got = np.asarray(tf_impl.resize_to(keras.ops.convert_to_tensor(x), size))
    assert got.dtype == np.float64
    np.testing.assert_allclose(got, want, rtol=0, atol=1e-14)


def test_unknown_sizes_may_stay_unknown() -> None:
    needs("keras")
    import keras

    model = make("tf_impl", "DeepLabV3Plus", **SMALL, backbone="resnet18", channels=4)
    entry = keras.Input((None, None, 3))
    graph = keras.Model(entry, model(entry))
    x = images(33, 18, dtype="float32")
    np.testing.assert_allclose(np.asarray(graph(x)), np.asarray(model(x)), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("half", HALVES)
@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("ASPP", {"in_channels": 4, "rates": ()}, "rates must hold numbers"),
        ("ASPP", {"in_channels": 0}, "in_channels must be at least 1"),
        (
            "AtrousBranches",
            {"in_channels": 4, "num_classes": 2, "pooling": "max"},
            'pooling must be "sum" or',
        ),
        ("DeepLabV3", {"backbone": "vgg16", "multi_grid": (1, 2)}, "multi_grid must be None with vgg16"),
        ("DeepLabV3Plus", {"backbone": "vgg19"}, "backbone must be one of"),
        ("DeepLabV2", {"output_stride": 4}, "output_stride must be 8, 16 or 32"),
    ],
)
def test_refusals(half: str, name: str, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make(half, name, **arguments)
