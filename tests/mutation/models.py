"""Models in which faults are seeded: mUnet, and three that are built and wired in unlike ways, each with its port.

`pyramid` is a functional Keras model against a torch module full of functional calls; `residual` is subclassed on
both sides, with a module for every step; `decoder` is nested Sequentials and a functional model in Keras against
plain torch, and is mostly transposed convolutions. Together each kind of step occurs in at least three of them.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import torch
from keras import layers as L
from keras import ops
from torch import nn
from torch.nn import functional as F

import parity
from parity.adapters import adapt
from parity.adapters.probe import randomise
from tf_impl.layers import ConvTranspose2d


class SameConv2d(nn.Conv2d):
    """Keras' padding="same" for a kernel of 3 with stride 2, spelled out for torch."""

    symmetric = False

    def forward(self, x: Any) -> Any:
        if self.symmetric:
            return F.conv2d(x, self.weight, self.bias, 2, 1)
        rows, columns = (1 - size % 2 for size in x.shape[2:])  # even sizes: nothing in front, one behind
        return super().forward(F.pad(x, (1 - columns, 1, 1 - rows, 1)))


class CroppedConvTranspose2d(nn.ConvTranspose2d):
    """Keras' transposed "same" for stride 2 and a kernel of 3: the whole result, cropped at the end."""

    first = 0

    def forward(self, x: Any) -> Any:
        whole = super().forward(x)
        return whole[..., self.first : self.first + 2 * x.shape[2], self.first : self.first + 2 * x.shape[3]]


def bottleneck_keras(x: Any, name: str, width: int, out: int) -> Any:
    """1x1, 3x3 with the stride, 1x1, and a 1x1 shortcut with the stride."""
    y = L.Conv2D(width, 1, name=f"{name}reduce")(x)
    y = L.ReLU(name=f"{name}relu1")(y)
    y = L.ZeroPadding2D(1, name=f"{name}pad")(y)
    y = L.Conv2D(width, 3, strides=2, name=f"{name}spatial")(y)
    y = L.ReLU(name=f"{name}relu2")(y)
    y = L.Conv2D(out, 1, name=f"{name}expand")(y)
    return L.Add(name=f"{name}add")([y, L.Conv2D(out, 1, strides=2, name=f"{name}shortcut")(x)])


class Bottleneck(nn.Module):
    def __init__(self, channels: int, width: int, out: int) -> None:
        super().__init__()
        self.reduce, self.relu1 = nn.Conv2d(channels, width, 1), nn.ReLU()
        self.spatial, self.relu2 = nn.Conv2d(width, width, 3, stride=2, padding=1), nn.ReLU()
        self.expand, self.shortcut = nn.Conv2d(width, out, 1), nn.Conv2d(channels, out, 1, stride=2)

    def forward(self, x: Any) -> Any:
        y = self.relu2(self.spatial(self.relu1(self.reduce(x))))
        return self.expand(y) + self.shortcut(x)


# --- pyramid --------------------------------------------------------------------------------------


def pyramid_keras() -> Any:
    image = keras.Input((20, 28, 3))
    x = L.Conv2D(8, 3, strides=2, padding="same", name="stem")(image)
    x = L.BatchNormalization(epsilon=1e-5, name="stem_bn")(x)
    x = ops.relu(x)
    pooled = L.AveragePooling2D(3, strides=1, padding="same", name="pool")(x)
    left = ops.leaky_relu(L.Conv2D(6, (3, 5), padding="same", dilation_rate=2, name="left")(x), 0.01)
    right = L.Conv2D(8, 3, padding="same", groups=2, name="grouped")(pooled)
    right = ops.gelu(right, approximate=False)
    joined = ops.concatenate([left, right], axis=-1)
    y = L.DepthwiseConv2D(3, padding="same", depth_multiplier=2, name="deep")(joined)
    y = L.MaxPooling2D(3, strides=2, name="shrink")(y)
    gate = L.Conv2D(28, 1, name="gate")(ops.mean(y, axis=(1, 2), keepdims=True))
    y = y * ops.hard_sigmoid(gate)
    y = bottleneck_keras(y, "neck_", 5, 7)
    y = L.Conv2DTranspose(6, 3, strides=2, padding="same", name="up")(y)
    y = L.GroupNormalization(3, epsilon=1e-5, name="groups")(y)
    y = y + L.Conv2D(6, 3, padding="same", name="again")(y)
    y = ops.image.resize(y, (20, 28), interpolation="bilinear")
    y = ops.softmax(L.Conv2D(5, 1, name="head")(y), axis=-1)
    small = ops.image.resize(y, (7, 9), interpolation="bilinear")
    flat = ops.reshape(small, (-1, 7 * 9 * 5))
    return keras.Model(
        image, [y, L.Dense(4, name="score")(L.LayerNormalization(epsilon=1e-5, name="norm")(flat))]
    )


class Pyramid(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem, self.stem_bn = SameConv2d(3, 8, 3, stride=2), nn.BatchNorm2d(8)
        self.left = nn.Conv2d(8, 6, (3, 5), padding=(2, 4), dilation=2)
        self.grouped = nn.Conv2d(8, 8, 3, padding=1, groups=2)
        self.deep = nn.Conv2d(14, 28, 3, padding=1, groups=14)
        self.gate = nn.Conv2d(28, 28, 1)
        self.neck = Bottleneck(28, 5, 7)
        self.up = CroppedConvTranspose2d(7, 6, 3, stride=2)
        self.groups, self.again = nn.GroupNorm(3, 6), nn.Conv2d(6, 6, 3, padding=1)
        self.head, self.score = nn.Conv2d(6, 5, 1), nn.Linear(7 * 9 * 5, 4)
        self.norm = nn.LayerNorm(7 * 9 * 5)

    def forward(self, x: Any) -> Any:
        x = F.relu(self.stem_bn(self.stem(x)))
        pooled = F.avg_pool2d(x, 3, 1, 1, count_include_pad=False)
        left = F.leaky_relu(self.left(x), 0.01)
        right = F.gelu(self.grouped(pooled))
        y = F.max_pool2d(self.deep(torch.cat([left, right], 1)), 3, 2)
        y = y * F.hardsigmoid(self.gate(y.mean((2, 3), keepdim=True)))
        y = self.groups(self.up(self.neck(y)))
        y = torch.add(y, self.again(y))
        y = F.interpolate(y, size=(20, 28), mode="bilinear")
        y = F.softmax(self.head(y), 1)
        small = F.interpolate(y, size=(7, 9), mode="bilinear")
        flat = torch.flatten(small, 1)
        return y, self.score(self.norm(flat))


# --- residual -------------------------------------------------------------------------------------


class ResidualKeras(keras.Model):
    def __init__(self) -> None:
        super().__init__()
        self.scale = L.Rescaling(1 / 64.0, offset=-0.5)
        self.first = L.Conv2D(6, 5, padding="valid")
        self.norm1 = L.BatchNormalization(epsilon=1e-5)
        self.act1 = L.LeakyReLU(negative_slope=0.2)
        self.down = L.Conv2D(9, 3, strides=2, padding="same")
        self.norm2 = L.BatchNormalization(epsilon=1e-3)
        self.act2 = L.Activation("gelu")
        self.drop = L.Dropout(0.3)
        self.mix = L.Conv2D(9, 3, padding="same", groups=3)
        self.act3 = L.ReLU()
        self.pool, self.shrink = L.AveragePooling2D(3, strides=1, padding="same"), L.MaxPooling2D(2)
        inner = keras.Input((None, None, 18))
        self.neck = keras.Model(inner, bottleneck_keras(inner, "", 4, 9))
        self.deep = L.DepthwiseConv2D((3, 5), depth_multiplier=3, padding="valid")
        self.gate = L.Dense(27)
        self.gate_act = L.Activation("hard_sigmoid")
        self.up = ConvTranspose2d(27, 7, 4, stride=2, dilation=2, padding=1)
        self.refine = L.Conv2DTranspose(7, 3, padding="same")
        self.resize = L.Resizing(6, 8, interpolation="bilinear")
        self.group = L.GroupNormalization(7, epsilon=1e-5)
        self.again = L.Conv2D(7, 3, padding="same")
        self.flat, self.hidden = L.Flatten(), L.Dense(11)
        self.token_norm, self.act4 = L.LayerNormalization(epsilon=1e-5), L.Activation("tanh")
        self.classes, self.probabilities = L.Dense(4), L.Softmax()

    def call(self, x: Any, training: bool = False) -> Any:
        x = self.act1(self.norm1(self.first(self.scale(x))))
        x = self.drop(self.act2(self.norm2(self.down(x))), training=training)
        x = ops.concatenate([x, self.act3(self.mix(x))], axis=-1)
        x = self.deep(self.neck(self.shrink(self.pool(x))))
        x = x * self.gate_act(self.gate(ops.mean(x, axis=(1, 2))))[:, None, None, :]
        x = self.group(self.resize(self.refine(self.up(x))))
        x = x + self.again(x)
        x = self.act4(self.token_norm(self.hidden(self.flat(x))))
        return self.probabilities(self.classes(x))


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm1, self.act1 = nn.Conv2d(3, 6, 5), nn.BatchNorm2d(6), nn.LeakyReLU(0.2)
        self.down, self.norm2, self.act2 = (
            SameConv2d(6, 9, 3, stride=2),
            nn.BatchNorm2d(9, eps=1e-3),
            nn.GELU(),
        )
        self.drop = nn.Dropout(0.3)
        self.mix, self.act3 = nn.Conv2d(9, 9, 3, padding=1, groups=3), nn.ReLU()
        self.pool, self.shrink = nn.AvgPool2d(3, 1, 1, count_include_pad=False), nn.MaxPool2d(2)
        self.neck = Bottleneck(18, 4, 9)
        self.deep = nn.Conv2d(9, 27, (3, 5), groups=9)
        self.gate, self.gate_act = nn.Linear(27, 27), nn.Hardsigmoid()
        self.up = nn.ConvTranspose2d(27, 7, 4, stride=2, dilation=2, padding=1)
        self.refine, self.group = nn.ConvTranspose2d(7, 7, 3, padding=1), nn.GroupNorm(7, 7)
        self.again = nn.Conv2d(7, 7, 3, padding=1)
        self.flat, self.hidden = nn.Flatten(), nn.Linear(7 * 6 * 8, 11)
        self.token_norm, self.act4 = nn.LayerNorm(11), nn.Tanh()
        self.classes, self.probabilities = nn.Linear(11, 4), nn.Softmax(1)

    def forward(self, x: Any) -> Any:
        x = self.act1(self.norm1(self.first(x / 64.0 - 0.5)))
        x = self.drop(self.act2(self.norm2(self.down(x))))
        x = torch.cat([x, self.act3(self.mix(x))], 1)
        x = self.deep(self.neck(self.shrink(self.pool(x))))
        x = x * self.gate_act(self.gate(x.mean((2, 3))))[:, :, None, None]
        x = self.group(F.interpolate(self.refine(self.up(x)), size=(6, 8), mode="bilinear"))
        x = torch.add(x, self.again(x))
        x = self.act4(self.token_norm(self.hidden(self.flat(x))))
        return self.probabilities(self.classes(x))


# --- decoder --------------------------------------------------------------------------------------


def decoder_keras() -> Any:
    image = keras.Input((12, 17, 3), name="image")
    encoder = keras.Sequential(
        [
            L.Conv2D(8, 3, strides=1, padding="same", name="a"),
            L.PReLU(shared_axes=(1, 2), name="b"),
            L.Conv2D(10, 1, use_bias=False, name="c"),
            L.BatchNormalization(epsilon=1e-5, name="d"),
        ],
        name="encoder",
    )
    x = ops.silu(encoder(image))
    x = L.Add(name="twice")([x, L.ReLU(max_value=6.0, name="six")(x)])
    x = bottleneck_keras(x, "squeeze_", 6, 8)
    x = L.GroupNormalization(4, epsilon=1e-5, name="groups")(x)
    x = L.Add(name="echoed")([x, L.Conv2D(8, 1, name="echo")(x)])
    up = L.Conv2DTranspose(5, (3, 4), strides=2, padding="valid", name="up1")(x)
    up = L.LeakyReLU(negative_slope=0.3, name="leak")(up)
    grid = {"stride": 2, "dilation": 2, "padding": 2, "output_padding": 1}
    spread = ConvTranspose2d(5, 8, 3, **grid, name="spread")(up)
    side = L.UpSampling2D(2, name="side_up")(up)
    side = L.Conv2D(8, (5, 1), padding="valid", name="side")(
        L.ZeroPadding2D(((2, 2), (0, 0)), name="side_pad")(side)
    )
    y = L.Concatenate(name="join")([spread, side])
    y = L.LayerNormalization(epsilon=1e-5, name="tokens")(y)
    y = L.Activation(ops.hard_sigmoid, name="squash")(y)
    y = L.DepthwiseConv2D(3, depth_multiplier=2, name="fan")(y)
    y = L.UpSampling2D(2, interpolation="bilinear", name="enlarge")(y)
    y = L.AveragePooling2D(3, strides=2, padding="valid", name="smooth")(
        L.ZeroPadding2D(1, name="smooth_pad")(y)
    )
    y = L.Conv2D(32, 3, groups=4, name="cells")(y)
    y = L.Activation("gelu", name="bend")(y)
    y = L.MaxPooling2D(3, strides=2, name="peak")(y)
    y = L.Conv2DTranspose(3, 3, strides=2, padding="valid", name="up2")(y)
    y = L.Cropping2D(((0, 1), (0, 1)), name="up2_crop")(y)
    tail = keras.Sequential(
        [L.Conv2D(4, 3, strides=2, padding="same", name="t1"), L.Softmax(name="t2")], name="tail"
    )
    z = tail(y)
    flat = L.Flatten(name="flat")(L.Resizing(2, 3, interpolation="bilinear", name="reduced")(z))
    return keras.Model(image, [z, L.Dense(3, name="out")(flat)], name="decoder")


class Echo(nn.Module):
    """A shortcut around a convolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Any) -> Any:
        return x + self.conv(x)


class Decoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1), nn.PReLU(8), nn.Conv2d(8, 10, 1, bias=False), nn.BatchNorm2d(10)
        )
        self.squeeze, self.groups, self.echo = Bottleneck(10, 6, 8), nn.GroupNorm(4, 8), Echo(8)
        self.up1, self.leak = nn.ConvTranspose2d(8, 5, (3, 4), stride=2), nn.LeakyReLU(0.3)
        self.spread = nn.ConvTranspose2d(5, 8, 3, stride=2, dilation=2, padding=2, output_padding=1)
        self.side = nn.Conv2d(5, 8, (5, 1), padding=(2, 0))
        self.tokens, self.squash = nn.LayerNorm(16), nn.Hardsigmoid()
        self.fan = nn.Conv2d(16, 32, 3, groups=16)
        self.enlarge = nn.Upsample(scale_factor=2, mode="bilinear")
        self.smooth = nn.AvgPool2d(3, 2, 1)
        self.cells, self.bend, self.peak = nn.Conv2d(32, 32, 3, groups=4), nn.GELU(), nn.MaxPool2d(3, 2)
        self.up2 = CroppedConvTranspose2d(32, 3, 3, stride=2)
        self.t1, self.t2 = SameConv2d(3, 4, 3, stride=2), nn.Softmax(1)
        self.flat, self.out = nn.Flatten(), nn.LazyLinear(3)

    def forward(self, x: Any) -> Any:
        x = F.silu(self.encoder(x))
        x = self.echo(self.groups(self.squeeze(x + F.relu6(x))))
        up = self.leak(self.up1(x))
        y = torch.cat([self.spread(up), self.side(F.interpolate(up, scale_factor=2))], 1)
        y = self.squash(self.tokens(y.permute(0, 2, 3, 1)).permute(0, 3, 1, 2))
        y = self.bend(self.cells(self.smooth(self.enlarge(self.fan(y)))))
        z = self.t2(self.t1(self.up2(self.peak(y))))
        return z, self.out(self.flat(F.interpolate(z, size=(2, 3), mode="bilinear")))


def built_decoder() -> nn.Module:
    module = Decoder()
    module(torch.zeros(1, 3, 12, 17))
    return module


def munet() -> tuple[Any, Any]:
    from tf_impl.munet import mUnet as KerasNet
    from torch_impl.munet import mUnet as TorchNet

    return KerasNet(depth=4), TorchNet(depth=4)


@dataclass(frozen=True)
class Victim:
    """A pair to seed faults in: how to build it, and the shape of its input."""

    build: Callable[[], tuple[Any, Any]]
    shape: tuple[int, ...]
    mapping: tuple[tuple[str, str], ...] = ()


VICTIMS: dict[str, Victim] = {
    "mUnet": Victim(munet, (2, 16, 24, 3)),
    "pyramid": Victim(lambda: (pyramid_keras(), Pyramid()), (3, 20, 28, 3)),
    "residual": Victim(lambda: (ResidualKeras(), Residual()), (3, 34, 46, 3)),
    "decoder": Victim(lambda: (decoder_keras(), built_decoder()), (2, 12, 17, 3)),
}


@functools.cache
def clean(name: str) -> tuple[Any, Any, Any]:
    """One pair with equal random weights; every fault undoes itself, which `undone` verifies."""
    victim = VICTIMS[name]
    model, module = victim.build()
    values = np.random.default_rng(1).normal(0.0, 2.0, victim.shape).astype(np.float32)
    if not model.built:
        model(values)
    randomise(adapt(module), 3)
    parity.transfer(module, model, inputs=values)
    return model, module, values
