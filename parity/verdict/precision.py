"""A dtype other than float64: each side against its own float64 result, and the sides against each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from parity.causes.table import CAUSES
from parity.core.adapter import Adapter
from parity.core.finding import Finding, Kind
from parity.core.tolerance import COORDINATE_FACTOR, PRECISION_FACTOR, UNIT_ROUNDOFF
from parity.core.types import Array, Side
from parity.verdict.evaluate import evaluated
from parity.verdict.outputs import Outputs, cast, extent, greatest


@dataclass
class Precision:
    """What the dtype showed.

    Attributes:
        figures: each side's error against its own float64 result, the sides' disagreement, the effect of one
            unit roundoff, and the bound, all relative to the output's greatest magnitude; empty where a side raised.
        max_abs: greatest absolute difference between the sides.
        max_rel: the same relative to the output's greatest magnitude.
        findings: a side that is less exact than its dtype allows, and the like.
    """

    figures: dict[str, float] = field(default_factory=dict)
    max_abs: float = float("inf")
    max_rel: float = float("inf")
    findings: list[Finding] = field(default_factory=list)


def compare_in(
    dtype: str,
    sides: tuple[Adapter, Adapter],
    inputs: Mapping[Side, Sequence[Array]],
    exact: dict[Side, Outputs],
) -> Precision:
    """Evaluate both sides in the dtype.

    Args:
        dtype: "float32", "float16" or "bfloat16".
        sides: both sides, Keras first.
        inputs: the inputs of each side, in its own layout.
        exact: the outputs of each side, in float64.
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
    conditioning = _conditioning(dtype, sides[1], inputs["torch"], exact)
    unit = UNIT_ROUNDOFF[dtype]
    allowed = max(PRECISION_FACTOR * conditioning, COORDINATE_FACTOR * extent(exact["keras"]) * unit)
    errors_of = {model.side: greatest(exact[model.side], rounded[model.side])[1] for model in sides}
    found.max_abs, found.max_rel = greatest(rounded["keras"], rounded["torch"])
    for model in sides:
        if not errors_of[model.side] <= allowed:
            found.findings.append(
                _imprecise(dtype, model, inputs[model.side], errors_of[model.side], allowed, exact)
            )
    if not found.max_rel <= 2.0 * max(errors_of.values()):
        text = f"the sides are {found.max_rel:.3g} of the scale apart in {dtype}, more than either is from float64"
        found.findings.append(Finding(None, None, Kind.PRECISION, None, text))
    found.figures = {
        "keras_error": errors_of["keras"],
        "torch_error": errors_of["torch"],
        "disagreement": found.max_rel,
        "conditioning": conditioning,
        "allowed": allowed,
    }
    return found


def _imprecise(
    dtype: str,
    model: Adapter,
    inputs: Sequence[Array],
    error: float,
    allowed: float,
    exact: dict[Side, Outputs],
) -> Finding:
    """One side is less exact than its dtype allows; reduced precision is named where that was the cause."""
    text = (
        f"the {model.side} side's {dtype} output is {error:.3g} of the scale away from its own float64 output; "
        f"rounding explains {allowed:.3g}"
    )
    again: Outputs | None = None
    with model.full_multiplication() as reduced, model.precision(dtype):
        if reduced:
            again, _ = evaluated(model, cast(inputs, dtype))
    if again is not None:
        better = greatest(exact[model.side], again)[1]
        if better <= allowed:
            text += f"; without TF32 it is {better:.3g}"
            return Finding(None, None, Kind.PRECISION, "tf32", text, CAUSES["tf32"].fix, True)
    text += ". Is reduced precision (fast convolution) switched on?"
    return Finding(None, None, Kind.PRECISION, None, text)


def _conditioning(dtype: str, torch: Adapter, inputs: Sequence[Array], exact: dict[Side, Outputs]) -> float:
    """What one unit roundoff on every weight and input does to the output, in float64."""
    rng = np.random.default_rng(0)
    unit = UNIT_ROUNDOFF[dtype]

    def nudged(value: Array) -> Array:
        return value * (1.0 + unit * rng.uniform(-1.0, 1.0, value.shape))

    with torch.precision("float64"):
        for layer in torch.layers().values():
            for tensor in layer.tensors:
                if tensor.dtype.startswith(("float", "bfloat")):
                    torch.write(tensor.path, nudged(torch.read(tensor.path)))
        shaken = [nudged(value) if value.dtype.kind == "f" else value for value in cast(inputs, "float64")]
        moved = greatest(exact["torch"], torch.forward(shaken))[1]
    return max(moved, unit)
