"""The fully convolutional networks of both halves: parameter counts, equal outputs, first values, frozen layers."""

from __future__ import annotations

import importlib
from pathlib import Path
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
SMALL: dict[str, Any] = {"num_classes": 3, "hidden": 6, "width": 2}


@pytest.mark.parametrize("half", HALVES)
@pytest.mark.parametrize(("backbone", "count"), [("resnet18", 12_993_642), ("resnet18_v2", 12_991_978)])
def test_parameters_of_the_chapter_s_network(half: str, backbone: str, count: int) -> None:
    model = make(half, "FCN", backbone=backbone)
    assert parameters(model) == parameters(model, trainable=True) == count


@pytest.mark.parametrize(
    ("stride", "count", "frozen"),
    [
        (32, 136_152_917, 21 * 21 * 64**2),
        (16, 134_815_994, 21 * 21 * (32**2 + 4**2)),
        (8, 134_489_759, 21 * 21 * (16**2 + 2 * 4**2)),
    ],
)
def test_parameters_of_the_first_networks(stride: int, count: int, frozen: int) -> None:
    needs("torch")
    import torch

    with torch.device("meta"):  # shapes alone: 134 million numbers take a second
        model = make("torch_impl", "VGGFCN", stride=stride)
    assert parameters(model) == count
    assert parameters(model, trainable=True) == count - frozen


def test_the_halves_count_the_same() -> None:
    """The Keras half has the formula's count, at a size where its 134 million numbers need not be drawn."""
    for stride in (32, 16, 8):
        model, module = (make(half, "VGGFCN", **SMALL, stride=stride) for half in HALVES)
        assert parameters(model) == parameters(module)
        assert parameters(model, trainable=True) == parameters(module, trainable=True) < parameters(module)


@pytest.mark.parametrize("size", [(65, 98), (64, 32), (1, 40)])
@pytest.mark.parametrize("backbone", ["resnet18", "resnet18_v2"])
def test_the_chapter_s_network_gives_the_same_at_every_size(backbone: str, size: tuple[int, int]) -> None:
    model, module = twins("FCN", num_classes=3, backbone=backbone, width=4)
    assert assert_same_outputs(model, module, images(*size))[0].shape == (2, *size, 3)


@pytest.mark.parametrize("size", [(65, 98), (18, 7)])
@pytest.mark.parametrize("stride", [32, 16, 8])
def test_the_first_networks_give_the_same_at_every_size(stride: int, size: tuple[int, int]) -> None:
    model, module = twins("VGGFCN", **SMALL, stride=stride)
    assert assert_same_outputs(model, module, images(*size))[0].shape == (2, *size, 3)


@pytest.mark.parametrize("output_stride", [32, 16, 8])
def test_vgg_gives_the_same_features(output_stride: int) -> None:
    model, module = twins("VGG16", width=2, output_stride=output_stride)
    found = assert_same_outputs(model, module, images(65, 98))
    want = [min(stride, output_stride) for stride in (2, 4, 8, 16, 32)]
    rounded = [(65 // s, 98 // s) if output_stride == 32 else (-(-65 // s), -(-98 // s)) for s in want]
    assert [each.shape[1:3] for each in found] == rounded


@pytest.mark.parametrize("half", HALVES)
def test_the_offsets_let_the_centres_of_pixels_meet(half: str) -> None:
    """Worked out in pixels of the image, where a map's pixel i has its centre at stride * i + start."""
    numbers = importlib.import_module(f"{half}._shared.fcn")
    first = 1 - numbers.BACKBONE_PADDING  # of the first convolution's pixel 0
    pool3, pool4, pool5 = ((s, first + (s - 1) / 2) for s in (8, 16, 32))
    score = (32, pool5[1] + 3 * 32)  # fc6 takes 7 x 7 without padding

    def enlarged(grid: tuple[float, float], scale: int) -> tuple[float, float]:
        """A kernel of 2 * scale puts pixel i at scale * i + scale - 1/2."""
        stride = grid[0] / scale
        return stride, grid[1] - stride * (scale - 0.5)

    def cut(grid: tuple[float, float], offset: int) -> tuple[float, float]:
        return grid[0], grid[1] + offset * grid[0]

    picture = (1, 0)
    assert cut(enlarged(score, 32), numbers.CROPS[32]) == picture
    joined4 = enlarged(score, 2)
    assert joined4 == cut(pool4, numbers.CROPS["pool4"])
    assert cut(enlarged(joined4, 16), numbers.CROPS[16]) == picture
    joined3 = enlarged(joined4, 2)
    assert joined3 == cut(pool3, numbers.CROPS["pool3"])
    assert cut(enlarged(joined3, 8), numbers.CROPS[8]) == picture


@pytest.mark.parametrize("half", HALVES)
def test_what_an_untrained_upsampling_does(half: str) -> None:
    """Scores of one are enlarged to ones, except at the border, where the bilinear kernel sees zeros."""
    layer = make(half, "FCN", num_classes=3, width=1).upsample
    (found,) = outputs(layer, np.ones((2, 3, 4, 3), np.float32))
    assert found.shape == (2, 96, 128, 3)
    np.testing.assert_allclose(found[:, 16:-16, 16:-16], 1, rtol=1e-6)
    assert found[0, 0, 0, 0] == pytest.approx((0.5 + 1 / 64) ** 2)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "arguments", "size"),
    [
        ("FCN", {"num_classes": 3, "width": 4}, (65, 98)),
        ("VGGFCN", {**SMALL, "stride": 8}, (9, 20)),
    ],
)
def test_trains_the_same(name: str, arguments: dict[str, Any], size: tuple[int, int]) -> None:
    assert_trains_the_same(name, size, **arguments)


def test_frozen_layers_stay_as_they_are_in_training() -> None:
    needs("keras")
    needs("torch")
    import keras
    import torch

    model, module = (make(half, "VGGFCN", **SMALL, stride=8) for half in HALVES)
    names = ("upscore2", "upscore_pool4", "upscore")
    before = [np.asarray(getattr(model, name).kernel) for name in names]
    x = images(9, 20, dtype="float32")
    model.compile(keras.optimizers.SGD(0.1), "mse")
    model.fit(x, np.ones((2, 9, 20, 3), np.float32), verbose=0)
    optimizer = torch.optim.SGD(module.parameters(), 0.1, weight_decay=0.1)
    module(torch.from_numpy(x.transpose(0, 3, 1, 2).copy())).square().sum().backward()
    score = module.score_fr.weight.detach().clone()
    optimizer.step()
    assert not torch.equal(module.score_fr.weight, score)
    for name, kernel in zip(names, before, strict=True):
        assert np.array_equal(np.asarray(getattr(model, name).kernel), kernel)
        weight = getattr(module, name).weight.detach().numpy()
        assert np.array_equal(weight.transpose(2, 3, 1, 0), kernel)


def test_saved_and_loaded_again(tmp_path: Path) -> None:
    needs("keras")
    import keras

    for name, arguments in (
        ("FCN", {"num_classes": 3, "backbone": "resnet18_v2", "width": 4}),
        ("VGGFCN", SMALL),
    ):
        model = make("tf_impl", name, **arguments)
        model.save(tmp_path / f"{name}.keras")
        again = keras.saving.load_model(tmp_path / f"{name}.keras")
        x = images(33, 20, dtype="float32")
        assert np.array_equal(np.asarray(model(x)), np.asarray(again(x)))
        assert parameters(again, trainable=True) == parameters(model, trainable=True)


@pytest.mark.parametrize("half", HALVES)
@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("FCN", {"backbone": "vgg16"}, "backbone must be one of"),
        ("FCN", {"num_classes": 0}, "num_classes must be at least 1"),
        ("VGGFCN", {"stride": 4}, "stride must be 32, 16 or 8"),
        ("VGGFCN", {"hidden": 0}, "hidden must be at least 1"),
        ("VGG16", {"padding": 0}, "padding must be at least 1"),
        ("VGG16", {"output_stride": 64}, "output_stride must be 8, 16 or 32"),
    ],
)
def test_refusals(half: str, name: str, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make(half, name, **arguments)


@pytest.mark.parametrize("half", HALVES)
def test_images_of_other_channels_are_refused(half: str) -> None:
    model = make(half, "FCN", width=1)
    with pytest.raises(ValueError, match=r"images must be|expected shape|incompatible"):
        outputs(model, images(8, 8, 4, "float32"))
