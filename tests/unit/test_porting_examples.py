"""Ports of Keras models in the styles of published examples: masks from one layer to the next, patches, TensorFlow calls."""

from __future__ import annotations

import re
import sys
from types import ModuleType
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import layers as L
from keras import ops

import parity
from parity.porting.to_torch.write import write
from parity.porting.written import WrittenPort

DRAWN = np.random.default_rng(5)


def check(model: Any, x: Any) -> WrittenPort:
    """Write a model; its port must be equal."""
    model(x)
    port = write(model, x)
    assert not port.unwritten, port.unwritten
    module = ModuleType("an_example")
    sys.modules["an_example"] = module
    exec(compile(port.text, "an_example.py", "exec"), module.__dict__)
    torch_model = module.build().eval()
    parity.transfer(model, torch_model, inputs=x, layout=port.layouts)
    report = parity.compare(model, torch_model, x, quick=True, layout=port.layouts)
    assert report, report.findings
    return port


class Words(L.Layer):
    """Embedded words with a mask of their own."""

    def __init__(self, words: int = 20, dim: int = 6, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.embedding = L.Embedding(words, dim)

    def call(self, inputs: Any) -> Any:
        return self.embedding(inputs)

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        return ops.not_equal(inputs, 0)


class Reader(keras.Model):
    """The name of the input is used again for what is made of it, while its mask is still needed."""

    def __init__(self, dim: int = 6, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.words = Words(dim=dim)
        self.attention = L.MultiHeadAttention(2, 4, dropout=0.1)
        self.head = L.Dense(3)

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        inputs = self.words(inputs)
        found = self.attention(
            query=inputs, value=inputs, key=inputs, use_causal_mask=True, training=training
        )
        return self.head(inputs + found)


def test_a_mask_outlives_the_name_of_the_input() -> None:
    tokens = DRAWN.integers(1, 20, (2, 9)).astype("int32")
    tokens[0, 5:] = 0
    port = check(Reader(), tokens)
    assert "mask = " in port.text
    assert "mask[:, :, None] & mask[:, None]" in port.text


class Patches(L.Layer):
    """Squares of a picture as vectors."""

    def __init__(self, patch_size: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.patch_size = patch_size

    def call(self, images: Any) -> Any:
        n, h, w, c = ops.shape(images)
        patches = ops.image.extract_patches(images, size=self.patch_size)
        count = (h // self.patch_size) * (w // self.patch_size)
        return ops.reshape(patches, (n, count, self.patch_size * self.patch_size * c))


class Places(L.Layer):
    """Vectors and their places."""

    def __init__(self, count: int, dim: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.projection, self.places, self.count = L.Dense(dim), L.Embedding(count, dim), count

    def call(self, patches: Any) -> Any:
        positions = ops.expand_dims(ops.arange(start=0, stop=self.count, step=1), axis=0)
        return self.projection(patches) + self.places(positions)


def test_patches_and_attention_of_one_tensor() -> None:
    x = inputs = keras.Input((18, 24, 3))
    x = Places(12, 10)(Patches(6)(x))
    y = L.LayerNormalization(epsilon=1e-6)(x)
    x = L.Add()([L.MultiHeadAttention(2, 8)(y, y), x])
    port = check(
        keras.Model(inputs, L.Dense(3)(L.GlobalAveragePooling1D()(x))), DRAWN.normal(size=(2, 18, 24, 3))
    )
    # One call, not one for query, key and value.
    assert len(re.findall(r"self\.layer_normalization\w*\(x\)", port.text)) == 1


class TensorFlowBlock(L.Layer):
    """Written with TensorFlow's own functions."""

    def __init__(self, units: int = 8, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.dense = L.Dense(units)

    def call(self, x: Any) -> Any:
        y = tf.nn.relu(self.dense(x))
        return tf.reduce_mean(tf.concat([y, x], axis=-1), axis=1) * tf.cast(tf.shape(x)[1], x.dtype)


def test_tensorflow_functions_are_read() -> None:
    inputs = keras.Input((7, 5))
    port = check(keras.Sequential([inputs, TensorFlowBlock(), L.Dense(2)]), DRAWN.normal(size=(3, 7, 5)))
    assert "torch.cat(" in port.text


def test_inputs_by_name_keep_their_names() -> None:
    age, job = keras.Input((2,), name="years"), keras.Input((1,), dtype="int32", name="job")
    known = L.Concatenate()([age, L.Flatten()(L.Embedding(10, 4)(job))])
    model = keras.Model({"years": age, "job": job}, L.Dense(3)(known))
    x = {
        "years": DRAWN.normal(size=(3, 2)).astype("float32"),
        "job": DRAWN.integers(0, 9, (3, 1)).astype("int32"),
    }
    port = check(model, x)
    assert "def forward(self, years, job)" in port.text or "def forward(self, job, years)" in port.text


class Kept(L.Layer):
    """Nothing is done in inference."""

    def call(self, x: Any) -> Any:
        return x


def test_a_layer_that_gives_its_input_is_none() -> None:
    x = inputs = keras.Input((5,))
    x = L.Add()([Kept()(L.Dense(5)(x)), x])
    port = check(keras.Model(inputs, L.Dense(2)(x)), DRAWN.normal(size=(3, 5)))
    assert "Kept" not in port.text


class Mixer(L.Layer):
    """Two dense layers of a width of its own."""

    def __init__(self, dim: int, ratio: int = 2, rate: float = 0.1, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        hidden = ratio * dim
        self.norm = L.LayerNormalization(epsilon=1e-6)
        self.wide = L.Dense(hidden, activation="gelu")
        self.narrow = L.Dense(dim)
        self.drop = L.Dropout(rate)

    def call(self, x: Any, training: bool | None = None) -> Any:
        return x + self.drop(self.narrow(self.wide(self.norm(x))), training=training)


class Stack(keras.Model):
    """Layers that are made in a loop, arguments that are only kept, and one of which nothing depends on."""

    def __init__(
        self, dim: int = 12, depth: int = 3, classes: int = 5, pooled: bool = True, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.dim, self.pooled = dim, pooled
        self.embed = L.Dense(dim)
        self.blocks = [Mixer(dim, rate=0.2) for _ in range(depth)]
        self.head = L.Dense(classes)

    def call(self, x: Any, training: bool | None = None) -> Any:
        x = self.embed(x)
        for block in self.blocks:
            x = block(x, training=training)
        return self.head(ops.mean(x, axis=1) if self.pooled else x)


def test_constructors_keep_their_arguments() -> None:
    port = parity.port(lambda: Stack(8), DRAWN.normal(size=(2, 7, 5)).astype("float32"), proved=False)
    text = port.written.text
    assert "def __init__(self, dim, ratio=2, rate=0.1):" in text
    assert "self.wide = nn.Linear(dim, ratio * dim)" in text
    assert "self.norm = nn.LayerNorm(dim, eps=1e-6)" in text
    assert "def __init__(self, dim=12, depth=3, classes=5, pooled=True):" in text
    assert "for _ in range(depth)" in text
    assert "self.head = nn.Linear(dim, classes)" in text
    assert "if not pooled:" in text
    assert "return Stack(dim=8)" in text
