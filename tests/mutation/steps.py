"""Steps without weights, right and wrong, and three unlike models to put them into."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf
import torch
from keras import layers as L
from keras import ops
from torch import nn
from torch.nn import functional as F

from parity.adapters.torch.edits.sampling import _cubic_weights

Step = Callable[[Any], Any]


@dataclass(frozen=True)
class Case:
    """One step: what Keras does, and what torch does when it is right and when it is wrong.

    The image is (N, 12, 8, 6) in Keras, (N, 6, 12, 8) in torch; tokens are (N, 8, 6) on both sides; a signal is (N, 64).
    """

    cause: str
    name: str
    keras: Step
    right: Step
    wrong: Step
    takes: str = "image"


class Called(L.Layer):
    """A Keras layer of one function."""

    def __init__(self, function: Step, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.function = function

    def call(self, x: Any) -> Any:
        return self.function(x)


# --- three models of images -----------------------------------------------------------------------


class Chain(nn.Module):
    """Convolutions in a row with the step between them; functional on the Keras side."""

    def __init__(self, step: Step, channels: int) -> None:
        super().__init__()
        self.step, self.first = step, nn.Conv2d(3, 6, 3, padding=1)
        self.last = nn.Conv2d(channels, 4, 1)

    def forward(self, x: Any) -> Any:
        return self.last(self.step(self.first(x)))


class Inner(nn.Module):
    """The step in a module of its own, two levels down, behind a normalisation."""

    def __init__(self, step: Step) -> None:
        super().__init__()
        self.step, self.norm = step, nn.BatchNorm2d(6, eps=1e-3)

    def forward(self, x: Any) -> Any:
        return {"y": self.step(self.norm(x))}


class Branched(nn.Module):
    """Two branches: the step is on one of them, and what both give is added."""

    def __init__(self, step: Step, channels: int) -> None:
        super().__init__()
        self.stem, self.inner = nn.Conv2d(3, 6, 1), Inner(step)
        self.a, self.b = nn.Conv2d(channels, 5, 1, bias=False), nn.Conv2d(channels, 5, 1)

    def forward(self, x: Any) -> Any:
        y = self.inner(torch.relu(self.stem(x)))["y"]
        return torch.tanh(self.a(y)) + self.b(y)


class Ending(nn.Module):
    """The step is the last one, behind which no layer comes."""

    def __init__(self, step: Step, channels: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 6, 1)])
        self.step = step

    def forward(self, x: Any) -> Any:
        for layer in self.layers:
            x = layer(x)
        return x, self.step(x)


class KerasInner(L.Layer):
    def __init__(self, step: Step, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.norm, self.step = L.BatchNormalization(), step

    def call(self, x: Any) -> Any:
        return self.step(self.norm(x))


def images(step: Step, name: str) -> keras.Model:
    x = keras.Input((12, 8, 3))
    if name == "chain":
        y = Called(step)(L.Conv2D(6, 3, padding="same")(x))
        return keras.Model(x, L.Conv2D(4, 1)(y))
    if name == "branched":
        y = KerasInner(step)(L.Conv2D(6, 1, activation="relu")(x))
        a, b = L.Conv2D(5, 1, use_bias=False, activation="tanh")(y), L.Conv2D(5, 1)(y)
        return keras.Model(x, L.Add()([a, b]))
    y = L.Conv2D(6, 1)(L.ReLU()(L.Conv2D(8, 3, padding="same")(x)))
    return keras.Model(x, [y, Called(step)(y)])


# --- three models of tokens, and of signals --------------------------------------------------------


class Tokens(nn.Module):
    def __init__(self, step: Step, features: int, name: str) -> None:
        super().__init__()
        self.step, self.name = step, name
        self.first = nn.Linear(4, 6)
        self.last = nn.Linear(features, 3) if name != "ending" or features == 6 else nn.Identity()

    def forward(self, x: Any) -> Any:
        y = self.first(x)
        if self.name == "chain":
            return self.last(self.step(y))
        if self.name == "branched":
            z = self.step(F.silu(y))
            return self.last(z) * torch.sigmoid(self.last(torch.relu(z)))
        return {"tokens": self.last(y), "made": self.step(y)}


def tokens(step: Step, name: str, features: int) -> keras.Model:
    x = keras.Input((8, 4))
    first, last = L.Dense(6), L.Dense(3)
    y = first(x)
    if name == "chain":
        return keras.Model(x, last(Called(step)(y)))
    if name == "branched":
        z = Called(step)(ops.silu(y))
        return keras.Model(x, last(z) * ops.sigmoid(last(ops.relu(z))))
    return keras.Model(x, {"tokens": last(y) if features == 6 else y, "made": Called(step)(y)})


class Signals(nn.Module):
    def __init__(self, step: Step, features: int, name: str) -> None:
        super().__init__()
        self.step, self.name = step, name
        self.first = nn.Linear(16, 64)
        self.last = nn.Linear(features, 3) if name != "ending" else nn.Identity()
        self.wide = nn.Linear(64, 64) if name != "chain" else nn.Identity()

    def forward(self, x: Any) -> Any:
        y = self.first(x)
        if self.name == "ending":
            return self.step(y), self.wide(y)
        if self.name == "branched":
            y = y + torch.tanh(self.wide(y))
        return self.last(self.step(y))


def signals(step: Step, name: str) -> keras.Model:
    x = keras.Input((16,))
    y = L.Dense(64)(x)
    if name == "ending":
        return keras.Model(x, [Called(step)(y), L.Dense(64)(y)])
    if name == "branched":
        y = y + L.Dense(64, activation="tanh")(y)
    return keras.Model(x, L.Dense(3)(Called(step)(y)))


MODELS = ("chain", "branched", "ending")


def pair(case: Case, name: str, wrong: bool) -> tuple[Any, nn.Module, Any]:
    """One model with the step: Keras, torch, and an input."""
    keras.utils.set_random_seed(3)
    torch.manual_seed(3)
    step = case.wrong if wrong else case.right
    rng = np.random.default_rng(5)
    if case.takes == "image":
        model = images(case.keras, name)
        channels = int(np.shape(case.right(torch.zeros(2, 6, 12, 8)))[1])
        module: nn.Module = {"chain": Chain, "branched": Branched, "ending": Ending}[name](step, channels)
        return model, module.eval(), rng.standard_normal((2, 12, 8, 3)).astype("float32")
    if case.takes == "tokens":
        features = int(np.shape(case.right(torch.zeros(2, 8, 6)))[-1])
        values = rng.standard_normal((2, 8, 4)).astype("float32")
        return tokens(case.keras, name, features), Tokens(step, features, name).eval(), values
    features = int(np.shape(case.right(torch.zeros(2, 64)))[-1])
    values = rng.standard_normal((2, 16)).astype("float32")
    return signals(case.keras, name), Signals(step, features, name).eval(), values


# --- the steps ------------------------------------------------------------------------------------


def keras_blocks(x: Any, down: bool = False) -> Any:
    return tf.nn.space_to_depth(x, 2) if down else tf.nn.depth_to_space(ops.concatenate([x, x], -1), 2)


def regrouped(x: torch.Tensor) -> torch.Tensor:
    n, c, h, w = x.shape
    return x.reshape(n, 4, c // 4, h, w).transpose(1, 2).reshape(n, c, h, w)


def unshuffled(x: torch.Tensor) -> torch.Tensor:
    n, c, h, w = x.shape
    return (
        F.pixel_unshuffle(x, 2)
        .reshape(n, c, 4, h // 2, w // 2)
        .transpose(1, 2)
        .reshape(n, 4 * c, h // 2, w // 2)
    )


def blocks_by_hand(x: torch.Tensor, order: tuple[int, ...]) -> torch.Tensor:
    x = torch.cat([x, x], 1)
    n, c, h, w = x.shape
    parts = x.view(n, 2, 2, c // 4, h, w) if order == (0, 3, 4, 1, 5, 2) else x.view(n, c // 4, 2, 2, h, w)
    return parts.permute(order).reshape(n, c // 4, 2 * h, 2 * w)


def keras_normed(axes: tuple[int, ...]) -> Step:
    def step(x: Any) -> Any:
        mean = ops.mean(x, axes, keepdims=True)
        return (x - mean) / ops.sqrt(ops.mean(ops.square(x - mean), axes, keepdims=True) + 1e-4)

    return step


def heads(x: torch.Tensor, order: str) -> torch.Tensor:
    n, length, width = x.shape
    if order == "LHD":
        return x.view(n, length, 2, width // 2).transpose(1, 2).reshape(n, 2 * length, width // 2)
    return x.view(n, 2, length, width // 2).reshape(n, 2 * length, width // 2)


def keras_heads(x: Any) -> Any:
    split = ops.transpose(ops.reshape(x, (-1, 8, 2, 3)), (0, 2, 1, 3))
    return ops.reshape(split, (-1, 16, 3))


def keras_stft(x: Any, window: str = "hann") -> Any:
    real, imaginary = ops.stft(x, 16, 4, 16, window=window)
    return ops.reshape(ops.sqrt(real**2 + imaginary**2 + 1e-6), (-1, 17 * 9))


def torch_stft(x: torch.Tensor, periodic: bool = True, **options: Any) -> torch.Tensor:
    window = torch.hann_window(16, periodic, dtype=x.dtype)
    found = torch.stft(x, 16, 4, 16, window, return_complex=True, **options)
    found = F.pad(torch.view_as_real(found).permute(0, 2, 1, 3), (0, 0, 0, 0, 0, 17 - found.shape[-1]))
    return (found[..., 0] ** 2 + found[..., 1] ** 2 + 1e-6).sqrt().reshape(len(x), -1)


def rms(x: torch.Tensor, eps: float) -> torch.Tensor:
    return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + eps)


def keras_rms(x: Any) -> Any:
    return x * ops.rsqrt(ops.mean(ops.square(x), -1, keepdims=True) + 1e-3)


def keras_spread(x: Any) -> Any:
    return (x - ops.mean(x, -1, keepdims=True)) / (ops.std(x, -1, keepdims=True) + 1e-2)


def spread(
    x: torch.Tensor, dim: int = 1, inside: bool = False, eps: float = 1e-2, unbiased: bool = False
) -> torch.Tensor:
    centred = x - x.mean(dim, keepdim=True)
    if inside:
        return centred / torch.sqrt(x.var(dim, keepdim=True, unbiased=unbiased) + eps)
    return centred / (x.std(dim, keepdim=True, unbiased=unbiased) + eps)


def sliced(x: torch.Tensor, first: int) -> torch.Tensor:
    return x[:, :, first : first + 8, 1:7]


ROWS, COLUMNS = (_cubic_weights(n, out, -0.5, True, 1024) for n, out in ((12, 18), (8, 12)))


def resized(x: torch.Tensor) -> torch.Tensor:
    return torch.einsum("ih,nchw,jw->ncij", ROWS.to(x.dtype), x, COLUMNS.to(x.dtype))


def gelu_by_tanh(x: torch.Tensor) -> torch.Tensor:
    return 0.5 * x * (1 + torch.tanh((2 / np.pi) ** 0.5 * (x + 0.044715 * x**3)))


def gelu_by_erf(x: torch.Tensor) -> torch.Tensor:
    return x * 0.5 * (1 + torch.erf(x / 2**0.5))


def gelu_in_keras(x: Any) -> Any:
    return 0.5 * x * (1 + ops.tanh((2 / np.pi) ** 0.5 * (x + 0.044715 * x**3)))


def own_softmax(x: torch.Tensor, dim: int) -> torch.Tensor:
    raised = torch.exp(x - x.amax(dim, keepdim=True))
    return raised / raised.sum(dim, keepdim=True)


def attended(x: Any) -> Any:
    return ops.matmul(ops.softmax(ops.matmul(x, ops.transpose(x, (0, 2, 1))) / 6**0.5), x)


PLACES = np.stack(np.meshgrid(np.linspace(-1.2, 1.0, 7), np.linspace(-0.9, 1.1, 9)), -1)
"""(column, row) of places to sample at, -1 and 1 at the edges of the image, some outside."""


def sampled(x: torch.Tensor, align_corners: bool = False, **options: Any) -> torch.Tensor:
    grid = torch.as_tensor(PLACES, dtype=x.dtype).expand(len(x), -1, -1, -1)
    return F.grid_sample(x, grid, align_corners=align_corners, **{"padding_mode": "border", **options})


def keras_sampled(x: Any) -> Any:
    rows, columns = (np.clip(((PLACES[..., i] + 1) * n - 1) / 2, 0, n - 1) for i, n in ((1, 12), (0, 8)))
    top, left = np.floor(rows).clip(0, 10).astype(int), np.floor(columns).clip(0, 6).astype(int)
    down, right = (rows - top)[None, ..., None], (columns - left)[None, ..., None]
    flat = ops.reshape(x, (-1, 96, 6))
    at = {(i, j): ops.take(flat, (top + i) * 8 + left + j, axis=1) for i in (0, 1) for j in (0, 1)}
    upper = at[0, 0] * (1 - right) + at[0, 1] * right
    lower = at[1, 0] * (1 - right) + at[1, 1] * right
    return upper * (1 - down) + lower * down


CASES = (
    Case("depth-to-space-order", "PixelShuffle", keras_blocks,
         lambda x: F.pixel_shuffle(regrouped(torch.cat([x, x], 1)), 2), lambda x: F.pixel_shuffle(torch.cat([x, x], 1), 2)),
    Case("depth-to-space-order", "pixel_unshuffle", lambda x: keras_blocks(x, True), unshuffled,
         lambda x: F.pixel_unshuffle(x, 2)),
    Case("depth-to-space-order", "by hand", keras_blocks, lambda x: blocks_by_hand(x, (0, 3, 4, 1, 5, 2)),
         lambda x: torch.cat([x, x], 1).view(len(x), 2, 2, 3, *x.shape[2:]).permute(0, 3, 4, 2, 5, 1)
         .reshape(len(x), 3, 24, 16)),
    Case("normalised-axes", "instance", keras_normed((1, 2)), lambda x: F.instance_norm(x, eps=1e-4),
         lambda x: F.layer_norm(x, x.shape[1:], eps=1e-4)),
    Case("normalised-axes", "group", keras_normed((3,)), lambda x: F.layer_norm(x.permute(0, 2, 3, 1), (6,), eps=1e-4)
         .permute(0, 3, 1, 2), lambda x: F.group_norm(x, 1, eps=1e-4)),
    Case("padding-mode", "reflect", lambda x: ops.pad(x, [[0, 0], [2, 2], [1, 1], [0, 0]], "reflect"),
         lambda x: F.pad(x, (1, 1, 2, 2), "reflect"), lambda x: F.pad(x, (1, 1, 2, 2))),
    Case("padding-mode", "symmetric", lambda x: ops.pad(x, [[0, 0], [1, 1], [1, 1], [0, 0]], "symmetric"),
         lambda x: F.pad(x, (1, 1, 1, 1), "replicate"), lambda x: F.pad(x, (1, 1, 1, 1), "reflect")),
    Case("pool-bins", "adaptive", lambda x: ops.adaptive_average_pool(x, (5, 3)),
         lambda x: F.adaptive_avg_pool2d(x, (5, 3)), lambda x: F.avg_pool2d(x, 4, 2)),
    Case("pool-bins", "fixed", lambda x: ops.max_pool(x, 4, 2), lambda x: F.max_pool2d(x, 4, 2),
         lambda x: F.adaptive_max_pool2d(x, (5, 3))),
    Case("pool-kind", "global", lambda x: ops.max(x, (1, 2), keepdims=True), lambda x: x.amax((2, 3), keepdim=True),
         lambda x: x.mean((2, 3), keepdim=True)),
    Case("pool-kind", "local", lambda x: ops.average_pool(x, 2, 2), lambda x: F.avg_pool2d(x, 2),
         lambda x: F.max_pool2d(x, 2)),
    Case("axis-order", "heads", keras_heads, lambda x: heads(x, "LHD"), lambda x: heads(x, "HLD"), "tokens"),
    Case("axis-order", "permute", lambda x: ops.transpose(x, (0, 2, 1, 3)), lambda x: x.transpose(2, 3),
         lambda x: x.permute(0, 1, 3, 2).flip(0).flip(0).reshape(len(x), 6, 12, 8).permute(0, 1, 3, 2)),
    Case("axis-value", "concatenated", lambda x: ops.concatenate([x, x * 2], 1), lambda x: torch.cat([x, x * 2], 1),
         lambda x: torch.cat([x, x * 2], 0).reshape(len(x), 16, 6), "tokens"),
    Case("axis-value", "flipped", lambda x: ops.flip(x, 1), lambda x: x.flip(2), lambda x: x.flip(3)),
    Case("axis-value", "running", lambda x: ops.cumsum(x, 2), lambda x: x.cumsum(3), lambda x: x.cumsum(2)),
    Case("axis-value", "mean", lambda x: x - ops.mean(x, 1, keepdims=True), lambda x: x - x.mean(1, keepdim=True),
         lambda x: x - x.mean(2, keepdim=True), "tokens"),
    Case("cubic-coefficient", "resized", lambda x: ops.image.resize(x, (18, 12), "bicubic"),
         resized,
         lambda x: F.interpolate(x, (18, 12), mode="bicubic")),
    Case("stft-window", "periodic", keras_stft, torch_stft, lambda x: torch_stft(x, False), "signal"),
    Case("stft-frames", "centre", keras_stft, torch_stft, lambda x: torch_stft(x, center=True, pad_mode="constant"),
         "signal"),
    Case("stft-frames", "scaled", keras_stft, torch_stft, lambda x: torch_stft(x, normalized=True), "signal"),
    Case("variance-correction", "std", keras_spread, spread, lambda x: spread(x, unbiased=True)),
    Case("variance-correction", "var", keras_normed((1, 2, 3)),
         lambda x: (x - x.mean((1, 2, 3), keepdim=True)) / (x.var((1, 2, 3), False, keepdim=True) + 1e-4).sqrt(),
         lambda x: (x - x.mean((1, 2, 3), keepdim=True)) / (x.var((1, 2, 3), keepdim=True) + 1e-4).sqrt()),
    Case("rmsnorm-epsilon", "by hand", keras_rms, lambda x: rms(x, 1e-3), lambda x: rms(x, 1e-6), "tokens"),
    Case("rmsnorm-epsilon", "function", keras_rms, lambda x: F.rms_norm(x, (6,), eps=1e-3),
         lambda x: F.rms_norm(x, (6,)), "tokens"),
    Case("epsilon-value", "root", keras_spread, spread, lambda x: spread(x, eps=1e-5)),
    Case("epsilon-place", "root", keras_spread, spread, lambda x: spread(x, inside=True)),
    Case("epsilon-place", "length", lambda x: x / ops.sqrt(ops.sum(x * x, -1, keepdims=True) + 1e-2),
         lambda x: x / torch.sqrt((x * x).sum(-1, keepdim=True) + 1e-2),
         lambda x: x / (torch.sqrt((x * x).sum(-1, keepdim=True)) + 1e-2), "tokens"),
    Case("constant-value", "factor", lambda x: x * 0.7 + 0.1, lambda x: x * 0.7 + 0.1, lambda x: x * 0.35 + 0.1),
    Case("constant-value", "limits", lambda x: ops.clip(x, -0.2, 0.3), lambda x: x.clamp(-0.2, 0.3),
         lambda x: x.clamp(-0.2, 0.4)),
    Case("constant-value", "exponent", lambda x: ops.power(ops.abs(x) + 0.1, 1.7), lambda x: (x.abs() + 0.1) ** 1.7,
         lambda x: (x.abs() + 0.1) ** 2.2),
    Case("constant-value", "missing", lambda x: x * 0.25, lambda x: x * 0.25, lambda x: x, "tokens"),
    Case("softplus-threshold", "softplus", lambda x: ops.softplus(3 * x + 18),
         lambda x: F.softplus(3 * x + 18, threshold=40), lambda x: F.softplus(3 * x + 18)),
    Case("operand-order", "sub", lambda x: ops.flip(x, 1) * 2 - x, lambda x: x.flip(2) * 2 - x, lambda x: x - x.flip(2) * 2),
    Case("float32-cast", "norm", keras_rms, lambda x: rms(x, 1e-3),
         lambda x: (x.float() * torch.rsqrt(x.float().pow(2).mean(-1, keepdim=True) + 1e-3)).to(x.dtype), "tokens"),
    Case("slice-offset", "cropped", lambda x: x[:, 2:10, 1:7], lambda x: sliced(x, 2), lambda x: sliced(x, 1)),
    Case("gelu-approximation", "own tanh", lambda x: ops.gelu(x, approximate=False), gelu_by_erf, gelu_by_tanh, "tokens"),
    Case("gelu-approximation", "own erf", lambda x: ops.gelu(x, approximate=True), gelu_by_tanh, gelu_by_erf, "tokens"),
    Case("gelu-approximation", "Keras' own", gelu_in_keras, gelu_by_tanh, F.gelu),
    Case("gelu-approximation", "by sigmoid", lambda x: x * ops.sigmoid(1.702 * x), lambda x: x * torch.sigmoid(1.702 * x),
         F.gelu, "tokens"),
    Case("softmax-axis", "own", lambda x: ops.softmax(x, 1), lambda x: own_softmax(x, 1), lambda x: own_softmax(x, 2),
         "tokens"),
    Case("activation-kind", "log", lambda x: ops.softmax(x, -1), lambda x: F.softmax(x, -1),
         lambda x: F.log_softmax(x, -1), "tokens"),
    Case("slice-offset", "rolled", lambda x: ops.roll(x, 2, 1), lambda x: x.roll(2, 1), lambda x: x.roll(-2, 1), "tokens"),
    Case("slice-offset", "first", lambda x: ops.repeat(x[:, -1:], 8, 1), lambda x: x[:, -1:].repeat(1, 8, 1),
         lambda x: x[:, :1].repeat(1, 8, 1), "tokens"),
    Case("padding-size", "elsewhere", lambda x: ops.pad(x, [[0, 0], [0, 1], [0, 1], [0, 0]]),
         lambda x: F.pad(x, (0, 1, 0, 1)), lambda x: F.pad(x, (1, 0, 1, 0))),
    Case("padding-mode", "circular", lambda x: ops.concatenate([x[:, :, -1:], x, x[:, :, :1]], 2),
         lambda x: F.pad(x, (1, 1, 0, 0), "circular"), lambda x: F.pad(x, (1, 1, 0, 0), "replicate")),
    Case("constant-value", "cap", lambda x: 5.0 * ops.tanh(x / 5.0), lambda x: 5.0 * torch.tanh(x / 5.0),
         lambda x: 3.0 * torch.tanh(x / 3.0), "tokens"),
    Case("constant-value", "both limits", lambda x: ops.clip(x, -0.3, 0.3), lambda x: x.clamp(-0.3, 0.3),
         lambda x: x.clamp(-0.5, 0.5), "tokens"),
    Case("constant-value", "size of the features", lambda x: x * 6**0.5, lambda x: x * 6**0.5, lambda x: x * 1, "tokens"),
    Case("axis-value", "squares", lambda x: x * ops.rsqrt(ops.mean(x * x, (1, 2), keepdims=True) + 1e-6),
         lambda x: x * torch.rsqrt((x * x).mean((1, 2), keepdim=True) + 1e-6),
         lambda x: x * torch.rsqrt((x * x).mean(-1, keepdim=True) + 1e-6), "tokens"),
    Case("normalised-axes", "length", lambda x: ops.normalize(x, axis=-1, order=2), lambda x: F.normalize(x, dim=-1),
         lambda x: F.normalize(x, dim=1), "tokens"),
    Case("layernorm-epsilon", "function", keras_normed((2,)), lambda x: F.layer_norm(x, (6,), eps=1e-4),
         lambda x: F.layer_norm(x, (6,), eps=1e-6), "tokens"),
    Case("attention-scale", "own", attended, lambda x: F.scaled_dot_product_attention(x, x, x),
         lambda x: F.scaled_dot_product_attention(x, x, x, scale=1.0), "tokens"),
    Case("step-missing", "mean", lambda x: x - ops.mean(x, 1, keepdims=True), lambda x: x - x.mean(1, keepdim=True),
         lambda x: x * 1, "tokens"),
    Case("resize-align-corners", "sampled", keras_sampled, sampled, lambda x: sampled(x, True)),
    Case("resize-mode", "sampled", keras_sampled, sampled, lambda x: sampled(x, mode="bicubic")),
    Case("padding-mode", "sampled", keras_sampled, sampled, lambda x: sampled(x, padding_mode="zeros")),
    Case("step-missing", "turned", lambda x: ops.flip(x, 1), lambda x: x.flip(2), lambda x: x),
    Case("step-missing", "too much", lambda x: x, lambda x: x * 1.0, lambda x: x.roll(1, 3)),
)  # fmt: skip
