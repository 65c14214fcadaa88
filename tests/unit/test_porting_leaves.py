"""What stands for a layer of torch.nn in a port computes the same, at several sizes, and is serialised."""

from __future__ import annotations

import ast
from types import SimpleNamespace

import numpy as np
import pytest

torch = pytest.importorskip("torch")
keras = pytest.importorskip("keras")

import parity  # noqa: E402
from parity.adapters.keras.exact import exact_float64  # noqa: E402
from parity.adapters.keras.helpers import (  # noqa: E402
    activations,
    convolution,
    normalization,
    padding,
    pooling,
    products,
    resizing,
    shuffling,
    transposed,
)
from parity.adapters.keras.helpers.sequences import attention, recurrent, transformer  # noqa: E402
from parity.porting.to_keras.leaves.setting import Argument, NoCounterpartError, bound  # noqa: E402
from parity.porting.to_keras.leaves.table import TABLE  # noqa: E402

nn = torch.nn
HELPERS = {}
for module in (activations, attention, convolution, normalization, padding, pooling, products, recurrent,
               resizing, shuffling, transformer, transposed):  # fmt: skip
    HELPERS |= {name: value for name, value in vars(module).items() if isinstance(value, type)}

IMAGES = [
    "nn.Conv2d(4, 6, 1)",
    "nn.Conv2d(4, 6, 3, padding=1)",
    "nn.Conv2d(4, 6, 3, 2, 1)",
    "nn.Conv2d(4, 6, 3, padding='same')",
    "nn.Conv2d(4, 6, 4, padding='same', padding_mode='replicate')",
    "nn.Conv2d(4, 6, (3, 5), (2, 1), (1, 2), bias=False)",
    "nn.Conv2d(4, 6, 3, 2, 2, dilation=2)",
    "nn.Conv2d(4, 6, 3, 2, 1, groups=2)",
    "nn.Conv2d(4, 8, 3, 2, 1, groups=4)",
    "nn.Conv2d(4, 4, 3, 1, 1, groups=4)",
    "nn.Conv2d(4, 8, 3, (2, 1), 1, groups=4)",
    "nn.Conv2d(4, 6, 3, 2, 1, padding_mode='reflect')",
    "nn.Conv2d(4, 6, 3, 1, 1, padding_mode='circular')",
    "nn.ConvTranspose2d(4, 6, 2, 2)",
    "nn.ConvTranspose2d(4, 6, 4, 2, 1)",
    "nn.ConvTranspose2d(4, 6, 3, 2, 1, 1)",
    "nn.ConvTranspose2d(4, 6, 2, 3, 0, 2)",
    "nn.ConvTranspose2d(4, 6, 3, 2, 1, 0, groups=2, dilation=2)",
    "nn.ConvTranspose2d(4, 6, (3, 1), (2, 1), (1, 0), (1, 0), bias=False)",
    "nn.MaxPool2d(2)",
    "nn.MaxPool2d(3, 2, 1)",
    "nn.MaxPool2d(3, 2, ceil_mode=True)",
    "nn.MaxPool2d(3, 2, 1, ceil_mode=True)",
    "nn.MaxPool2d(1, 2, ceil_mode=True)",
    "nn.MaxPool2d(2, 3, 1, ceil_mode=True)",
    "nn.MaxPool2d(3, 2, 1, dilation=2)",
    "nn.AvgPool2d(2)",
    "nn.AvgPool2d(3, 2, 1)",
    "nn.AvgPool2d(3, 2, 1, count_include_pad=False)",
    "nn.AvgPool2d(3, 2, 1, ceil_mode=True)",
    "nn.AvgPool2d(2, 2, 0, ceil_mode=True)",
    "nn.AvgPool2d((3, 2), (2, 3), 1, ceil_mode=True, count_include_pad=False)",
    "nn.AvgPool2d(3, 2, 1, divisor_override=4)",
    "nn.LPPool2d(2, 3, 2)",
    "nn.LPPool2d(2, 2, 2, ceil_mode=True)",
    "nn.AdaptiveAvgPool2d(1)",
    "nn.AdaptiveAvgPool2d((3, 2))",
    "nn.AdaptiveAvgPool2d((7, 11))",
    "nn.AdaptiveAvgPool2d((None, 3))",
    "nn.AdaptiveMaxPool2d((3, 2))",
    "nn.Upsample(scale_factor=2)",
    "nn.Upsample(scale_factor=1.5)",
    "nn.Upsample((7, 23))",
    "nn.Upsample((7, 23), mode='nearest-exact')",
    "nn.Upsample(scale_factor=2, mode='bilinear')",
    "nn.Upsample((7, 23), mode='bilinear', align_corners=True)",
    "nn.Upsample(scale_factor=1.7, mode='bilinear')",
    "nn.Upsample((7, 23), mode='bicubic')",
    "nn.Upsample((7, 23), mode='area')",
    "nn.UpsamplingBilinear2d(scale_factor=2)",
    "nn.ZeroPad2d((1, 2, 3, 4))",
    "nn.ConstantPad2d((1, -2, 3, -2), 0.3)",
    "nn.ReflectionPad2d((1, 2, 3, 2))",
    "nn.ReplicationPad2d((1, 2, 3, 2))",
    "nn.CircularPad2d((1, 2, 3, 2))",
    "nn.PixelShuffle(2)",
    "nn.ChannelShuffle(2)",
    "nn.BatchNorm2d(4)",
    "nn.BatchNorm2d(4, eps=0.1, affine=False)",
    "nn.BatchNorm2d(4, track_running_stats=False)",
    "nn.GroupNorm(2, 4)",
    "nn.InstanceNorm2d(4)",
    "nn.InstanceNorm2d(4, affine=True)",
    "nn.LocalResponseNorm(3, 0.1, 0.7, 1.2)",
    "nn.GELU('tanh')",
    "nn.Hardtanh(-0.3, 0.6)",
    "nn.Softplus()",
    "nn.Softplus(2, 1.0)",
    "nn.CELU(0.7)",
    "nn.Threshold(0.2, 0.5)",
    "nn.Softshrink(0.2)",
    "nn.Hardshrink(0.2)",
    "nn.RReLU()",
    "nn.LogSoftmax(1)",
    "nn.Softmin(1)",
    "nn.GLU(1)",
    "nn.Softmax2d()",
    "nn.PReLU(4)",
    "nn.PReLU()",
    "nn.LeakyReLU(0.2)",
    "nn.ELU(0.5)",
    "nn.ReLU6()",
    "nn.ReLU(inplace=True)",
    "nn.Dropout(0.3)",
    "nn.Dropout2d(0.3)",
    *(f"nn.{kind}()" for kind in ("SiLU", "GELU", "Hardswish", "Hardsigmoid", "Mish", "SELU", "Softsign", "Tanhshrink",
                                  "LogSigmoid", "CELU", "Softshrink", "Hardshrink", "Identity", "Sigmoid", "Tanh")),
]  # fmt: skip
SIGNALS = [
    "nn.Conv1d(4, 6, 3, 2, 1)",
    "nn.Conv1d(4, 8, 3, 2, 1, groups=4)",
    "nn.Conv1d(4, 6, 3, padding=1)",
    "nn.ConvTranspose1d(4, 6, 3, 2, 1, 1)",
    "nn.MaxPool1d(3, 2, 1)",
    "nn.AvgPool1d(3, 2, 1)",
    "nn.AdaptiveAvgPool1d(4)",
    "nn.AdaptiveAvgPool1d(1)",
    "nn.BatchNorm1d(4)",
    "nn.InstanceNorm1d(4)",
    "nn.Upsample(scale_factor=2)",
    "nn.Upsample(scale_factor=2, mode='linear')",
    "nn.ReflectionPad1d((1, 2))",
    "nn.ConstantPad1d((1, 2), 0.5)",
    "nn.ZeroPad1d((1, 2))",
    "nn.Dropout1d(0.1)",
]
VOLUMES = [
    "nn.Conv3d(4, 6, 3, 2, 1)",
    "nn.ConvTranspose3d(4, 6, 3, 2, 1, 1)",
    "nn.BatchNorm3d(4)",
    "nn.AdaptiveAvgPool3d((2, 1, 3))",
    "nn.Upsample(scale_factor=2, mode='trilinear')",
    "nn.Upsample(scale_factor=2)",
]
FEATURES = [
    "nn.Linear(4, 3)",
    "nn.Linear(4, 3, bias=False)",
    "nn.LayerNorm(4)",
    "nn.LayerNorm((5, 4))",
    "nn.LayerNorm(4, elementwise_affine=False)",
    "nn.LayerNorm(4, bias=False)",
    "nn.RMSNorm(4)",
    "nn.RMSNorm(4, eps=0.01)",
    "nn.RMSNorm(4, eps=0.01, elementwise_affine=False)",
    "nn.Softmax(-1)",
    "nn.Softmax(dim=1)",
    "nn.GLU()",
    "nn.LSTM(4, 3, batch_first=True)",
    "nn.LSTM(4, 3, 2, bidirectional=True)",
    "nn.GRU(4, 3, batch_first=True, bidirectional=True)",
    "nn.RNN(4, 3, 2, nonlinearity='relu')",
    "nn.TransformerEncoderLayer(4, 2, 6, norm_first=True)",
    "nn.TransformerEncoderLayer(4, 1, 6, bias=False, batch_first=True)",
]


def leaf_of(text: str, rank: int):
    """The row of a layer that is written with constants."""
    call = ast.parse(text, mode="eval").body
    kind = call.func.attr

    def constant(node: ast.expr) -> Argument:
        return Argument(ast.unparse(node), (ast.literal_eval(node),))

    named = {keyword.arg: constant(keyword.value) for keyword in call.keywords}
    settings = bound(kind, getattr(nn, kind), [constant(arg) for arg in call.args], named, rank)
    return TABLE[kind](settings)


def layer_of(leaf):
    """The Keras layer that the text makes; nothing else than `layers` and the helpers is known to it."""
    known = {name: HELPERS[name] for name in leaf.helpers}
    return eval(leaf.text, {"keras": keras, **known})


def in_keras_order(x, order: str):
    return np.moveaxis(x, 1, -1) if order == "channels" else x


@pytest.fixture(autouse=True)
def float64():
    before = keras.config.floatx()
    policy = keras.config.dtype_policy()
    keras.config.set_floatx("float64")
    keras.config.set_dtype_policy("float64")  # Keras keeps the one that it used first
    yield
    keras.config.set_floatx(before)
    keras.config.set_dtype_policy(policy)


def module_of(text: str):
    torch.manual_seed(0)
    module = eval(text, {"nn": nn}).double().eval()
    for tensor in (*module.parameters(), *module.buffers()):
        if tensor.is_floating_point():
            tensor.data = torch.rand_like(tensor) + 0.1
    return module


def check(text: str, *shapes: tuple[int, ...]) -> None:
    rng = np.random.default_rng(0)
    module, leaf = module_of(text), leaf_of(text, len(shapes[0]))
    layer = layer_of(leaf)
    takes = leaf.takes if leaf.takes != "any" else "channels"
    gives = leaf.gives if leaf.gives != "same" else takes
    x = [rng.normal(size=shape) * 2 for shape in shapes]
    known = in_keras_order(x[0], takes).shape
    with exact_float64():
        layer(in_keras_order(x[0], takes))
        if layer.weights:
            symbolic = keras.Input((*(None for _ in known[1:-1]), known[-1]))
            wrapped = symbolic if "RNN" not in text else keras.Input(known[1:])
            model = keras.Model(wrapped, layer(wrapped))
            parity.transfer(nn.Sequential(module), model)
        for one in x:
            expected, found = module(torch.tensor(one)), layer(in_keras_order(one, takes))
            if isinstance(expected, tuple):  # recurrent layers: the state as well
                expected, found = expected[0], found[0]
            wanted = in_keras_order(expected.detach().numpy(), gives)
            found = np.asarray(keras.ops.convert_to_numpy(found))
            assert found.shape == wanted.shape
            assert np.abs(found - wanted).max() < 1e-11
            if leaf.gives != "torch":
                assert tuple(layer.compute_output_shape(in_keras_order(one, takes).shape)) == found.shape
        again = type(layer).from_config(layer.get_config())
        given = in_keras_order(x[0], takes)
        assert [tuple(w.shape) for w in _built(again, given).weights] == [
            tuple(w.shape) for w in layer.weights
        ]


def _built(layer, x):
    layer(x)
    return layer


@pytest.mark.parametrize("text", IMAGES)
def test_images(text: str) -> None:
    check(text, (2, 4, 9, 14), (3, 4, 8, 11))


@pytest.mark.parametrize("text", SIGNALS)
def test_signals(text: str) -> None:
    check(text, (2, 4, 9), (3, 4, 14))


@pytest.mark.parametrize("text", VOLUMES)
def test_volumes(text: str) -> None:
    check(text, (2, 4, 3, 5, 4), (1, 4, 4, 3, 7))


@pytest.mark.parametrize("text", FEATURES)
def test_features(text: str) -> None:
    check(text, (2, 5, 4), (3, 5, 4))


def test_images_of_unknown_size() -> None:
    """Layers whose steps depend on the size know it in a graph only."""
    texts = [
        text for text in IMAGES if any(word in text for word in ("Adaptive", "Upsample", "Shuffle", "ceil"))
    ]
    rng = np.random.default_rng(0)
    for text in texts:
        layer, module = layer_of(leaf_of(text, 4)), module_of(text)
        symbolic = keras.Input((None, None, 4))
        model = keras.Model(symbolic, layer(symbolic))
        for size in ((9, 14), (8, 11)):
            x = rng.normal(size=(2, 4, *size))
            found = model.predict(in_keras_order(x, "channels"), verbose=0)
            wanted = in_keras_order(module(torch.tensor(x)).numpy(), "channels")
            assert found.shape == wanted.shape, text
            if "nearest-exact" not in text:  # a tie is broken by the graph's order of operations
                assert np.abs(found - wanted).max() < 1e-6, text


def test_padded_embedding_keeps_its_row() -> None:
    leaf = leaf_of("nn.Embedding(5, 3, padding_idx=1)", 2)
    layer = layer_of(leaf)
    module = module_of("nn.Embedding(5, 3, padding_idx=1)")
    ids = np.array([[0, 1, 4], [1, 2, 2]])
    layer(ids)
    layer.set_weights([module.weight.detach().numpy()])
    assert np.array_equal(np.asarray(layer(ids)), module(torch.tensor(ids)).detach().numpy())
    assert leaf.text == "PaddedEmbedding(5, 3, padding_idx=1)"


def test_patches() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2, 4, 9, 14))
    for text in ("nn.Unfold(3)", "nn.Unfold((3, 2), dilation=2, padding=1, stride=(2, 3))"):
        wanted = module_of(text)(torch.tensor(x)).numpy().swapaxes(1, 2)
        found = np.asarray(layer_of(leaf_of(text, 4))(in_keras_order(x, "channels")))
        assert np.array_equal(found, wanted)
        again = text.replace("Unfold(", "Fold((9, 14), ")
        back = module_of(again)(torch.tensor(wanted.swapaxes(1, 2))).numpy()
        assert (
            np.abs(np.asarray(layer_of(leaf_of(again, 3))(wanted)) - in_keras_order(back, "channels")).max()
            < 1e-12
        )


def test_products() -> None:
    rng = np.random.default_rng(0)
    first, second = rng.normal(size=(2, 5, 4)), rng.normal(size=(2, 5, 4))
    for text in (
        "nn.CosineSimilarity()",
        "nn.CosineSimilarity(2, 0.1)",
        "nn.PairwiseDistance(3.0, keepdim=True)",
    ):
        wanted = module_of(text)(torch.tensor(first), torch.tensor(second)).numpy()
        assert np.abs(np.asarray(layer_of(leaf_of(text, 3))(first, second)) - wanted).max() < 1e-12
    module, layer = module_of("nn.Bilinear(4, 4, 3)"), layer_of(leaf_of("nn.Bilinear(4, 4, 3)", 3))
    layer(first, second)
    layer.set_weights([module.weight.detach().numpy(), module.bias.detach().numpy()])
    wanted = module(torch.tensor(first), torch.tensor(second)).detach().numpy()
    assert np.abs(np.asarray(layer(first, second)) - wanted).max() < 1e-12


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("nn.MaxPool2d(2, return_indices=True)", "return_indices=True"),
        ("nn.BatchNorm2d(4, momentum=None)", "momentum=None"),
        ("nn.Flatten(0)", "another axis than 1"),
        ("nn.Embedding(5, 3, max_norm=1.0)", "max_norm=1.0"),
    ],
)
def test_refused(text: str, reason: str) -> None:
    with pytest.raises(NoCounterpartError, match=reason):
        leaf_of(text, 4)


def test_expressions_are_kept() -> None:
    def of(kind, positional, **named):
        return TABLE[kind](bound(kind, getattr(nn, kind), positional, named, 4)).text

    planes, stride = Argument("planes", (64, 128)), Argument("stride", (1, 2))
    three, one = Argument("3", (3, 3)), Argument("1", (1, 1))
    conv = of(
        "Conv2d", [Argument("inplanes", (3, 64)), planes, three, stride], padding=one, bias=Argument("False")
    )
    assert conv == "PaddedConv2D(planes, 3, strides=stride, padding=1, use_bias=False)"
    conv = of("Conv2d", [Argument("inplanes", (3, 64)), planes, three], padding=one)
    assert conv == 'keras.layers.Conv2D(planes, 3, padding="same")'
    conv = of("Conv2d", [planes, planes, Argument("7", (7, 7))], padding=three, groups=planes)
    assert conv == 'keras.layers.DepthwiseConv2D(7, padding="same")'
    momentum = of("BatchNorm2d", [planes], momentum=Argument("momentum"))
    assert momentum == "keras.layers.BatchNormalization(momentum=1 - momentum, epsilon=1e-05)"


def test_a_fault_is_seen() -> None:
    """The comparison fails where the padding is Keras' own."""
    broken = SimpleNamespace(
        callee="keras.layers.Conv2D", text='keras.layers.Conv2D(6, 3, strides=2, padding="same")', helpers=()
    )
    x = np.random.default_rng(0).normal(size=(2, 8, 12, 4))
    layer, right = layer_of(broken), layer_of(leaf_of("nn.Conv2d(4, 6, 3, 2, 1)", 4))
    layer(x), right(x)
    right.set_weights(layer.get_weights())
    assert np.abs(np.asarray(layer(x)) - np.asarray(right(x))).max() > 1e-3
