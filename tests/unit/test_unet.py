"""U-Net of both halves: the published sizes and count, the padded variant, and equal outputs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.conftest import needs
from tests.networks import assert_same_outputs, assert_trains_the_same, images, make, parameters, twins

HALVES = ["tf_impl", "torch_impl"]


def test_the_published_network() -> None:
    """31,030,658 parameters, and 572 x 572 pixels give 388 x 388."""
    needs("torch")
    import torch

    with torch.device("meta"):  # shapes alone
        model = make("torch_impl", "UNet")
        assert model(torch.zeros(1, 1, 572, 572)).shape == (1, 2, 388, 388)
    assert parameters(model) == 31_030_658


def test_the_keras_half_has_the_published_count_and_shape() -> None:
    model = make("tf_impl", "UNet")
    assert parameters(model) == 31_030_658
    assert model.compute_output_shape((1, 572, 572, 1)) == (1, 388, 388, 2)


@pytest.mark.parametrize(
    ("arguments", "size", "output"),
    [
        ({"in_channels": 1}, (188, 204), (4, 20)),
        ({"in_channels": 3, "padded": True}, (65, 98), (65, 98)),
        ({"in_channels": 3, "padded": True, "batch_norm": True}, (16, 47), (16, 47)),
        ({"in_channels": 2, "batch_norm": True}, (204, 188), (20, 4)),
    ],
)
def test_same_outputs(arguments: dict[str, Any], size: tuple[int, int], output: tuple[int, int]) -> None:
    model, module = twins("UNet", num_classes=3, width=2, **arguments)
    (found,) = assert_same_outputs(model, module, images(*size, arguments["in_channels"]))
    assert found.shape == (2, *output, 3)


def test_unknown_sizes_may_stay_unknown() -> None:
    """A graph that Keras draws for any size gives what the model gives at each size."""
    needs("keras")
    import keras

    for padded, size in ((True, (33, 18)), (False, (188, 204))):
        model = make("tf_impl", "UNet", in_channels=3, padded=padded, width=1)
        entry = keras.Input((None, None, 3))
        graph = keras.Model(entry, model(entry))
        x = images(*size, dtype="float32")
        np.testing.assert_allclose(np.asarray(graph(x)), np.asarray(model(x)), rtol=1e-5, atol=1e-6)


def test_the_middle_of_a_picture_is_what_a_larger_one_gives() -> None:
    """Valid convolutions see no border: tiles that overlap give what the whole picture gives."""
    needs("torch")
    import torch

    model = make("torch_impl", "UNet", width=2).eval().double()
    whole = torch.from_numpy(images(204, 220, 1).transpose(0, 3, 1, 2).copy())
    with torch.no_grad():
        want, tile = model(whole), model(whole[:, :, 16:, :188])
    assert tile.shape[2:] == (4, 4)
    torch.testing.assert_close(tile, want[:, :, 16:, :4], rtol=0, atol=1e-12)


def test_copies_are_cropped_in_the_middle() -> None:
    """With every kernel turned by 180 degrees, a turned picture gives the turned output: no side is preferred."""
    needs("torch")
    import torch

    model = make("torch_impl", "UNet", width=2).eval().double()
    x = torch.from_numpy(images(188, 204, 1).transpose(0, 3, 1, 2).copy())
    with torch.no_grad():
        want = model(x).flip((2, 3))
        for weight in model.parameters():
            if weight.ndim == 4:
                weight.copy_(weight.flip((2, 3)))
        torch.testing.assert_close(model(x.flip((2, 3))), want, rtol=0, atol=1e-12)


@pytest.mark.slow
def test_trains_the_same() -> None:
    assert_trains_the_same("UNet", (188, 204), 1, width=2)


@pytest.mark.parametrize("half", HALVES)
@pytest.mark.parametrize(
    ("arguments", "size", "message"),
    [
        ({}, (572, 570), "Crop or pad to 556 or 572"),
        ({}, (172, 572), "Crop or pad to 188, or use"),
        ({"padded": True}, (15, 64), "height must be at least 16"),
    ],
)
def test_sizes_without_a_meaning_are_refused(
    half: str, arguments: dict[str, Any], size: tuple[int, int], message: str
) -> None:
    model = make(half, "UNet", width=1, **arguments)
    x = images(*size, 1, "float32")
    if half == "torch_impl":
        import torch

        x = torch.from_numpy(x.transpose(0, 3, 1, 2))
    with pytest.raises(ValueError, match=message):
        model(x)


@pytest.mark.parametrize("half", HALVES)
@pytest.mark.parametrize(
    ("arguments", "message"),
    [({"width": 0}, "width must be at least 1"), ({"dropout": 1.0}, r"dropout must be in \[0, 1\)")],
)
def test_refusals(half: str, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make(half, "UNet", **arguments)
