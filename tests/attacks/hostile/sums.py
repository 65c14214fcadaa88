"""Sums and products in other orders, cancellation, and values far from one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from tests.attacks.attempt import Weights
from tests.attacks.hostile.pair import Hostile, both_ways
from tests.attacks.written import batch_norm, conv, dense, images, layer_norm

KIND = "sums"
Tail = Callable[[Any, Any], Any]


def spatial(xp: Any) -> tuple[int, int]:
    return xp.H, xp.W


def repeated(xp: Any, v: Any, step: Tail, times: int) -> Any:
    for _ in range(times):
        v = step(xp, v)
    return v


# name: (one form, another form), of (ops, result of a convolution)
FORMS: dict[str, tuple[Tail, Tail]] = {
    "E[x²]-E[x]² at mean 1000": (
        lambda xp, v: xp.mean((v + 1e3) * (v + 1e3), axis=spatial(xp)) - xp.square(xp.mean(v + 1e3, axis=spatial(xp))),
        lambda xp, v: xp.var(v + 1e3, axis=spatial(xp))),
    "E[x²]-E[x]² at mean 1e5": (
        lambda xp, v: xp.mean((v + 1e5) * (v + 1e5), axis=spatial(xp)) - xp.square(xp.mean(v + 1e5, axis=spatial(xp))),
        lambda xp, v: xp.var(v + 1e5, axis=spatial(xp))),
    "variance in two passes and one": (
        lambda xp, v: xp.mean(xp.square(v - xp.mean(v, axis=spatial(xp), keepdims=True)), axis=spatial(xp)),
        lambda xp, v: xp.mean(v * v, axis=spatial(xp)) - xp.square(xp.mean(v, axis=spatial(xp)))),
    "(y + 1e6) - 1e6": (lambda xp, v: (v + 1e6) - 1e6, lambda xp, v: v),
    "(y + 1e9) - 1e9": (lambda xp, v: (v + 1e9) - 1e9, lambda xp, v: v),
    "(y - 1e6) + 1e6": (lambda xp, v: (v - 1e6) + 1e6, lambda xp, v: (v + 1e6) - 1e6),
    "y * 1e20 / 1e20": (lambda xp, v: v * 1e20 / 1e20, lambda xp, v: v),
    "scale 1e-20": (lambda xp, v: v * 1e-20, lambda xp, v: v * 1e-10 * 1e-10),
    "scale 1e20": (lambda xp, v: v * 1e20, lambda xp, v: v * 1e10 * 1e10),
    "scale 3e-7, float16's denormals": (lambda xp, v: v * 3e-7, lambda xp, v: v * 3e-4 * 1e-3),
    "a sum turned over": (lambda xp, v: xp.sum(v * 1e3, axis=spatial(xp)),
                          lambda xp, v: xp.sum(xp.sum(xp.flip(v * 1e3, xp.H), axis=xp.W), axis=xp.H if xp.H == 1 else 2)),
    "a sum of values that cancel": (
        lambda xp, v: xp.sum(v - xp.mean(v, axis=spatial(xp), keepdims=True), axis=spatial(xp)) + xp.mean(v),
        lambda xp, v: xp.sum(xp.flip(v - xp.mean(v, axis=spatial(xp), keepdims=True), xp.W), axis=spatial(xp)) + xp.mean(v)),
    "a mean of thirds": (
        lambda xp, v: xp.mean(v, axis=spatial(xp)), lambda xp, v: 3.0 * xp.mean(v / 3.0, axis=spatial(xp))),
    "a residual that cancels": (lambda xp, v: (v + 1e4 * xp.tanh(v)) - 1e4 * xp.tanh(v), lambda xp, v: v),
    "a residual that cancels, 1e8": (lambda xp, v: (v + 1e8 * xp.tanh(v)) - 1e8 * xp.tanh(v), lambda xp, v: v),
    "a difference of squares": (lambda xp, v: (v + 100.0) ** 2 - (v - 100.0) ** 2, lambda xp, v: 400.0 * v),
    "a binomial": (lambda xp, v: (v + 30.0) ** 2, lambda xp, v: v * v + 60.0 * v + 900.0),
    "a polynomial by Horner's rule": (
        lambda xp, v: 1.0 + v * (2.0 + v * (3.0 + v * 4.0)), lambda xp, v: 1.0 + 2.0 * v + 3.0 * v**2 + 4.0 * v**3),
    "a hundred times the half and the double": (
        lambda xp, v: repeated(xp, v, lambda xp, v: v * 1.1 / 1.1, 60), lambda xp, v: v),
    "a chain of forty tanh": (
        lambda xp, v: repeated(xp, v, lambda xp, v: xp.tanh(v) * 1.5, 40),
        lambda xp, v: repeated(xp, v, lambda xp, v: (2.0 * xp.sigmoid(2.0 * v) - 1.0) * 1.5, 40)),
    "a cumulative sum and the difference": (
        lambda xp, v: (lambda s: xp.rows(s, 1, None) - xp.rows(s, 0, -1))(xp.cumsum(v * 100.0, axis=xp.H)),
        lambda xp, v: xp.rows(v, 1, None) * 100.0),
    "a cumulative sum from the end": (
        lambda xp, v: xp.flip(xp.cumsum(xp.flip(v, xp.W), axis=xp.W), xp.W),
        lambda xp, v: xp.sum(v, axis=xp.W, keepdims=True) - xp.cumsum(v, axis=xp.W) + v),
    "a running mean": (
        lambda xp, v: 0.5 * (xp.rows(v, 1, None) + xp.rows(v, 0, -1)),
        lambda xp, v: xp.rows(v, 0, -1) + 0.5 * (xp.rows(v, 1, None) - xp.rows(v, 0, -1))),
    "a product of ten factors": (
        lambda xp, v: repeated(xp, v, lambda xp, v: v * 1.3, 10), lambda xp, v: v * 1.3**10),
}  # fmt: skip


def _denormal(weights: Weights) -> None:
    weights.edit("c.kernel", lambda array: array.__setitem__(np.s_[..., 0], 1e-41))


def _tiny_variance(weights: Weights) -> None:
    weights.edit("n.moving_variance", lambda array: array.__setitem__(..., 1e-12))


def rows() -> Iterator[Hostile]:
    for name, (first, second) in FORMS.items():
        yield from both_ways(
            KIND, name, lambda xp, m, x, f=first: f(xp, m.c(x)), lambda xp, m, x, f=second: f(xp, m.c(x))
        )

    def plain(xp: Any, m: Any, x: Any) -> Any:
        return m.c(x)

    yield from both_ways(KIND, "denormal weights", plain, plain, alike=_denormal)
    yield from both_ways(KIND, "inputs of 1e-30", plain, plain, inputs=(images() * np.float32(1e-30),))
    yield from both_ways(KIND, "inputs of 1e30", plain, plain, inputs=(images() * np.float32(1e30),))
    yield from both_ways(
        KIND, "inputs of 255", plain, plain, inputs=(np.floor(np.abs(images()) * 80).clip(0, 255),)
    )
    statistics = {"c": conv(), "n": batch_norm()}
    yield from both_ways(KIND, "a batch normalisation, its scale first", lambda xp, m, x: m.n(m.c(x)),
                         lambda xp, m, x: m.n(m.c(x) * 4096.0 / 4096.0), statistics)  # fmt: skip
    yield from both_ways(KIND, "a batch normalisation of tiny variance", lambda xp, m, x: m.n(m.c(x)),
                         lambda xp, m, x: m.n(m.c(x)), statistics, alike=_tiny_variance)  # fmt: skip
    near = (5.0 + 1e-7 * images()).astype(np.float32)
    rows_net = {"n": layer_norm(3, 1e-12), "d": dense(3, 5)}

    def image_rows(xp: Any, m: Any, x: Any) -> Any:
        return m.d(m.n(x)) if xp.side == "keras" else m.d(m.n(x.permute(0, 2, 3, 1))).permute(0, 3, 1, 2)

    yield from both_ways(
        KIND, "LayerNorm over near-constant rows", image_rows, image_rows, rows_net, inputs=(near,)
    )
    tokens = images(shape=(4, 64))
    flat = {"a": dense(64, 64), "b": dense(64, 8)}
    yield from both_ways(
        KIND, "a product, its factors in another order", lambda xp, m, x: m.b(m.a(x) * 7.0),
        lambda xp, m, x: m.b(xp.flip(xp.flip(m.a(x), 1), 1) * 3.5 * 2.0), flat, inputs=(tokens,))  # fmt: skip
    yield from both_ways(
        KIND, "einsum for matmul", lambda xp, m, x: xp.einsum("ij,kj->ik", m.a(x), m.b(x)),
        lambda xp, m, x: xp.matmul(m.a(x), xp.swapaxes(m.b(x), 0, 1)), {"a": dense(64, 8), "b": dense(64, 8)},
        inputs=(tokens,))  # fmt: skip
    yield from both_ways(
        KIND, "a hundred dense layers", lambda xp, m, x: repeated(xp, m.a(x), lambda xp, v: xp.tanh(m.s(v)), 100),
        lambda xp, m, x: repeated(xp, m.a(x), lambda xp, v: xp.tanh(m.s(v)), 100),
        {"a": dense(8, 8), "s": dense(8, 8)}, inputs=(images(shape=(3, 8)),))  # fmt: skip
