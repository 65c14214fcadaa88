"""SkipBlockDN and SkipBlockUP of both halves: the same numbers, parameters, attributes and refusals."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.conftest import needs

# Keras 3.15 reads its variables with np.array, which NumPy 2.4 warns of.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't:DeprecationWarning")

EPS = float(np.finfo(np.float64).eps)

CASES: dict[str, tuple[str, dict[str, Any]]] = {
    f"{name} {in_ch}->{out_ch}{' resized' if resize else ''}{'' if skip else ' without shortcut'}": (
        name,
        {"in_ch": in_ch, "out_ch": out_ch, option: resize, "skip_connections": skip},
    )
    for name, option, in_ch, out_ch, resize, skip in (
        ("SkipBlockDN", "downsample", 4, 4, False, True),
        ("SkipBlockDN", "downsample", 4, 4, True, True),
        ("SkipBlockDN", "downsample", 4, 8, False, True),
        ("SkipBlockDN", "downsample", 4, 4, True, False),
        ("SkipBlockDN", "downsample", 4, 7, False, False),
        ("SkipBlockUP", "upsample", 4, 4, False, True),
        ("SkipBlockUP", "upsample", 4, 4, True, True),
        ("SkipBlockUP", "upsample", 8, 4, False, True),
        ("SkipBlockUP", "upsample", 4, 4, True, False),
        ("SkipBlockUP", "upsample", 4, 3, False, False),
    )
}
NAMES = {
    "SkipBlockDN": ["conv1", "conv2", "bn1", "bn2", "downsampler"],
    "SkipBlockUP": ["convT1", "convT2", "bn1", "bn2", "upsampler"],
}
KERAS_NAMES = {"running_mean": "moving_mean", "running_var": "moving_variance"}


def twins(name: str, arguments: dict[str, Any]) -> tuple[Any, Any]:
    """Both halves' block in float64 with the same random weights and running statistics."""
    import torch

    block = getattr(importlib.import_module("torch_impl.blocks"), name)(**arguments).double()
    twin = getattr(importlib.import_module("tf_impl.blocks"), name)(**arguments, dtype="float64")
    rng, copied = np.random.default_rng(0), 0
    for path, tensor in block.state_dict().items():
        layer, leaf = path.split(".")
        if leaf == "num_batches_tracked":
            continue
        value = 0.5 + rng.random(tensor.shape) if leaf == "running_var" else rng.standard_normal(tensor.shape)
        tensor.copy_(torch.from_numpy(value))
        if layer.startswith("bn"):
            leaf = {"weight": "gamma", "bias": "beta", **KERAS_NAMES}[leaf]
        elif leaf == "weight":
            leaf, value = "kernel", value.transpose(2, 3, 1, 0)
        getattr(getattr(twin, layer), leaf).assign(value)
        copied += 1
    assert copied == len(twin.weights) > 0
    return block, twin


def run(block: Any, x: np.ndarray) -> np.ndarray:
    import torch

    return block(torch.from_numpy(x.transpose(0, 3, 1, 2))).detach().numpy().transpose(0, 2, 3, 1)


def assert_same(got: Any, want: np.ndarray) -> None:
    assert np.asarray(got).shape == want.shape
    assert want.size
    np.testing.assert_allclose(np.asarray(got), want, rtol=0, atol=64 * EPS * float(np.abs(want).max()))


@pytest.mark.parametrize("name", CASES)
def test_same_output_in_both_modes(keras_torch: None, name: str) -> None:
    block, twin = twins(*CASES[name])
    x = np.random.default_rng(1).standard_normal((2, 5, 7, CASES[name][1]["in_ch"]))
    want = run(block.eval(), x)
    assert_same(twin(x), want)
    assert_same(twin(x, training=False), want)
    assert tuple(twin.compute_output_shape((None, *x.shape[1:]))) == (None, *want.shape[1:])
    trained = run(block.train(), x)
    assert np.abs(trained - want).max() > 1e-3
    assert_same(twin(x, training=True), trained)
    for norm in ("bn1", "bn2"):  # running variances differ by the frameworks' own rules: see test_layers
        assert_same(getattr(twin, norm).moving_mean, getattr(block, norm).running_mean.numpy())


@pytest.mark.parametrize("half", ["tf_impl", "torch_impl"])
@pytest.mark.parametrize("name", CASES)
def test_attributes_and_parameters(half: str, name: str) -> None:
    """The lecture's attributes in its order, also those that are never used."""
    needs("keras" if half == "tf_impl" else "torch")
    kind, arguments = CASES[name]
    block = getattr(importlib.import_module(f"{half}.blocks"), kind)(**arguments)
    in_ch, out_ch = arguments["in_ch"], arguments["out_ch"]
    resize = arguments.get("downsample", arguments.get("upsample"))
    want = NAMES[kind][: 5 if resize else 4]
    if half == "tf_impl":
        found = [layer.name for layer in block._layers]
        sizes = [int(np.prod(each.shape)) for each in block.trainable_variables]
    else:
        found = [child for child, _ in block.named_children()]
        sizes = [each.numel() for each in block.parameters()]
    assert found == want
    for attribute in want:
        assert getattr(block, attribute) is not None
    assert hasattr(block, NAMES[kind][4]) == resize
    pointwise = in_ch * out_ch + out_ch if resize else 0
    assert sum(sizes) == 2 * (9 * in_ch * out_ch + out_ch) + 4 * out_ch + pointwise
    for key, value in arguments.items():
        assert getattr(block, key) == value


@pytest.mark.parametrize("half", ["tf_impl", "torch_impl"])
@pytest.mark.parametrize("name", ["SkipBlockDN 4->8", "SkipBlockUP 8->4"])
def test_the_second_layer_is_not_used_where_channels_change(half: str, name: str) -> None:
    needs("keras" if half == "tf_impl" else "torch")
    kind, arguments = CASES[name]
    block = getattr(importlib.import_module(f"{half}.blocks"), kind)(**arguments)
    x = np.random.default_rng(0).standard_normal((1, 6, 5, arguments["in_ch"])).astype("float32")
    second = getattr(block, "conv2" if kind == "SkipBlockDN" else "convT2")
    outputs = []
    for scale in (1.0, 3.0):
        if half == "tf_impl":
            second.kernel.assign(second.kernel * scale)
            outputs.append(np.asarray(block(x)))
        else:
            second.weight.data *= scale
            outputs.append(run(block.eval(), x))
    assert np.array_equal(*outputs)


@pytest.mark.parametrize("name", CASES)
def test_saved_and_loaded(name: str, tmp_path: Path) -> None:
    needs("keras")
    import keras

    kind, arguments = CASES[name]
    block = getattr(importlib.import_module("tf_impl.blocks"), kind)(**arguments)
    for each in block.variables:
        each.assign(np.random.default_rng(0).random(each.shape))
    model = keras.Sequential([keras.Input((None, None, arguments["in_ch"])), block])
    model.save(tmp_path / "block.keras")
    again = keras.saving.load_model(tmp_path / "block.keras")
    x = np.random.default_rng(1).standard_normal((2, 5, 7, arguments["in_ch"])).astype("float32")
    assert np.array_equal(np.asarray(again(x)), np.asarray(block(x)))
    assert {key: again.layers[-1].get_config()[key] for key in arguments} == arguments
    assert len({each.path for each in block.variables}) == len(block.variables)


@pytest.mark.parametrize("half", ["tf_impl", "torch_impl"])
@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        (
            "SkipBlockDN",
            {"in_ch": 4, "out_ch": 8, "downsample": True},
            "out_ch must equal in_ch where downsample",
        ),
        (
            "SkipBlockUP",
            {"in_ch": 8, "out_ch": 4, "upsample": True},
            "out_ch must equal in_ch where upsample",
        ),
        ("SkipBlockDN", {"in_ch": 4, "out_ch": 2}, "out_ch must be in_ch=4 or 8, .*got out_ch=2"),
        ("SkipBlockUP", {"in_ch": 4, "out_ch": 8}, "out_ch must be in_ch=4 or 2, .*got out_ch=8"),
    ],
)
def test_refuses(half: str, name: str, arguments: dict[str, Any], message: str) -> None:
    needs("keras" if half == "tf_impl" else "torch")
    with pytest.raises(ValueError, match=message):
        getattr(importlib.import_module(f"{half}.blocks"), name)(**arguments)
