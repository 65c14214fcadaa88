"""Bilinear weights: their values, the frameworks' initializers, and the resizes that they reproduce."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from tests.conftest import needs
from tests.unit.test_ops import HALVES, Half, whole


@pytest.fixture(params=HALVES)
def half(request: pytest.FixtureRequest) -> Half:
    return Half(request.param)


@pytest.fixture
def module(half: Half) -> ModuleType:
    return importlib.import_module(f"{half.name}.initializers")


def in_out_first(half: Half, weight: np.ndarray) -> np.ndarray:
    """A weight as (in, out, kH, kW), from the framework's own layout."""
    return weight.transpose(3, 2, 0, 1) if half.name == "tf_impl" else weight


def dtype_named(half: Half, name: str) -> object:
    return name if half.name == "tf_impl" else getattr(half.framework(), name)


# one axis of the filter, written out
TRIANGLES = {
    1: [1],
    2: [0.5, 0.5],
    3: [0.5, 1, 0.5],
    4: [0.25, 0.75, 0.75, 0.25],
    5: [1 / 3, 2 / 3, 1, 2 / 3, 1 / 3],
    6: [1 / 6, 1 / 2, 5 / 6, 5 / 6, 1 / 2, 1 / 6],
}


@pytest.mark.parametrize("size", [*TRIANGLES, (4, 3), (2, 5)], ids=str)
@pytest.mark.parametrize("channels", [1, 3])
def test_bilinear_kernel_values_and_layout(
    half: Half, module: ModuleType, size: int | tuple[int, int], channels: int
) -> None:
    height, width = (size, size) if isinstance(size, int) else size
    expected = np.zeros((channels, channels, height, width))
    for channel in range(channels):
        expected[channel, channel] = np.outer(TRIANGLES[height], TRIANGLES[width])
    found = half.numpy(module.bilinear_kernel(channels, channels, size, dtype_named(half, "float64")))
    assert found.dtype == np.float64
    assert found.shape == ((height, width, channels, channels) if half.name == "tf_impl" else expected.shape)
    np.testing.assert_allclose(in_out_first(half, found), expected, rtol=1e-15, atol=0)


def test_bilinear_kernel_of_the_source(half: Half, module: ModuleType) -> None:
    """D2L, fully convolutional networks: 21 classes enlarged by 32; float32 as there."""
    kernel = module.bilinear_kernel(21, 21, 64)
    assert half.dtype(kernel) == "float32"
    found = in_out_first(half, half.numpy(kernel))
    assert found.shape == (21, 21, 64, 64)
    i, j = np.ogrid[:64, :64]
    expected = (1 - abs(i - 31.5) / 32) * (1 - abs(j - 31.5) / 32)
    np.testing.assert_array_equal(found[20, 20], expected.astype(np.float32))
    assert np.count_nonzero(found) == 21 * 64 * 64


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((3, 5, 4), "must be equal .*; got in_channels=3, out_channels=5"),
        ((1, 3, 4), "must be equal"),  # the source's indexing would fill all three from channel 0
        ((0, 0, 4), "at least 1"),
        ((3, 3, 0), "kernel_size must be"),
        ((3, 3, (4, 4, 4)), "kernel_size must be"),
        ((3, 3, 2.5), "kernel_size must be"),
    ],
    ids=str,
)
def test_bad_numbers_are_refused(module: ModuleType, arguments: tuple, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        module.bilinear_kernel(*arguments)


def test_torch_impl_initializer_fills_a_layer_in_place() -> None:
    needs("torch")
    import torch

    from torch_impl.initializers import BilinearKernel, bilinear_kernel

    for dtype in (torch.float32, torch.float64, torch.bfloat16):
        layer = torch.nn.ConvTranspose2d(3, 3, (4, 3), stride=2, dtype=dtype)
        weight = layer.weight
        assert BilinearKernel()(layer.weight) is weight
        assert layer.weight is weight
        assert weight.requires_grad
        assert torch.equal(weight, bilinear_kernel(3, 3, (4, 3), dtype))
        layer(torch.ones(1, 3, 2, 2, dtype=dtype)).sum().backward()  # still a leaf that learns
        assert weight.grad is not None
    for bad in (torch.zeros(3, 3, 4), torch.zeros(3, 3, 4, 4, dtype=torch.int64), torch.zeros(3, 1, 4, 4)):
        with pytest.raises(ValueError, match="; got "):
            BilinearKernel()(bad)
        assert not bad.any()


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # Keras 3.15 on NumPy 2.4
def test_tf_impl_initializer_is_a_serialisable_keras_initializer(tmp_path: Path) -> None:
    needs("keras")
    import keras

    from tf_impl.initializers import BilinearKernel, bilinear_kernel

    for dtype in ("float32", "float64", "bfloat16"):
        layer = keras.layers.Conv2DTranspose(
            3, (4, 3), strides=2, kernel_initializer=BilinearKernel(), dtype=dtype
        )
        layer.build((None, 5, 7, 3))
        assert keras.backend.standardize_dtype(layer.kernel.dtype) == dtype
        expected = keras.ops.convert_to_numpy(keras.ops.cast(bilinear_kernel(3, 3, (4, 3), dtype), "float64"))
        kernel = keras.ops.convert_to_numpy(keras.ops.cast(layer.kernel, "float64"))
        np.testing.assert_array_equal(kernel, expected)
    model = keras.Sequential(
        [keras.Input((5, 7, 3)), keras.layers.Conv2DTranspose(3, 4, 2, kernel_initializer=BilinearKernel())]
    )
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras").layers[0]  # without custom_objects
    assert type(loaded.kernel_initializer) is BilinearKernel
    assert loaded.kernel_initializer.get_config() == {}
    config = keras.initializers.serialize(BilinearKernel())
    assert type(keras.initializers.deserialize(config)) is BilinearKernel
    for bad in ((4, 4, 3), (4, 4, 1, 3)):
        with pytest.raises(ValueError, match="; got "):
            BilinearKernel()(bad)


def sample(image: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Linear interpolation at given coordinates, one axis after the other; beyond the edge the edge repeats."""
    down = np.stack([np.interp(rows, np.arange(image.shape[0]), column) for column in image.T], axis=1)
    return np.stack([np.interp(columns, np.arange(image.shape[1]), row) for row in down])


def filtered(half: Half, module: ModuleType, image: np.ndarray, size: int, *geometry: int) -> np.ndarray:
    kernel = in_out_first(half, half.numpy(module.bilinear_kernel(1, 1, size, dtype_named(half, "float64"))))
    found = half.ops.trans_conv(half.tensor(image), half.tensor(kernel[0, 0].copy()), *geometry)
    return half.numpy(found)


@pytest.mark.parametrize("scale", [1, 2, 3, 4, 5])
def test_which_kernel_stride_and_padding_is_which_resize(half: Half, module: ModuleType, scale: int) -> None:
    image = whole(1, 7, 10) * 14.0  # up to 126 in size
    rows, columns = (np.arange(n * scale) for n in image.shape)
    rounding = {"rtol": 0, "atol": 8 * 126 * np.finfo(float).eps}
    # half-pixel centres, but for the border
    arguments = module.interpolation_arguments(scale)
    assert arguments["kernel_size"] == (2 * scale if scale % 2 == 0 else 2 * scale - 1)
    found = filtered(half, module, image, *arguments.values())
    expected = sample(image, (rows + 0.5) / scale - 0.5, (columns + 0.5) / scale - 0.5)
    assert found.shape == expected.shape == (7 * scale, 10 * scale)
    border = scale // 2
    inside = np.s_[border : 7 * scale - border, border : 10 * scale - border]
    np.testing.assert_allclose(found[inside], expected[inside], **rounding)
    assert border == 0 or (np.abs(found - expected).max(axis=1)[:border] > 1).all()  # the border does differ
    # an odd kernel whose padding puts its centre on the pixel: aligned corners, to the very edge
    found = filtered(half, module, image, 2 * scale - 1, scale, scale - 1)
    expected = sample(image, rows[: 6 * scale + 1] / scale, columns[: 9 * scale + 1] / scale)
    np.testing.assert_allclose(found, expected, **rounding)
    # and with output_padding n*scale pixels, sampled at y/scale, but for the last scale-1
    found = filtered(half, module, image, 2 * scale - 1, scale, scale - 1, scale - 1)
    assert found.shape == (7 * scale, 10 * scale)
    np.testing.assert_allclose(found[: 6 * scale + 1, : 9 * scale + 1], expected, **rounding)


def test_torch_impl_odd_kernel_is_interpolate_with_aligned_corners() -> None:
    half = Half("torch_impl")
    import torch

    module = importlib.import_module("torch_impl.initializers")
    image = torch.tensor(whole(2, 7, 10))
    found = filtered(half, module, image.numpy(), 3, 2, 1)
    resized = torch.nn.functional.interpolate(
        image[None, None], (13, 19), mode="bilinear", align_corners=True
    )
    np.testing.assert_array_equal(found, resized[0, 0].numpy())


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_a_photograph_is_enlarged_as_the_frameworks_resize_does(module: ModuleType, dtype: str) -> None:
    """Pixels are whole numbers and the weights sixteenths: inside the border not one bit may differ."""
    image = module.photograph()[:201, :334]  # odd, and wider than high
    assert image.std() > 50  # a real picture
    convolved, resized, inside = module.compare(image, 2, dtype)
    assert convolved.shape == resized.shape == (402, 668, 3)
    assert inside == 0
    np.testing.assert_array_equal(convolved[1:-1, 1:-1], resized[1:-1, 1:-1])
    difference = np.abs(convolved - resized)
    assert difference[0].max() > 1  # the outermost pixels do differ, and would be noticed
    assert difference[:, -1].max() > 1


def test_a_photograph_in_0_to_1_differs_by_rounding_alone(half: Half, module: ModuleType) -> None:
    image = module.photograph()[:120, :160] / 255
    tensorflow = half.name == "tf_impl" and half.framework().zeros(1).__class__.__module__.startswith(
        "tensorflow"
    )
    for dtype, eps in (("float64", 2**-52), ("float32", 2**-23)):
        # TensorFlow's resize rounds to float32 whatever it is given
        assert module.compare(image, 2, dtype)[2] <= 2 * (2**-23 if tensorflow else eps)


def test_nothing_inside_the_border_is_refused(module: ModuleType) -> None:
    with pytest.raises(ValueError, match="must have pixels inside the border; got shape"):
        module.compare(np.zeros((1, 5, 3)), 2)
    with pytest.raises(ValueError, match="scale must be"):
        module.compare(np.zeros((4, 5, 3)), 0)


def test_the_command_prints_the_difference_and_draws(
    module: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    picture = tmp_path / "bilinear.png"
    assert module.main(["--out", str(picture)]) == 0
    printed = capsys.readouterr().out
    for dtype in ("float64", "float32"):
        assert f"{dtype}: greatest difference inside the border 0 of 255" in printed
    from PIL import Image

    with Image.open(picture) as drawn:
        assert drawn.size == (1100, 800)
        assert len(drawn.convert("RGB").getcolors(1 << 20)) > 1000  # a photograph, not an empty frame


def test_the_command_names_what_is_missing(
    module: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "skimage", None)
    with pytest.raises(SystemExit) as stopped:
        module.main([])
    assert stopped.value.code == 2
    assert "pip install scikit-image" in capsys.readouterr().err
