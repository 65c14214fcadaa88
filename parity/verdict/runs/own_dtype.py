"""The dtype that the models are held in: one pass of each side as it is, against its own float64 result.

A model may be another one where its tensors are not float64, in which parity judges. What rounding explains is measured
as in parity.verdict.precision. Most elements need no measure: one side's rounding is a measure of the other's.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace

import numpy as np

from parity.core.adapter import Adapter
from parity.core.errors import in_a_line
from parity.core.finding import Finding, Kind
from parity.core.layout import aligned, from_torch
from parity.core.tolerance import FLUSHED, UNIT_ROUNDOFF
from parity.core.types import Array, Side
from parity.replay.spread import OutputSpread, distance, spreads
from parity.report.proof import Unproven, UnprovenKind
from parity.verdict.outputs import Outputs, cast, side_by_side
from parity.verdict.precision import TOLERATED, Tolerated

GROSS = 64.0
"""How many times the tolerated root mean square elements must be off, at least, to be called different. Less is named."""
LOWEST = "bfloat16"
"""What is within this dtype's rounding is reduced precision (TF32, mixed precision): it is named, too."""
MOST = 0.99
"""Share of the elements that are looked at for that, the least wrong ones: a rounded value near its step may flip."""


@dataclass(frozen=True)
class Usual:
    """An input at the scale of the given one.

    Attributes:
        inputs: of each side, in its own layout, in float64.
        outputs: what each side that took it gave, in float64.
        measured: torch's spread there, as far as it is measured.
    """

    inputs: Mapping[Side, Sequence[Array]]
    outputs: Mapping[Side, Outputs]
    measured: OutputSpread | None = None


@dataclass
class OwnDtype:
    """What the models' own dtype showed: differences, and what it leaves open."""

    findings: list[Finding] = field(default_factory=list)
    unproven: list[Unproven] = field(default_factory=list)

    def open(self, text: str) -> OwnDtype:
        """The same with one thing that is not proven."""
        self.unproven.append(Unproven(UnprovenKind.DTYPES, text))
        return self


def own_dtype(model: Adapter) -> str:
    """The dtype with the fewest digits among the model's floating tensors and what it computes in; else float32."""
    names = [tensor.dtype for layer in model.layers().values() for tensor in layer.tensors]
    names.append(str(getattr(getattr(model, "model", None), "compute_dtype", "")))
    return max(
        (name for name in names if name in UNIT_ROUNDOFF), key=UNIT_ROUNDOFF.__getitem__, default="float32"
    )


def compare_as_held(sides: tuple[Adapter, Adapter], usual: Usual) -> OwnDtype:
    """Evaluate both sides as they are, and judge every element by what rounding in its dtype does to it.

    Args:
        sides: both sides, Keras first, as they are held.
        usual: an input that they took in float64.
    """
    inputs, exact = usual.inputs, usual.outputs
    found, dtypes = OwnDtype(), {model.side: own_dtype(model) for model in sides}
    if set(dtypes.values()) == {"float64"}:
        return found
    words = " and ".join(dict.fromkeys(dtypes.values()))
    if len(exact) < len(sides):
        return found.open(f"in {words} not compared: one side takes no such input in float64")
    rounded: dict[Side, Outputs] = {}
    for model in sides:
        try:
            with model.full_multiplication():
                rounded[model.side] = model.forward(cast(inputs[model.side], "float32"))
        except Exception as error:  # any model, any error: it took such an input in float64
            return found.open(
                f"in {words} not compared: the {model.side} side raised {in_a_line(error, 120)}"
            )
    if any(_shapes(exact[side]) != _shapes(rounded[side]) for side in exact):
        return found.open(f"in {words} not compared: the outputs have other shapes than in float64")
    lost = [side for side in exact if _overflows(exact[side], rounded[side])]
    if lost:
        return found.open(
            f"in {words} not compared: the outputs of {' and '.join(lost)} are not finite there"
        )
    if len(set(dtypes.values())) == 1 and _explained(sides[1], usual, rounded, dtypes["keras"]):
        return found
    for model in sides:
        _judge(model, dtypes[model.side], inputs[model.side], exact[model.side], rounded[model.side], found)
    return found


def _shapes(outputs: Outputs) -> list[tuple[int, ...]]:
    return [value.shape for _, value in outputs]


def _overflows(exact: Outputs, rounded: Outputs) -> bool:
    return not all(
        bool(np.all(np.isfinite(value) | ~np.isfinite(want)))
        for (_, want), (_, value) in zip(exact, rounded, strict=True)
        if value.dtype.kind in "fc"
    )


def _explained(torch: Adapter, usual: Usual, rounded: Mapping[Side, Outputs], dtype: str) -> bool:
    """Whether each side's error is explained by the other's and by a few draws of torch's spread, which cost little.

    Args:
        torch: the torch side.
        usual: the inputs, and what both sides gave for them in float64.
        rounded: what they give as they are held.
        dtype: of both.
    """
    errors = _errors(usual.outputs, rounded)
    if errors is None:
        return False
    tolerated, unit = TOLERATED[dtype], UNIT_ROUNDOFF[dtype]
    own = [unit * np.maximum(_magnitude(error.want), tolerated.tiny) + FLUSHED for error in errors]
    measured = usual.measured or OutputSpread(torch, usual.inputs["torch"])
    share = unit / np.finfo(np.float64).eps
    with closing(_movements(torch, measured)) as movements:
        for moved in movements:
            if moved is not None:
                own = [
                    np.maximum(least, share * error.laid(moved[error.place]))
                    for least, error in zip(own, errors, strict=True)
                ]
            if all(error.explained(least, tolerated) for error, least in zip(errors, own, strict=True)):
                return True
    return False


def _movements(torch: Adapter, measured: OutputSpread) -> Generator[list[Array] | None, None, None]:
    """None, for a look without any; then what is drawn already, and what is drawn anew, held in float64."""
    yield None
    yield from measured.made
    with torch.precision("float64"):
        yield from measured.rising()


@dataclass(frozen=True)
class _Error:
    """Both sides' errors at one output, in the Keras layout; and where torch's lies among its outputs."""

    want: Array
    keras: Array
    torch: Array
    place: int
    how: str

    def laid(self, value: Array) -> Array:
        """An array like torch's output in the Keras layout."""
        return from_torch(value, self.how).reshape(self.want.shape)

    def explained(self, own: Array, tolerated: Tolerated) -> bool:
        """Whether each error is explained by the other one and the element's own rounding."""
        pairs = ((self.keras, self.torch), (self.torch, self.keras))
        return all(_within(error, measure + own, tolerated)[0] for error, measure in pairs)


def _errors(exact: Mapping[Side, Outputs], rounded: Mapping[Side, Outputs]) -> list[_Error] | None:
    """Both sides' errors at every floating output; None where the outputs do not correspond."""
    if len(exact["keras"]) != len(exact["torch"]):
        return None
    found = []
    keras_places = {id(value): i for i, (_, value) in enumerate(exact["keras"])}
    torch_places = {id(value): i for i, (_, value) in enumerate(exact["torch"])}
    for _, want, torch_want in side_by_side(exact["keras"], exact["torch"]):
        fit = aligned(want, torch_want)
        if fit is None:
            return None
        if want.dtype.kind in "fc":
            place = torch_places[id(torch_want)]
            gap = distance(torch_want, rounded["torch"][place][1])
            keras_gap = distance(want, rounded["keras"][keras_places[id(want)]][1])
            error = _Error(want, keras_gap, gap, place, fit[1])
            found.append(replace(error, torch=error.laid(gap)))
    return found


def _magnitude(value: Array) -> Array:
    return np.abs(np.where(np.isfinite(value), value, 0.0))


def _within(error: Array, unit: Array, tolerated: Tolerated) -> tuple[bool, float]:
    """Whether rounding explains an error, and its root mean square in roundoffs."""
    if not error.size:
        return True, 0.0
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(error == 0.0, 0.0, error / unit)
    rms = float(np.sqrt(np.mean(ratio**2)))
    return bool(ratio.max() <= tolerated.element) and rms <= tolerated.rms, rms


def _usual(ratio: Array) -> float:
    """How many roundoffs nearly all elements are off at most; one of a few is left out too."""
    return float(np.quantile(ratio, MOST, method="lower"))


def _judge(
    model: Adapter, dtype: str, inputs: Sequence[Array], exact: Outputs, rounded: Outputs, found: OwnDtype
) -> None:
    """One side's error against its own float64 result, by the spread that this dtype's rounding gives each element."""
    if dtype == "float64":
        return
    tolerated, unit = TOLERATED[dtype], UNIT_ROUNDOFF[dtype]
    with model.precision("float64"):
        *_, moves = spreads(model, inputs, tolerated.draws, unit, tolerated.tiny)
    for (name, want), (_, value), moved in zip(exact, rounded, moves, strict=True):
        if want.dtype.kind not in "fc":
            continue
        least = moved + unit * np.maximum(_magnitude(want), tolerated.tiny) + FLUSHED
        fine, rms = _within(distance(want, value), least, tolerated)
        if fine:
            continue
        text = (
            f"output {name}".strip()
            + f" of the {model.side} side as it is, in {dtype}, is {rms:.3g} roundoffs away from its float64 result, "
            f"root mean square; rounding explains {tolerated.rms:g}"
        )
        reduced = TOLERATED[LOWEST].rms * UNIT_ROUNDOFF[LOWEST] / unit
        if _usual(distance(want, value) / least) > max(GROSS * tolerated.rms, reduced):
            fix = "look for what the model does otherwise in this dtype"
            found.findings.append(Finding(None, None, Kind.PRECISION, None, text, fix))
        else:
            found.open(f"{text} (dtype='{dtype}' compares it)")
