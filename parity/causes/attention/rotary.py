"""Queries and keys that are turned by their positions: in halves or in pairs, by which base, from which position on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from parity.causes.attention.sites import Attending, Site
from parity.causes.case import Explanation
from parity.core.finding import Fix
from parity.core.trace import Source
from parity.core.types import Array

REACH = 40
"""Steps that are followed back from a query."""


@dataclass(frozen=True)
class Turning:
    """How one side turns its queries and keys.

    Attributes:
        halves: whether feature i is turned with feature i + d/2, and not 2i with 2i + 1.
        angles: (positions, d/2).
        plain: query and key before, (N, T, d).
    """

    halves: bool
    angles: Array
    plain: tuple[Array, Array]

    @property
    def base(self) -> float:
        """The base of the frequencies."""
        steps = self._steps()
        return float(np.exp(-np.log(steps[1] / steps[0]) * len(steps))) if len(steps) > 1 else 1.0

    @property
    def start(self) -> float:
        """The position of the first token."""
        return float(self.angles[0, 0] / self._steps()[0])

    def _steps(self) -> Array:
        return np.mod(self.angles[1] - self.angles[0] + 1e-12, 2 * np.pi)


def turning(run: Attending, site: Site) -> Turning | None:
    """How a site's query and key were turned; None where they were not, or in a way that is not known."""
    found = []
    for source, value in zip(site.sources, (site.query, site.key), strict=True):
        one = next(
            ((before, halves, angles) for before in _before(run, source, value, site.batch)
             for halves in (True, False)
             if (angles := _angles(before, value, halves)) is not None), None,
        )  # fmt: skip
        if one is None:
            return None
        found.append(one)
    (query, halves, angles), (key, again, others) = found
    if halves != again or angles.shape != others.shape or not np.allclose(angles, others, atol=1e-6):
        return None
    return Turning(halves, angles, (query, key)) if len(angles) > 1 else None


def _before(run: Attending, source: Source, value: Array, batch: int) -> Iterator[Array]:
    """Tensors in front of a query that may be what was turned: as many values, and others, laid out as it is."""
    waiting, seen = [source], set[tuple[int, int]]()
    while waiting and len(seen) < REACH:
        at = waiting.pop(0)
        if (at.node, at.output) in seen:
            continue
        seen.add((at.node, at.output))
        held = run.value(at)
        if held is None or held.ndim < 2:
            continue
        if held.size == value.size:
            for laid in _laid(np.asarray(held, np.float64), value.shape, batch):
                gap = np.abs(_norms(laid) - _norms(value)).max()
                if gap < 1e-6 * _norms(value).max() and not np.allclose(laid, value, atol=1e-12):
                    yield laid
        waiting += run.trace.nodes[at.node].inputs


def _laid(held: Array, shape: tuple[int, ...], batch: int) -> Iterator[Array]:
    count, length, size = shape
    heads = count // batch
    if held.shape[-1] == size and held.ndim > 2 and held.shape[-2] == length:
        yield held.reshape(shape)
    for form in ((batch, length, heads, size),):
        if held.shape in {form, (batch, length, heads * size)}:
            yield np.moveaxis(held.reshape(form), 2, 1).reshape(shape)


def _norms(value: Array) -> Array:
    return np.sqrt(np.square(value).sum(-1))


def _complex(value: Array, halves: bool) -> Array:
    half = value.shape[-1] // 2
    return value[..., :half] + 1j * value[..., half:] if halves else value[..., ::2] + 1j * value[..., 1::2]


def _angles(before: Array, after: Array, halves: bool) -> Array | None:
    """The angle of each position and pair of features, where all examples and heads are turned alike."""
    if before.shape[-1] % 2:
        return None
    a, b = _complex(before, halves), _complex(after, halves)
    ratio = (b * a.conj()).sum(0)
    with np.errstate(invalid="ignore", divide="ignore"):
        unit = ratio / np.abs(ratio)
    fits = np.isfinite(unit).all() and np.allclose(a * unit, b, rtol=0, atol=1e-6 * np.abs(b).max())
    return np.angle(unit) if fits else None


def turned(plain: Array, how: Turning) -> Array:
    """A query or key, turned."""
    moved = _complex(plain, how.halves) * np.exp(1j * how.angles)
    if how.halves:
        return np.concatenate([moved.real, moved.imag], -1)
    return np.stack([moved.real, moved.imag], -1).reshape(plain.shape)


def explain_turning(
    keras: Site, torch: Site, place: tuple[str, str], of_keras: Turning | None, of_torch: Turning | None
) -> tuple[list[Explanation], Array] | None:
    """What tells two turnings apart, and torch's query by key turned as Keras does; None where that is not known."""
    if of_keras is None or of_torch is None or of_keras.angles.shape != of_torch.angles.shape:
        return None
    found = []
    forms = {True: "halves (i with i + d/2)", False: "pairs (2i with 2i + 1)"}
    if of_keras.halves != of_torch.halves:
        text = f"Keras turns query and key in {forms[of_keras.halves]}, torch in {forms[of_torch.halves]}"
        in_torch = f"turn them in {forms[of_keras.halves]} in torch {place[1]}"
        fix = Fix(f"turn them in {forms[of_torch.halves]} in Keras {place[0]}", in_torch, in_torch)
        found.append(Explanation("rotary-convention", text, fix))
    bases = [_number(one.base) for one in (of_keras, of_torch)]
    if bases[0] != bases[1]:
        text = f"the base of the rotary frequencies is {bases[0]} in Keras and {bases[1]} in torch"
        in_torch = f"a base of {bases[0]} in torch {place[1]}"
        fix = Fix(f"a base of {bases[1]} in Keras {place[0]}", in_torch, in_torch)
        found.append(Explanation("rotary-base", text, fix))
    starts = [round(one.start) for one in (of_keras, of_torch)]
    if starts[0] != starts[1]:
        text = f"the first token has position {starts[0]} in Keras and {starts[1]} in torch"
        in_torch = f"count positions from {starts[0]} in torch {place[1]}"
        fix = Fix(f"count positions from {starts[1]} in Keras {place[0]}", in_torch, in_torch)
        found.append(Explanation("position-offset", text, fix))
    query, key = (turned(plain, of_keras) for plain in of_torch.plain)
    return (found, query @ np.swapaxes(key, -1, -2)) if found else None


def _number(value: float) -> str:
    return f"{value:.4g}"
