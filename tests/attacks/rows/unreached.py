"""What one probe does not reach: limits, thresholds, signs, sizes, batches, dtypes and branches.

Where a difference lies beyond what any probe of finite size can reach, EQUAL is allowed if the report names it.
"""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import tensorflow as tf
import torch
from torch import nn
from torch.nn import functional as F

from tests.attacks.attempt import BRANCH, Attempt, attempts
from tests.attacks.written import Layer, Written, conv, dense, embedding, images

KIND = "what a probe does not reach"
LIMIT = r"^limits \w+ in the model itself( \(\d\))?: (it|its|no) "
"""What is named where a step has a limit or a choice, and went one way."""
SIZE = r"^sizes .*unreached\.py:\d+: "
"""What is named where the models' own code uses a size without a branch."""
CONV = {"c": conv()}
POSITIVE = (np.abs(images()) % 1.0).astype(np.float32)
SMALL = images() * 1e-2


def after(function: Callable[[Any, Any], Any]) -> Written:
    """A convolution and a function."""
    return Written(lambda xp, m, x: function(xp, m.c(x)), CONV)


def before(function: Callable[[Any, Any], Any]) -> Written:
    """A function of the input, and a convolution."""
    return Written(lambda xp, m, x: m.c(function(xp, x)), CONV)


def live(function: Callable[[Any, Any, Any], Any]) -> Written:
    """A convolution and a function of (ops, result, input) that runs anew in every call."""
    return Written(lambda xp, m, x: function(xp, m.c(x), x), CONV, live=True)


# (honest, faulty, inputs, what the report must name if it says EQUAL)
LIMITS: dict[str, tuple[Any, Any, Any, str]] = {
    "ReLU6 for ReLU": (after(lambda xp, v: xp.relu(v)), after(lambda xp, v: xp.relu6(v)), SMALL, LIMIT),
    "a clip at 50": (after(lambda xp, v: v), after(lambda xp, v: xp.clip(v, -50.0, 50.0)), images(), LIMIT),
    "a clip at 1e6": (after(lambda xp, v: v), after(lambda xp, v: xp.clip(v, -1e6, 1e6)), images(), LIMIT),
    "clips at 5000 and 6000": (after(lambda xp, v: xp.clip(v, -6e3, 6e3)), after(lambda xp, v: xp.clip(v, -5e3, 5e3)),
                               images(), LIMIT),
    "softplus with a threshold of 20": (after(lambda xp, v: xp.limited_softplus(v, 1e3)),
                                        after(lambda xp, v: xp.limited_softplus(v, 20.0)), SMALL, LIMIT),
    "softplus with a threshold of 5": (after(lambda xp, v: xp.limited_softplus(v, 1e3)),
                                       after(lambda xp, v: xp.limited_softplus(v, 5.0)), SMALL, LIMIT),
    "abs on positive inputs": (before(lambda xp, x: x), before(lambda xp, x: xp.abs(x)), POSITIVE, ""),
    "ReLU on positive inputs": (before(lambda xp, x: x), before(lambda xp, x: xp.relu(x)), POSITIVE, ""),
    "a leaky slope on positive inputs": (before(lambda xp, x: xp.leaky_relu(x, 0.01)),
                                         before(lambda xp, x: xp.leaky_relu(x, 0.3)), POSITIVE, ""),
    "ELU's alpha on positive inputs": (before(lambda xp, x: xp.elu(x, 1.0)), before(lambda xp, x: xp.elu(x, 0.5)),
                                       POSITIVE, ""),
    "a clip to 0 and 1 on such inputs": (before(lambda xp, x: x), before(lambda xp, x: xp.clip(x, 0.0, 1.0)), POSITIVE, ""),
    "255 of bytes, a clip": (before(lambda xp, x: x), before(lambda xp, x: xp.minimum(x, 255.0)),
                             np.floor(POSITIVE * 256), LIMIT),
    "whole numbers, rounded": (before(lambda xp, x: x), before(lambda xp, x: xp.round(x)),
                              np.floor(POSITIVE * 256), ""),
    "floor on whole numbers": (before(lambda xp, x: x), before(lambda xp, x: xp.floor(x)),
                               np.floor(POSITIVE * 256), ""),
    "a square of zeros and ones": (before(lambda xp, x: x), before(lambda xp, x: x * x),
                                   (POSITIVE > 0.5).astype(np.float32), ""),
    "zero inputs, another scale": (before(lambda xp, x: x), before(lambda xp, x: 3.0 * x), images() * 0.0, ""),
    "beyond 1000 alone": (after(lambda xp, v: v), after(lambda xp, v: v + xp.relu(v - 1e3)), images(), LIMIT),
    "beyond 1e9 alone": (after(lambda xp, v: v), after(lambda xp, v: v + xp.relu(v - 1e9)), images(), LIMIT),
    "a choice that falls one way": (after(lambda xp, v: v), after(lambda xp, v: xp.where(v > 1e5, 2.0 * v, v)),
                                    images(), LIMIT),
    "a maximum never lower": (after(lambda xp, v: v), after(lambda xp, v: xp.maximum(v, -1e7)), images(), LIMIT),
    "zero alone": (after(lambda xp, v: v), after(lambda xp, v: v + xp.like(xp.equal(v, 0.0), v)), images(), LIMIT),
    "a normalisation that guards against zero": (
        after(lambda xp, v: v / xp.sqrt(xp.sum(v * v, axis=xp.C, keepdims=True))),
        after(lambda xp, v: v / xp.maximum(xp.sqrt(xp.sum(v * v, axis=xp.C, keepdims=True)), 1e-6)), images(), LIMIT),
    "a logarithm that guards against zero": (
        after(lambda xp, v: xp.log(xp.sigmoid(v))), after(lambda xp, v: xp.log(xp.maximum(xp.sigmoid(v), 1e-7))),
        SMALL, LIMIT),
}  # fmt: skip


def strided(size: int, keras_padding: str, torch_padding: int) -> Layer:
    """Stride 2; padding "same" in Keras lies behind, in torch on both sides."""
    return conv(
        size=size, keras_more={"strides": 2, "padding": keras_padding},
        torch_more={"stride": 2, "padding": torch_padding},
    )  # fmt: skip


def _crop(xp: Any, v: Any, x: Any) -> Any:
    """Without the last row where the input has an odd number of rows."""
    return xp.rows(v, 0, v.shape[xp.H] - x.shape[xp.H] % 2)


def _pooled(xp: Any, v: Any, count: int) -> Any:
    """Averages over as many rows as the size allows, at most `count`."""
    height = int(v.shape[xp.H])
    return xp.mean(xp.rows(v, 0, min(height, count)), axis=(xp.H, xp.W))


# Functions of (ops, result, input), each against the plain result; what must be named.
SIZES: dict[str, tuple[Callable[[Any, Any, Any], Any], str]] = {
    "a batch of one, by a branch": (lambda xp, v, x: v * 2.0 if x.shape[0] == 1 else v, BRANCH),
    "a batch of three, by a branch": (lambda xp, v, x: v * 2.0 if x.shape[0] == 3 else v, BRANCH),
    "batches beyond 4, by a branch": (lambda xp, v, x: v * 2.0 if x.shape[0] > 4 else v, BRANCH),
    "a batch of one, without a branch": (lambda xp, v, x: v * (1.0 + float(x.shape[0] == 1)), ""),
    "a batch of three, without a branch": (lambda xp, v, x: v * (1.0 + float(x.shape[0] == 3)), SIZE),
    "batches beyond 4, without a branch": (lambda xp, v, x: v * (1.0 + float(x.shape[0] > 4)), SIZE),
    "a height above 100, by a branch": (lambda xp, v, x: v * 2.0 if x.shape[xp.H] > 100 else v, BRANCH),
    "a height above 100, without a branch": (lambda xp, v, x: v * (1.0 + float(x.shape[xp.H] > 100)), SIZE),
    "odd heights cropped": (_crop, ""),
    "odd widths doubled": (lambda xp, v, x: v * (1.0 + float(x.shape[xp.W] % 2)), ""),
    "higher than wide": (lambda xp, v, x: v * (1.0 + float(x.shape[xp.H] > x.shape[xp.W])), SIZE),
    "square alone": (lambda xp, v, x: v * (1.0 + float(x.shape[xp.H] == x.shape[xp.W])), SIZE),
    "float32, by a branch": (lambda xp, v, x: v * 2.0 if xp.dtype_of(v) == "float32" else v, ""),
    "float32, without a branch": (lambda xp, v, x: v * (1.0 + float(xp.dtype_of(v) == "float32")), ""),
    "anything but float64": (lambda xp, v, x: v * (2.0 - float(xp.dtype_of(v) == "float64")), ""),
    "float16, by a branch": (lambda xp, v, x: v * 2.0 if xp.dtype_of(v) == "float16" else v, BRANCH),
    "float16, without a branch": (
        lambda xp, v, x: v * (1.0 + float(xp.dtype_of(v) == "float16")), r"^dtypes .*unreached\.py:\d+: .*float16"),
    "an environment variable, without a branch": (
        lambda xp, v, x: v * float(os.environ.get("DEPLOYED", 1)), BRANCH + ".*without a branch"),
    "great means, without a branch": (
        lambda xp, v, x: v * (1.0 + float(float(xp.mean(x)) > 1e4)), r"^limits .*unreached\.py:\d+: .*depends on a value"),
    "an environment variable": (lambda xp, v, x: v * 2.0 if os.environ.get("DEPLOYED") else v, BRANCH),
    "a later date": (lambda xp, v, x: v * 2.0 if time.time() > 4e9 else v, BRANCH),
    "great means, by a branch": (lambda xp, v, x: v * 2.0 if float(xp.mean(x)) > 1e4 else v, BRANCH),
    "negative means, by a branch": (lambda xp, v, x: v * 2.0 if float(xp.mean(x)) < -50.0 else v, BRANCH),
    "a loop over rows beyond 40": (
        lambda xp, v, x: v * (1.0 + float(sum(1 for row in range(int(x.shape[xp.H])) if row > 40))), BRANCH),
}  # fmt: skip


def _clamped(value: torch.Tensor) -> torch.Tensor:
    return torch.clamp(value, -1e6, 1e6)


with warnings.catch_warnings():  # torch would have torch.compile instead, and scripts are still in use
    warnings.simplefilter("ignore", DeprecationWarning)
    _scripted = torch.jit.script(_clamped)


@torch.library.custom_op("attacks::limited", mutates_args=())
def _custom(value: torch.Tensor) -> torch.Tensor:
    return value.clamp(-1e6, 1e6)


@tf.function
def _graph(value: Any) -> Any:
    return tf.clip_by_value(value, tf.cast(-1e6, value.dtype), tf.cast(1e6, value.dtype))


def within(name: str, said: str) -> str:
    """What is named where a step of this kind went one way."""
    return rf"^limits {name} in the model itself( \(\d\))?: {said}"


SAME, UNSEEN = "it gave the same at every element", "what happens within was not looked at"
VALUE = r"^limits .*unreached\.py:\d+: .*depends on a value in Python"
LOST = "^limits an operand of the output .*: what gives it is not seen"

# Functions of a result in torch, which change it beyond a million alone; what must be named.
IN_TORCH: dict[str, tuple[Callable[[torch.Tensor], torch.Tensor], str]] = {
    "a window of attention, by triu": (
        lambda v: v * torch.ones(v.shape[-2:], dtype=v.dtype).triu(-400), within("triu", "it never changed anything")),
    "a window of attention, by tril": (lambda v: v.tril(400), within("tril", "it never changed anything")),
    "norms in windows of 64": (
        lambda v: torch.cat([p / p.norm() for p in v.split(64, dim=2)], 2) * v.norm(),
        within("split", "it never gave more than one piece")),
    "a norm that is limited": (lambda v: v.renorm(2, 0, 1e6), within("renorm", "it never changed anything")),
    "a gate that is shut": (lambda v: v + v * torch.sigmoid(v - 1e6), within("sigmoid", SAME)),
    "a SiLU that is shut": (lambda v: v + F.silu(v - 1e6), within("silu", SAME)),
    "an exponential of nothing": (lambda v: v + torch.exp(v - 1e6), within("exp", SAME)),
    "a soft threshold": (lambda v: v + F.softshrink(v, 1e6), within("softshrink", SAME)),
    "a hard threshold": (lambda v: v + F.hardshrink(v, 1e6), within("hardshrink", SAME)),
    "a threshold": (lambda v: v + F.threshold(v, 1e6, 0.0), within("threshold", SAME)),
    "buckets": (lambda v: v * (1 + torch.bucketize(v, v.new_tensor([1e6]))), within("bucketize", SAME)),
    "a rest that is rounded off": (
        lambda v: v + torch.div(v.abs(), 1e6, rounding_mode="floor"), within("div", SAME)),
    "the lesser of two tensors": (
        lambda v: torch.min(v, torch.full_like(v, 1e6)), within("min", "its first operand was never greater")),
    "the greatest, nearly": (
        lambda v: torch.logsumexp(torch.stack([v, torch.full_like(v, -1e6)]), 0),
        within("logsumexp", "it never gave anything but the greatest")),
    "a sum of logarithms": (
        lambda v: torch.logaddexp(v, torch.full_like(v, -1e6)), within("logaddexp", "it never changed anything")),
    "the greatest of a stack": (
        lambda v: torch.stack([v, torch.full_like(v, -1e6)]).amax(0),
        within("max", "it always took the same place along its axis")),
    "the least of a stack": (
        lambda v: torch.stack([torch.full_like(v, 1e6), v]).amin(0),
        within("amin", "it always took the same place along its axis")),
    "a function that is flat so far out": (
        lambda v: v + torch.special.gammaincc(torch.full_like(v, 2.0), v.abs() + 800.0),
        within("specialgammaincc", SAME)),
    "a rounded ratio": (
        lambda v: v + torch.floor_divide(v, 1e6).clamp(min=0.0), within("clamp", SAME)),
    "a count of great values": (lambda v: v + torch.histc(v, 3, 1e6, 2e6).sum(), within("histc", SAME)),
    "a sum without NaN": (lambda v: torch.stack([v, v]).nanmean(0), within("nanmean", "it never met NaN")),
    "what is too small to count": (
        lambda v: v + torch.atan2(v, torch.full_like(v, 1e30)), within("add", "it never changed anything")),
    "a number too small to count": (
        lambda v: v / ((v.abs() + 1.0) + 1e-30) * (v.abs() + 1.0), within("add", "it never changed anything")),
    "a script": (_scripted, LOST),
    "an operation of one's own": (_custom, r"^limits attacks::limited\S* in the model itself: " + UNSEEN),
    "NumPy": (lambda v: torch.from_numpy(np.where(v.detach().numpy() > 1e6, 0.0, v.detach().numpy())), LOST),
    "a number of a tensor": (lambda v: v * (1.0 + max(0.0, v.detach().abs().max().item() - 1e6)), VALUE),
    "a list of a tensor": (lambda v: v * (1.0 + max(0.0, max(v.detach().flatten().tolist()) - 1e6)), VALUE),
}  # fmt: skip

# The same in Keras, by TensorFlow's own operations.
IN_KERAS: dict[str, tuple[Callable[[Any], Any], str]] = {
    "TensorFlow's clip": (lambda v: tf.clip_by_value(v, -1e6, 1e6), within("minimum", "its operand never lay above")),
    "TensorFlow's minimum": (
        lambda v: tf.minimum(v, tf.cast(1e6, v.dtype)), within("minimum", "its operand never lay above")),
    "a graph of TensorFlow": (_graph, within("partitionedcall", UNSEEN)),
    "NumPy within TensorFlow": (
        lambda v: tf.numpy_function(lambda a: np.where(a > 1e6, 0.0, a), [v], v.dtype), LOST),
    "a loop of Keras": (
        lambda v: _ops().while_loop(lambda i, a: i < 2, lambda i, a: (i + 1, _ops().clip(a, -1e6, 1e6)), (0, v))[1],
        within("whileloop", UNSEEN)),
    "a map of Keras": (
        lambda v: _ops().vectorized_map(lambda a: _ops().clip(a, -1e6, 1e6), v), within("vectorizedmap", UNSEEN)),
    "the greatest of a stack, by TensorFlow": (
        lambda v: tf.reduce_max(tf.stack([v, tf.fill(tf.shape(v), tf.cast(-1e6, v.dtype))]), 0),
        within("max", "it always took the same place along its axis")),
    "the greatest, nearly, by Keras": (
        lambda v: _ops().logsumexp(_ops().stack([v, _ops().full_like(v, -1e6)]), axis=0),
        within("logsumexp", "it never gave anything but the greatest")),
    "a sum of logarithms, by Keras": (
        lambda v: _ops().logaddexp(v, _ops().full_like(v, -1e6)), within("logaddexp", "it never changed anything")),
    "a function that is flat so far out, by TensorFlow": (
        lambda v: v + tf.math.igammac(tf.fill(tf.shape(v), tf.cast(2.0, v.dtype)), tf.abs(v) + 800.0),
        within("igammac", SAME)),
    "what is too small to count, by Keras": (
        lambda v: v + _ops().arctan2(v, _ops().full_like(v, 1e30)), within("add", "it never changed anything")),
    "a gate that is shut, by Keras": (lambda v: v + v * _ops().sigmoid(v - 1e6), within("sigmoid", SAME)),
}  # fmt: skip


def _ops() -> Any:
    from keras import ops

    return ops


def _by_try(xp: Any, v: Any, x: Any) -> Any:
    try:
        return v * 1.0 if int(x.shape[0]) < 8 else v[99]
    except Exception:
        return v * 2.0


def _by_match(xp: Any, v: Any, x: Any) -> Any:
    match int(x.shape[0]):
        case 6:
            return v * 2.0
        case _:
            return v


def _by_table(xp: Any, v: Any, x: Any) -> Any:
    return v * {6: 2.0}.get(int(x.shape[0]), 1.0)


def _by_mode(xp: Any, m: Any, x: Any) -> Any:
    return m.c(x) * 2.0 if m.training else m.c(x)


def _attention(fill: float) -> Written:
    """An attention whose masked scores are filled; a row that is masked whole gives NaN, or the mean."""

    def forward(xp: Any, m: Any, x: Any, mask: Any) -> Any:
        q = m.a(x)
        scores = xp.matmul(q, xp.swapaxes(q, 1, 2))
        scores = xp.where(mask[:, None, :], scores, xp.full_like(scores, fill))
        return xp.matmul(xp.softmax(scores, axis=-1), q)

    return Written(forward, {"a": dense(5, 4)})


def whole_rows() -> Iterator[Attempt]:
    """Masks of which no row is masked whole."""
    inputs = (images(shape=(2, 7, 5)), np.array([[True] * 5 + [False] * 2, [True] * 7]))
    yield from attempts(KIND, "a row that is masked whole", _attention(-1e9), _attention(-np.inf), inputs=inputs,
                        excused="^input 1 is a mask: no row was masked whole")  # fmt: skip


def steps() -> Iterator[Attempt]:
    """Steps that go one way, by operations of one framework."""
    plain = live(lambda xp, v, x: v)
    for side, table in (("torch", IN_TORCH), ("keras", IN_KERAS)):
        for name, (change, excused) in table.items():
            fault = live(lambda xp, v, x, change=change: change(v))
            yield Attempt(KIND, f"one way: {name}", plain, fault, side, excused=excused)
    yield from whole_rows()
    tokens = (np.array([[1, 2, 3], [4, 5, 6]], np.int32),)
    found = {"e": embedding(10, 5), "d": dense(5, 3)}
    plain = Written(lambda xp, m, x: m.d(m.e(x)), found)
    limited = Layer(found["e"].keras, lambda: nn.Embedding(10, 5, max_norm=1e5))
    yield Attempt(
        KIND, "one way: a table whose norms are limited", plain, Written(plain.forward, {**found, "e": limited}),
        "torch", tokens, excused=r"^limits embedding at e: no norm was ever as great as its limit",
    )  # fmt: skip


def rows() -> Iterator[Attempt]:
    for name, (honest, fault, values, excused) in LIMITS.items():
        yield from attempts(KIND, name, honest, fault, inputs=(values.astype(np.float32),), excused=excused)
    plain = live(lambda xp, v, x: v)
    for name, (function, excused) in SIZES.items():
        yield from attempts(KIND, name, plain, live(function), excused=excused)
    yield from steps()
    yield from attempts(KIND, "an exception at a batch of 8", plain, live(_by_try), excused=BRANCH)
    yield from attempts(KIND, "a match on a batch of 6", plain, live(_by_match), excused=BRANCH)
    yield from attempts(KIND, "a table of batches", plain, live(_by_table), excused=SIZE)
    yield from attempts(
        KIND,
        "training mode, by a branch",
        plain,
        Written(_by_mode, CONV, live=True),
        excused=r"^training .*unreached\.py:\d+: .*was never true",
    )
    for count in (64, 8):
        yield from attempts(
            KIND, f"averages over at most {count} rows", live(lambda xp, v, x: xp.mean(v, axis=(xp.H, xp.W))),
            live(lambda xp, v, x, count=count: _pooled(xp, v, count)), excused=SIZE,
            inputs=(images(shape=(2, 9, 11, 3)),),
        )  # fmt: skip
    for size, padding in ((3, 1), (5, 2), (7, 3)):
        odd = Written(lambda xp, m, x: m.c(x), {"c": strided(size, "same", padding)})
        yield Attempt(KIND, f"stride 2 with padding same at odd sizes, kernel {size}", odd, odd,
                      inputs=(images(shape=(2, 13, 17, 3)),))  # fmt: skip
    pooled = Written(lambda xp, m, x: xp.max_pool(m.c(x), 2, 2), CONV)
    ceiled = live(lambda xp, v, x: xp.max_pool(
        xp.pad_image(v, (0, v.shape[xp.H] % 2), (0, v.shape[xp.W] % 2), -1e30), 2, 2))  # fmt: skip
    yield from attempts(KIND, "a pooling that keeps the odd row, even sizes", pooled, ceiled,
                        inputs=(images(shape=(2, 14, 18, 3)),))  # fmt: skip
    doubled = live(lambda xp, v, x: xp.bilinear(v, 2 * int(v.shape[xp.H]), 2 * int(v.shape[xp.W])))
    fixed = live(lambda xp, v, x: xp.bilinear(v, 20, 28))
    yield from attempts(KIND, "a resize to one size, which is twice this one", doubled, fixed)
