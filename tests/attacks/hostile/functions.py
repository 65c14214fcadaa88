"""Functions in other forms: exponentials, logarithms, roots, trigonometry, activations, attention."""

from __future__ import annotations

from collections.abc import Iterator
from math import pi, sqrt
from typing import Any

import numpy as np

from tests.attacks.hostile.pair import Hostile, both_ways
from tests.attacks.hostile.sums import Tail, spatial
from tests.attacks.written import dense, images

KIND = "functions"


def largest(xp: Any, v: Any) -> Any:
    return xp.max(v, axis=xp.C, keepdims=True)


def softmax_plain(xp: Any, v: Any) -> Any:
    e = xp.exp(v)
    return e / xp.sum(e, axis=xp.C, keepdims=True)


def softmax_shifted(xp: Any, v: Any) -> Any:
    return softmax_plain(xp, v - largest(xp, v))


FORMS: dict[str, tuple[Tail, Tail]] = {
    "logsumexp shifted": (
        lambda xp, v: xp.logsumexp(20.0 * v, axis=xp.C),
        lambda xp, v: xp.log(xp.sum(xp.exp(20.0 * v - largest(xp, 20.0 * v)), axis=xp.C, keepdims=False))
        + xp.max(20.0 * v, axis=xp.C)),
    "logsumexp plain": (
        lambda xp, v: xp.logsumexp(v, axis=xp.C), lambda xp, v: xp.log(xp.sum(xp.exp(v), axis=xp.C))),
    "softmax plain and shifted": (softmax_plain, softmax_shifted),
    "softmax of great scores": (lambda xp, v: xp.softmax(200.0 * v, axis=xp.C),
                                lambda xp, v: softmax_shifted(xp, 200.0 * v)),
    "softmax of scores near 1000": (lambda xp, v: xp.softmax(v + 1000.0, axis=xp.C), lambda xp, v: softmax_plain(xp, v)),
    "log of a softmax": (lambda xp, v: xp.log_softmax(20.0 * v, axis=xp.C),
                         lambda xp, v: 20.0 * v - xp.logsumexp(20.0 * v, axis=xp.C, keepdims=True)),
    "log after softmax": (lambda xp, v: xp.log_softmax(v, axis=xp.C), lambda xp, v: xp.log(xp.softmax(v, axis=xp.C))),
    "sigmoid as tanh": (lambda xp, v: xp.sigmoid(v), lambda xp, v: 0.5 * (1.0 + xp.tanh(0.5 * v))),
    "sigmoid as a fraction": (lambda xp, v: xp.sigmoid(8.0 * v), lambda xp, v: 1.0 / (1.0 + xp.exp(-8.0 * v))),
    "one minus sigmoid": (lambda xp, v: 1.0 - xp.sigmoid(10.0 * v), lambda xp, v: xp.sigmoid(-10.0 * v)),
    "tanh as sigmoid": (lambda xp, v: xp.tanh(v), lambda xp, v: 2.0 * xp.sigmoid(2.0 * v) - 1.0),
    "tanh by exponentials": (
        lambda xp, v: xp.tanh(v), lambda xp, v: (xp.exp(v) - xp.exp(-v)) / (xp.exp(v) + xp.exp(-v))),
    "softplus as a logarithm": (lambda xp, v: xp.softplus(v), lambda xp, v: xp.log(1.0 + xp.exp(v))),
    "log of a sigmoid": (lambda xp, v: -xp.softplus(-v), lambda xp, v: xp.log(xp.sigmoid(v))),
    "swish written out": (lambda xp, v: xp.silu(v), lambda xp, v: v * xp.sigmoid(v)),
    "gelu by erf": (lambda xp, v: xp.gelu(v), lambda xp, v: 0.5 * v * (1.0 + xp.erf(v / sqrt(2.0)))),
    "gelu by tanh": (
        lambda xp, v: xp.gelu(v, approximate=True),
        lambda xp, v: 0.5 * v * (1.0 + xp.tanh(sqrt(2.0 / pi) * (v + 0.044715 * v * v * v)))),
    "ELU written out": (
        lambda xp, v: xp.elu(v), lambda xp, v: xp.where(v > 0, v, xp.exp(xp.minimum(v, 0.0)) - 1.0)),
    "ReLU6 as a clip": (lambda xp, v: xp.relu6(v * 4.0), lambda xp, v: xp.clip(v * 4.0, 0.0, 6.0)),
    "ReLU by abs": (lambda xp, v: xp.relu(v), lambda xp, v: 0.5 * (v + xp.abs(v))),
    "a power as exp of log": (
        lambda xp, v: xp.exp(2.5 * xp.log(xp.abs(v) + 0.1)), lambda xp, v: (xp.abs(v) + 0.1) ** 2.5),
    "exp and log and back": (lambda xp, v: xp.log(xp.exp(v)), lambda xp, v: v),
    "log and exp and back": (lambda xp, v: xp.exp(xp.log(xp.abs(v) + 1e-3)), lambda xp, v: xp.abs(v) + 1e-3),
    "square and root": (lambda xp, v: xp.sqrt(v * v), lambda xp, v: xp.abs(v)),
    "a root near zero": (lambda xp, v: xp.sqrt(xp.abs(v) * 1e-12 + 1e-24), lambda xp, v: 1e-6 * xp.sqrt(xp.abs(v) + 1e-12)),
    "a root near its branch": (lambda xp, v: xp.sqrt((v - xp.tanh(v)) ** 2 + 1e-20),
                               lambda xp, v: xp.sqrt((xp.tanh(v) - v) ** 2 + 1e-20)),
    "division by small numbers": (lambda xp, v: v / (xp.abs(v) * 1e-6 + 1e-9), lambda xp, v: 1e6 * v / (xp.abs(v) + 1e-3)),
    "a reciprocal of a reciprocal": (lambda xp, v: 1.0 / (1.0 / (v + 5.0)), lambda xp, v: v + 5.0),
    "sine of great arguments": (lambda xp, v: xp.sin(v * 1e6), lambda xp, v: xp.sin(v * 1e3 * 1e3)),
    "cosine as a sine": (lambda xp, v: xp.cos(v * 100.0), lambda xp, v: xp.sin(v * 100.0 + pi / 2)),
    "the double angle": (lambda xp, v: xp.sin(2.0 * v), lambda xp, v: 2.0 * xp.sin(v) * xp.cos(v)),
    "one minus the cosine": (lambda xp, v: 1.0 - xp.cos(v * 0.01), lambda xp, v: 2.0 * xp.square(xp.sin(v * 0.005))),
    "a unit norm": (
        lambda xp, v: v / xp.sqrt(xp.sum(v * v, axis=xp.C, keepdims=True)),
        lambda xp, v: v * (1.0 / xp.sqrt(xp.mean(v * v, axis=xp.C, keepdims=True))) * 0.5),
    "a unit norm near zero": (
        lambda xp, v: (v * 1e-12) / xp.sqrt(xp.sum(xp.square(v * 1e-12), axis=xp.C, keepdims=True) + 1e-30),
        lambda xp, v: v / xp.sqrt(xp.sum(v * v, axis=xp.C, keepdims=True) + 1e-6)),
    "standardised at mean 1e4": (
        lambda xp, v: (v + 1e4 - xp.mean(v + 1e4, axis=spatial(xp), keepdims=True))
        / xp.sqrt(xp.var(v + 1e4, axis=spatial(xp), keepdims=True) + 1e-5),
        lambda xp, v: (v - xp.mean(v, axis=spatial(xp), keepdims=True))
        / xp.sqrt(xp.var(v, axis=spatial(xp), keepdims=True) + 1e-5)),
    "a cosine similarity": (
        lambda xp, v: xp.sum(v * xp.flip(v, xp.W), axis=xp.C) / (xp.sum(v * v, axis=xp.C) + 1e-8),
        lambda xp, v: xp.sum(xp.flip(v, xp.W) * v / (xp.sum(v * v, axis=xp.C, keepdims=True) + 1e-8), axis=xp.C)),
}  # fmt: skip

MASK = np.tril(np.ones((6, 6)))


def attention(fill: float, scaled_first: bool, form: str) -> Any:
    """Causal attention of six tokens; masked scores are filled, or get the fill added."""

    def forward(xp: Any, m: Any, x: Any) -> Any:
        q, k, v = m.q(x), m.k(x), m.v(x)
        if scaled_first:
            scores = xp.matmul(q * 0.5, xp.swapaxes(k, 1, 2))
        else:
            scores = xp.matmul(q, xp.swapaxes(k, 1, 2)) / 2.0
        if form == "added":
            scores = scores + _flat(xp, np.where(MASK > 0, 0.0, fill), scores)
        else:
            scores = xp.where(_flat(xp, MASK, scores) > 0.5, scores, xp.full_like(scores, fill))
        return xp.matmul(xp.softmax(scores, axis=-1), v)

    return forward


def _flat(xp: Any, value: np.ndarray, like: Any) -> Any:
    return xp.constant(value, like)


def rows() -> Iterator[Hostile]:
    for name, (first, second) in FORMS.items():
        yield from both_ways(
            KIND, name, lambda xp, m, x, f=first: f(xp, m.c(x)), lambda xp, m, x, f=second: f(xp, m.c(x))
        )
    heads = {"q": dense(8, 4), "k": dense(8, 4), "v": dense(8, 5)}
    for fill in (-1e9, -1e4, -float("inf")):
        yield from both_ways(KIND, f"attention, masked by {fill:g}", attention(fill, True, "put in"),
                             attention(fill, False, "put in"), heads, inputs=(images(shape=(2, 6, 8)),))  # fmt: skip
    yield from both_ways(KIND, "attention, -1e9 added and put in", attention(-1e9, True, "added"),
                         attention(-1e9, False, "put in"), heads, inputs=(images(shape=(2, 6, 8)),))  # fmt: skip
