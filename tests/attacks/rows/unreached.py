"""What one probe does not reach: limits, thresholds, signs, sizes, batches, dtypes and branches.

Where a difference lies beyond what any probe of finite size can reach, EQUAL is allowed if the report names it.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from tests.attacks.attempt import BRANCH, Attempt, attempts
from tests.attacks.written import Layer, Written, conv, images

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


def rows() -> Iterator[Attempt]:
    for name, (honest, fault, values, excused) in LIMITS.items():
        yield from attempts(KIND, name, honest, fault, inputs=(values.astype(np.float32),), excused=excused)
    plain = live(lambda xp, v, x: v)
    for name, (function, excused) in SIZES.items():
        yield from attempts(KIND, name, plain, live(function), excused=excused)
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
