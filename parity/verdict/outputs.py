"""The outputs of both sides, held against each other: how much differs, and what would prove nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from parity.adapters.inputs.padding import masks_zero, padded_like
from parity.core.adapter import Adapter
from parity.core.finding import Finding, Kind
from parity.core.layout import aligned, from_torch
from parity.core.tolerance import FLUSHED, Difference, all_within, beyond, difference, limits, widened
from parity.core.types import Array, Side
from parity.replay.spread import distance

Outputs = list[tuple[str, Array]]
"""Output tensors by name, in the framework's own layout."""

LARGEST_NOISE = 1e-2
"""Share of itself that an element's limit may be, at half of an output's elements, before equality proves nothing."""

LARGEST = float(np.finfo(np.float64).max)
"""The greatest number: a difference beyond it is none that rounding makes."""


@dataclass
class Judged:
    """What the outputs showed.

    Attributes:
        max_abs: greatest absolute difference; infinite where outputs cannot be held against each other.
        max_rel: the same relative to the output's greatest magnitude.
        elements: elements compared.
        findings: what differs, or would prove nothing.
    """

    max_abs: float = 0.0
    max_rel: float = 0.0
    elements: int = 0
    findings: list[Finding] = field(default_factory=list)


def cast(values: Sequence[Array], dtype: str) -> list[Array]:
    """Floating inputs in the dtype to judge in (bfloat16 stays float32: NumPy has none, the models cast)."""
    wanted = "float32" if dtype == "bfloat16" else dtype
    return [value.astype(wanted) if value.dtype.kind == "f" else value for value in values]


def same(model: Adapter, first: Outputs, again: Outputs) -> bool:
    """Bit for bit on a CPU; elsewhere within the elements' own rounding, since sums may run in another order."""
    if [(name, value.shape) for name, value in first] != [(name, value.shape) for name, value in again]:
        return False
    exact = str(getattr(model, "device", "cpu")).startswith("cpu")
    for (_, value), (_, later) in zip(first, again, strict=True):
        equal = np.array_equal(value, later, equal_nan=value.dtype.kind in "fc")
        if not equal and (
            exact or value.dtype.kind != "f" or not bool(np.all(np.abs(value - later) <= limits(value)))
        ):
            return False
    return True


def side_by_side(keras: Outputs, torch: Outputs) -> list[tuple[str, Array, Array]]:
    """(name, Keras output, torch output): by name where both have the same names, else by position."""
    by_name = dict(torch)
    if len(by_name) == len(torch) and {name for name, _ in keras} == set(by_name):
        return [(name, value, by_name[name]) for name, value in keras]
    return [
        (name, keras_value, torch_value)
        for (name, keras_value), (_, torch_value) in zip(keras, torch, strict=True)
    ]


Limits = dict[str, Array]
"""How far the sides may differ at each element of an output, by the output's name, in the Keras layout."""


def limits_of(keras: Outputs, torch: Outputs, spreads: Callable[[Side], list[Array]]) -> tuple[Limits, bool]:
    """Limits for every output, and whether both sides agree within them.

    An element's own rounding is looked at first. Where that does not explain a difference, the torch side's spread is
    measured, and where that does not either, the Keras side's.

    Args:
        keras: outputs of the Keras side, in float64.
        torch: outputs of the torch side, likewise.
        spreads: measures one side: the spread of each output, in its own layout.
    """
    if len(keras) != len(torch) or not keras:
        return {}, False
    found: Limits = {}
    plain: Limits = {}
    open_pairs = []
    for name, keras_value, torch_value in side_by_side(keras, torch):
        if aligned(keras_value, torch_value) is None:
            return {}, False
        found[name] = plain[name] = limits(keras_value)
        open_pairs.append((name, keras_value, torch_value))
    for side in ("torch", "keras"):
        open_pairs = [pair for pair in open_pairs if not _within(pair[1], pair[2], found[pair[0]])]
        if not open_pairs or any(_one_sided(pair[1], pair[2]) for pair in open_pairs):
            break
        measured = dict(
            zip([name for name, _ in (torch if side == "torch" else keras)], spreads(side), strict=True)
        )
        names = dict(_names(keras, torch))
        for name, keras_value, torch_value in open_pairs:
            own = measured[name if side == "keras" else names[name]]
            wider = widened(plain[name], _as_keras(own, keras_value, torch_value, side))
            found[name] = np.maximum(found[name], wider)
    open_pairs = [pair for pair in open_pairs if not _within(pair[1], pair[2], found[pair[0]])]
    return found, not open_pairs


@dataclass(frozen=True)
class Beyond:
    """The elements of one output that differ by more than their own rounding.

    Attributes:
        place: the output's among those of the torch side.
        keras: the Keras side's output.
        torch: the torch side's.
        at: where the elements are, as truth values in the Keras layout.
        gap: how far the sides differ there.
        own: what their own rounding allows.
    """

    place: int
    keras: Array
    torch: Array
    at: Array
    gap: Array
    own: Array

    def explained(self, spreads: Sequence[Array]) -> bool:
        """Whether the spreads of the torch side's outputs explain each of them."""
        spread = _as_keras(spreads[self.place], self.keras, self.torch, "torch")[self.at]
        return bool(np.all(self.gap <= widened(self.own, spread)))


def beyond_own(keras: Outputs, torch: Outputs, plain: Limits) -> list[Beyond]:
    """The elements of each output that their own rounding does not explain: few, and quick to look at again.

    Args:
        keras: outputs of the Keras side, in float64.
        torch: outputs of the torch side, each of which corresponds to one.
        plain: the limits of the elements' own rounding.
    """
    places = {id(value): place for place, (_, value) in enumerate(torch)}
    found = []
    for name, keras_value, torch_value in side_by_side(keras, torch):
        fit = aligned(keras_value, torch_value)
        assert fit is not None
        at = beyond(keras_value, fit[0], plain[name])
        if at.any():
            place, gap = places[id(torch_value)], distance(keras_value[at], fit[0][at])
            found.append(Beyond(place, keras_value, torch_value, at, gap, plain[name][at]))
    return found


def _names(keras: Outputs, torch: Outputs) -> list[tuple[str, str]]:
    """(Keras name, torch name) of the outputs that are held against each other."""
    if {name for name, _ in keras} == {name for name, _ in torch}:
        return [(name, name) for name, _ in keras]
    return [(first, second) for (first, _), (second, _) in zip(keras, torch, strict=True)]


def _as_keras(spread: Array, keras: Array, torch: Array, side: Side) -> Array:
    """A spread in the layout of the Keras output."""
    if side == "keras":
        return spread
    fit = aligned(keras, torch)
    assert fit is not None
    return from_torch(spread, fit[1]).reshape(keras.shape)


def _within(keras: Array, torch: Array, limit: Array) -> bool:
    fit = aligned(keras, torch)
    return fit is not None and keras.size > 0 and all_within(keras, fit[0], limit)


def _one_sided(keras: Array, torch: Array) -> bool:
    """Whether NaN or infinity is on one side alone: no rounding explains that."""
    fit = aligned(keras, torch)
    return fit is None or not all_within(keras, fit[0], LARGEST)


def greatest(keras: Outputs, torch: Outputs) -> tuple[float, float]:
    """Greatest absolute and relative difference over the outputs; infinite where shapes do not correspond."""
    gaps = [_gap(keras_value, torch_value) for _, keras_value, torch_value in side_by_side(keras, torch)]
    known = [gap for gap in gaps if gap is not None]
    if not known or len(known) < len(gaps):
        return float("inf"), float("inf")
    return max(gap.max_abs for gap in known), max(gap.max_rel for gap in known)


def judge(keras: Outputs, torch: Outputs, limit: Limits, located: bool) -> Judged:
    """Hold the outputs against each other.

    Args:
        keras: outputs of the Keras side, in float64.
        torch: outputs of the torch side, likewise.
        limit: how far the sides may differ at each element (`limits_of`).
        located: whether findings say already where the sides differ; then no output is blamed again.
    """
    if len(keras) != len(torch) or not keras:
        text = f"Keras gives {len(keras)} output tensors, torch {len(torch)}"
        return Judged(float("inf"), float("inf"), 0, [Finding(None, None, Kind.SHAPE, None, text)])
    found = Judged()
    for name, keras_value, torch_value in side_by_side(keras, torch):
        gap = _gap(keras_value, torch_value, limit.get(name))
        if gap is None:
            text = f"output {name}: shape {keras_value.shape} in Keras, {torch_value.shape} in torch"
            if not located:
                found.findings.append(Finding(None, None, Kind.SHAPE, None, text))
            return Judged(float("inf"), float("inf"), found.elements, found.findings)
        found.elements += gap.size
        found.max_abs, found.max_rel = max(found.max_abs, gap.max_abs), max(found.max_rel, gap.max_rel)
        if gap.non_finite:
            found.findings.append(_not_finite(name, gap))
        elif gap.size and gap.mismatched and not located:
            found.findings.append(
                Finding(None, None, Kind.OUTPUT, None, f"output {name}: {gap}, not located")
            )
        elif gap.size and not gap.mismatched and name in limit and not located:
            found.findings += _noise(name, keras_value, limit[name])
    if found.elements == 0:
        text = "nothing was compared: the outputs are empty"
        found.findings.append(Finding(None, None, Kind.ERROR, None, text))
    return found


def _gap(keras: Array, torch: Array, limit: Array | None = None) -> Difference | None:
    """How far two outputs differ; None where their shapes do not correspond."""
    fit = aligned(keras, torch)
    return None if fit is None else difference(keras, fit[0], limit=limit)


def _noise(name: str, value: Array, limit: Array) -> list[Finding]:
    """A finding where half of an output's elements may differ by a large part of themselves."""
    size = np.abs(np.asarray(value, dtype=np.float64))
    some = (size > 0.0) & np.isfinite(size)
    plain = some & (size * LARGEST_NOISE > FLUSHED)  # a softmax's smallest probabilities are nothing
    some = plain if plain.any() else some
    if not some.any():  # zeros alone: whatever rounding may make of them is all there is
        share = float("inf") if size.size and float(np.median(limit)) > 2.0 * FLUSHED else 0.0
    else:
        share = float(np.median(limit[some] / size[some]))
    share = share if value.dtype.kind in "fc" else 0.0
    if not share > LARGEST_NOISE:
        return []
    far = f"by {share:.1g} of themselves or more" if np.isfinite(share) else "although all are zero"
    text = f"output {name}: rounding alone may move half of the elements {far}, and what differs by less does not show"
    fix = "inputs and weights of usual size, or a model that does not enlarge its own rounding"
    return [Finding(None, None, Kind.NOISE, None, text, fix)]


def _not_finite(name: str, gap: Difference) -> Finding:
    text = f"output {name}: {gap.non_finite} of {gap.size} elements are NaN or infinite"
    if not np.isfinite(gap.max_abs):
        return Finding(None, None, Kind.NON_FINITE, None, f"{text} on one side alone")
    fix = "inputs and weights that keep the outputs finite"
    return Finding(None, None, Kind.ERROR, None, f"{text} on both sides, which proves nothing", fix)


def axes_notes(keras: Outputs, torch: Outputs) -> list[str]:
    """What was assumed of the axes where it is not what each framework's images have.

    Images are channels last in Keras and channels first in torch. Sequences mostly have one order on both sides, so that
    it is said where torch's had to be moved, and where an image's had not.
    """
    notes = []
    for name, keras_value, torch_value in side_by_side(keras, torch):
        fit = aligned(keras_value, torch_value)
        usual = "as it is" if keras_value.ndim < 4 else "channels first"
        if fit is None or keras_value.ndim < 3 or fit[1] == usual or keras_value.size == 0:
            continue
        how = {
            "channels first": "with axis 1 moved to the end",
            "frames": "with axis 2 moved to the end",
        }.get(fit[1], "with its axes in Keras' order")
        notes.append(
            f"output {name}".strip() + f": torch gives {torch_value.shape}, Keras {keras_value.shape}; "
            f"torch's was compared {how}"
        )
    return notes


def vacuous(
    sides: tuple[Adapter, Adapter],
    inputs: Mapping[Side, Sequence[Array]],
    outputs: Mapping[Side, Outputs],
) -> list[Finding]:
    """Findings where equal outputs would prove nothing: both hand their input through, or ignore it.

    Args:
        sides: both sides, Keras first.
        inputs: the inputs of each side, in its own layout.
        outputs: the outputs of each side, in float64.
    """
    if _hand_through(sides, inputs, outputs):
        text = "both models hand their input through: there is nothing to compare. Are these the models you mean?"
        return [Finding(None, None, Kind.ERROR, None, text)]
    return [
        Finding(None, None, Kind.CONSTANT_OUTPUT, None,
                f"output {name}: another input gives the same, so that equality would prove nothing")
        for name in _constant_outputs(sides[0], inputs["keras"], outputs["keras"])
    ]  # fmt: skip


def _hand_through(
    sides: tuple[Adapter, Adapter], inputs: Mapping[Side, Sequence[Array]], outputs: Mapping[Side, Outputs]
) -> bool:
    """Whether neither side does anything: no layers with weights, and every output is an input."""
    if any(layer.tensors for side in sides for layer in side.layers().values()):
        return False
    return all(
        any(np.array_equal(value, one) for one in cast(inputs[side.side], "float64"))
        for side in sides
        for _, value in outputs[side.side]
    )


def _constant_outputs(keras: Adapter, inputs: Sequence[Array], outputs: Outputs) -> list[str]:
    """Names of the outputs that do not depend on the input (a dead ReLU), found by a second input."""
    suspects = [(i, name) for i, (name, value) in enumerate(outputs) if _constant(value)]
    if not suspects:
        return []
    rng = np.random.default_rng(1)
    padding = masks_zero(keras.layers())
    second = [
        value * rng.uniform(-2.0, 2.0, value.shape) + rng.normal(0.0, 1.0, value.shape)
        if value.dtype.kind == "f"
        else (padded_like(value[..., ::-1], value) if padding else np.roll(value, 1, axis=-1))
        for value in cast(inputs, "float64")
    ]
    with keras.precision("float64"):
        again = keras.forward(second)
    return [name for i, name in suspects if np.array_equal(again[i][1], outputs[i][1])]


def _constant(value: Array) -> bool:
    """Whether every place of the batch (and of the image) has the same channels; an empty output has none."""
    if value.size == 0:
        return False
    places = value.reshape(-1, value.shape[-1]) if value.ndim > 1 else value.reshape(-1, 1)
    return bool(np.all(places == places[0]))
