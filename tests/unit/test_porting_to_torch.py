"""Ports from Keras to torch: what is written computes the same, and is what a person would write."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers as L
from keras import ops

import parity
from parity.porting.to_torch.write import write
from parity.porting.written import WrittenPort

DRAWN = np.random.default_rng(0)
IMAGES = DRAWN.normal(size=(2, 17, 22, 3)).astype("float32")
TOKENS = DRAWN.integers(0, 30, (2, 9)).astype("int32")
FRAMES = DRAWN.normal(size=(2, 11, 6)).astype("float32")


def made(port: WrittenPort) -> Any:
    """The model of a port."""
    module = ModuleType("a_port")
    sys.modules["a_port"] = module
    exec(compile(port.text, "a_port.py", "exec"), module.__dict__)
    return module.build().eval()


def check(model: Any, x: Any, *more: Any) -> WrittenPort:
    """Write a model; its port must be equal at every input."""
    model(x)
    for variable in model.variables:
        if variable.path.endswith(("gamma", "beta", "bias", "moving_mean")):
            variable.assign(DRAWN.normal(1, 0.2, variable.shape))
    port = write(model, x)
    assert not port.unwritten, port.unwritten
    torch_model = made(port)
    parity.transfer(model, torch_model, inputs=x)
    for inputs in (x, *more):
        parity.assert_parity(model, torch_model, inputs=inputs)
    return port


def graph(*layers: Any, shape: tuple[int | None, ...] = (None, None, 3)) -> Any:
    """Layers behind one another, as a graph."""
    x = inputs = keras.Input(shape)
    for layer in layers:
        x = layer(x)
    return keras.Model(inputs, x, name="net")


IMAGE_LAYERS: dict[str, Callable[[], list[Any]]] = {
    "same with a stride": lambda: [L.Conv2D(4, 3, strides=2, padding="same"), L.Conv2D(4, 4, padding="same")],
    "depthwise and separable": lambda: [
        L.DepthwiseConv2D(3, 2, padding="same", depth_multiplier=2),
        L.SeparableConv2D(5, 3, padding="same"),
    ],
    "transposed": lambda: [
        L.Conv2DTranspose(4, 3, strides=2, padding="same"),
        L.Conv2DTranspose(4, 4, strides=2, padding="same", activation="relu"),
        L.Conv2DTranspose(3, 2, strides=3),
    ],
    "pooling": lambda: [
        L.Conv2D(4, 1),
        L.AveragePooling2D(3, 2, padding="same"),
        L.MaxPooling2D(3, 2, padding="same"),
        L.MaxPooling2D(2, padding="same"),
    ],
    "padding and cropping": lambda: [
        L.ZeroPadding2D(((1, 2), (0, 3))),
        L.Cropping2D(((2, 0), (1, 1))),
        L.Conv2D(3, 1),
    ],
    "norms": lambda: [
        L.Conv2D(6, 1),
        L.GroupNormalization(3),
        L.LayerNormalization(),
        L.BatchNormalization(scale=False),
        L.UnitNormalization(),
    ],
    "resizing": lambda: [
        L.Conv2D(2, 1),
        L.UpSampling2D(2, interpolation="bilinear"),
        L.Resizing(9, 20),
        L.UpSampling2D(),
    ],
    "activations": lambda: [
        L.Conv2D(4, 1, activation="gelu"),
        L.LeakyReLU(0.2),
        L.PReLU(shared_axes=(1, 2)),
        L.ReLU(6.0),
        L.Activation("hard_silu"),
        L.Softmax(),
    ],
    "preprocessing": lambda: [
        L.Rescaling(1 / 255, offset=0.5),
        L.Normalization(mean=[1.0, 2.0, 3.0], variance=[1.0, 4.0, 2.0]),
        L.Conv2D(2, 1),
    ],
    "vectors": lambda: [L.Conv2D(4, 3), L.GlobalAveragePooling2D(), L.Dense(5, activation="softmax")],
}


@pytest.mark.parametrize("name", IMAGE_LAYERS)
def test_layers_of_images_compute_the_same(name: str) -> None:
    check(graph(*IMAGE_LAYERS[name]()), IMAGES, IMAGES[:, :13, :16])


SEQUENCE_LAYERS: dict[str, Callable[[], list[Any]]] = {
    "convolution": lambda: [
        L.Conv1D(4, 3, padding="causal"),
        L.MaxPooling1D(2),
        L.Conv1D(4, 3, 2, padding="same"),
    ],
    "recurrent": lambda: [L.LSTM(5, return_sequences=True), L.GRU(4, return_sequences=True), L.SimpleRNN(3)],
    "both ways": lambda: [L.Bidirectional(L.GRU(4, return_sequences=True)), L.Bidirectional(L.LSTM(3))],
    "vectors": lambda: [
        L.Dense(4),
        L.RMSNormalization(),
        L.Permute((2, 1)),
        L.GlobalMaxPooling1D(),
        L.RepeatVector(3),
    ],
}


@pytest.mark.parametrize("name", SEQUENCE_LAYERS)
def test_layers_of_sequences_compute_the_same(name: str) -> None:
    check(graph(*SEQUENCE_LAYERS[name](), shape=(11, 6)), FRAMES)


def unit(x: Any, filters: int, stride: int, name: str) -> Any:
    """A residual block of a graph, by its layers' names."""
    short = x
    if stride > 1:
        short = L.Conv2D(filters, 1, strides=stride, name=f"{name}_0_conv")(x)
    x = L.Conv2D(filters, 3, strides=stride, padding="same", name=f"{name}_1_conv")(x)
    x = L.BatchNormalization(name=f"{name}_1_bn")(x)
    x = L.Conv2D(filters, 3, padding="same", name=f"{name}_2_conv")(L.ReLU(name=f"{name}_1_relu")(x))
    return L.ReLU(name=f"{name}_out")(L.Add(name=f"{name}_add")([short, x]))


def residual_graph() -> Any:
    x = inputs = keras.Input((None, None, 3))
    x = L.Conv2D(4, 3, name="stem")(x)
    for stage, filters in ((1, 4), (2, 8)):
        for number in (1, 2):
            x = unit(x, filters, 2 if (stage, number) == (2, 1) else 1, f"conv{stage}_block{number}")
    return keras.Model(inputs, L.GlobalAveragePooling2D()(x), name="small_net")


def test_the_repeated_blocks_of_a_graph_are_one_class() -> None:
    port = check(residual_graph(), IMAGES, IMAGES[:, :13, :16])
    assert port.text.count("class Block") == 1
    assert "class SmallNet(nn.Module)" in port.text
    assert "shortcut=True" in port.text
    assert port.text.count("nn.Sequential(") == 2  # conv1 and conv2
    assert "permute" not in port.text


def test_flatten_and_an_image_from_a_vector_stay_plain() -> None:
    model = keras.Sequential(
        [
            keras.Input((8, 12, 3)),
            L.Conv2D(4, 3, strides=2, padding="same"),
            L.Flatten(),
            L.Dense(7, activation="relu"),
            L.Dense(4 * 6 * 5),
            L.Reshape((4, 6, 5)),
            L.Conv2DTranspose(3, 4, strides=2, padding="same"),
        ]
    )
    port = check(model, IMAGES[:, :8, :12])
    assert ".flatten(1)" in port.text
    assert ".unflatten(1, (5, 4, 6))" in port.text
    assert "permute" not in port.text


@keras.saving.register_keras_serializable("ports")
class Gated(L.Layer):
    """Channels weighed by what the whole image has of them."""

    def __init__(self, channels: int, ratio: int = 2, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.squeeze = L.Dense(channels // ratio, activation="relu")
        self.excite = L.Dense(channels, activation="sigmoid")

    def build(self, shape: Any) -> None:
        self.scale = self.add_weight(shape=(shape[-1],), initializer="ones", name="scale")

    def call(self, x: Any) -> Any:
        weights = self.excite(self.squeeze(ops.mean(x, axis=(1, 2))))
        return x * ops.reshape(weights, (-1, 1, 1, weights.shape[-1])) * self.scale


class GatedNet(keras.Model):
    """Gated convolutions, and a head over all pixels."""

    def __init__(self, width: int = 4, classes: int = 3, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.convs = [L.Conv2D(width, 3, padding="same"), L.Conv2D(2 * width, 3, strides=2, padding="same")]
        self.gates = [Gated(width), Gated(2 * width)]
        self.head = L.Dense(classes)

    def call(self, x: Any) -> Any:
        for conv, gate in zip(self.convs, self.gates, strict=True):
            x = ops.relu(gate(conv(x)))
        rows = ops.shape(x)[1]
        tokens = ops.reshape(x, (-1, rows * ops.shape(x)[2], ops.shape(x)[3]))
        return self.head(ops.max(tokens, axis=1))


def test_a_class_of_the_source_is_one_class_of_the_port() -> None:
    port = check(GatedNet(), IMAGES, IMAGES[:, :12, :14])
    assert port.text.count("\nclass Gated(nn.Module):") == 1
    assert '"""Channels weighed by what the whole image has of them."""' in port.text
    assert "ratio=2" in port.text
    assert port.classes == {"Gated": "Gated", "GatedNet": "GatedNet"}


class TokenNet(keras.Model):
    """Tokens and their places through attention."""

    def __init__(self, words: int = 30, dim: int = 8, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.words = L.Embedding(words, dim)
        self.places = L.Embedding(64, dim)
        self.attention = L.MultiHeadAttention(2, 4)
        self.wide = L.MultiHeadAttention(2, 3, value_dim=5)

    def call(self, tokens: Any) -> Any:
        x = self.words(tokens) + self.places(ops.arange(ops.shape(tokens)[1]))
        x = x + self.attention(x, x)
        return self.wide(x, x, use_causal_mask=True)


def test_attention_and_places_at_any_length() -> None:
    check(TokenNet(), TOKENS, TOKENS[:, :5])


def test_several_inputs_and_a_dictionary_of_outputs() -> None:
    image, text = keras.Input((None, None, 3), name="image"), keras.Input((None,), dtype="int32", name="text")
    seen = L.GlobalAveragePooling2D()(L.Conv2D(4, 3)(image))
    read = L.LSTM(5)(L.Embedding(30, 6)(text))
    both = L.Concatenate()([seen, read])
    model = keras.Model(
        {"image": image, "text": text}, {"label": L.Dense(3)(both), "score": L.Dense(1)(both)}
    )
    port = check(model, {"image": IMAGES, "text": TOKENS})
    assert "def forward(self, image, text):" in port.text


class Written(keras.Model):
    """A model that says what it takes by what it was called with."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.last = L.Conv2D(4, 4, 2, "same"), L.Dense(2)

    def call(self, x: Any) -> Any:
        return self.last(ops.mean(self.conv(x), (1, 2)))


DECLARING: dict[str, Callable[[], Any]] = {
    "graph": lambda: graph(L.Conv2D(4, 3), L.GlobalAveragePooling2D(), L.Dense(2)),
    "sequence": lambda: keras.Sequential(
        [keras.Input((24, 28, 3)), L.Conv2D(4, 4, 2, "same"), L.ReLU(), L.Flatten(), L.Dense(2)]
    ),
    "written": Written,
    "two inputs": lambda: (lambda a, b: keras.Model([a, b], L.Concatenate()([a, L.Dense(3)(b)])))(
        keras.Input((4,)), keras.Input((5,))
    ),
}


@pytest.mark.parametrize("kind", DECLARING)
def test_what_a_model_declares_is_enough(kind: str) -> None:
    model = DECLARING[kind]()
    if kind == "written":
        model(IMAGES)
    port = parity.port(model, quick=True)
    assert port.verdict == "EQUAL", [str(proof) for proof in port.proofs]


@pytest.mark.parametrize("kind", ["graph", "written"])
def test_a_list_of_one_input_is_that_input(kind: str) -> None:
    model = DECLARING[kind]()
    model(IMAGES)
    assert parity.port(model, [IMAGES], quick=True).verdict == "EQUAL"


def by_arrays() -> Any:
    """Arrays of each rank, against images, what was flattened of one, and a vector."""
    x = inputs = keras.Input((4, 5, 3))
    x = (x - np.array([0.485, 0.456, 0.406], "float32")) / ops.convert_to_tensor([[[0.229, 0.224, 0.225]]])
    x = L.Conv2D(2, 1)(x)
    x = ops.maximum(x * DRAWN.normal(size=(4, 5, 2)).astype("float32"), np.array([-0.5, 0.25], "float32"))
    x = x + DRAWN.normal(size=(5, 2)).astype("float32")
    x = L.Flatten()(x) * np.linspace(1, 2, 40).astype("float32")
    return keras.Model(inputs, L.Dense(3)(x) + np.array([1, 2, 3], "float32"))


def test_arrays_that_the_graph_holds_are_buffers() -> None:
    port = check(by_arrays(), DRAWN.normal(size=(2, 4, 5, 3)).astype("float32"))
    assert (
        'self.register_buffer("subtract_by", torch.tensor([0.485, 0.456, 0.406]), persistent=False)'
        in port.text
    )


def test_a_long_array_is_refused_by_its_size() -> None:
    x = keras.Input((30, 4))
    port = write(keras.Model(x, x * np.ones((30, 4), "float32")), np.zeros((2, 30, 4), "float32"))
    assert [one.reason[:25] for one in port.unwritten] == ["an array of 120 numbers t"]


@pytest.mark.parametrize("layer", [L.RandomFlip, L.RandomContrast, L.RandomZoom])
def test_augmentation_is_refused_with_what_to_do(layer: Any) -> None:
    port = write(graph(layer() if layer is L.RandomFlip else layer(0.1), L.Conv2D(4, 3)), IMAGES)
    assert ["augment where the data are read" in one.reason for one in port.unwritten] == [True]


def test_what_cannot_be_written_is_said_and_stands_as_a_stub() -> None:
    x = inputs = keras.Input((16, 16, 3))
    x = L.Conv2D(4, 3, name="before")(x)
    x = L.Lambda(lambda t: ops.fft2((t, t))[0], name="spectrum")(x)
    model = keras.Model(inputs, L.Conv2D(2, 1, name="after")(x))
    port = write(model, IMAGES[:, :16, :16])
    assert [item.operation for item in port.unwritten] == ["keras.ops.FFT2"]
    assert "NotImplementedError" in port.text
    assert "self.before" in port.text
    assert "self.after" in port.text
    compile(port.text, "port.py", "exec")


def test_lines_are_short() -> None:
    text = write(residual_graph(), IMAGES).text
    assert max(map(len, text.splitlines())) <= 110
