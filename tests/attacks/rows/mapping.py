"""Mappings and structures that pair the wrong layers, or leave some out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from tests.attacks.attempt import Attempt, Weights, attempts
from tests.attacks.written import Written, conv, dense, images

KIND = "wrong pairs"
INPUTS = (images(shape=(5, 4)),)
TWO = {"a": dense(4, 4), "b": dense(4, 4)}


def _alike(weights: Weights) -> None:
    """Both layers hold the same weights, as zero or constant first values do."""
    values: list[np.ndarray] = []
    weights.edit("a.kernel", lambda array: values.append(array.copy()))
    layers = [layer for layer in ("a", "b") if layer in weights.adapter.layers()]
    for layer in layers:
        weights.edit(f"{layer}.kernel", lambda array: array.__setitem__(..., values[0]))
        weights.edit(f"{layer}.bias", lambda array: array.__setitem__(..., 0.1))


def _zero(weights: Weights) -> None:
    for layer in ("a", "b"):
        weights.edit(f"{layer}.kernel", lambda array: array.__setitem__(..., 0.0))


def pairs(name: str, honest: Written, fault: Written, **more: Any) -> Iterator[Attempt]:
    """On vectors."""
    yield from attempts(KIND, name, honest, fault, inputs=INPUTS, **more)


def rows() -> Iterator[Attempt]:
    row = Written(lambda xp, m, x: m.b(xp.tanh(m.a(x))), TWO)
    other = Written(lambda xp, m, x: m.a(xp.tanh(m.b(x))), TWO)
    named = {"a": "a", "b": "b"}
    crossed = {"a": "b", "b": "a"}
    yield from pairs("two layers exchanged, by name", row, other, arguments={"mapping": named})
    yield from pairs(
        "two layers exchanged, equal weights", row, other, alike=_alike, arguments={"mapping": named}
    )
    yield from pairs("a crossed mapping", row, row, arguments={"mapping": crossed})
    yield from pairs(
        "a crossed mapping, equal weights", row, row, alike=_alike, arguments={"mapping": crossed}
    )
    yield from pairs(
        "two layers exchanged, kernels of zero", row, other, alike=_zero, arguments={"mapping": named}
    )
    gap = Written(lambda xp, m, x: m.a(x) - m.b(x), TWO)
    back = Written(lambda xp, m, x: m.b(x) - m.a(x), TWO)
    yield from pairs("a difference turned round", gap, back, arguments={"mapping": named})
    yield from pairs("a difference turned round, equal weights", gap, back, alike=_alike,
                        arguments={"mapping": named})  # fmt: skip
    yield from pairs("a mapping of one layer to the other", row, row, arguments={"mapping": {"a": "b"}})
    tied = Written(lambda xp, m, x: m.a(xp.tanh(m.a(x))), {"a": dense(4, 4)})
    yield from pairs("one layer twice for two", tied, row, alike=_alike)
    yield from pairs("one layer twice for two, by mapping", tied, row, alike=_alike,
                        arguments={"mapping": {"a": "a"}})  # fmt: skip
    more = Written(lambda xp, m, x: m.b(xp.tanh(m.a(x))) + 0.0 * m.c(x), {**TWO, "c": dense(4, 4)})
    yield from pairs("a layer more, times zero", row, more)
    bias = Written(lambda xp, m, x: m.b(xp.tanh(m.a(x))), {"a": dense(4, 4, bias=False), "b": dense(4, 4)})

    def no_bias(weights: Weights) -> None:
        if "a.bias" in {
            tensor.path for layer in weights.adapter.layers().values() for tensor in layer.tensors
        }:
            weights.edit("a.bias", lambda array: array.__setitem__(..., 0.0))

    yield from pairs("a bias of zero that one side lacks", bias, row, alike=no_bias)
    yield from pairs("another bias that one side lacks", bias, row)

    def one_more(xp: Any, m: Any, x: Any) -> Any:
        return m.b(xp.tanh(m.a(x))) + 1e-7 * xp.sum(x * x, axis=-1, keepdims=True)

    yield from pairs("a path without weights more", row, Written(one_more, TWO))
    yield from exchanged_names()


def exchanged_names() -> Iterator[Attempt]:
    """Layers with each other's names, whose weights go by the names; the sizes are the same everywhere."""
    tokens = (images(shape=(2, 6, 6)),)
    layers = {name: dense(6, 6) for name in "qkv"}

    def attention(xp: Any, q: Any, k: Any, v: Any) -> Any:
        return xp.matmul(xp.softmax(xp.matmul(q, xp.swapaxes(k, 1, 2)), axis=-1), v)

    honest = Written(lambda xp, m, x: attention(xp, m.q(x), m.k(x), m.v(x)), layers)
    faults = {
        "query and key": Written(lambda xp, m, x: attention(xp, m.k(x), m.q(x), m.v(x)), layers),
        "key and value": Written(lambda xp, m, x: attention(xp, m.q(x), m.v(x), m.k(x)), layers),
        "query, key and value": Written(lambda xp, m, x: attention(xp, m.k(x), m.v(x), m.q(x)), layers),
    }
    for name, fault in faults.items():
        yield from attempts(KIND, f"names exchanged: {name}", honest, fault, inputs=tokens)
    gated = [
        Written(lambda xp, m, x, a=a, b=b: xp.sigmoid(getattr(m, a)(x)) * getattr(m, b)(x), TWO)
        for a, b in ("ab", "ba")
    ]
    yield from pairs("names exchanged: gate and up", *gated)
    branches = [
        Written(
            lambda xp, m, x, a=a, b=b: xp.tanh(getattr(m, a)(x)) + getattr(m, b)(x) ** 2,
            {"a": conv(), "b": conv()},
        )
        for a, b in ("ab", "ba")
    ]
    yield from attempts(KIND, "names exchanged: branches of convolutions", *branches)
