"""What a layer with a kernel computed, and the strides, dilations and groups with which it may have done so.

Input and result are held against the layer's formula with the kernel as it is and as porting mistakes leave it
(turned, transposed, permuted), at any stride, dilation, padding and crop. What is found is a description of the
computation; where the two sides' descriptions differ is the cause.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any

import numpy as np

from parity.causes.steps.equality import same
from parity.causes.steps.pooling import numbers
from parity.core.tolerance import STRUCTURE, difference
from parity.core.types import Array

SMALL = range(1, 5)
"""Strides and dilations that are tried where the settings of neither layer explain the result."""

Mistakes = tuple[tuple[str, ...], int]
"""Causes of a kernel that was used otherwise, and which of several ways it is."""


@dataclass(frozen=True)
class Computation:
    """What a layer computed.

    Attributes:
        mistakes: how the kernel was used, by the causes that this would have; none where it was used as it is.
        variant: which of several ways to make the mistakes.
        stride: of the windows (or of the taps, transposed).
        dilation: of the kernel.
        groups: of channels.
        start: where the first window begins, in pixels of the input (minus the padding), or, transposed, the
            first row of the whole result that was kept.
        size: of the result.
        padding: "zeros", or another way to fill.
        crop: rows cut from (or, negative, added to) the input before a transposed convolution.
        bias: the constant that was added to each channel.
        run: repeats the computation on an input.
    """

    mistakes: tuple[str, ...]
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    groups: int
    start: tuple[int, ...]
    size: tuple[int, ...]
    padding: str = "zeros"
    crop: int = 0
    variant: int = 0
    bias: Array = field(default_factory=lambda: np.zeros(0), compare=False)
    run: Callable[[Array], Array] = field(default=lambda x: x, compare=False, repr=False)


@dataclass(frozen=True)
class Hyper:
    """Stride, dilation and groups to try."""

    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    groups: int


def computation(
    mistakes: Mistakes,
    hyper: Hyper,
    start: tuple[int, ...],
    size: tuple[int, ...],
    bias: Array,
    run: Callable[[Array], Array],
    padding: str = "zeros",
    crop: int = 0,
) -> Computation:
    """What was found at one stride, dilation and number of groups."""
    causes, variant = mistakes
    places = hyper.stride, hyper.dilation, hyper.groups, start, size
    return Computation(causes, *places, padding, crop, variant, bias, run)


def hypers_of(settings: Sequence[dict[str, Any]], x: Array, y: Array, transposed: bool) -> list[Hyper]:
    """Strides, dilations and groups to try: each layer's own first, then mixtures, then small ones."""
    rank = x.ndim - 2
    strides, dilations, groups = [], [], []
    for values in settings:
        strides.append(numbers(values.get("strides", values.get("stride")), rank))
        dilations.append(numbers(values.get("dilation_rate", values.get("dilation")), rank))
        own = values.get("groups")
        groups.append(own if isinstance(own, int) else None)
    ones = (1,) * rank
    sizes = zip(x.shape[2:], y.shape[2:], strict=True)
    measured = tuple(max(round(b / a if transposed else a / max(b, 1)), 1) for a, b in sizes)
    own_first = [(s, d, g) for s, d, g in zip(strides, dilations, groups, strict=True) if s and d]
    combinations = [
        *((s, d, g or 1) for s, d, g in own_first),
        *product([s for s in strides if s], [d for d in dilations if d], [g for g in groups if g] or [1]),
        *product(
            [measured, ones], [*(d for d in dilations if d), ones], [*(g for g in groups if g), 1, x.shape[1]]
        ),
        *(((s,) * rank, (d,) * rank, g) for s in SMALL for d in SMALL for g in {*(g or 1 for g in groups)}),
    ]
    return [Hyper(*item) for item in dict.fromkeys(combinations) if item[2] >= 1]


FEW = 4
"""Channels of the result that a kernel is tried on before it is tried on all."""

SAMPLED = 5
"""Places along each axis that are looked at before all are."""


def constant(plain: Array, y: Array) -> Array | None:
    """What was added to each channel, the same everywhere; None where the rest differs."""
    if plain.shape != y.shape or plain.size == 0:
        return None
    axes = (0, *range(2, y.ndim))
    place = (slice(0, 1), slice(None), *(slice(size // 2, size // 2 + 1) for size in y.shape[2:]))
    bias = (y[place] - plain[place]).reshape(-1)
    shaped = bias.reshape(1, -1, *[1] * (y.ndim - 2))
    some = (slice(None), slice(None), *(slice(None, None, max(size // SAMPLED, 1)) for size in y.shape[2:]))
    if not np.abs(y[some] - plain[some] - shaped).max() <= STRUCTURE * np.abs(y).max():
        return None  # most that differ do so at a few places
    if not same(y, plain + shaped):
        return None
    bias = (y - plain).mean(axis=axes)
    return np.where(np.abs(bias) < 1e-12 * max(float(np.abs(y).max()), 1e-300), 0.0, bias)


def agreement(y: Array, value: Array) -> float:
    """Greatest difference relative to the scale, for the evidence."""
    return difference(y, value).max_rel
