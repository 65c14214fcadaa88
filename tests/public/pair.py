"""What a row of the table of public pairs says."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

Inputs = Mapping[str, Any] | np.ndarray[Any, Any]


@dataclass(frozen=True)
class PublicPair:
    """Two public implementations of one network, in a small random configuration.

    Attributes:
        keras: builds the Keras model.
        torch: builds the torch module.
        inputs: makes the inputs as users give them: by the Keras names, or one picture (N, H, W, C).
        verdict: what is true, as read in the two sources.
        causes: the names of all true differences.
        why: where the sources say so.
    """

    keras: Callable[[], Any]
    torch: Callable[[], Any]
    inputs: Callable[[], Inputs]
    verdict: str = "EQUAL"
    causes: frozenset[str] = frozenset()
    why: str = ""


def differ(*causes: str, why: str) -> dict[str, Any]:
    """The fields of a pair whose two implementations differ by these causes."""
    return {"verdict": "DIVERGED", "causes": frozenset(causes), "why": why}


def picture(*shape: int) -> Callable[[], Inputs]:
    """Random values of this shape (N, H, W, C) or (N, T, F), in -1..1."""
    return lambda: np.random.default_rng(0).uniform(-1, 1, shape).astype(np.float32)


def ids(rows: int, length: int, low: int, high: int, seed: int = 0) -> np.ndarray[Any, Any]:
    """Tokens in low..high-1."""
    return np.random.default_rng(seed).integers(low, high, (rows, length)).astype(np.int32)


def padding(rows: int, length: int) -> np.ndarray[Any, Any]:
    """A padding mask (rows, length) of ones, whose last row ends in three zeros."""
    mask = np.ones((rows, length), np.int32)
    mask[-1, -3:] = 0
    return mask
