"""Models that remember: counters, caches, and models that notice how they are run."""

from __future__ import annotations

import random
import sys
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from keras import layers as L
from torch import nn

from tests.attacks.attempt import BRANCH, Attempt, attempts
from tests.attacks.written import Layer, Written, conv

KIND = "models that remember"
REMEMBERED = r"^state .*(memory|random numbers).* changes with each call"
"""What is named where a model keeps something from call to call, or draws: how often parity calls it decides nothing."""
CONV = {"c": conv()}
PLAIN = Written(lambda xp, m, x: m.c(x), CONV, live=True)


def _calls(m: Any) -> int:
    m.memory["calls"] = m.memory.get("calls", 0) + 1
    return int(m.memory["calls"])


def from_call(count: int) -> Callable[..., Any]:
    """Another function from this call on, without a branch."""
    return lambda xp, m, x: m.c(x) * (1.0 + 0.5 * float(_calls(m) >= count))


def until_call(count: int) -> Callable[..., Any]:
    """Another function until this call."""
    return lambda xp, m, x: m.c(x) * (1.0 + 0.5 * float(_calls(m) < count))


def branch_from(count: int) -> Callable[..., Any]:
    def forward(xp: Any, m: Any, x: Any) -> Any:
        if _calls(m) > count:
            return m.c(x) * 1.5
        return m.c(x)

    return forward


def every(count: int) -> Callable[..., Any]:
    """Another function in every n-th call."""
    return lambda xp, m, x: m.c(x) * (1.0 + 0.5 * float(_calls(m) % count == 0))


def previous(xp: Any, m: Any, x: Any) -> Any:
    """What the call before gave."""
    result = m.c(x)
    last = m.memory.get("last")
    m.memory["last"] = result
    return result if last is None or last.shape != result.shape or last.dtype != result.dtype else last


def average(xp: Any, m: Any, x: Any) -> Any:
    """A moving average of what the calls gave."""
    result = m.c(x)
    last = m.memory.get("last")
    known = last is not None and last.shape == result.shape and last.dtype == result.dtype
    m.memory["last"] = 0.5 * last + 0.5 * result if known else result
    return m.memory["last"]


def first_ever(xp: Any, m: Any, x: Any) -> Any:
    """The first result of each shape, for ever."""
    result = m.c(x)
    return m.memory.setdefault((tuple(result.shape), str(result.dtype)), result)


def dropout_seeded(xp: Any, m: Any, x: Any) -> Any:
    """The same dropout in every call."""
    v = m.c(x)
    keep = np.random.default_rng(0).random(10 * 14 * 4).reshape(1, 10, 14, 4) > 0.1
    size = (1, int(v.shape[xp.H]), int(v.shape[xp.W]), 4)
    keep = np.resize(keep, size).astype(np.float64)
    return v * xp.constant(np.broadcast_to(keep, (int(v.shape[0]), *size[1:])).copy(), v)


def noise(scale: float, generator: Callable[[], float]) -> Callable[..., Any]:
    return lambda xp, m, x: m.c(x) * (1.0 + scale * generator())


def rarely(xp: Any, m: Any, x: Any) -> Any:
    """Random in one of four calls."""
    return m.c(x) * (1.0 + float(random.random() < 0.25))


def hooked(xp: Any, m: Any, x: Any) -> Any:
    """Honest while somebody watches its layers."""
    watched = (
        bool(m.c._forward_hooks or m.c._forward_pre_hooks) if xp.side == "torch" else "call" in vars(m.c)
    )
    return m.c(x) * (1.0 if watched else 1.5)


def float64_alone(xp: Any, m: Any, x: Any) -> Any:
    """Honest where its weights are float64, as parity holds them."""
    weights = (
        m.c.weight.dtype == torch.float64
        if xp.side == "torch"
        else m.c.built and "float64" in str(m.c.kernel.value.dtype)
    )
    return m.c(x) * (2.0 - float(weights))


def without_gradients(xp: Any, m: Any, x: Any) -> Any:
    """Honest while torch records no gradients."""
    return m.c(x) * (1.0 + float(torch.is_grad_enabled()))


def in_inference_mode(xp: Any, m: Any, x: Any) -> Any:
    """Another function in torch's inference mode."""
    return m.c(x) * (1.0 + float(torch.is_inference_mode_enabled()))


def seen_by_parity(xp: Any, m: Any, x: Any) -> Any:
    """Honest where a caller is parity, by a branch."""
    frame, found = sys._getframe(), False
    while frame is not None and not found:
        found = "/parity/" in frame.f_code.co_filename.replace("\\", "/")
        frame = frame.f_back  # type: ignore[assignment]
    if not found:
        return m.c(x) * 1.5
    return m.c(x)


class CountingTorch(nn.Conv2d):
    """A convolution whose buffer counts the calls, and which changes at the third."""

    def __init__(self) -> None:
        super().__init__(3, 4, 3)
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x: Any) -> Any:
        self.calls += 1
        return super().forward(x) * (1.0 + 0.5 * (self.calls >= 3))


class CountingKeras(L.Conv2D):
    """The same in Keras."""

    def build(self, shape: Any) -> None:
        super().build(shape)
        self.calls = self.add_weight(shape=(), initializer="zeros", trainable=False, name="calls")

    def call(self, x: Any) -> Any:
        from keras import ops

        self.calls.assign_add(1.0)
        result = super().call(x)
        return result * (1.0 + 0.5 * ops.cast(self.calls >= 3.0, result.dtype))


COUNTED = {"c": Layer(lambda name: CountingKeras(4, 3, name=name), CountingTorch)}


def rows() -> Iterator[Attempt]:
    for count in (2, 3, 4, 6, 10):
        yield from attempts(KIND, f"another function from call {count} on", PLAIN,
                            Written(from_call(count), CONV, live=True), excused=REMEMBERED)  # fmt: skip
    yield from attempts(KIND, "another function from call 100,000 on, by a branch", PLAIN,
                        Written(branch_from(100_000), CONV, live=True), excused=BRANCH)  # fmt: skip
    for count in (2, 4):
        yield from attempts(KIND, f"another function until call {count}", PLAIN,
                            Written(until_call(count), CONV, live=True), direct=True)  # fmt: skip
    for count in (2, 3, 5):
        yield from attempts(
            KIND, f"another function every {count} calls", PLAIN, Written(every(count), CONV, live=True),
            excused=REMEMBERED,
        )  # fmt: skip
    for name, forward in {
        "the previous result": previous,
        "an average of the calls": average,
        "the first result for ever": first_ever,
        "a dropout with one seed": dropout_seeded,
        "noise of 1e-6": noise(1e-6, random.random),
        "noise of 1e-12": noise(1e-12, random.random),
        "noise in one of four calls": rarely,
        "honest while watched": hooked,
    }.items():
        excused = REMEMBERED if forward is rarely else ""
        yield from attempts(KIND, name, PLAIN, Written(forward, CONV, live=True), excused=excused)
    yield from attempts(
        KIND,
        "honest in float64 alone",
        PLAIN,
        Written(float64_alone, CONV, live=True),
    )
    yield Attempt(KIND, "honest without gradients", PLAIN, Written(without_gradients, CONV, live=True))
    yield Attempt(KIND, "honest but in inference mode", PLAIN, Written(in_inference_mode, CONV, live=True))
    yield from attempts(KIND, "another function every 1,000 calls", PLAIN, Written(every(1000), CONV, live=True),
                        excused=REMEMBERED)  # fmt: skip
    yield from attempts(KIND, "honest where parity calls, by a branch", PLAIN,
                        Written(seen_by_parity, CONV, live=True), excused=BRANCH)  # fmt: skip
    both = Written(noise(1e-3, random.random), CONV, live=True)
    yield from attempts(KIND, "noise on both sides", both, both)
    alike = [
        Written(lambda xp, m, x, f=f: m.c(x) * f * (1.0 + 1e-3 * random.random()), CONV, live=True)
        for f in (1.0, 2.0)
    ]
    yield from attempts(KIND, "noise on both sides hides a factor", *alike)
    counted = Written(lambda xp, m, x: m.c(x), COUNTED, live=True)
    yield from attempts(KIND, "a counter among its buffers", PLAIN, counted)
