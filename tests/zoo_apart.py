"""Pairs of models written by different people: other names, other order, other ways to say the same.

Each case gives (Keras model, torch module, inputs in the Keras layout, pairs that must be found). A pair
goes from a Keras layer or tensor to the torch one; the models compute the same under these pairs alone.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import torch
from keras import layers as L
from keras import ops
from torch import nn
from torch.nn import functional as F

Apart = tuple[Any, Any, list[Any], dict[str, str]]
CASES: dict[str, Callable[[], Apart]] = {}


def case(function: Callable[[], Apart]) -> Callable[[], Apart]:
    CASES[function.__name__.replace("_", " ")] = function
    return function


def image(*shape: int) -> Any:
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


class Torch(nn.Module):
    """Modules by name, and the forward pass as a function of them."""

    def __init__(self, run: Callable[..., Any], **modules: Any) -> None:
        super().__init__()
        self.run = run
        for name, module in modules.items():
            setattr(self, name, module)

    def forward(self, x: Any) -> Any:
        return self.run(self, x)


@case
def residual_with_a_shortcut_of_the_same_shape() -> Apart:
    i = keras.Input((None, None, 3))
    x = L.Conv2D(8, 3, padding="same", name="stem")(i)
    shortcut = L.Conv2D(8, 1, name="shortcut")(x)
    y = L.ReLU()(L.BatchNormalization(epsilon=1e-5, name="norm")(L.Conv2D(8, 1, name="first")(x)))
    z = ops.relu(shortcut + L.Conv2D(8, 1, name="second")(y))
    z = L.Add()([z, ops.sigmoid(L.Conv2D(8, 1, name="gate")(z))])
    model = keras.Model(i, L.Conv2D(8, 1, name="head")(z))

    def run(m: Any, x: Any) -> Any:
        x = m.f(x)
        y = m.d(F.relu(m.c(m.e(x))))
        y += m.g(x)
        y = y.relu_()
        return m.a(y + torch.sigmoid(m.b(y)))

    one = {name: nn.Conv2d(8, 8, 1) for name in "abdeg"}
    module = Torch(run, **one, c=nn.BatchNorm2d(8), f=nn.Conv2d(3, 8, 3, padding=1))
    pairs = {
        "stem": "f",
        "shortcut": "g",
        "first": "e",
        "norm": "c",
        "second": "d",
        "gate": "b",
        "head": "a",
    }
    return model, module, [image(2, 7, 9, 3)], pairs


@case
def concatenations_nested_and_flat() -> Apart:
    i = keras.Input((None, None, 3))
    a, b, c = (L.Conv2D(4, 3, activation="relu", name=name)(i) for name in "pqr")
    model = keras.Model(i, L.Conv2D(4, 1, name="out")(ops.concatenate([ops.concatenate([a, b], -1), c], -1)))

    def run(m: Any, x: Any) -> Any:
        return m.o(torch.cat([m.w(x), m.u(x), m.v(x)], 1).relu())

    module = Torch(run, o=nn.Conv2d(12, 4, 1), **{name: nn.Conv2d(3, 4, 3) for name in "uvw"})
    return model, module, [image(2, 7, 9, 3)], {"p": "w", "q": "u", "r": "v", "out": "o"}


@case
def slices_and_subtraction() -> Apart:
    i = keras.Input((None, None, 4))
    x = L.Conv2D(4, 1, name="p")(i)
    y = L.Conv2D(2, 1, name="q")(x[..., :2]) - L.Conv2D(2, 1, name="r")(x[..., 2:])
    model = keras.Model(i, L.Conv2D(2, 1, name="s")(y))

    def run(m: Any, x: Any) -> Any:
        low, high = m.a(x).chunk(2, 1)
        return m.b(m.d(low) - m.c(high))

    module = Torch(run, a=nn.Conv2d(4, 4, 1), **{name: nn.Conv2d(2, 2, 1) for name in "bcd"})
    return model, module, [image(2, 7, 9, 4)], {"p": "a", "q": "d", "r": "c", "s": "b"}


@case
def separable_layers_and_loose_ones() -> Apart:
    i = keras.Input((None, None, 3))
    x = L.SeparableConv2D(6, 3, depth_multiplier=2, name="one")(i)
    x = L.SeparableConv2D(6, 3, name="two")(ops.relu(x))
    model = keras.Model(i, L.Conv2D(6, 1, name="point")(L.DepthwiseConv2D(3, name="depth")(x)))
    module = Torch(
        lambda m, x: m.b(m.a(m.f(m.e(F.relu(m.d(m.c(x))))))),
        a=nn.Conv2d(6, 6, 3, groups=6),
        b=nn.Conv2d(6, 6, 1),
        c=nn.Conv2d(3, 6, 3, groups=3, bias=False),
        d=nn.Conv2d(6, 6, 1),
        e=nn.Conv2d(6, 6, 3, groups=6, bias=False),
        f=nn.Conv2d(6, 6, 1),
    )
    return model, module, [image(2, 11, 13, 3)], {"one": "c d", "two": "e f", "depth": "a", "point": "b"}


class LayerScale(L.Layer):
    def build(self, shape: Any) -> None:
        self.gamma = self.add_weight(shape=(shape[-1],), name="gamma")

    def call(self, x: Any) -> Any:
        return x * self.gamma


@case
def layer_scale() -> Apart:
    x = i = keras.Input((None, None, 4))
    for n in range(2):
        x = x + LayerScale(name=f"scale{n}")(L.Conv2D(4, 3, padding="same", name=f"conv{n}")(x))
    model = keras.Model(i, x)

    def block() -> Any:
        return Torch(
            lambda m, x: x + m.ls * m.c(x),
            c=nn.Conv2d(4, 4, 3, padding=1),
            ls=nn.Parameter(torch.ones(4, 1, 1)),
        )

    pairs = {"conv0": "0.c", "scale0.gamma": "0.ls", "conv1": "1.c", "scale1.gamma": "1.ls"}
    return model, nn.Sequential(block(), block()), [image(2, 7, 9, 4)], pairs


@case
def squeeze_and_excite_dense_against_convolution() -> Apart:
    x = i = keras.Input((None, None, 8))
    for n in range(2):
        s = L.Dense(8, activation="relu", name=f"down{n}")(L.GlobalAveragePooling2D()(x))
        s = L.Dense(8, activation="sigmoid", name=f"up{n}")(s)
        x = L.Multiply()([x, L.Reshape((1, 1, 8))(s)])

    def block() -> Any:
        return Torch(
            lambda m, x: x * torch.sigmoid(m.a(F.relu(m.b(F.adaptive_avg_pool2d(x, 1))))),
            a=nn.Conv2d(8, 8, 1),
            b=nn.Conv2d(8, 8, 1),
        )

    pairs = {"down0": "0.b", "up0": "0.a", "down1": "1.b", "up1": "1.a"}
    return keras.Model(i, x), nn.Sequential(block(), block()), [image(2, 7, 9, 8)], pairs


@case
def a_layer_called_twice() -> Apart:
    twice, once = L.Conv2D(4, 3, padding="same", name="twice"), L.Conv2D(4, 3, padding="same", name="once")
    i = keras.Input((None, None, 4))
    model = keras.Model(i, twice(ops.relu(once(ops.relu(twice(i))))))
    module = Torch(
        lambda m, x: m.b(F.relu(m.a(F.relu(m.b(x))))),
        a=nn.Conv2d(4, 4, 3, padding=1),
        b=nn.Conv2d(4, 4, 3, padding=1),
    )
    return model, module, [image(2, 7, 9, 4)], {"twice": "b", "once": "a"}


@case
def normalisations_transposed_and_grouped() -> Apart:
    x = i = keras.Input((None, None, 4))
    x = L.GroupNormalization(3, epsilon=1e-5, name="group")(L.Conv2DTranspose(6, 3, strides=2, name="up")(x))
    x = L.Conv2D(6, 3, groups=2, name="c1")(L.PReLU(shared_axes=[1, 2], name="prelu")(x))
    x = L.Conv2D(6, 3, groups=2, name="c2")(L.LayerNormalization(epsilon=1e-5, name="ln")(x))
    x = L.BatchNormalization(epsilon=1e-5, center=False, scale=False, name="bn")(x)
    x = L.Dense(6, name="d1")(L.GlobalAveragePooling2D()(x))
    model = keras.Model(i, L.Dense(6, name="d2")(L.LayerNormalization(epsilon=1e-5, name="ln2")(x)))

    def run(m: Any, x: Any) -> Any:
        x = m.h(m.i(m.j(x)))
        x = m.f(m.g(x).permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        return m.a(m.b(m.c(m.d(m.e(x)).mean((2, 3)))))

    module = Torch(
        run, a=nn.Linear(6, 6), b=nn.LayerNorm(6), c=nn.Linear(6, 6), d=nn.BatchNorm2d(6, affine=False),
        e=nn.Conv2d(6, 6, 3, groups=2), f=nn.LayerNorm(6), g=nn.Conv2d(6, 6, 3, groups=2), h=nn.PReLU(6),
        i=nn.GroupNorm(3, 6), j=nn.ConvTranspose2d(4, 6, 3, stride=2),
    )  # fmt: skip
    pairs = dict(
        zip(["d2", "ln2", "d1", "bn", "c2", "ln", "c1", "prelu", "group", "up"], "abcdefghij", strict=True)
    )
    return model, module, [image(2, 7, 9, 4)], pairs


class Positions(L.Layer):
    def build(self, shape: Any) -> None:
        self.table = self.add_weight(shape=(1, 5, 8), name="table")

    def call(self, x: Any) -> Any:
        return x + self.table


@case
def attention_written_out() -> Apart:
    i = keras.Input((5,), dtype="int32")
    x = Positions(name="where")(L.Embedding(13, 8, name="words")(i))
    h = L.LayerNormalization(epsilon=1e-5, name="norm")(x)
    q, k, v = (L.Dense(8, name=name)(h) for name in ("query", "key", "value"))
    a = ops.softmax(ops.matmul(q, ops.transpose(k, (0, 2, 1))) / 8**0.5, -1)
    x = x + L.Dense(8, name="mix")(a @ v)
    model = keras.Model(i, L.Dense(8, name="out")(x))

    def run(m: Any, x: Any) -> Any:
        x = m.table(x) + m.pe
        h = m.n(x)
        a = (m.u(h) @ m.w(h).mT / 8**0.5).softmax(-1)
        return m.s(x + m.t(a @ m.v(h)))

    linear = {name: nn.Linear(8, 8) for name in "stuvw"}
    module = Torch(
        run, **linear, n=nn.LayerNorm(8), pe=nn.Parameter(torch.zeros(1, 5, 8)), table=nn.Embedding(13, 8)
    )
    pairs = {"where.table": "pe", "words": "table", "norm": "n", "query": "u", "key": "w", "value": "v",
             "mix": "t", "out": "s"}  # fmt: skip
    return model, module, [np.random.default_rng(0).integers(0, 13, (2, 5)).astype(np.int32)], pairs


@case
def multi_head_attention() -> Apart:
    i = keras.Input((5, 8))
    x = L.MultiHeadAttention(2, 4, name="attend")(i, i)
    module = Torch(
        lambda m, x: m.d(m.a(x, x, x)[0]), a=nn.MultiheadAttention(8, 2, batch_first=True), d=nn.Linear(8, 8)
    )
    return keras.Model(i, L.Dense(8, name="out")(x)), module, [image(2, 5, 8)], {"out": "d"}


@case
def bias_in_front_of_batchnorm_on_one_side() -> Apart:
    i = keras.Input((None, None, 3))
    x = L.BatchNormalization(epsilon=1e-5, name="n1")(L.Conv2D(6, 3, use_bias=False, name="c1")(i))
    x = L.BatchNormalization(epsilon=1e-5, name="n2")(L.Conv2D(6, 3, name="c2")(ops.relu(x)))
    module = nn.Sequential(
        nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.Conv2d(6, 6, 3, bias=False), nn.BatchNorm2d(6),
        nn.Conv2d(6, 2, 1),
    )  # fmt: skip
    pairs = {"c1": "0", "n1": "1", "c2": "3", "n2": "4", "out": "5"}
    return keras.Model(i, L.Conv2D(2, 1, name="out")(x)), module, [image(2, 9, 11, 3)], pairs


@case
def names_that_mislead() -> Apart:
    x = i = keras.Input((None, None, 4))
    for name in ("a", "b", "other"):
        x = L.Conv2D(4, 3, name=name)(ops.relu(x))
    module = Torch(
        lambda m, x: m.third(F.relu(m.a(F.relu(m.b(F.relu(x)))))),
        **{name: nn.Conv2d(4, 4, 3) for name in ("a", "third", "b")},
    )
    return keras.Model(i, x), module, [image(2, 9, 11, 4)], {"a": "b", "b": "a", "other": "third"}


@case
def tokens_flattened() -> Apart:
    i = keras.Input((5, 6))
    x = L.Flatten()(L.Dense(6, name="each")(i))
    module = Torch(lambda m, x: m.h(m.t(x).flatten(1)), h=nn.Linear(30, 4), t=nn.Linear(6, 6))
    return keras.Model(i, L.Dense(4, name="all")(x)), module, [image(2, 5, 6)], {"each": "t", "all": "h"}


@case
def an_image_flattened() -> Apart:
    i = keras.Input((5, 6, 3))
    x = L.Dropout(0.3)(ops.relu(L.Flatten()(L.Conv2D(4, 3, name="conv")(i))))
    x = L.Dense(48, activation="tanh", name="hidden")(x)
    module = Torch(
        lambda m, x: m.h(m.g(F.relu(m.t(x).view(x.size(0), -1))).tanh()),
        h=nn.Linear(48, 4), g=nn.Linear(48, 48), t=nn.Conv2d(3, 4, 3),
    )  # fmt: skip
    pairs = {"conv": "t", "hidden": "g", "out": "h"}
    return keras.Model(i, L.Dense(4, name="out")(x)), module, [image(2, 5, 6, 3)], pairs


class OwnConvolution(keras.Model):
    """A convolution as an operation on weights of the model itself, beside a layer."""

    def __init__(self) -> None:
        super().__init__()
        self.kernel = self.add_weight(shape=(3, 3, 3, 4), name="kernel")
        self.shift = self.add_weight(shape=(4,), name="shift")
        self.point = L.Conv2D(4, 1)
        self.point.build((None, None, None, 4))
        self.built = True

    def call(self, x: Any) -> Any:
        return self.point(ops.conv(x, self.kernel, padding="valid") + self.shift)


@case
def a_convolution_that_is_no_layer() -> Apart:
    module = Torch(lambda m, x: m.b(m.a(x)), a=nn.Conv2d(3, 4, 3), b=nn.Conv2d(4, 4, 1))
    pairs = {"kernel": "a.weight", "shift": "a.bias", "point": "b"}
    return OwnConvolution(), module, [image(2, 7, 9, 3)], pairs


@case
def branches_that_may_change_places() -> Apart:
    i = keras.Input((None, None, 3))
    x = ops.relu(L.Conv2D(8, 3, name="p")(i)) + ops.relu(L.Conv2D(8, 3, name="q")(i))
    module = Torch(
        lambda m, x: m.o(m.u(x).relu() + m.v(x).relu()),
        o=nn.Conv2d(8, 4, 1), u=nn.Conv2d(3, 8, 3), v=nn.Conv2d(3, 8, 3),
    )  # fmt: skip
    return keras.Model(i, L.Conv2D(4, 1, name="out")(x)), module, [image(2, 7, 9, 3)], {"out": "o"}


class Spare(keras.Model):
    """A layer that is built and never called."""

    def __init__(self) -> None:
        super().__init__()
        self.p, self.q, self.spare = L.Conv2D(4, 3), L.Conv2D(4, 3), L.Dense(7)
        self.spare.build((None, 5))

    def call(self, x: Any) -> Any:
        return self.q(self.p(x))


@case
def layers_that_are_never_used() -> Apart:
    model = Spare()
    model(image(1, 7, 9, 4))
    module = Torch(lambda m, x: m.b(m.c(x)), a=nn.Linear(5, 7), b=nn.Conv2d(4, 4, 3), c=nn.Conv2d(4, 4, 3))
    return model, module, [image(2, 7, 9, 4)], {"p": "c", "q": "b", "spare": "a"}
