"""Weights that differ where this input does not show it: both sides compute the same here, and are two networks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from tests.attacks.attempt import Attempt, Weights, attempts
from tests.attacks.written import Written, batch_norm, conv, dense, embedding, images, layer_norm

KIND = "weights that differ"
TWO = {"c": conv(), "d": conv(4, 2, 1)}


def _set(path: str, index: Any, value: float) -> Callable[[Weights], None]:
    def change(weights: Weights) -> None:
        weights.edit(path, lambda array: array.__setitem__(index, value))

    return change


def _add(path: str, index: Any, amount: float) -> Callable[[Weights], None]:
    def change(weights: Weights) -> None:
        weights.edit(path, lambda array: array.__setitem__(index, array[index] + amount))

    return change


def _all(*changes: Callable[[Weights], None]) -> Callable[[Weights], None]:
    def change(weights: Weights) -> None:
        for one in changes:
            one(weights)

    return change


ALL = np.s_[...]
DEAD = _all(_set("c.kernel", np.s_[..., 1], 0.0), _set("c.bias", 1, -1.0))


def rows() -> Iterator[Attempt]:
    relu = Written(lambda xp, m, x: m.d(xp.relu(m.c(x))), TWO)
    cases: list[tuple[str, Written, dict[str, Any]]] = [
        ("kernel behind a dead channel", relu, {"alike": DEAD, "change": _add("d.kernel", np.s_[:, :, 1], 0.5)}),
        ("bias of a dead channel", relu, {"alike": DEAD, "change": _add("c.bias", 1, -2.0)}),
        ("one value behind a dead channel, by 1e-6", relu,
         {"alike": DEAD, "change": _add("d.kernel", np.s_[0, 0, 1, 0], 1e-6)}),
    ]  # fmt: skip
    zero = Written(lambda xp, m, x: m.d(xp.relu(m.c(x) * 0.0)) + xp.mean(x), TWO)
    cases.append(("kernel behind zeros", zero, {"change": _add("d.kernel", ALL, 0.25)}))
    gate = Written(lambda xp, m, x: m.c(x) + m.n(m.c(x)), {"c": conv(), "n": batch_norm()})
    shut = _all(_set("n.gamma", ALL, 0.0), _set("n.beta", ALL, 0.0))
    cases.append(
        (
            "statistics behind a gamma of zero",
            gate,
            {"alike": shut, "change": _add("n.moving_mean", ALL, 1.0)},
        )
    )
    cases.append(
        (
            "variance behind a gamma of zero",
            gate,
            {"alike": shut, "change": _add("n.moving_variance", ALL, 9.0)},
        )
    )
    unused = Written(lambda xp, m, x: (m.c(x), m.d(x))[0], {"c": conv(), "d": conv()}, live=True)
    cases.append(
        ("a layer whose result is thrown away", unused, {"change": _add("d.kernel", np.s_[0, 0, 0, 0], 1e-3)})
    )
    table = {"e": embedding(7, 5), "d": dense(5, 3)}
    tokens = (np.array([[0, 1, 2], [2, 1, 0]], np.int32),)
    tokens_net = Written(lambda xp, m, x: m.d(m.e(x)), table)
    for row in (3, 6):
        cases.append((f"row {row} of a table, which no token met", tokens_net,
                      {"inputs": tokens, "change": _add("e.embeddings", row, 1.0)}))  # fmt: skip
    cases.append(("a row of a table, by 1e-5", tokens_net,
                  {"inputs": tokens, "change": _add("e.embeddings", np.s_[6, 0], 1e-5)}))  # fmt: skip
    black = images().copy()
    black[..., 1] = 0.0
    single = Written(lambda xp, m, x: m.c(x), {"c": conv()})
    cases.append(
        (
            "kernel of a black channel",
            single,
            {"inputs": (black,), "change": _add("c.kernel", np.s_[:, :, 1], 1.0)},
        )
    )
    zeros = np.zeros((2, 12, 16, 3), np.float32)
    cases.append(
        ("kernel on black images", single, {"inputs": (zeros,), "change": _add("c.kernel", ALL, 1.0)})
    )
    soft = Written(lambda xp, m, x: xp.softmax(m.d(x), axis=-1), {"d": dense(3, 4)})
    cases.append(("a bias that the softmax takes away", soft,
                  {"inputs": (images(shape=(5, 3)),), "change": _add("d.bias", ALL, 1.0)}))  # fmt: skip
    normed = Written(lambda xp, m, x: m.n(m.d(x)), {"d": dense(3, 4), "n": layer_norm(4, 1e-12)})
    cases.append(("a bias that the normalisation takes away", normed,
                  {"inputs": (images(shape=(5, 3)),), "change": _add("d.bias", ALL, 1.0)}))  # fmt: skip
    limited = Written(
        lambda xp, m, x: xp.clip(m.d(xp.relu(m.c(x))), -1e-3, 1e-3) * 0.0 + m.d(xp.relu(m.c(x))), TWO
    )
    cases.append(
        (
            "kernel behind a clip times zero",
            limited,
            {"alike": DEAD, "change": _add("d.kernel", np.s_[:, :, 1], 3.0)},
        )
    )
    rare = Written(
        lambda xp, m, x: m.c(x) + xp.relu(m.d(m.c(x)) - 1e4) * xp.mean(x), {"c": conv(), "d": conv(4, 4, 1)}
    )
    cases.append(("kernel behind a ReLU that is never open", rare, {"change": _add("d.kernel", ALL, 1e-3)}))
    cases.append(("a weight that is NaN behind a ReLU never met", tokens_net,
                  {"inputs": tokens, "change": _set("e.embeddings", np.s_[5, 0], np.nan)}))  # fmt: skip
    cases.append(("a weight that is infinite in a row never met", tokens_net,
                  {"inputs": tokens, "change": _set("e.embeddings", np.s_[4, 2], np.inf)}))  # fmt: skip
    for name, network, more in cases:
        yield from attempts(KIND, name, network, network, **more)
