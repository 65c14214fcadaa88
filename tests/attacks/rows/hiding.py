"""Magnitudes that hide a difference: huge neighbours, tiny outputs, infinities, and rounding enlarged on purpose."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from tests.attacks.attempt import Attempt, attempts
from tests.attacks.written import Written, conv, images

KIND = "magnitudes that hide"
CONV = {"c": conv()}
FIRST = np.zeros((10, 14, 4))
FIRST[0, 0] = 1.0
CHANNEL = np.array([1.0, 0.0, 0.0, 0.0]).reshape(1, 1, 4)
ITEM = np.array([1.0, 0.0]).reshape(2, 1, 1, 1)


def tail(function: Callable[[Any, Any], Any], factor: float = 1.0) -> Written:
    """A convolution, a factor, and a function."""
    return Written(lambda xp, m, x: function(xp, m.c(x) * factor), CONV)


def steep(xp: Any, v: Any) -> Any:
    """Every rounding becomes as great as the value."""
    return xp.sin(v * 1e15)


def whole(value: np.ndarray) -> np.ndarray:
    return np.broadcast_to(value, (2, 10, 14, 4))


HIDES: dict[str, tuple[Callable[[Any, Any], Any], float]] = {
    "one channel of 1e12": (lambda xp, v: v * (1.0 + 1e12 * xp.constant(whole(CHANNEL), v)), 1.001),
    "one image of 1e15": (lambda xp, v: v * (1.0 + 1e15 * xp.constant(whole(ITEM), v)), 1.0001),
    "a bias of 1e7 in all": (lambda xp, v: v + 1e7, 1.0001),
    "a bias of 1e9 in one channel": (lambda xp, v: v + 1e9 * xp.constant(whole(CHANNEL), v), 1.3),
    "a fill of 3e38 in one pixel": (
        lambda xp, v: xp.where(xp.mask(whole(FIRST)), xp.full_like(v, 3e38), v), 1.3),
    "a fill of 1e300 in one pixel": (
        lambda xp, v: xp.where(xp.mask(whole(FIRST)), xp.full_like(v, 1e300), v), 1.3),
    "a fill of 9e7 in one pixel": (
        lambda xp, v: xp.where(xp.mask(whole(FIRST)), xp.full_like(v, 9e7), v), 1 + 1e-9),
    "plus infinity in one pixel": (
        lambda xp, v: xp.where(xp.mask(whole(FIRST)), xp.full_like(v, np.inf), v), 1.3),
    "minus infinity in every other row": (
        lambda xp, v: xp.where(xp.mask(whole((np.arange(10) % 2).reshape(10, 1, 1))), xp.full_like(v, -np.inf), v), 1.3),
    "infinity everywhere but one pixel": (
        lambda xp, v: xp.where(xp.mask(whole(FIRST)), v, xp.full_like(v, np.inf)), 1.3),
    "infinity everywhere": (lambda xp, v: v * 0.0 + np.inf, 1.3),
    "NaN in one pixel": (lambda xp, v: xp.where(xp.mask(whole(FIRST)), xp.full_like(v, np.nan), v), 1.3),
    "NaN everywhere": (lambda xp, v: v * np.nan, 1.3),
    "outputs of 1e-30": (lambda xp, v: v * 1e-30, 1.5),
    "outputs of 1e-40, a float32's denormals": (lambda xp, v: v * 1e-40, 1.5),
    "outputs of 1e-200": (lambda xp, v: v * 1e-100 * 1e-100, 2.0),
    "outputs of 1e200": (lambda xp, v: v * 1e100 * 1e100, 1 + 1e-9),
    "tiny differences next to one": (lambda xp, v: 1.0 + v * 1e-10, 1.3),
    "a softmax of one winner": (lambda xp, v: xp.softmax(v * 60.0, axis=xp.C), 1.05),
    "a saturated sigmoid": (lambda xp, v: xp.sigmoid(v + 30.0), 1.2),
    "a saturated tanh": (lambda xp, v: xp.tanh(v * 40.0), 1.1),
    "an exponential of great spread": (lambda xp, v: xp.exp(v * 30.0), 1.001),
    "a steep sine added in thousandths": (lambda xp, v: v + 1e-3 * steep(xp, v), 1.05),
    "the sine of 1e15": (steep, 1.1),
    "the fraction of a great number": (lambda xp, v: (lambda s: s - xp.floor(s))(xp.sin(v * 1e8) * 43758.5), 1.1),
    "cancellation at 1e14": (lambda xp, v: (v + 1e14) - 1e14, 1.3),
    "cancellation at 1e17": (lambda xp, v: (v + 1e17) - 1e17, 2.0),
    "a bias of 1e13 in all": (lambda xp, v: v + 1e13, 1.3),
    "a steep sine next to the value": (lambda xp, v: xp.concatenate([v, steep(xp, v)], axis=xp.C), 1.1),
    "the mean over much noise": (lambda xp, v: xp.mean(v + ((v + 1e13) - 1e13), axis=(xp.H, xp.W)), 1.001),
}  # fmt: skip


NOISY = ("a steep sine added in thousandths", "the fraction of a great number", "the mean over much noise")
"""Rounding hides a part of these: EQUAL is allowed where the report says how much."""


def _half_precise(fill: float | None, factor: float, dtype: str) -> Iterator[Attempt]:
    """The fault shows in the dtype alone; float64 is the same on both sides."""

    def filled(xp: Any, v: Any) -> Any:
        return v if fill is None else xp.where(xp.mask(whole(FIRST)), xp.full_like(v, fill), v)

    def faulty(xp: Any, m: Any, x: Any) -> Any:
        v = m.c(x)
        return filled(xp, v if xp.dtype_of(v) == "float64" else v * factor)

    honest = Written(lambda xp, m, x: filled(xp, m.c(x)), CONV, live=True)
    name = f"{dtype} alone: {factor} times{'' if fill is None else f', beside {fill:g}'}"
    yield from attempts(KIND, name, honest, Written(faulty, CONV, live=True), arguments={"dtype": dtype})


def _rounded(dtype: str, through: str) -> Iterator[Attempt]:
    """One side takes its convolution's result through a coarser dtype."""

    def faulty(xp: Any, m: Any, x: Any) -> Any:
        v = m.c(x)
        return v if xp.dtype_of(v) == "float64" else xp.like(xp.cast(v, through), v)

    honest = Written(lambda xp, m, x: m.c(x), CONV, live=True)
    name = f"{dtype} alone: results rounded to {through}"
    yield from attempts(KIND, name, honest, Written(faulty, CONV, live=True), arguments={"dtype": dtype})


def rows() -> Iterator[Attempt]:
    for name, (function, factor) in HIDES.items():
        excused = "noise|rounding" if name in NOISY else ""
        yield from attempts(KIND, name, tail(function), tail(function, factor), excused=excused)
    for dtype, factor in (("float32", 1.0001), ("float16", 1.15), ("bfloat16", 1.3)):
        for fill in (None, -1e4, -1e9):
            if not (fill == -1e9 and dtype == "float16"):
                yield from _half_precise(fill, factor, dtype)
    yield from _rounded("float32", "float16")
    yield from _rounded("float32", "bfloat16")
    yield from _rounded("float16", "bfloat16")
    same = Written(lambda xp, m, x: m.c(x), CONV)
    offset = Written(lambda xp, m, x: m.c(x + 1e-6), CONV)
    yield from attempts(
        KIND, "an input of 1e6 swallows an offset of 1e-6", same, offset, inputs=(images() + 1e6,)
    )
