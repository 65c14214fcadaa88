"""Every layer of both halves: the same outputs, gradients, refusals and first values; saved and loaded again."""

from __future__ import annotations

import importlib
import itertools
import json
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.conftest import needs

# Keras 3.15 reads its variables with np.array, which NumPy 2.4 warns of.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't:DeprecationWarning")

ROOT = Path(__file__).parents[2]
EPS = float(np.finfo(np.float64).eps)

Case = tuple[str, dict[str, Any], tuple[int, int]]  # layer, its arguments, height and width of the input

PLAIN = {"in_channels": 2, "out_channels": 3}
CASES: dict[str, Case] = {
    "conv": ("Conv2d", {**PLAIN, "kernel_size": (3, 2)}, (5, 7)),
    "conv stride": ("Conv2d", {**PLAIN, "kernel_size": 3, "stride": 2, "padding": 1}, (6, 9)),
    "conv 1x1 stride": ("Conv2d", {**PLAIN, "kernel_size": 1, "stride": 2}, (6, 9)),
    "conv not square": (
        "Conv2d",
        {**PLAIN, "kernel_size": (2, 5), "stride": (3, 1), "padding": (0, 2), "bias": False},
        (8, 7),
    ),
    "conv dilation": ("Conv2d", {**PLAIN, "kernel_size": (3, 2), "padding": 2, "dilation": (2, 3)}, (5, 7)),
    "conv stride and dilation": (
        "Conv2d",
        {**PLAIN, "kernel_size": 3, "stride": (2, 3), "padding": 2, "dilation": (3, 2)},
        (9, 10),
    ),
    "conv groups": (
        "Conv2d",
        {"in_channels": 4, "out_channels": 6, "kernel_size": 3, "groups": 2, "padding": 1},
        (5, 6),
    ),
    "batch norm": ("BatchNorm2d", {"num_features": 3}, (4, 5)),
    "batch norm alone": ("BatchNorm2d", {"num_features": 3, "affine": False}, (4, 5)),
    "max pool": ("MaxPool2d", {"kernel_size": 2}, (6, 7)),
    "max pool padding": (
        "MaxPool2d",
        {"kernel_size": (3, 2), "stride": (2, 1), "padding": (1, 1)},
        (6, 7),
    ),
    "mUnet convT": ("ConvTranspose2d", {**PLAIN, "kernel_size": 3, "padding": 1}, (5, 7)),
    "mUnet upsampler": (
        "ConvTranspose2d",
        {**PLAIN, "kernel_size": 1, "stride": 2, "dilation": 2, "output_padding": 1},
        (3, 4),
    ),
    "mUnet conv_out": (
        "ConvTranspose2d",
        {**PLAIN, "kernel_size": 3, "stride": 2, "dilation": 2, "output_padding": 1, "padding": 2},
        (3, 5),
    ),
    "mUnet dense head": ("ConvTranspose2d", {**PLAIN, "kernel_size": 4, "stride": 2, "padding": 1}, (3, 5)),
    "convT kernel below stride": (
        "ConvTranspose2d",
        {**PLAIN, "kernel_size": (2, 1), "stride": (3, 4), "output_padding": (2, 3), "bias": True},
        (3, 4),
    ),
    "convT padding beyond kernel": ("ConvTranspose2d", {**PLAIN, "kernel_size": 2, "padding": 2}, (6, 7)),
    "convT stride and dilation": (
        "ConvTranspose2d",
        {**PLAIN, "kernel_size": (3, 2), "stride": (2, 3), "dilation": (3, 2), "padding": (1, 2)},
        (3, 4),
    ),
    "convT common factor": (
        "ConvTranspose2d",
        {**PLAIN, "kernel_size": 3, "stride": (4, 2), "dilation": (2, 4), "output_padding": (3, 1)},
        (3, 4),
    ),
    "convT output_padding above stride": (
        "ConvTranspose2d",
        {**PLAIN, "kernel_size": 2, "stride": 1, "dilation": 4, "output_padding": (3, 2), "bias": False},
        (4, 3),
    ),
    "convT groups": (
        "ConvTranspose2d",
        {"in_channels": 4, "out_channels": 6, "kernel_size": (3, 4), "stride": 2, "padding": 1, "groups": 2},
        (3, 4),
    ),
    "convT groups and dilation": (
        "ConvTranspose2d",
        {"in_channels": 6, "out_channels": 3, "kernel_size": 2, "stride": 2, "dilation": 3, "groups": 3},
        (3, 4),
    ),
    "Keras' valid": ("Conv2DTranspose", {**PLAIN, "kernel_size": (3, 2), "stride": 2}, (3, 5)),
    "Keras' valid, kernel below stride": (
        "Conv2DTranspose",
        {**PLAIN, "kernel_size": (1, 2), "stride": (3, 4)},
        (3, 5),
    ),
    "Keras' same": ("Conv2DTranspose", {**PLAIN, "kernel_size": 3, "stride": 2, "padding": "same"}, (3, 5)),
    "Keras' same with output_padding": (
        "Conv2DTranspose",
        {**PLAIN, "kernel_size": (4, 3), "stride": (2, 3), "padding": "same", "output_padding": (1, 0)},
        (3, 5),
    ),
    "Keras' same with dilation": (
        "Conv2DTranspose",
        {**PLAIN, "kernel_size": (2, 3), "padding": "same", "dilation": (3, 2), "bias": False},
        (4, 5),
    ),
    "nearest": ("UpSampling2d", {"scale": (3, 2)}, (3, 4)),
    "bilinear": ("UpSampling2d", {"scale": 2, "mode": "bilinear"}, (3, 4)),
    "bilinear not square": ("UpSampling2d", {"scale": (3, 4), "mode": "bilinear"}, (5, 2)),
    "bilinear one pixel": ("UpSampling2d", {"scale": (1, 5), "mode": "bilinear"}, (1, 1)),
}
WEIGHTS = (
    ("weight", "kernel"),
    ("weight", "gamma"),
    ("bias", "bias"),
    ("bias", "beta"),
    ("running_mean", "moving_mean"),
    ("running_var", "moving_variance"),
)


def channels_of(case: Case) -> int:
    return case[1].get("in_channels", case[1].get("num_features", 2))


def to_keras(array: np.ndarray) -> np.ndarray:
    """Weights by PyTorch's order of axes -> by Keras'."""
    return array.transpose(2, 3, 1, 0) if array.ndim == 4 else array


def torch_twin(case: Case, seed: int = 0) -> tuple[Any, dict[str, np.ndarray], np.ndarray]:
    """PyTorch's layer in float64 with random weights, those weights in Keras' layout, an input (N, H, W, C)."""
    import torch

    name, arguments, size = case
    layer = getattr(importlib.import_module("torch_impl.layers"), name)(**arguments).double().eval()
    rng = np.random.default_rng(seed)
    weights = {}
    for torch_name, keras_name in WEIGHTS:
        value = getattr(layer, torch_name, None)
        if value is None or (
            torch_name in ("weight", "bias") and (keras_name in ("gamma", "beta")) != (name == "BatchNorm2d")
        ):
            continue
        random = rng.standard_normal(value.shape)
        if torch_name == "running_var":
            random = 0.5 + rng.random(value.shape)
        with torch.no_grad():
            value.copy_(torch.from_numpy(random))
        weights[keras_name] = to_keras(random)
    return layer, weights, rng.standard_normal((2, *size, channels_of(case)))


def keras_twin(case: Case, weights: dict[str, np.ndarray]) -> Any:
    layer = getattr(importlib.import_module("tf_impl.layers"), case[0])(**case[1], dtype="float64")
    for name, value in weights.items():
        getattr(layer, name).assign(value)
    assert len(layer.weights) == len(weights)
    return layer


def apply_torch(layer: Any, x: np.ndarray) -> np.ndarray:
    import torch

    with torch.no_grad():
        return layer(torch.from_numpy(x.transpose(0, 3, 1, 2))).numpy().transpose(0, 2, 3, 1)


def assert_same(got: np.ndarray, want: np.ndarray, taps: int = 64) -> None:
    """Equal to the rounding of a sum of some `taps` products, relative to the greatest value."""
    assert got.shape == want.shape
    assert got.dtype == want.dtype == np.float64
    assert want.size > 0
    np.testing.assert_allclose(got, want, rtol=0, atol=taps * EPS * float(np.abs(want).max()))


@pytest.fixture
def both(keras_torch: None) -> None:
    """Both frameworks."""


@pytest.mark.usefixtures("both")
@pytest.mark.parametrize("name", CASES)
class TestBothHalves:
    def test_same_output(self, name: str) -> None:
        layer, weights, x = torch_twin(CASES[name])
        twin = keras_twin(CASES[name], weights)
        want = apply_torch(layer, x)
        assert_same(np.asarray(twin(x)), want)
        assert tuple(twin.compute_output_shape(x.shape)) == want.shape
        assert (
            tuple(twin.compute_output_shape((None, None, None, x.shape[3]))) == (None,) * 3 + want.shape[3:]
        )

    def test_same_gradients(self, name: str) -> None:
        import keras
        import tensorflow as tf
        import torch

        assert keras.backend.backend() == "tensorflow"
        layer, weights, x = torch_twin(CASES[name])
        twin = keras_twin(CASES[name], weights)
        parts = np.random.default_rng(1).standard_normal(apply_torch(layer, x).shape)

        given = torch.from_numpy(x.transpose(0, 3, 1, 2).copy()).requires_grad_()
        (layer(given) * torch.from_numpy(parts.transpose(0, 3, 1, 2).copy())).sum().backward()
        variable = tf.Variable(x)
        with tf.GradientTape() as tape:
            total = tf.reduce_sum(twin(variable) * parts)
        trained = [each for _, each in WEIGHTS if each in weights and not each.startswith("moving")]
        grads = tape.gradient(total, [variable, *(getattr(twin, each).value for each in trained)])
        assert_same(np.asarray(grads[0]), given.grad.numpy().transpose(0, 2, 3, 1))
        for each, grad in zip(trained, grads[1:], strict=True):
            torch_name = "weight" if each in ("kernel", "gamma") else "bias"
            assert_same(np.asarray(grad), to_keras(getattr(layer, torch_name).grad.numpy()), taps=512)

    def test_saved_and_loaded_keeps_every_argument_and_every_bit(self, name: str, tmp_path: Path) -> None:
        import keras

        _, weights, x = torch_twin(CASES[name])
        twin = keras_twin(CASES[name], weights)
        model = keras.Sequential([keras.Input(x.shape[1:], dtype="float64"), twin])
        model.save(tmp_path / "layer.keras")
        again = keras.saving.load_model(tmp_path / "layer.keras")
        assert np.array_equal(np.asarray(again(x)), np.asarray(twin(x)))
        loaded = again.layers[-1]
        assert type(loaded) is type(twin)
        assert loaded.get_config() == twin.get_config()
        config = {key: pairs(value) for key, value in loaded.get_config().items()}
        assert {key: config[key] for key in CASES[name][1]} == {
            key: pairs(value, key) for key, value in CASES[name][1].items()
        }

    def test_unknown_sizes(self, name: str) -> None:
        import keras
        import tensorflow as tf

        layer, weights, x = torch_twin(CASES[name])
        inputs = keras.Input((None, None, x.shape[3]), dtype="float64")
        model = keras.Model(inputs, keras_twin(CASES[name], weights)(inputs))
        graph = tf.function(model, input_signature=[tf.TensorSpec((None, None, None, x.shape[3]), "float64")])
        wide = np.concatenate((x, x[:, ::-1], x), axis=1)[:1]  # another batch and height, the same graph
        for each in (x, wide):
            assert_same(np.asarray(graph(each)), apply_torch(layer, each))


def pairs(value: Any, key: str = "") -> Any:
    """The value as the layer keeps it: sizes as pairs, whatever JSON made of them."""
    sizes = ("kernel_size", "stride", "padding", "output_padding", "dilation", "scale")
    if key in sizes and isinstance(value, int):
        return (value, value)
    return tuple(value) if isinstance(value, list) else value


@pytest.mark.usefixtures("both")
@pytest.mark.parametrize(
    ("kernel_size", "stride", "dilation"),
    [
        *itertools.product([(3, 2), (1, 4)], [(1, 1), (2, 3), (4, 2)], [(1, 1)]),
        ((3, 2), (2, 3), (2, 3)),
        ((2, 3), (4, 6), (2, 3)),
        ((3, 2), (2, 4), (3, 6)),
    ],
)
def test_every_way_to_spread_gives_the_definition(
    kernel_size: tuple[int, int], stride: tuple[int, int], dilation: tuple[int, int]
) -> None:
    from tf_impl._functional import correlate, spread

    rng = np.random.default_rng(0)
    images, kernel = rng.standard_normal((2, 3, 4, 3)), rng.standard_normal((*kernel_size, 5, 3))
    for x in (images, images[:, :1, :1]):
        shape = x.shape[1:3]
        size = [
            (n - 1) * s + d * (k - 1) + 1
            for n, s, d, k in zip(shape, stride, dilation, kernel_size, strict=True)
        ]
        want = np.zeros((2, *size, 5))
        for i, j, a, b in np.ndindex(*shape, *kernel_size):
            want[:, i * stride[0] + a * dilation[0], j * stride[1] + b * dilation[1]] += (
                x[:, i, j] @ kernel[a, b].T
            )
        assert_same(np.asarray(spread(x, kernel, stride, dilation)), want)
        assert_same(np.asarray(correlate(x, kernel, stride, dilation)), want)
        for rows, columns in itertools.product([(1, 1), (2, 1), (0, 2), (-1, 2)], [(1, 1), (3, 2), (1, -2)]):
            wide = np.pad(want, ((0, 0), (2, 2), (2, 2), (0, 0)))
            cut = wide[:, 2 + rows[0] : size[0] + 2 - rows[1], 2 + columns[0] : size[1] + 2 - columns[1]]
            if cut.size:
                assert_same(np.asarray(spread(x, kernel, stride, dilation, (rows, columns))), cut)


# every rule of one axis: (kernel, stride, output_padding, dilation)
RULES = [
    (kernel, stride, extra, dilation)
    for kernel, stride in itertools.product(range(1, 6), range(1, 5))
    for extra in (None, *range(stride))
    for dilation in ((1, 2, 3) if stride == 1 else (1,))
]


def keras_pairs(padding: str) -> list[dict[str, Any]]:
    """Every rule on either axis, beside another rule that Keras accepts with it."""
    found = []
    for given, undilated in itertools.product((False, True), repeat=2):
        group = [
            each for each in RULES if (each[2] is not None) == given and each[3 if undilated else 1] == 1
        ]
        for first, second in zip(group, group[7:] + group[:7], strict=True):
            kernel, stride, extra, dilation = zip(first, second, strict=True)
            arguments = {"kernel_size": kernel, "stride": stride, "padding": padding, "dilation": dilation}
            found.append({**arguments, "output_padding": extra if given else None})
    return found


def tensorflow_refuses(arguments: dict[str, Any]) -> bool:
    """Whether Keras' own layer fails on TensorFlow and a CPU; on JAX and torch it does not: compared there.

    Either the kernel is dilated, or "same" leaves one pixel less than a convolution of stride 1 could come from.
    """
    if max(arguments["dilation"]) > 1:
        return True
    if arguments["padding"] == "valid" or arguments["output_padding"] is None:
        return False
    axes = zip(arguments["kernel_size"], arguments["output_padding"], strict=True)
    return any(kernel % 2 == 0 and extra == 0 for kernel, extra in axes)


@pytest.mark.usefixtures("both")
@pytest.mark.slow
@pytest.mark.parametrize("padding", ["valid", "same"])
def test_conv2dtranspose_is_keras_own(padding: str) -> None:
    import keras

    rng = np.random.default_rng(0)
    x, compared = rng.standard_normal((1, 3, 4, 2)), 0
    seen: set[tuple[int, Any]] = set()
    for arguments in keras_pairs(padding):
        if tensorflow_refuses(arguments):
            continue
        layer, weights, _ = torch_twin(("Conv2DTranspose", {**PLAIN, **arguments}, (3, 4)))
        own = keras.layers.Conv2DTranspose(
            3,
            arguments["kernel_size"],
            strides=arguments["stride"],
            padding=padding,
            output_padding=arguments["output_padding"],
            dilation_rate=arguments["dilation"],
            dtype="float64",
        )
        own.build((None, None, None, 2))
        own.set_weights([weights["kernel"], weights["bias"]])
        want = np.asarray(own(x))
        assert_same(apply_torch(layer, x), want)
        assert_same(
            np.asarray(keras_twin(("Conv2DTranspose", {**PLAIN, **arguments}, (3, 4)), weights)(x)), want
        )
        compared += 1
        extra = arguments["output_padding"] or (None, None)
        for axis in (0, 1):
            rule = (arguments[key][axis] for key in ("kernel_size", "stride", "dilation"))
            seen.add((axis, (*rule, extra[axis])))
    assert compared == {"valid": 70, "same": 54}[padding]  # of "same", 16 fail on TensorFlow
    assert len(seen) == 2 * compared  # each rule on both axes


EMPTY = "the output must have at least one pixel"
REFUSED: dict[str, tuple[str, dict[str, Any], str]] = {
    "channels": (
        "Conv2d",
        {"in_channels": 0, "out_channels": 3, "kernel_size": 3},
        "in_channels must be at least 1",
    ),
    "groups": (
        "Conv2d",
        {**PLAIN, "kernel_size": 3, "groups": 2},
        "out_channels must be a multiple of groups",
    ),
    "groups of convT": (
        "ConvTranspose2d",
        {**PLAIN, "kernel_size": 3, "groups": 3},
        "in_channels must be a multiple of groups",
    ),
    "kernel_size": ("Conv2d", {**PLAIN, "kernel_size": 0}, "kernel_size must be one or two whole numbers"),
    "three numbers": (
        "Conv2d",
        {**PLAIN, "kernel_size": (1, 2, 3)},
        "kernel_size must be one or two whole numbers",
    ),
    "fraction": ("Conv2d", {**PLAIN, "kernel_size": 1.5}, "kernel_size must be one or two whole numbers"),
    "stride": (
        "ConvTranspose2d",
        {**PLAIN, "kernel_size": 3, "stride": (1, 0)},
        "stride must be one or two whole",
    ),
    "padding": (
        "ConvTranspose2d",
        {**PLAIN, "kernel_size": 3, "padding": -1},
        "padding must be one or two whole",
    ),
    "same": (
        "Conv2d",
        {**PLAIN, "kernel_size": 3, "padding": "same"},
        "padding must be one or two whole numbers",
    ),
    "output_padding": (
        "ConvTranspose2d",
        {**PLAIN, "kernel_size": 3, "stride": (2, 1), "dilation": (1, 2), "output_padding": (1, 2)},
        "output_padding must be smaller than stride or dilation",
    ),
    "Keras' padding": (
        "Conv2DTranspose",
        {**PLAIN, "kernel_size": 3, "padding": 1},
        'padding must be "valid" or "same".*use ConvTranspose2d',
    ),
    "Keras' stride and dilation": (
        "Conv2DTranspose",
        {**PLAIN, "kernel_size": 3, "stride": (2, 1), "dilation": (1, 2)},
        "stride and dilation must not both be greater than 1.*Use ConvTranspose2d",
    ),
    "Keras' output_padding": (
        "Conv2DTranspose",
        {**PLAIN, "kernel_size": 3, "output_padding": 1},
        "output_padding must be smaller than stride",
    ),
    "pool padding": (
        "MaxPool2d",
        {"kernel_size": 3, "padding": 2},
        "padding must be at most half of kernel_size",
    ),
    "mode": ("UpSampling2d", {"scale": 2, "mode": "bicubic"}, 'mode must be "nearest" or "bilinear"'),
    "scale": ("UpSampling2d", {"scale": 0}, "scale must be one or two whole numbers"),
}


@pytest.mark.parametrize("half", ["tf_impl", "torch_impl"])
@pytest.mark.parametrize("name", REFUSED)
def test_refuses_at_construction(half: str, name: str) -> None:
    needs("keras" if half == "tf_impl" else "torch")
    layer, arguments, message = REFUSED[name]
    with pytest.raises(ValueError, match=message):
        getattr(importlib.import_module(f"{half}.layers"), layer)(**arguments)


def test_refusals_are_those_of_the_frameworks(keras_torch: None) -> None:
    """What the two layers refuse, PyTorch and Keras refuse; what lies beside it, they accept."""
    import keras
    import torch
    from torch.nn.functional import conv_transpose2d

    x, weight = torch.zeros(1, 1, 3, 3), torch.zeros(1, 1, 3, 3)
    conv_transpose2d(x, weight, stride=2, dilation=3, output_padding=2)
    with pytest.raises(RuntimeError, match="output padding must be smaller than either stride or dilation"):
        conv_transpose2d(x, weight, stride=2, dilation=3, output_padding=3)
    keras.layers.Conv2DTranspose(1, 3, strides=2, output_padding=1)
    with pytest.raises(ValueError, match="output_padding"):
        keras.layers.Conv2DTranspose(1, 3, strides=2, output_padding=2)
    with pytest.raises(ValueError, match=r"not supported in conjunction"):
        keras.layers.Conv2DTranspose(1, 3, strides=(2, 1), dilation_rate=(1, 2))


@pytest.mark.parametrize("half", ["tf_impl", "torch_impl"])
def test_an_empty_output_is_an_error(half: str) -> None:
    """The lecture's example: one pixel, kernel 4: 4x4, 2x2 with padding 1, an error with padding 2."""
    needs("keras" if half == "tf_impl" else "torch")
    if half == "tf_impl":
        from tf_impl.layers import ConvTranspose2d

        x: Any = np.ones((1, 1, 1, 4), "float32")
        size = slice(1, 3)
    else:
        import torch

        from torch_impl.layers import ConvTranspose2d  # type: ignore[assignment]

        x, size = torch.ones(1, 4, 1, 1), slice(2, 4)
    for padding, want in ((0, (4, 4)), (1, (2, 2))):
        assert tuple(ConvTranspose2d(4, 2, 4, 1, padding)(x).shape[size]) == want
    with pytest.raises(ValueError, match=EMPTY):
        ConvTranspose2d(4, 2, 4, 1, 2)(x)


@pytest.mark.parametrize("name", ["ConvTranspose2d", "Conv2DTranspose", "Conv2d"])
def test_other_channels_are_an_error_and_never_groups(name: str) -> None:
    """keras.ops takes a channel count that is a multiple of the kernel's for groups, silently."""
    needs("keras")
    import keras

    from tf_impl import layers

    layer = getattr(layers, name)(2, 4, 3)
    for channels in (1, 4):
        with pytest.raises(ValueError, match="expected axis -1 of input shape to have value 2"):
            layer(keras.ops.ones((1, 5, 5, channels)))


@pytest.mark.parametrize("half", ["tf_impl", "torch_impl"])
@pytest.mark.parametrize(
    ("name", "arguments", "fan_in"),
    [
        ("Conv2d", {"in_channels": 32, "out_channels": 64, "kernel_size": (3, 2), "groups": 4}, 8 * 6),
        (
            "ConvTranspose2d",
            {"in_channels": 32, "out_channels": 64, "kernel_size": (3, 2), "groups": 4},
            16 * 6,
        ),
        ("Conv2DTranspose", {"in_channels": 32, "out_channels": 64, "kernel_size": (3, 2)}, 64 * 6),
    ],
)
def test_first_values_have_pytorchs_distribution(half: str, name: str, arguments: Any, fan_in: int) -> None:
    """Uniform within 1/sqrt(fan_in), where PyTorch takes a transposed convolution's fan_in from its output."""
    needs("keras" if half == "tf_impl" else "torch")
    layer = getattr(importlib.import_module(f"{half}.layers"), name)(**arguments)
    kernel = layer.kernel if half == "tf_impl" else layer.weight.detach()
    bound = 1 / math.sqrt(fan_in)
    for values, count in (
        (np.asarray(kernel), 3000),
        (np.asarray(layer.bias if half == "tf_impl" else layer.bias.detach()), 64),
    ):
        assert values.size >= count
        assert np.abs(values).max() <= bound
        assert np.abs(values).max() > 0.85 * bound
        slack = 4 / math.sqrt(values.size)  # four standard errors
        assert abs(values.std() / (bound / math.sqrt(3)) - 1) < slack
        assert abs(values.mean()) < slack * bound


def test_batch_norm_in_training(keras_torch: None) -> None:
    """The same outputs and running statistics: the batch's variance enters unbiased on both sides."""
    import torch

    layer, weights, x = torch_twin(CASES["batch norm"])
    twin = keras_twin(CASES["batch norm"], weights)
    want = layer.train()(torch.from_numpy(x.transpose(0, 3, 1, 2))).detach().numpy().transpose(0, 2, 3, 1)
    assert_same(np.asarray(twin(x, training=True)), want)
    mean, count = x.mean(axis=(0, 1, 2)), x[..., 0].size
    biased = x.var(axis=(0, 1, 2))
    assert_same(np.asarray(twin.moving_mean), 0.9 * weights["moving_mean"] + 0.1 * mean)
    assert_same(layer.running_mean.numpy(), np.asarray(twin.moving_mean))
    unbiased = biased * count / (count - 1)
    assert_same(np.asarray(twin.moving_variance), 0.9 * weights["moving_variance"] + 0.1 * unbiased)
    assert_same(layer.running_var.numpy(), 0.9 * weights["moving_variance"] + 0.1 * unbiased)
    hand = (x - mean) / np.sqrt(biased + 1e-5) * weights["gamma"] + weights["beta"]
    assert_same(want, hand)


def test_bilinear_keeps_float64_where_tensorflow_does_not(keras_torch: None) -> None:
    """Keras' own UpSampling2D agrees to float32, and on TensorFlow no further."""
    import keras

    layer, _, x = torch_twin(CASES["bilinear not square"])
    own = np.asarray(keras.layers.UpSampling2D((3, 4), interpolation="bilinear", dtype="float64")(x))
    np.testing.assert_allclose(own, apply_torch(layer, x), rtol=0, atol=16 * np.finfo(np.float32).eps)
    near = keras.layers.UpSampling2D((3, 2), dtype="float64")(x)
    assert np.array_equal(np.asarray(near), apply_torch(torch_twin(CASES["nearest"])[0], x))


def test_sizes_by_names_of_arguments(keras_torch: None) -> None:
    """Both layers keep the constructor's arguments under the same names, sizes as pairs."""
    for case in CASES.values():
        layer, weights, _ = torch_twin(case)
        twin = keras_twin(case, weights)
        for key, value in case[1].items():
            if key == "bias":
                assert (twin.bias is not None) == (layer.bias is not None) == value
                continue
            want = pairs(value, key)
            assert getattr(layer, key) == want, (case, key)
            assert getattr(twin, key) == want, (case, key)


CHILD = """
import json, sys
import numpy as np
import keras
from tf_impl import layers
assert keras.backend.backend() == sys.argv[2], keras.backend.backend()
assert sys.argv[2] == "torch" or "torch" not in sys.modules
data = np.load(sys.argv[1])
for number, (name, arguments, own) in enumerate(json.loads(str(data["cases"]))):
    layer = getattr(layers, name)(**arguments, dtype="float64")
    prefix = f"{number} "
    if own:
        twin = keras.layers.Conv2DTranspose(
            arguments["out_channels"], arguments["kernel_size"], strides=arguments["stride"],
            padding=arguments["padding"], output_padding=arguments["output_padding"],
            dilation_rate=arguments["dilation"], dtype="float64")
        twin.build((None, None, None, arguments["in_channels"]))
        twin.set_weights([data[prefix + "kernel"], data[prefix + "bias"]])
    for key in data.files:
        if key.startswith(prefix) and key[len(prefix):] not in ("input", "output"):
            getattr(layer, key[len(prefix):]).assign(data[key])
    want = data[prefix + "output"]
    for each in (layer, twin) if own else (layer,):
        got = keras.ops.convert_to_numpy(each(data[prefix + "input"]))
        assert got.shape == want.shape and got.dtype == np.float64, (name, arguments, got.shape, got.dtype)
        off = float(np.abs(got - want).max() / np.abs(want).max())
        assert off < 64 * 2.3e-16, (name, arguments, each, off)
print("compared", number + 1)
"""


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_layers_on_other_backends(keras_torch: None, backend: str, tmp_path: Path) -> None:
    """The same layers on Keras' other backends, and Keras' own Conv2DTranspose where TensorFlow fails."""
    needs(backend)
    cases = [(case, False) for case in CASES.values()]
    corner = [each for each in keras_pairs("same") + keras_pairs("valid") if tensorflow_refuses(each)]
    corner = corner[:: 8 if backend == "jax" else 1]  # JAX compiles each for half a second
    assert len(corner) >= 5
    cases += [(("Conv2DTranspose", {**PLAIN, **each}, (6, 7)), True) for each in corner]
    arrays: dict[str, Any] = {"cases": json.dumps([(case[0], case[1], own) for case, own in cases])}
    for number, (case, _) in enumerate(cases):
        layer, weights, x = torch_twin(case)
        arrays |= {f"{number} {key}": value for key, value in weights.items()}
        arrays |= {f"{number} input": x, f"{number} output": apply_torch(layer, x)}
    np.savez(tmp_path / "cases.npz", **arrays)
    environment = {**os.environ, "KERAS_BACKEND": backend, "JAX_ENABLE_X64": "1", "JAX_PLATFORMS": "cpu"}
    done = subprocess.run(
        [sys.executable, "-c", CHILD, str(tmp_path / "cases.npz"), backend],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.strip() == f"compared {len(cases)}"


# ---- oneDNN's backward pass of a 1 x 1 convolution with a stride ----------------------------------------------

CRASHING = """
import torch
from torch_impl.layers import Conv2d

torch.set_num_threads(1)
for channels, groups in ((2, 1), (8, 1), (12, 1), (32, 4)):
    for size in ((64, 150), (100, 128)):
        layer = Conv2d(channels, 16, 1, 2, groups=groups).to(memory_format=torch.channels_last)
        plain = torch.nn.Conv2d(channels, 16, 1, 2, groups=groups)
        plain.load_state_dict(layer.state_dict())
        x = torch.rand(4, channels, *size)
        for conv, image in ((layer, x.to(memory_format=torch.channels_last)), (plain, x)):
            conv(image).pow(2).sum().backward()
        torch.testing.assert_close(layer(x), plain(x))
        apart = (layer.weight.grad - plain.weight.grad).abs().max() / plain.weight.grad.abs().max()
        assert apart < 1e-5, float(apart)
"""


def test_few_channels_train_in_channels_last() -> None:
    """torch.nn.Conv2d dies here, or writes over memory that is not its own."""
    needs("torch")
    done = subprocess.run([sys.executable, "-c", CRASHING], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
