"""A number in a step, solved from what the step is to give."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from parity.core.layout import aligned
from parity.core.types import Array

ROUNDS = 12
"""Steps of the secant."""

NEAR = 1e-13
"""Relative change at which it stops."""


def solved(value: float, run: Callable[[float], Array | None], wanted: Array) -> float | None:
    """The number for which a step gives what is wanted; None where none is found.

    Args:
        value: the number as it is.
        run: what the step gives with another number, in torch's layout; None where that cannot run.
        wanted: the Keras tensor.
    """
    direction: list[Array] = []

    def off(trial: float) -> float | None:
        given = run(trial)
        fit = None if given is None else aligned(wanted, given)
        if fit is None or not np.isfinite(fit[0]).all():
            return None
        if not direction:
            direction.append(fit[0] - wanted)
        return float(np.vdot(fit[0] - wanted, direction[0]).real)

    at, then = value, value * 1.25 if value else 1e-3
    gap = off(at)
    for _ in range(ROUNDS):
        if gap is None or gap == 0.0:
            break
        further = off(then)
        if further is None or further == gap or not np.isfinite(further):
            return None
        at, then, gap = then, then - further * (then - at) / (further - gap), further
        if abs(then - at) <= NEAR * abs(then):
            break
    if not np.isfinite(then) or abs(then) > 1e9:
        return None
    return then
