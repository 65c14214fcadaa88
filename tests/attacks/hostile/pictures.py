"""Pictures: resizes with odd factors, pooling and sorting with ties, transforms as products, labels."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from tests.attacks.hostile.pair import Hostile, both_ways
from tests.attacks.hostile.sums import Tail, spatial
from tests.attacks.written import conv, dense, images

KIND = "pictures"


def quantised(xp: Any, v: Any) -> Any:
    """Many ties."""
    return xp.round(v)


FORMS: dict[str, tuple[Tail, Tail]] = {
    "a resize to 23 x 31": (lambda xp, v: xp.bilinear(v, 23, 31), lambda xp, v: xp.bilinear(v, 23, 31)),
    "a resize to 7 x 9": (lambda xp, v: xp.bilinear(v, 7, 9), lambda xp, v: xp.bilinear(v, 7, 9)),
    "a resize to 97 x 131": (lambda xp, v: xp.bilinear(v, 97, 131), lambda xp, v: xp.bilinear(v, 97, 131)),
    "a resize at 1e6": (lambda xp, v: xp.bilinear(v + 1e6, 23, 31) - 1e6, lambda xp, v: xp.bilinear(v + 1e6, 23, 31) - 1e6),
    "nearest, three times": (lambda xp, v: xp.nearest(v, 3), lambda xp, v: xp.nearest(v, 3)),
    "a maximum over ties": (lambda xp, v: xp.max_pool(quantised(xp, v), 2, 2),
                            lambda xp, v: xp.max_pool(quantised(xp, v) + v * 0.0, 2, 2)),
    "an average as sums": (
        lambda xp, v: xp.average_pool(v, 2, 2),
        lambda xp, v: xp.average_pool(v * 3.0, 2, 2) / 3.0),
    "labels of equal channels": (
        lambda xp, v: xp.argmax(xp.concatenate([v, v], axis=xp.C), axis=xp.C),
        lambda xp, v: xp.argmax(xp.concatenate([v, v], axis=xp.C), axis=xp.C)),
    "sorted values with ties": (
        lambda xp, v: xp.sort(xp.concatenate([v, v], axis=xp.C), axis=xp.C),
        lambda xp, v: xp.sort(xp.concatenate([v, v], axis=xp.C), axis=xp.C)),
    "the maximum less the minimum of near equals": (
        lambda xp, v: xp.max(v + 1e5, axis=xp.C) - xp.min(v + 1e5, axis=xp.C),
        lambda xp, v: xp.max(v, axis=xp.C) - xp.min(v, axis=xp.C)),
    "a threshold on a smooth value": (
        lambda xp, v: v * xp.like(v > 0.0, v), lambda xp, v: xp.relu(v)),
    "a mean over the picture, in two steps": (
        lambda xp, v: xp.mean(v, axis=spatial(xp)), lambda xp, v: xp.mean(xp.mean(v, axis=xp.W), axis=xp.H)),
    "padding by zeros, cut off again": (
        lambda xp, v: xp.rows(xp.pad_image(v, (2, 3), (0, 0)), 2, -3), lambda xp, v: v),
    "infinity beside honest values": (
        lambda xp, v: xp.where(v > 1.5, xp.full_like(v, -1e30), v),
        lambda xp, v: xp.where(v <= 1.5, v, xp.full_like(v, -1e30))),
    "a normalisation over groups": (
        lambda xp, v: (v - xp.mean(v, axis=(1, 2, 3), keepdims=True))
        / xp.sqrt(xp.var(v, axis=(1, 2, 3), keepdims=True) + 1e-6),
        lambda xp, v: v / xp.sqrt(xp.var(v, axis=(1, 2, 3), keepdims=True) + 1e-6)
        - xp.mean(v, axis=(1, 2, 3), keepdims=True) / xp.sqrt(xp.var(v, axis=(1, 2, 3), keepdims=True) + 1e-6)),
}  # fmt: skip


def transform(size: int) -> np.ndarray:
    """The discrete cosine transform as a matrix."""
    places = np.arange(size)
    return np.cos(np.pi * (places[:, None] + 0.5) * places[None] / size)


def signs(size: int) -> np.ndarray:
    """Hadamard's matrix: with itself it gives `size` times the identity."""
    matrix = np.ones((1, 1))
    while len(matrix) < size:
        matrix = np.block([[matrix, matrix], [matrix, -matrix]])
    return matrix


def positions(xp: Any, like: Any) -> Any:
    """Sines and cosines of a transformer's positions, up to 1e4."""
    places = np.arange(6)[:, None] * 1e4 ** (-np.arange(8)[None] / 8.0) * 1500.0
    return xp.constant(places, like)


def rows() -> Iterator[Hostile]:
    for name, (first, second) in FORMS.items():
        yield from both_ways(
            KIND, name, lambda xp, m, x, f=first: f(xp, m.c(x)), lambda xp, m, x, f=second: f(xp, m.c(x))
        )
    flat = {"a": dense(16, 16)}
    matrix = transform(16)

    def there(xp: Any, m: Any, x: Any) -> Any:
        return xp.matmul(m.a(x), xp.constant(matrix, x))

    def there_and_back(xp: Any, m: Any, x: Any) -> Any:
        return xp.matmul(xp.matmul(m.a(x), xp.constant(signs(16), x)), xp.constant(signs(16) / 16.0, x))

    inputs = (images(shape=(3, 16)),)
    yield from both_ways(KIND, "a cosine transform", there, there, flat, inputs=inputs)
    yield from both_ways(
        KIND, "a transform and back", there_and_back, lambda xp, m, x: m.a(x), flat, inputs=inputs
    )
    tokens = (images(shape=(2, 6, 8)),)
    yield from both_ways(
        KIND, "positions as sines", lambda xp, m, x: m.a(x + xp.sin(positions(xp, x))),
        lambda xp, m, x: m.a(xp.sin(positions(xp, x)) + x), {"a": dense(8, 8)},
        inputs=tokens, live=True)  # fmt: skip
    shared = {"c": conv(), "d": conv(4, 4, 1)}
    yield from both_ways(
        KIND, "a residual written twice", lambda xp, m, x: m.c(x) + m.d(m.c(x)),
        lambda xp, m, x: m.d(m.c(x)) + m.c(x), shared)  # fmt: skip
    yield from both_ways(
        KIND, "a product spread over a sum", lambda xp, m, x: m.d(m.c(x) * 8.0),
        lambda xp, m, x: m.d(m.c(x)) * 8.0 - m.d(m.c(x) * 0.0) * 7.0, shared)  # fmt: skip
