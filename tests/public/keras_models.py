"""Keras models as people write them, to be written in torch: two inputs, a transformer, a decoder, layers of one's own."""

from __future__ import annotations

from typing import Any

import keras
from keras import layers, ops


def picture_and_words(words: int = 50, classes: int = 5) -> keras.Model:
    """A picture and a sentence, classified together."""
    picture = keras.Input((33, 49, 3), name="picture")
    x = layers.Conv2D(8, 3, strides=2, padding="same", activation="relu")(picture)
    x = layers.MaxPooling2D(3, 2, padding="same")(x)
    seen = layers.GlobalAveragePooling2D()(x)
    sentence = keras.Input((12,), dtype="int32", name="sentence")
    y = layers.Embedding(words, 16)(sentence)
    read = layers.Bidirectional(layers.LSTM(8))(y)
    both = layers.Concatenate()([seen, read])
    both = layers.Dropout(0.3)(layers.Dense(16, activation="gelu")(both))
    return keras.Model({"picture": picture, "sentence": sentence}, layers.Dense(classes)(both))


@keras.saving.register_keras_serializable("keras_models")
class TransformerBlock(layers.Layer):
    """Attention, then two dense layers, each added to what came in."""

    def __init__(self, dim: int, heads: int, rate: float = 0.1, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.attention = layers.MultiHeadAttention(heads, dim // heads)
        self.norm1 = layers.LayerNormalization(epsilon=1e-6)
        self.norm2 = layers.LayerNormalization(epsilon=1e-6)
        self.dense1 = layers.Dense(2 * dim, activation="relu")
        self.dense2 = layers.Dense(dim)
        self.dropout = layers.Dropout(rate)

    def call(self, x: Any, training: bool | None = None) -> Any:
        # normalised before attention, as most are today
        y = self.norm1(x)
        x = x + self.attention(y, y)
        y = self.dense2(self.dense1(self.norm2(x)))
        return x + self.dropout(y, training=training)


@keras.saving.register_keras_serializable("keras_models")
class Classifier(keras.Model):
    """Classes of sentences: tokens and places embedded, blocks, an average over time."""

    def __init__(
        self,
        words: int = 60,
        length: int = 14,
        dim: int = 32,
        heads: int = 4,
        depth: int = 2,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.tokens = layers.Embedding(words, dim)
        self.places = layers.Embedding(length, dim)
        self.blocks = [TransformerBlock(dim, heads) for _ in range(depth)]
        self.norm = layers.LayerNormalization(epsilon=1e-6)
        self.head = layers.Dense(4)

    def call(self, tokens: Any, training: bool | None = None) -> Any:
        x = self.tokens(tokens) + self.places(ops.arange(tokens.shape[1]))
        for block in self.blocks:
            x = block(x, training=training)
        return self.head(ops.mean(self.norm(x), axis=1))


def autoencoder(code: int = 6) -> keras.Model:
    """A picture to a code and back: flattened, dense, reshaped, convolved transposed."""
    return keras.Sequential(
        [
            keras.Input((32, 48, 3)),
            layers.Conv2D(8, 3, strides=2, padding="same"),
            layers.BatchNormalization(),
            layers.LeakyReLU(0.1),
            layers.Conv2D(12, 3, strides=2, padding="same", activation="elu"),
            layers.Flatten(),
            layers.Dense(code, activation="tanh"),
            layers.Dense(8 * 12 * 12, activation="relu"),
            layers.Reshape((8, 12, 12)),
            layers.Conv2DTranspose(8, 3, strides=2, padding="same", activation="relu"),
            layers.UpSampling2D(2, interpolation="bilinear"),
            layers.Conv2D(3, 5, padding="same", activation="sigmoid"),
        ]
    )


@keras.saving.register_keras_serializable("keras_models")
class ChannelGate(layers.Layer):
    """Weighs channels by what the whole picture shows."""

    def __init__(self, channels: int, ratio: int = 4, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.reduce = layers.Dense(channels // ratio, activation="relu")
        self.expand = layers.Dense(channels, activation="sigmoid")

    def call(self, x: Any) -> Any:
        weights = self.expand(self.reduce(ops.mean(x, axis=(1, 2))))
        return x * weights[:, None, None, :]


@keras.saving.register_keras_serializable("keras_models")
class Scale(layers.Layer):
    """A factor of its own for each channel."""

    def __init__(self, start: float = 0.1, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.start = start

    def build(self, shape: Any) -> None:
        self.gamma = self.add_weight(
            shape=(shape[-1],), initializer=keras.initializers.Constant(self.start), name="gamma"
        )

    def call(self, x: Any) -> Any:
        return x * self.gamma


@keras.saving.register_keras_serializable("keras_models")
class WrittenOut(keras.Model):
    """A small network of layers that are written by hand with keras.ops."""

    def __init__(self, width: int = 8, classes: int = 3, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.stem = layers.Conv2D(width, 3, padding="same", use_bias=False)
        self.norm = layers.BatchNormalization()
        self.gate = ChannelGate(width)
        self.scale = Scale()
        self.depthwise = layers.DepthwiseConv2D(3, padding="same", strides=2)
        self.head = layers.Conv2D(classes, 1)

    def call(self, x: Any, training: bool | None = None) -> Any:
        x = ops.relu(self.norm(self.stem(x), training=training))
        x = x + self.scale(self.gate(x))
        x = ops.concatenate([x, ops.roll(x, 1, axis=2)], axis=-1)
        x = self.depthwise(x)
        n, h, w, c = ops.shape(x)
        spread = ops.reshape(x, (n, h * w, c))
        spread = ops.softmax(spread, axis=1) * spread
        return self.head(ops.reshape(spread, (n, h, w, c)))
