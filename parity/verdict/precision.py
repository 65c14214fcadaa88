"""A dtype other than float64: each side against its own float64 result, element by element."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from parity.causes.table import CAUSES
from parity.core.adapter import Adapter
from parity.core.finding import Finding, Kind
from parity.core.tolerance import FLUSHED, UNIT_ROUNDOFF, scale_of
from parity.core.types import Array, Side
from parity.replay.spread import distance, spreads
from parity.verdict.evaluate import evaluated
from parity.verdict.outputs import Outputs, cast, greatest


@dataclass(frozen=True)
class Tolerated:
    """What a dtype's honest rounding may be, in units of an element's spread (parity.replay.spread).

    Attributes:
        draws: runs that the spread is taken from; more of them make the smallest spreads surer.
        element: greatest error of one element.
        rms: root of the mean square over all elements of an output, which finds what is a little wrong everywhere.
        tiny: the smallest magnitude that still has all its digits in this dtype.
    """

    draws: int
    element: float
    rms: float
    tiny: float = 0.0


# Honest sides are measured at up to 38 and 5 (float32: pictures with a background of one colour, GroupNormalization in
# TensorFlow), at 22 and 2.4 on random inputs, and at 2.2 and 0.3 in the halves.
TOLERATED = {
    "float32": Tolerated(6, 64.0, 6.0),
    "float16": Tolerated(12, 6.0, 0.6, tiny=2.0**-14),
    "bfloat16": Tolerated(12, 6.0, 0.6),
}


@dataclass
class Precision:
    """What the dtype showed.

    Attributes:
        figures: each side's error against its own float64 result, the sides' disagreement, the effect of one
            unit roundoff, and the bound, all relative to the output's greatest magnitude; each side's greatest error
            in units of the element's spread. Empty where a side raised.
        max_abs: greatest absolute difference between the sides.
        max_rel: the same relative to the output's greatest magnitude.
        findings: a side that is less exact than its dtype allows, and the like.
        tolerated: sides that are so and within the tolerance that was given.
    """

    figures: dict[str, float] = field(default_factory=dict)
    max_abs: float = float("inf")
    max_rel: float = float("inf")
    findings: list[Finding] = field(default_factory=list)
    tolerated: list[Side] = field(default_factory=list)


@dataclass(frozen=True)
class Roundoffs:
    """An error in units of what one rounding everywhere does to each element: the greatest, and the root mean square."""

    element: float
    rms: float

    def within(self, tolerated: Tolerated) -> bool:
        """Whether rounding explains it."""
        return self.element <= tolerated.element and self.rms <= tolerated.rms


def compare_in(
    dtype: str,
    sides: tuple[Adapter, Adapter],
    inputs: Mapping[Side, Sequence[Array]],
    exact: dict[Side, Outputs],
    tolerance: float | None = None,
) -> Precision:
    """Evaluate both sides in the dtype, and judge every element by the spread that this dtype's rounding gives it.

    Args:
        dtype: "float32", "float16" or "bfloat16".
        sides: both sides, Keras first.
        inputs: the inputs of each side, in its own layout.
        exact: the outputs of each side, in float64.
        tolerance: how far from its own float64 result a side may be that rounding does not explain, relative to the
            output's greatest magnitude; None allows rounding alone.
    """
    found = Precision()
    rounded: dict[Side, Outputs] = {}
    for model in sides:
        with model.precision(dtype):
            outputs, errors = evaluated(model, cast(inputs[model.side], dtype))
        found.findings += errors
        if outputs is not None:
            rounded[model.side] = outputs
    if len(rounded) < 2:
        return found
    spreads = {model.side: Dispersion(dtype, model, inputs[model.side]) for model in sides}
    found.max_abs, found.max_rel = greatest(rounded["keras"], rounded["torch"])
    overflow = _overflow(dtype, exact, rounded)
    found.findings += overflow
    off: dict[Side, Roundoffs] = {}
    for model in sides:
        off[model.side] = spreads[model.side].roundoffs(exact[model.side], rounded[model.side])
        if overflow or off[model.side].within(TOLERATED[dtype]):
            continue
        if tolerance is not None and greatest(exact[model.side], rounded[model.side])[1] <= tolerance:
            found.tolerated.append(model.side)
        else:
            found.findings.append(
                _imprecise(dtype, model, inputs[model.side], exact, rounded, spreads[model.side])
            )
    conditioning = spreads["torch"].of_scale(exact["torch"])
    found.figures = {
        "keras_error": greatest(exact["keras"], rounded["keras"])[1],
        "torch_error": greatest(exact["torch"], rounded["torch"])[1],
        "disagreement": found.max_rel,
        "conditioning": conditioning,
        "allowed": TOLERATED[dtype].element * conditioning,
        "keras_roundoffs": off["keras"].element,
        "torch_roundoffs": off["torch"].element,
    }
    if tolerance is not None:
        found.figures["tolerance"] = tolerance
        found.figures |= {f"{side}_needs_tolerance": float(side in found.tolerated) for side in off}
    return found


class Dispersion:
    """One side's spread in one dtype, measured as far as it is needed."""

    def __init__(self, dtype: str, model: Adapter, inputs: Sequence[Array]) -> None:
        self._tolerated, self._unit, self._model = TOLERATED[dtype], UNIT_ROUNDOFF[dtype], model
        self._draws = spreads(
            model, cast(inputs, "float64"), self._tolerated.draws, self._unit, self._tolerated.tiny
        )
        self._values: list[Array] = []

    def _units(self, exact: Outputs) -> list[Array]:
        """What one rounding everywhere does to each element, its own rounding at the end included."""
        return [
            _of_clamped(measured, value)
            + self._unit * np.maximum(_magnitude(value), self._tolerated.tiny)
            + FLUSHED  # what is smaller may be taken for zero
            for measured, (_, value) in zip(self._values, exact, strict=True)
        ]

    def roundoffs(self, exact: Outputs, rounded: Outputs) -> Roundoffs:
        """A side's error against its own float64 result, by as many draws as explain it, or by all."""
        with self._model.precision("float64"):
            for number, values in enumerate(self._draws):
                self._values = values
                if number and self._error(exact, rounded).within(self._tolerated):
                    break
        return self._error(exact, rounded)

    def _error(self, exact: Outputs, rounded: Outputs) -> Roundoffs:
        element = rms = 0.0
        for unit, (_, want), (_, value) in zip(self._units(exact), exact, rounded, strict=True):
            ratio = _ratio(distance(want, value), unit)
            element = max(element, float(ratio.max(initial=0.0)))
            rms = max(rms, float(np.sqrt(np.mean(ratio**2))) if ratio.size else 0.0)
        return Roundoffs(element, rms)

    def sizes(self, exact: Outputs) -> list[tuple[float, float]]:
        """The greatest unit of each output, and the root of the mean square of all, as measured so far."""
        return [
            (float(unit.max(initial=0.0)), float(np.sqrt(np.mean(unit**2))) if unit.size else 0.0)
            for unit in self._units(exact)
        ]

    def of_scale(self, exact: Outputs) -> float:
        """The greatest unit of any element, relative to the greatest magnitude of its output."""
        shares = [
            float(unit.max(initial=0.0)) / max(scale_of(value), np.finfo(np.float64).tiny)
            for unit, (_, value) in zip(self._units(exact), exact, strict=True)
        ]
        return max(shares, default=0.0)


def _of_clamped(spread: Array, value: Array) -> Array:
    """The spread; of zeros that nothing moves (a ReLU's), what moves the elements that it lets through."""
    still = (value == 0.0) & (spread == 0.0)
    moving = spread[spread > 0.0]
    return np.where(still, float(np.median(moving)), spread) if still.any() and moving.size else spread


def _magnitude(value: Array) -> Array:
    return np.where(np.isfinite(value), np.abs(value), 0.0)


def _ratio(error: Array, unit: Array) -> Array:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(error == 0.0, 0.0, np.where(unit > 0.0, error / unit, np.inf))


def _overflow(dtype: str, exact: dict[Side, Outputs], rounded: dict[Side, Outputs]) -> list[Finding]:
    """Where results are finite in float64 and not in the dtype: a difference on one side, no proof on both."""
    finite: dict[Side, bool] = {
        side: all(
            bool(np.all(np.isfinite(value) | ~np.isfinite(want)))
            for (_, want), (_, value) in zip(exact[side], rounded[side], strict=True)
        )
        for side in exact
    }
    bad = [side for side, good in finite.items() if not good]
    if not bad:
        return []
    where = "both sides" if len(bad) == 2 else f"the {bad[0]} side"
    text = f"the outputs are finite in float64 and not in {dtype} on {where}"
    fix = f"inputs and weights that keep the values within {dtype}'s range"
    kind = Kind.ERROR if len(bad) == 2 else Kind.NON_FINITE
    return [Finding(None, None, kind, None, text, fix)]


def _imprecise(
    dtype: str,
    model: Adapter,
    inputs: Sequence[Array],
    exact: dict[Side, Outputs],
    rounded: dict[Side, Outputs],
    measured: Dispersion,
) -> Finding:
    """One side is less exact than its dtype allows; reduced precision is named where that was the cause."""
    tolerated, side = TOLERATED[dtype], model.side
    off = measured.roundoffs(exact[side], rounded[side])
    error = greatest(exact[side], rounded[side])[1]
    text = (
        f"the {side} side's {dtype} output is {error:.3g} of the scale away from its own float64 output: "
        f"{off.element:.3g} roundoffs at one element, {off.rms:.3g} on average; "
        f"rounding explains {tolerated.element:.3g} and {tolerated.rms:.3g}"
    )
    again: Outputs | None = None
    with model.full_multiplication() as reduced, model.precision(dtype):
        if reduced:
            again, _ = evaluated(model, cast(inputs, dtype))
    if again is not None:
        better = measured.roundoffs(exact[side], again)
        if better.within(tolerated):
            text += f"; without TF32 it is {better.element:.3g}"
            return Finding(None, None, Kind.PRECISION, "tf32", text, CAUSES["tf32"].fix, True)
    text += ". Is reduced precision (fast convolution) switched on?"
    return Finding(None, None, Kind.PRECISION, None, text)
