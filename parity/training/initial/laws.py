"""Which law random first values follow: constant, uniform, normal, truncated normal or orthogonal, and its scale."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod, sqrt

import numpy as np

from parity.core.types import Array

KURTOSIS = {"uniform": 1.8, "truncated normal": 2.37, "normal": 3.0}
"""Fourth moment over the squared second one, of each law."""
CERTAIN = 3.27
"""Factor of Kolmogorov and Smirnov's bound at which one of 1e9 pairs of equal laws is called different."""
NEAR = 0.03
"""How near, relatively, a scale must come to a known one to bear its name."""


@dataclass(frozen=True)
class Law:
    """The law of one tensor's first values.

    Attributes:
        kind: "constant", "uniform", "normal", "truncated normal", "orthogonal" or "other".
        scale: its value, its bound, its standard deviation, or its gain.
        name: of the rule that gives this scale; "" where none is known.
    """

    kind: str
    scale: float
    name: str = ""

    def __str__(self) -> str:
        """In words, with the scale."""
        what = {"constant": "value", "uniform": "bound", "orthogonal": "gain"}.get(
            self.kind, "standard deviation"
        )
        named = f"{self.name} " if self.name else ""
        return f"{named}{self.kind}, {what} {self.scale:.3g}"


def fans_of(shape: tuple[int, ...]) -> tuple[float, float]:
    """Inputs and outputs of a tensor as Keras lays it out."""
    if len(shape) < 2:
        return float(prod(shape)), float(prod(shape))
    field = prod(shape[:-2])
    return float(shape[-2] * field), float(shape[-1] * field)


def law_of(draws: Array, fans: Sequence[tuple[float, float]]) -> Law:
    """The law of several draws of one tensor.

    Args:
        draws: (number of draws, shape of the tensor).
        fans: inputs and outputs that a rule may have taken the scale from.
    """
    values = draws.reshape(-1)
    if np.all(values == values[0]):
        return Law("constant", float(values[0]), {0.0: "zeros,", 1.0: "ones,"}.get(float(values[0]), ""))
    gain = _gain(draws[0])
    if gain is not None:
        return Law("orthogonal", gain)
    deviation = float(values.std())
    centred = values - values.mean()
    kurtosis = float(np.mean(centred**4)) / float(np.mean(centred**2)) ** 2
    kind = min(KURTOSIS, key=lambda known: abs(KURTOSIS[known] - kurtosis))
    reach = float(np.abs(values).max())
    bounds = {"uniform": sqrt(3.0), "truncated normal": 2.0 / 0.8796}
    if kind in bounds and reach > bounds[kind] * deviation * 1.05:
        kind = "normal" if kind == "truncated normal" else "other"
    if abs(values.mean()) > 6.0 * deviation / sqrt(values.size):
        kind = "other"
    scale = reach if kind == "uniform" else deviation
    return Law(kind, scale, _named(kind, scale, fans))


def _gain(value: Array) -> float | None:
    """The gain of a matrix with orthogonal rows or columns; None for another."""
    matrix = value.reshape(-1, value.shape[-1]) if value.ndim > 1 else value.reshape(1, -1)
    if min(matrix.shape) < 2:
        return None
    matrix = matrix if matrix.shape[0] >= matrix.shape[1] else matrix.T
    product = matrix.T @ matrix
    square = float(np.mean(np.diag(product)))
    if square <= 0.0 or np.abs(product - square * np.eye(len(product))).max() > 1e-4 * square:
        return None
    return sqrt(square)


def _named(kind: str, scale: float, fans: Sequence[tuple[float, float]]) -> str:
    """The rule that gives this scale for these numbers of inputs and outputs."""
    variance = scale * scale / 3.0 if kind == "uniform" else scale * scale
    for inputs, outputs in fans:
        rules = {
            "glorot": 2.0 / (inputs + outputs),
            "he": 2.0 / inputs,
            "lecun": 1.0 / inputs,
            "kaiming a=sqrt(5)": 1.0 / (3.0 * inputs),  # torch's own for linear and convolutional layers
        }
        for name, known in rules.items():
            if abs(sqrt(variance / known) - 1.0) <= NEAR:
                return name
    return ""


def differ(a: Array, b: Array, first: Law, second: Law) -> bool:
    """Whether two sets of draws follow different laws, beyond chance."""
    kinds = {first.kind, second.kind}
    if kinds & {"constant", "orthogonal"}:
        return first.kind != second.kind or abs(first.scale - second.scale) > 1e-4 * abs(first.scale)
    if kinds == {"uniform"} and abs(first.scale / second.scale - 1.0) > 20.0 / min(a.size, b.size):
        return True
    return _distance(a.reshape(-1), b.reshape(-1)) > CERTAIN * sqrt(1.0 / a.size + 1.0 / b.size)


def _distance(a: Array, b: Array) -> float:
    """The greatest distance of two empirical distribution functions."""
    a, b = np.sort(a), np.sort(b)
    both = np.concatenate([a, b])
    gaps = np.searchsorted(a, both, side="right") / a.size - np.searchsorted(b, both, side="right") / b.size
    return float(np.abs(gaps).max())
