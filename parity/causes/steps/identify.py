"""What one step without weights did: activation, softmax, pooling, resize, flattening, reordering, scaling.

A step is identified from a tensor and its result alone: it is the function of a short list that turns the one into
the other, to the structural bound, in every element. Arrays are channels first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from math import prod
from typing import Any

import numpy as np

from parity.adapters.torch import reference
from parity.causes.steps.equality import same
from parity.causes.steps.pooling import poolings
from parity.core.tolerance import FLUSHED
from parity.core.types import Array

SAMPLE = 128
"""Elements on which a function of single elements is tried before all of them are."""

ELEMENT = 1e-12
"""How far a function of one element may be off, relative to the element and to what it gives."""

FLOOR = 3e-14
"""The same relative to the greatest element that goes in."""


@dataclass(frozen=True)
class Step:
    """One step: its kind ("identity", "activation", "softmax", "pool", "resize", "flatten", "channels", "scale",
    "affine") and the settings that were identified."""

    kind: str
    name: str
    settings: dict[str, Any] = field(default_factory=dict, compare=False)
    apply: Callable[[Array], Array] = field(default=lambda x: x, compare=False, repr=False)

    def __str__(self) -> str:
        """The step in words."""
        return self.name


IDENTITY = Step("identity", "nothing")
NOTHING = "nothing"
"""The activation that hands its input on."""
FORMS = {
    "gelu by erf": "gelu",
    "gelu by tanh": "gelu",
    "gelu by sigmoid": "gelu",
    "hard sigmoid x/6+0.5": "hard sigmoid",
    "hard sigmoid 0.2x+0.5": "hard sigmoid",
    "hard swish x/6+0.5": "hard swish",
    "hard swish 0.2x+0.5": "hard swish",
}
"""Activations that go by one name and have two forms."""


def every_element(x: Array, y: Array, value: Array) -> bool:
    """Whether a function of single elements gives y, each element within the rounding of its own magnitude."""
    if not same(y, value):
        return False
    # What went in may carry the rounding of a sum, which is that of its greatest terms.
    floor = FLOOR * float(np.abs(x).max(initial=0.0)) + FLUSHED
    return bool((np.abs(y - value) <= ELEMENT * (np.abs(x) + np.abs(y)) + floor).all())


def identify(x: Array, y: Array, hints: tuple[dict[str, Any], ...] = ()) -> Step | None:
    """The step that turns `x` into `y`; None where none of the list does.

    Args:
        x: what went in, channels first.
        y: what came out.
        hints: settings of the layers that may have done it (pool_size, kernel_size, strides, ...).
    """
    return next(iter(candidates(x, y, hints)), None)


def candidates(x: Array, y: Array, hints: tuple[dict[str, Any], ...] = ()) -> Iterator[Step]:
    """Every step of the list that turns `x` into `y`, the simplest first."""
    if x.size == 0 or y.size == 0 or not (np.isfinite(x).all() and np.isfinite(y).all()):
        return
    if x.shape == y.shape:
        yield from _elementwise(x, y)
        yield from _softmax(x, y)
        yield from _channels(x, y)
        yield from _affine(x, y)
    if x.ndim > 2 and y.ndim == 2 and x[0].size == y[0].size:
        yield from _flatten(x, y)
    if x.ndim > 2 and x.ndim == y.ndim and x.shape[:2] == y.shape[:2]:
        for name, settings, apply in poolings(x, y, hints):
            yield Step("pool", name, settings, apply)
        yield from _resize(x, y)


def activation(name: str, function: Callable[[Array], Array] = lambda x: x) -> Step:
    """The step that one of `elementwise` is."""
    return IDENTITY if name == NOTHING else Step("activation", name, {"form of": FORMS.get(name)}, function)


def elementwise() -> dict[str, Callable[[Array], Array]]:
    """The activations by name, identity first."""
    return {NOTHING: lambda x: x, **{name: reference.activation(name) for name in reference.ACTIVATIONS}}


def _sampled(x: Array, y: Array) -> tuple[Array, Array]:
    """A few elements of both, spread over the range of values, where the functions differ most."""
    order = np.argsort(x, axis=None)
    chosen = order[np.linspace(0, x.size - 1, min(SAMPLE, x.size)).astype(int)]
    return x.reshape(-1)[chosen], y.reshape(-1)[chosen]


def _elementwise(x: Array, y: Array) -> Iterator[Step]:
    some_x, some_y = _sampled(x, y)
    for name, function in elementwise().items():
        if same(some_y, function(some_x)) and every_element(x, y, function(x)):
            yield activation(name, function)
    negative = x < 0
    if negative.any() and not negative.all() and same(y[~negative], x[~negative]):
        ratios = y[negative] / x[negative]
        slope = float(np.median(ratios))
        if slope not in (0.0, 1.0) and every_element(x, y, reference.leaky(slope)(x)):
            slope = plain_number(slope)
            name = "absolute value" if slope == -1.0 else f"leaky ReLU with slope {slope:g}"
            settings = {} if slope == -1.0 else {"slope": slope}
            yield Step("activation", name, settings, reference.leaky(slope))


def plain_number(value: float) -> float:
    """The short decimal that a measured setting stands for, where it is one."""
    for digits in range(1, 9):
        short = float(f"{value:.{digits}g}")
        if abs(short - value) <= 1e-7 * abs(value):
            return short
    return value


def _softmax(x: Array, y: Array) -> Iterator[Step]:
    if y.ndim < 2 or y.min() < 0.0 or y.max() > 1.0 + 1e-12:
        return
    for axis in (*range(1, y.ndim), 0):
        if np.allclose(y.sum(axis=axis), 1.0, rtol=0, atol=1e-9) and same(y, reference.softmax(x, axis)):
            yield Step("softmax", f"softmax over axis {axis} of {y.ndim} (channels first)", {"axis": axis},
                       partial(reference.softmax, axis=axis))  # fmt: skip


def permutation(x: Array, y: Array, axis: int = 1) -> list[int] | None:
    """The order of x's slices along an axis that gives y; None where there is none, or it is as it was."""
    if x.shape != y.shape or x.ndim < 2 or x.shape[axis] < 2:
        return None
    a, b = (np.moveaxis(value, axis, 0).reshape(value.shape[axis], -1) for value in (x, y))
    scale = float(np.abs(a).max(initial=0.0))
    if scale == 0.0:
        return None
    # A random projection tells the slices apart; the whole tensors are compared afterwards.
    direction = np.random.default_rng(0).standard_normal(a.shape[1])
    before, after = a @ direction, b @ direction
    # In the order of the projections, slice by slice; equal slices, as of channels that are zero, go with their neighbours.
    found = np.empty(len(before), dtype=int)
    found[np.argsort(after, kind="stable")] = np.argsort(before, kind="stable")
    order = _in_runs(found.tolist(), before)
    if order == list(range(len(order))):
        return None
    return order if same(y, np.take(x, order, axis)) else None


def _in_runs(order: list[int], values: Array) -> list[int]:
    """The order with equal slices exchanged so that as many as can be stand next to their neighbours."""
    held: dict[float, list[int]] = {}
    for place, index in enumerate(order):
        held.setdefault(float(values[index]), []).append(place)
    found: list[int | None] = list(order)
    for places in (places for places in held.values() if len(places) > 1):
        free = {order[place] for place in places}
        for place in places:
            found[place] = None
        for step, turn in ((1, places), (-1, places[::-1])):
            for place in turn:
                near = found[place - step] if 0 <= place - step < len(found) else None
                if found[place] is None and near is not None and near + step in free:
                    free.discard(near + step)
                    found[place] = near + step
        rest = iter(sorted(free))
        for place in places:
            found[place] = next(rest) if found[place] is None else found[place]
    return [index for index in found if index is not None]


def _channels(x: Array, y: Array) -> Iterator[Step]:
    order = permutation(x, y)
    if order is not None:
        yield Step("channels", f"channels in the order {_shown(order)}", {"order": order},
                   lambda z: np.take(z, order, 1))  # fmt: skip


def _shown(order: list[int]) -> str:
    return str(order) if len(order) <= 12 else f"[{', '.join(map(str, order[:8]))}, ...]"


def _affine(x: Array, y: Array) -> Iterator[Step]:
    """One factor and offset for all, or one for each channel."""
    line = fitted(x.reshape(1, -1), y.reshape(1, -1))
    if line is not None:
        factor, offset = float(line[0][0]), float(line[1][0])
        yield Step("scale", f"{factor:.9g} * x + {offset:.6g}", {"factor": factor, "offset": offset},
                   lambda z: factor * z + offset)  # fmt: skip
        return
    if x.ndim > 1 and 1 < x.shape[1] < x.size:
        rows = [np.moveaxis(value, 1, 0).reshape(value.shape[1], -1) for value in (x, y)]
        lines = fitted(rows[0], rows[1])
        if lines is not None:
            shape = (1, -1, *[1] * (x.ndim - 2))
            factors, offsets = lines[0].reshape(shape), lines[1].reshape(shape)
            shown = ", ".join(
                f"{a:.6g} * x + {b:.6g}" for a, b in zip(lines[0][:4], lines[1][:4], strict=True)
            )
            name = f"by channel {shown}" + (", ..." if len(lines[0]) > 4 else "")
            yield Step("affine", name, {"factors": lines[0], "offsets": lines[1]},
                       lambda z: factors * z + offsets)  # fmt: skip


def fitted(x: Array, y: Array, least: int = 3) -> tuple[Array, Array] | None:
    """Factor and offset of each row such that y = factor * x + offset to the bound; None where a row is no line."""
    if x.shape[1] < least:
        return None
    low, high = x.argmin(axis=1), x.argmax(axis=1)
    rows = np.arange(len(x))
    span = x[rows, high] - x[rows, low]
    if not (span > 0).all():
        return None
    factor = (y[rows, high] - y[rows, low]) / span
    offset = y[rows, low] - factor * x[rows, low]
    if not (factor != 0.0).all() or not same(y, factor[:, None] * x + offset[:, None]):
        return None
    return factor, offset


def _flatten(x: Array, y: Array) -> Iterator[Step]:
    for name, value in (("C, H, W", x), ("H, W, C", np.moveaxis(x, 1, -1))):
        if same(y, value.reshape(len(x), -1)):
            yield Step("flatten", f"flattened as {name}", {"order": name},
                       partial(_flattened, last=name == "H, W, C"))  # fmt: skip


def _flattened(x: Array, last: bool) -> Array:
    return (np.moveaxis(x, 1, -1) if last else x).reshape(len(x), -1)


def _resize(x: Array, y: Array) -> Iterator[Step]:
    if prod(y.shape[2:]) == 0 or x.shape == y.shape:
        return
    few_x, few_y = x[:1, :2], y[:1, :2]
    for mode in reference.RESIZE_MODES:
        if x.ndim != 4 and ("antialias" in mode or "cubic" in mode):
            continue
        size = y.shape[2:]
        if same(few_y, reference.resize(few_x, size, mode)) and same(y, reference.resize(x, size, mode)):
            method, _, option = mode.partition(" ")
            yield Step("resize", f"{mode} resize to {size}",
                       {"mode": mode, "method": method, "option": option or None, "size": size},
                       partial(reference.resize, size=size, mode=mode))  # fmt: skip
