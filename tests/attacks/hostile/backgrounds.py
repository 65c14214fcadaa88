"""Great pictures with a background of one colour: sums of thousands of equal terms, which round the same way each time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from keras import layers as L
from torch import nn

from tests.attacks.hostile.pair import Hostile, both_ways
from tests.attacks.hostile.sums import Tail, spatial
from tests.attacks.written import Layer, conv

KIND = "backgrounds"
HEIGHT, WIDTH = 90, 126


def picture(scale: float = 1.0) -> np.ndarray:
    """A scene of flat colours with some shapes in it, float32."""
    rng = np.random.default_rng(3)
    scene = np.full((1, HEIGHT, WIDTH, 3), 97.0) + np.array([3.0, 41.0, 90.0])
    for _ in range(5):
        top, left = rng.integers(0, HEIGHT - 20), rng.integers(0, WIDTH - 20)
        scene[:, top : top + 20, left : left + 17] = rng.integers(0, 255, 3)
    return (scene * scale).astype(np.float32)


def places(xp: Any, v: Any) -> Any:
    """The places of a picture in one axis: (N, places, C) on either side."""
    if xp.side == "torch":
        return v.flatten(2).transpose(1, 2)
    return xp.reshape(v, (-1, xp.shape(v)[1] * xp.shape(v)[2], v.shape[-1]))


def unit(xp: Any, v: Any) -> Any:
    return v / xp.sqrt(xp.sum(v * v, axis=spatial(xp), keepdims=True) + 1e-12)


def deviation(xp: Any, v: Any) -> Any:
    return v - xp.mean(v, axis=spatial(xp), keepdims=True)


def normalised(xp: Any, v: Any, variance: Any) -> Any:
    return deviation(xp, v) / xp.sqrt(variance + 1e-5)


FORMS: dict[str, tuple[Tail, Tail]] = {
    "a mean": (lambda xp, v: xp.mean(v, axis=spatial(xp)), lambda xp, v: xp.mean(v, axis=spatial(xp))),
    "a mean of means": (
        lambda xp, v: xp.mean(v, axis=spatial(xp)), lambda xp, v: xp.mean(xp.mean(v, axis=xp.W), axis=xp.H)),
    "a mean as a sum": (
        lambda xp, v: xp.mean(v, axis=spatial(xp)),
        lambda xp, v: xp.sum(v, axis=spatial(xp)) / xp.sized(v, xp.H) / xp.sized(v, xp.W)),
    "a variance": (lambda xp, v: xp.var(v, axis=spatial(xp)),
                   lambda xp, v: xp.mean(xp.square(deviation(xp, v)), axis=spatial(xp))),
    "a unit norm": (unit, unit),
    "an instance's normalisation": (
        lambda xp, v: normalised(xp, v, xp.var(v, axis=spatial(xp), keepdims=True)),
        lambda xp, v: normalised(xp, v, xp.mean(xp.square(deviation(xp, v)), axis=spatial(xp), keepdims=True))),
    "a softmax over the places": (
        lambda xp, v: xp.softmax(places(xp, v) / 255.0, axis=1), lambda xp, v: xp.softmax(places(xp, v) / 255.0, axis=1)),
    "a logsumexp": (lambda xp, v: xp.logsumexp(v / 255.0, axis=spatial(xp)),
                    lambda xp, v: xp.log(xp.sum(xp.exp(v / 255.0), axis=spatial(xp)))),
    "products of channels": (
        lambda xp, v: xp.matmul(xp.swapaxes(places(xp, v), 1, 2), places(xp, v)),
        lambda xp, v: xp.einsum("npc,npd->ncd", places(xp, v), places(xp, v))),
    "running sums": (lambda xp, v: xp.cumsum(v, axis=xp.H), lambda xp, v: xp.cumsum(v, axis=xp.H)),
}  # fmt: skip


def norm(groups: int) -> Layer:
    """A normalisation of groups of channels."""
    return Layer(
        lambda name: L.GroupNormalization(groups, epsilon=1e-5, name=name),
        lambda: nn.GroupNorm(groups, 4, eps=1e-5),
    )


def rows() -> Iterator[Hostile]:
    for scale in (1.0, 1.0 / 255.0):
        inputs = (picture(scale),)
        values = "0 to 255" if scale == 1.0 else "0 to 1"
        for name, (first, second) in FORMS.items():
            yield from both_ways(
                KIND, f"{name}, {values}", lambda xp, m, x, f=first: f(xp, m.c(x)),
                lambda xp, m, x, f=second: f(xp, m.c(x)), inputs=inputs, live=True)  # fmt: skip
        for groups in (1, 2, 4):
            layers = {"c": conv(), "n": norm(groups)}
            yield from both_ways(
                KIND, f"{groups} groups, {values}", *[lambda xp, m, x: m.n(m.c(x))] * 2, layers=layers,
                inputs=inputs, live=True)  # fmt: skip
