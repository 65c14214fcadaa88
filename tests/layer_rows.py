"""Every layer of keras.layers in small models: several variants side by side, odd sizes, no default left alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import keras
from keras import layers as L
from keras import ops

IMAGE, SEQUENCE, VOLUME, VECTOR, FILM, WORDS = (9, 12, 3), (11, 6), (7, 8, 9, 2), (6,), (4, 9, 8, 3), (9,)
SHAPES = {1: SEQUENCE, 2: IMAGE, 3: VOLUME}
ACTIVATIONS = (
    "celu", "elu", "exponential", "gelu", "hard_shrink", "hard_sigmoid", "hard_silu", "hard_swish", "hard_tanh",
    "leaky_relu", "linear", "log_sigmoid", "log_softmax", "mish", "relu", "relu6", "selu", "sigmoid", "silu",
    "soft_shrink", "softmax", "softplus", "softsign", "sparse_plus", "sparse_sigmoid", "squareplus", "swish", "tanh",
)  # fmt: skip


@dataclass(frozen=True)
class LayerRow:
    """A model of several variants of some layers.

    Attributes:
        classes: the layers that it covers, by name.
        build: from the inputs to the outputs.
        shapes: of the inputs, without the batch.
        words: whether the inputs are whole numbers, zeros at the end.
    """

    classes: str
    build: Callable[..., Any]
    shapes: tuple[tuple[int, ...], ...]
    words: bool = False

    def model(self) -> keras.Model:
        """The model with fresh weights."""
        inputs = [keras.Input(shape, dtype="int32" if self.words else "float32") for shape in self.shapes]
        outputs = self.build(*inputs)
        return keras.Model(inputs if len(inputs) > 1 else inputs[0], outputs, name="net")


def each(x: Any, *layers: Any) -> list[Any]:
    """What each layer, or row of layers, gives for the same input."""
    found = []
    for one in layers:
        y = x
        for layer in one if isinstance(one, Sequence) else [one]:
            y = layer(y)
        found.append(y)
    return found


def both(make: Callable[[str], list[Any]]) -> list[Any]:
    """Variants with both paddings."""
    return [layer for padding in ("same", "valid") for layer in make(padding)]


def spatial(n: int) -> tuple[tuple[int, int], ...]:
    """Amounts of padding for each axis, none like another."""
    return ((1, 2), (0, 3), (2, 0))[:n]


ROWS: dict[str, LayerRow] = {
    "activations": LayerRow(
        "Activation Dense",
        lambda x: [L.Dense(4, activation=name)(x) for name in ACTIVATIONS] + each(x, [L.Dense(3), L.Activation("mish")]),
        (VECTOR,),
    ),
    "activation layers": LayerRow(
        "ReLU LeakyReLU ELU PReLU Softmax",
        lambda x: each(
            L.Conv2D(4, 2, activation=L.LeakyReLU(0.3))(x),
            L.ReLU(max_value=1.0, negative_slope=0.2, threshold=0.1), L.ReLU(threshold=0.3), L.ReLU(max_value=0.5),
            L.ReLU(negative_slope=0.1), L.LeakyReLU(negative_slope=0.17), L.ELU(alpha=0.7),
            L.PReLU(shared_axes=[1, 2]), L.Softmax(axis=1), L.Softmax(axis=(1, 2)), L.Softmax(),
            [L.Conv2D(2, 1, activation=L.ReLU(max_value=3.0))],
        ),
        (IMAGE,),
    ),
    "Conv2D": LayerRow(
        "Conv2D",
        lambda x: each(x, *both(lambda p: [
            L.Conv2D(2, (2, 3), strides=2, padding=p), L.Conv2D(2, (4, 3), strides=3, padding=p, activation="relu"),
            L.Conv2D(2, 3, dilation_rate=(2, 1), padding=p, use_bias=False), L.Conv2D(6, 3, groups=3, padding=p),
            L.Conv2D(2, (3, 5), strides=(2, 1), padding=p),
        ])),
        (IMAGE,),
    ),
    "Conv1D and Conv3D": LayerRow(
        "Conv1D Conv3D",
        lambda x, y: each(x, L.Conv1D(4, 3, dilation_rate=2, padding="causal"), L.Conv1D(4, 3, 2, padding="causal"),
                          *both(lambda p: [L.Conv1D(4, 4, strides=2, padding=p), L.Conv1D(4, 4, padding=p, groups=2)]))
        + each(y, *both(lambda p: [L.Conv3D(3, (2, 3, 4), 2, padding=p), L.Conv3D(2, 3, dilation_rate=2, padding=p)])),
        (SEQUENCE, VOLUME),
    ),
    "depthwise and separable": LayerRow(
        "DepthwiseConv1D DepthwiseConv2D SeparableConv1D SeparableConv2D",
        lambda x, y: each(x, *both(lambda p: [
            L.DepthwiseConv1D(4, 2, padding=p, depth_multiplier=2, activation="tanh"),
            L.SeparableConv1D(5, 4, 2, padding=p, depth_multiplier=2, activation="relu"),
        ])) + each(y, *both(lambda p: [
            L.DepthwiseConv2D((4, 3), 2, padding=p, depth_multiplier=2),
            L.DepthwiseConv2D((2, 3), padding=p, dilation_rate=2, use_bias=False),
            L.SeparableConv2D(5, (4, 3), 2, padding=p, depth_multiplier=2),
            L.SeparableConv2D(5, 3, padding=p, dilation_rate=2, use_bias=False),
        ])),
        (SEQUENCE, IMAGE),
    ),
    "transposed": LayerRow(
        "Conv1DTranspose Conv2DTranspose Conv3DTranspose",
        lambda x, y, z: each(x, *both(lambda p: [L.Conv1DTranspose(5, 4, 3, padding=p)]))
        + each(y, *both(lambda p: [L.Conv2DTranspose(2, (k, 3), strides=s, padding=p) for k in (2, 4) for s in (1, 2, 3)]),
               *both(lambda p: [L.Conv2DTranspose(2, (3, 4), 2, padding=p, output_padding=1)]))
        + each(z, *both(lambda p: [L.Conv3DTranspose(3, (2, 3, 4), 2, padding=p)])),
        (SEQUENCE, IMAGE, VOLUME),
    ),
    "pooling": LayerRow(
        " ".join(f"{kind}Pooling{n}D" for kind in ("Max", "Average") for n in (1, 2, 3)),
        lambda x, y, z: [out for kind in ("Max", "Average") for padding in ("same", "valid") for out in [
            getattr(L, f"{kind}Pooling1D")(3, 2, padding=padding)(x),
            *each(y, *(getattr(L, f"{kind}Pooling2D")(size, step, padding=padding)
                       for size, step in (((2, 3), (2, 1)), (2, None), (3, 1), (4, 3)))),
            getattr(L, f"{kind}Pooling3D")((2, 3, 2), (1, 2, 3), padding=padding)(z),
        ]],
        (SEQUENCE, IMAGE, VOLUME),
    ),
    "global and adaptive pooling": LayerRow(
        " ".join(f"{way}{kind}Pooling{n}D" for way in ("Global", "Adaptive") for kind in ("Max", "Average") for n in SHAPES),
        lambda *xs: [out for n, x in zip(SHAPES, xs, strict=True) for kind in ("Max", "Average") for out in [
            *each(x, *(getattr(L, f"Global{kind}Pooling{n}D")(keepdims=kept) for kept in (False, True))),
            getattr(L, f"Adaptive{kind}Pooling{n}D")(3)(x),
        ]],
        tuple(SHAPES.values()),
    ),
    "sizes": LayerRow(
        " ".join(f"{kind}{n}D" for kind in ("ZeroPadding", "Cropping", "UpSampling") for n in SHAPES)
        + " Resizing CenterCrop",
        lambda *xs: [out for n, x in zip(SHAPES, xs, strict=True) for out in each(
            x, getattr(L, f"ZeroPadding{n}D")(spatial(n) if n > 1 else (1, 2)),
            getattr(L, f"Cropping{n}D")(spatial(n) if n > 1 else (1, 2)),
            getattr(L, f"UpSampling{n}D")((2, 3, 2)[:n] if n > 1 else 2),
        )] + each(xs[1], L.UpSampling2D((2, 3), interpolation="bilinear"), L.Resizing(13, 7), L.CenterCrop(6, 7),
                  L.Resizing(5, 7, antialias=True), L.Resizing(13, 7, interpolation="nearest")),
        tuple(SHAPES.values()),
    ),
    "norms of images": LayerRow(
        "BatchNormalization LayerNormalization RMSNormalization GroupNormalization UnitNormalization Normalization "
        "Rescaling",
        lambda x: each(
            x, *(L.BatchNormalization(axis=axis, epsilon=1e-2, momentum=0.8) for axis in (-1, 1, 2)),
            L.BatchNormalization(center=False), L.LayerNormalization(axis=(1, 2, 3), center=False),
            L.LayerNormalization(axis=(1, 2)), L.LayerNormalization(scale=False), L.RMSNormalization(),
            L.GroupNormalization(-1, scale=False), L.GroupNormalization(3, axis=1), L.UnitNormalization(),
            L.UnitNormalization(axis=(1, 2)), L.Normalization(mean=[1.0, 2.0, 3.0], variance=[1.0, 4.0, 2.0]),
            L.Normalization(axis=None, mean=2.0, variance=3.0), L.Rescaling(1 / 127.5, offset=-1),
            L.Rescaling([1.0, 2.0, 3.0], offset=[0.0, 1.0, 2.0]),
        ),
        (IMAGE,),
    ),
    "norms of sequences": LayerRow(
        "BatchNormalization LayerNormalization GroupNormalization SpectralNormalization",
        lambda x: each(
            x, L.BatchNormalization(axis=1), L.BatchNormalization(scale=False), L.LayerNormalization(epsilon=1e-2),
            L.LayerNormalization(axis=1), L.LayerNormalization(scale=False, center=False),
            L.RMSNormalization(epsilon=1e-3), L.GroupNormalization(2, center=False),
            L.SpectralNormalization(L.Dense(4), power_iterations=2), L.SpectralNormalization(L.Conv1D(4, 3)),
        ),
        (SEQUENCE,),
    ),
    "noise": LayerRow(
        "Dropout AlphaDropout GaussianDropout GaussianNoise SpatialDropout1D SpatialDropout2D SpatialDropout3D "
        "ActivityRegularization Identity",
        lambda x, y, z: each(
            L.Dense(4)(x), L.Dropout(0.3), L.Dropout(0.3, noise_shape=(None, 1, 4)), L.AlphaDropout(0.2),
            L.GaussianDropout(0.2), L.GaussianNoise(0.1), L.SpatialDropout1D(0.2), L.Identity(),
            L.ActivityRegularization(l1=0.1),
        ) + each(y, [L.SpatialDropout2D(0.2), L.Conv2D(2, 1)]) + each(z, [L.SpatialDropout3D(0.2), L.Conv3D(2, 1)]),
        (SEQUENCE, IMAGE, VOLUME),
    ),
    "dense": LayerRow(
        "Dense EinsumDense",
        lambda x: each(
            x, L.Dense(4, use_bias=False),
            L.EinsumDense("abc,cd->abd", output_shape=(None, 5), bias_axes="d", activation="relu"),
            [L.EinsumDense("abc,cde->abde", output_shape=(None, 2, 5), bias_axes="de"),
             L.EinsumDense("abde,dec->abc", output_shape=(None, 7), bias_axes="c")],
            L.EinsumDense("abc,bd->adc", output_shape=(5, 6), bias_axes="dc"),
        ),
        (SEQUENCE,),
    ),
    "shapes": LayerRow(
        "Flatten Reshape Permute RepeatVector TimeDistributed Lambda",
        lambda x, y, z: each(z, [L.Flatten(), L.Dense(2)]) + each(
            L.Conv2D(4, 3)(x), [L.Flatten(), L.Dense(3)], [L.Reshape((-1, 4)), L.LayerNormalization()],
            [L.Permute((3, 1, 2)), L.Conv2D(2, 1)], [L.Permute((2, 1, 3)), L.Conv2D(2, 1)],
            [L.Lambda(lambda t: ops.mean(t, axis=(1, 2), keepdims=True)), L.Conv2D(3, 1)],
            [L.GlobalMaxPooling2D(), L.RepeatVector(3), L.LSTM(2)],
            [L.GlobalMaxPooling2D(), L.Dense(60), L.Reshape((4, 5, 3)), L.Conv2D(2, 3)],
        ) + each(y, L.TimeDistributed(L.Conv2D(4, 3, strides=2, padding="same")), L.TimeDistributed(L.BatchNormalization()),
                 [L.TimeDistributed(L.MaxPooling2D()), L.TimeDistributed(L.Flatten()), L.TimeDistributed(L.Dense(3)),
                  L.LSTM(3)]),
        (IMAGE, FILM, SEQUENCE),
    ),
    "merging": LayerRow(
        "Add Subtract Multiply Average Maximum Minimum Concatenate Dot",
        lambda x, y, z: [getattr(L, kind)()([x, other]) for kind in (
            "Add", "Subtract", "Multiply", "Average", "Maximum", "Minimum") for other in (y, z)]
        + [L.Concatenate(axis=1)([x, y]), L.Concatenate()([x, y]), L.Add()([x, y, x])],
        (IMAGE, IMAGE, (3,)),
    ),
    "products": LayerRow(
        "Dot Attention AdditiveAttention",
        lambda x, y: [L.Dot(axes=2)([x, y]), L.Dot(axes=2, normalize=True)([x, y]), L.Attention()([x, y]),
                      L.Attention(use_scale=True)([x, y]), L.Attention(score_mode="concat", use_scale=True)([x, y]),
                      L.AdditiveAttention()([x, y]), L.AdditiveAttention(use_scale=False)([x, y])],
        (SEQUENCE, (7, 6)),
    ),
    "attention with heads": LayerRow(
        "MultiHeadAttention GroupQueryAttention",
        lambda x, y: [
            L.MultiHeadAttention(2, 3)(x, x), L.MultiHeadAttention(2, 4, value_dim=5, use_bias=False, output_shape=7)(x, x),
            L.MultiHeadAttention(2, 3, dropout=0.1)(x, y, key=y), L.MultiHeadAttention(2, 3)(x, x, use_causal_mask=True),
            *L.MultiHeadAttention(2, 3)(x, x, return_attention_scores=True), L.GroupQueryAttention(3, 4, 2)(x, x),
            L.GroupQueryAttention(3, 4, 1)(x, y, use_causal_mask=False),
            *L.GroupQueryAttention(3, 4, 2)(x, x, return_attention_scores=True),
        ],
        (SEQUENCE, (7, 6)),
    ),
    "ConvLSTM": LayerRow(
        "ConvLSTM1D ConvLSTM2D ConvLSTM3D",
        lambda x, y, z: each(x, L.ConvLSTM1D(4, 3, padding="same", return_sequences=True))
        + each(y, [L.ConvLSTM2D(4, (3, 2), padding="same", return_sequences=True), L.BatchNormalization(),
                   L.Conv3D(2, 3, padding="same", activation="sigmoid")])
        + each(z, L.ConvLSTM3D(4, 3, padding="valid", use_bias=False)),
        ((4, 9, 3), FILM, (3, 5, 6, 4, 2)),
    ),
    "masks": LayerRow(
        "Embedding ReversibleEmbedding",
        lambda t: [L.ReversibleEmbedding(20, 5)(t), *each(
            L.Embedding(20, 6, mask_zero=True)(t), L.LSTM(4), L.GRU(4, return_sequences=True), L.Bidirectional(L.LSTM(3)),
            L.Bidirectional(L.GRU(3, return_sequences=True)), [L.Dense(4), L.GlobalAveragePooling1D()],
            [L.TimeDistributed(L.Dense(4)), L.SimpleRNN(3, go_backwards=True)],
            lambda x: L.MultiHeadAttention(2, 3)(x, x), lambda x: L.Attention()([x, x]),
        )],
        (WORDS,),
        words=True,
    ),
    "Masking": LayerRow("Masking", lambda x: each(x, [L.Masking(0.0), L.LSTM(4)]), (SEQUENCE,)),
}  # fmt: skip


def recurrent(kind: str) -> LayerRow:
    """The variants of one recurrent layer."""
    layer = getattr(L, kind)

    def build(x: Any, state: Any) -> list[Any]:
        states = [state] * (2 if kind == "LSTM" else 1)
        return [
            *each(x, layer(5, use_bias=False), layer(5, return_sequences=True), layer(5, go_backwards=True),
                  layer(5, dropout=0.2, unroll=True), L.RNN(getattr(L, f"{kind}Cell")(5), return_sequences=True)),
            *layer(5, return_state=True, return_sequences=True)(x), layer(6)(x, initial_state=states),
            *each(x, *(L.Bidirectional(layer(4, return_sequences=kept), merge_mode=mode)
                       for mode in ("concat", "sum", "ave", "mul") for kept in (False, True))),
            *L.Bidirectional(layer(4, return_sequences=True), merge_mode=None)(x),
            *L.Bidirectional(layer(4, return_state=True))(x),
        ]  # fmt: skip

    return LayerRow(f"{kind} {kind}Cell Bidirectional RNN", build, (SEQUENCE, VECTOR))


ROWS |= {kind: recurrent(kind) for kind in ("LSTM", "GRU", "SimpleRNN")}
ROWS |= {
    "other gates": LayerRow(
        "LSTM GRU SimpleRNN",
        lambda x: each(x, L.GRU(5, reset_after=False), L.SimpleRNN(5, activation="relu")),
        (SEQUENCE,),
    ),
    "other activations": LayerRow(
        "LSTM",
        lambda x: each(x, L.LSTM(5, recurrent_activation="hard_sigmoid", activation="relu")),
        (SEQUENCE,),
    ),
    "cells above one another": LayerRow(
        "RNN StackedRNNCells", lambda x: each(x, L.RNN([L.LSTMCell(5), L.LSTMCell(4)])), (SEQUENCE,)
    ),
}
