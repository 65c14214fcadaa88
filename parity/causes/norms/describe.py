"""What a normalisation did: which vector stood where, which epsilon, and whose statistics, solved from its result."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations

import numpy as np

from parity.causes.steps.equality import same
from parity.causes.steps.identify import fitted
from parity.core.types import Array

ROLES = ("weight", "bias", "running_mean", "running_var")
"""What scales, shifts, centres and divides, by torch's names; layer and group normalisations have the first two."""
Order = tuple[str | None, ...]
"""For each role the vector that had it; None where none had, and the role was left out."""
PLAIN = {"weight": 1.0, "bias": 0.0, "running_mean": 0.0, "running_var": 1.0}


GROUPED_ORDERS: tuple[Order, ...] = (("weight", "bias"), ("weight", None), (None, "bias"), ("bias", "weight"))
"""Orders to try of the two vectors of a layer or group normalisation."""


@dataclass(frozen=True)
class Normalisation:
    """What a normalisation layer computed.

    Attributes:
        order: which vector had each role.
        epsilon: added to the variance, as solved from the result.
        statistics: "running" or "batch" (batch normalisation); "token" or "group".
        source: whose vectors they are: "keras" or "torch".
    """

    order: Order
    epsilon: float
    statistics: str
    source: str

    @property
    def left_out(self) -> set[str]:
        """The roles that no vector had."""
        return {role for role, name in zip(ROLES, self.order, strict=False) if name is None}


def describe_batchnorm(
    x: Array, y: Array, vectors: Sequence[tuple[str, Mapping[str, Array]]]
) -> Normalisation | None:
    """What turned `x` into `y`, both (N, C, ...).

    Args:
        x: what went in; y: what came out.
        vectors: (side, vectors by torch's names), in the order to try.
    """
    rows = [np.moveaxis(value, 1, 0).reshape(value.shape[1], -1) for value in (x, y)]
    alive = np.ptp(rows[0], axis=1) > 0  # a channel that is the same everywhere says nothing of its factor
    lines = fitted(rows[0][alive], rows[1][alive], least=2) if alive.any() else None
    if lines is None:
        return None
    factor, _ = lines
    mean, variance = rows[0].mean(axis=1), rows[0].var(axis=1)
    channels = rows[0].shape[:1]
    for side, held in vectors:
        complete = {role: held.get(role, np.full(channels, PLAIN[role])) for role in ROLES}
        if any(value.shape != channels for value in complete.values()):
            continue
        for order in permutations(ROLES):
            scale, shift, centre, spread = (complete[name] for name in order)
            epsilon = _epsilon(scale[alive], factor, spread[alive])
            if epsilon is not None and _holds(rows, scale, shift, centre, spread, epsilon):
                return Normalisation(order, epsilon, "running", side)
        for dropped in ((), ("bias",), ("weight",), ("weight", "bias")):
            given = {**complete, **{name: np.full(channels, PLAIN[name]) for name in dropped}}
            without: Order = tuple(None if name in dropped else name for name in ROLES)
            if dropped:
                epsilon = _epsilon(given["weight"][alive], factor, given["running_var"][alive])
                vectors_given = given["weight"], given["bias"], given["running_mean"], given["running_var"]
                if epsilon is not None and _holds(rows, *vectors_given, epsilon):
                    return Normalisation(without, epsilon, "running", side)
            epsilon = _epsilon(given["weight"][alive], factor, variance[alive])
            if epsilon is not None and _holds(rows, given["weight"], given["bias"], mean, variance, epsilon):
                return Normalisation(without, epsilon, "batch", side)
    return None


def before_activation(
    x: Array, y: Array, vectors: Sequence[tuple[str, Mapping[str, Array]]]
) -> tuple[Array, Array, Sequence[tuple[str, Mapping[str, Array]]]]:
    """What a normalisation gave in front of its ReLU, in the channels where enough of it is left to say so.

    Each channel is a line in what went in, of which the positive part is known.
    """
    rows = [np.moveaxis(value, 1, 0).reshape(value.shape[1], -1) for value in (x, y)]
    lines = []
    for inside, outside in zip(*rows, strict=True):
        at = np.flatnonzero((outside > 0.0) & (outside < 6.0))
        low, high = (at[pick(inside[at])] for pick in (np.argmin, np.argmax)) if at.size else (0, 0)
        if inside[high] > inside[low]:
            slope = (outside[high] - outside[low]) / (inside[high] - inside[low])
            lines.append((slope, outside[low] - slope * inside[low]))
        else:
            lines.append((np.nan, np.nan))
    known = np.isfinite([slope for slope, _ in lines])
    slope, shift = np.array(lines)[known].T.reshape(2, 1, -1, *[1] * (x.ndim - 2))
    kept = x[:, known]
    return (
        kept,
        kept * slope + shift,
        [
            (
                side,
                {name: value[known] if value.shape == known.shape else value for name, value in held.items()},
            )
            for side, held in vectors
        ],
    )


def _epsilon(scale: Array, factor: Array, variance: Array) -> float | None:
    """The one epsilon with which every channel's factor is scale / sqrt(variance + epsilon)."""
    if not (np.sign(scale) == np.sign(factor)).all():
        return None
    each = (scale / factor) ** 2 - variance
    epsilon = float(np.median(each))
    tolerance = 1e-9 * max(float(np.abs(variance).max()), 1e-12) + 1e-15
    if not np.abs(each - epsilon).max() <= tolerance or epsilon < -tolerance:
        return None
    return max(epsilon, 0.0)


def _holds(
    rows: list[Array], scale: Array, shift: Array, centre: Array, variance: Array, epsilon: float
) -> bool:
    with np.errstate(all="ignore"):
        value = (rows[0] - centre[:, None]) * (scale / np.sqrt(variance + epsilon))[:, None] + shift[:, None]
    return same(rows[1], value)


def batchnorm(x: Array, vectors: Mapping[str, Array], epsilon: float) -> Array:
    """Batch normalisation with running statistics."""
    shape = (1, -1, *[1] * (x.ndim - 2))
    scale, shift, centre, variance = (np.reshape(vectors.get(role, np.array(PLAIN[role])), shape if role in vectors else ())
                                      for role in ROLES)  # fmt: skip
    return (x - centre) * scale / np.sqrt(variance + epsilon) + shift


def describe_grouped(
    x: Array, y: Array, vectors: Sequence[tuple[str, Mapping[str, Array]]], groups: int | None
) -> Normalisation | None:
    """What layer normalisation over the last axis (groups None) or group normalisation over (C / groups, ...) did.

    Args:
        x: what went in: (..., C) for a layer normalisation, (N, C, ...) for a group normalisation.
        y: what came out.
        vectors: (side, scale and offset by torch's names), in the order to try.
        groups: number of groups of channels.
    """
    if x.shape != y.shape or x.ndim < 2:
        return None
    blocks = x.reshape(-1, x.shape[-1]) if groups is None else x.reshape(x.shape[0] * groups, -1)
    centred, variance = blocks - blocks.mean(axis=1, keepdims=True), blocks.var(axis=1)
    shape = (1,) * (x.ndim - 1) + (-1,) if groups is None else (1, -1, *[1] * (x.ndim - 2))
    channels = x.shape[-1 if groups is None else 1]
    for side, held in vectors:
        for order in GROUPED_ORDERS:
            scale, shift = (np.asarray(held.get(name or "", np.full(channels, PLAIN[role])))
                            for name, role in zip(order, ROLES, strict=False))  # fmt: skip
            if scale.shape != (channels,) or shift.shape != (channels,) or not scale.all():
                continue
            plain = ((y - shift.reshape(shape)) / scale.reshape(shape)).reshape(blocks.shape)
            at = np.abs(centred).argmax(axis=1)
            rows = np.arange(len(blocks))
            with np.errstate(all="ignore"):
                each = (centred[rows, at] / plain[rows, at]) ** 2 - variance
            epsilon = float(np.median(each))
            if not np.isfinite(epsilon) or epsilon < -1e-12:
                continue
            value = (centred / np.sqrt(variance + max(epsilon, 0.0))[:, None]).reshape(x.shape)
            if same(y, value * scale.reshape(shape) + shift.reshape(shape)):
                return Normalisation(order, max(epsilon, 0.0), "token" if groups is None else "group", side)
    return None
