"""Outputs that hide the network: labels, masks, ranks and rounded values stay the same where the network differs.

Some of these pairs give the same labels for every input. They are attempts all the same: a comparison of labels says
nothing of the network in front of them, so it is judged at the last floating tensors.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from tests.attacks.attempt import Attempt, attempts
from tests.attacks.written import Written, batch_norm, conv

KIND = "outputs that hide the network"

TAILS: dict[str, Callable[[Any, Any], Any]] = {
    "labels by argmax": lambda xp, v: xp.argmax(v, axis=xp.C),
    "labels as floats": lambda xp, v: xp.cast(xp.argmax(v, axis=xp.C), "float32"),
    "one-hot labels": lambda xp, v: xp.one_hot(xp.argmax(v, axis=xp.C), 4),
    "a boolean mask": lambda xp, v: v > 0,
    "a mask as floats": lambda xp, v: xp.like(v > 0, v),
    "a mask of whole numbers": lambda xp, v: xp.cast(v > 0, "int32"),
    "signs": lambda xp, v: xp.sign(v),
    "a ranking": lambda xp, v: xp.argsort(xp.flatten(xp.mean(v, axis=(xp.H, xp.W))), axis=-1),
    "indices of the greatest": lambda xp, v: xp.top_k(xp.mean(v, axis=(xp.H, xp.W)), 2)[1],
    "values that say who wins": lambda xp, v: xp.like(v >= xp.max(v, axis=xp.C, keepdims=True), v),
    "a count": lambda xp, v: xp.sum(xp.like(v > 0, v), axis=(xp.H, xp.W)),
    "any at all": lambda xp, v: xp.any(xp.flatten(v > 0), axis=1),
    "comparisons of neighbours": lambda xp, v: xp.rows(v, 1, None) > xp.rows(v, 0, -1),
}

COARSE: dict[str, Callable[[Any, Any], Any]] = {
    "whole numbers of hundredths": lambda xp, v: xp.cast(v / 100.0, "int32"),
    "rounded to thousands": lambda xp, v: xp.round(v / 1000.0),
    "floors of thousandths": lambda xp, v: xp.floor(v / 1000.0 + 0.5),
    "always false": lambda xp, v: v > 1e6,
    "always finite": lambda xp, v: xp.isfinite(v),
    "clipped where all is clipped": lambda xp, v: xp.clip(v * 1e9, -1.0, 1.0),
    "hard sigmoid far out": lambda xp, v: xp.clip(v * 1e6 + 0.5, 0.0, 1.0),
}

FAR = 1e6
"""What brings scores to where a sigmoid gives 0 and 1 in every digit that counts."""


def pooled(xp: Any, v: Any) -> Any:
    return xp.mean(v, axis=(xp.H, xp.W))


ENDS: dict[str, Callable[[Any, Any], Any]] = {
    "a softmax at its ends": lambda xp, v: xp.softmax(pooled(xp, v), axis=-1),
    "a softmax of pixels at its ends": lambda xp, v: xp.softmax(v, axis=xp.C),
    "a sigmoid at its ends": lambda xp, v: xp.sigmoid(pooled(xp, v)),
    "a sigmoid of pixels at its ends": lambda xp, v: xp.sigmoid(v),
    "a tanh at its ends": lambda xp, v: xp.tanh(pooled(xp, v)),
    "a tanh of pixels at its ends": lambda xp, v: xp.tanh(v),
    "a hard sigmoid at its ends": lambda xp, v: xp.clip(pooled(xp, v) / 6.0 + 0.5, 0.0, 1.0),
    "a clip at its ends": lambda xp, v: xp.clip(pooled(xp, v), -1.0, 1.0),
    "a sigmoid written out, at its ends": lambda xp, v: 1.0 / (1.0 + xp.exp(-xp.clip(v, -300.0, 300.0))),
    "half of one less a tanh at its ends": lambda xp, v: 0.5 - 0.5 * xp.tanh(v),
    "the greatest of a sigmoid at its ends": lambda xp, v: xp.max(xp.sigmoid(v), axis=xp.C),
    "a sigmoid near its end": lambda xp, v: xp.sigmoid(36.0 + 0.1 * xp.tanh(v / FAR)),
    "a mean of sigmoids at their ends": lambda xp, v: pooled(xp, xp.sigmoid(v)),
    "a mean of softmaxes at their ends": lambda xp, v: pooled(xp, xp.softmax(v, axis=xp.C)),
    "a mean of tanhs at their ends": lambda xp, v: pooled(xp, xp.tanh(v)),
}


def with_tail(tail: Callable[[Any, Any], Any], factor: float = 1.0) -> Written:
    return Written(lambda xp, m, x: tail(xp, m.c(x) * factor), {"c": conv()})


def rows() -> Iterator[Attempt]:
    for name, tail in {**TAILS, **COARSE}.items():
        yield from attempts(KIND, f"{name}; 30 % more", with_tail(tail), with_tail(tail, 1.3))
    for name in ("labels by argmax", "a boolean mask", "a ranking"):
        tail = TAILS[name]
        squashed = Written(lambda xp, m, x, tail=tail: tail(xp, xp.tanh(m.c(x) * 0.1)), {"c": conv()})
        yield from attempts(KIND, f"{name}; a tanh in front", with_tail(tail), squashed)
        honest, fault = (
            Written(
                lambda xp, m, x, tail=tail: tail(xp, m.n(m.c(x))), {"c": conv(), "n": batch_norm(eps=eps)}
            )
            for eps in (1e-5, 1e-3)
        )
        yield from attempts(KIND, f"{name}; another epsilon", honest, fault)
    for name in ("labels by argmax", "a boolean mask", "a count"):
        tail = TAILS[name]
        nets = [
            Written(lambda xp, m, x, tail=tail, limit=limit: tail(xp, limit(xp, m.c(x))), {"c": conv()})
            for limit in (lambda xp, v: v, lambda xp, v: xp.clip(v, -40.0, 40.0))
        ]
        yield from attempts(KIND, f"{name}; a clip that further probes reach", *nets)
    both = [
        Written(
            lambda xp, m, x, f=f: [xp.argmax(m.c(x) * f, axis=xp.C), xp.sum(m.c(x), axis=xp.C)], {"c": conv()}
        )
        for f in (1.0, 1.3)
    ]
    yield from attempts(KIND, "labels next to an honest output", *both)
    yield from ends()
    thirds = [
        Written(lambda xp, m, x, f=f: [xp.round(m.c(x) * f / 1000.0), m.d(x)], {"c": conv(), "d": conv()})
        for f in (1.0, 1.3)
    ]
    yield from attempts(KIND, "rounded zeros next to an honest output", *thirds)


def ends() -> Iterator[Attempt]:
    """Probabilities that are 0 and 1 in every digit that counts."""
    for name, tail in ENDS.items():
        yield from attempts(KIND, f"{name}; 30 % more", with_tail(tail, FAR), with_tail(tail, 1.3 * FAR))
    for name in ("a softmax at its ends", "a sigmoid at its ends", "a mean of sigmoids at their ends"):
        honest, fault = (
            Written(
                lambda xp, m, x, tail=ENDS[name]: tail(xp, m.n(m.c(x)) * FAR),
                {"c": conv(), "n": batch_norm(eps=eps)},
            )
            for eps in (1e-5, 1e-3)
        )
        yield from attempts(KIND, f"{name}; another epsilon", honest, fault)
    two = [
        Written(
            lambda xp, m, x, f=f: [m.d(x), xp.softmax(pooled(xp, m.c(x)) * f, axis=-1)],
            {"c": conv(), "d": conv()},
        )
        for f in (FAR, 1.3 * FAR)
    ]
    yield from attempts(KIND, "a softmax at its ends next to an honest output", *two)
    behind = [
        Written(
            lambda xp, m, x, f=f: m.d(xp.sigmoid(m.c(x) * f)),
            {"c": conv(out=3), "d": conv()},
        )
        for f in (FAR, 1.3 * FAR)
    ]
    yield from attempts(KIND, "a layer behind sigmoids at their ends", *behind)
    gates = [
        Written(lambda xp, m, x, f=f: m.d(x) * xp.sigmoid(m.c(x) * f), {"c": conv(), "d": conv()})
        for f in (FAR, 1.3 * FAR)
    ]
    yield from attempts(KIND, "a gate that is open or shut", *gates)
