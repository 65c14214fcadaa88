"""One further probe: both sides evaluated on changed inputs, in the largest part of the change that both take."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import NamedTuple

import numpy as np

from parity.adapters.inputs.padding import masks_zero
from parity.adapters.probe import to_torch_inputs
from parity.core.adapter import Adapter
from parity.core.errors import in_a_line
from parity.core.tolerance import FLUSHED
from parity.core.tolerance import limits as rounding
from parity.core.trace import LastSteps
from parity.core.types import Array, Side
from parity.probes.change import Change, changed_inputs, drawn_like, in_words, is_mask, named, resized, shapes
from parity.probes.draw import smallest_table
from parity.probes.sizes import candidates, open_axes
from parity.replay.spread import OutputSpread, distance, spreads
from parity.report.proof import Unproven, UnprovenKind
from parity.verdict.outputs import Beyond, Limits, Outputs, beyond_own, cast, limits_of

Run = Callable[[Adapter, Sequence[Array], bool], Outputs]
"""Evaluates one side in float64; with gradients where it is said."""

SECOND = 1_000
"""Number of the draws of inputs that are evaluated in turn with those of a probe."""

KINDS: Mapping[str, UnprovenKind] = {"sizes": UnprovenKind.SIZES}


@dataclass(frozen=True)
class Tried:
    """A probe that both sides took.

    Attributes:
        change: what was changed in the end.
        sizes: the new size for each size of an open axis.
        name: the same in words.
        values: its inputs in the Keras layout.
        inputs: of each side, in its own layout.
        outputs: of each side.
        limits: how far the sides may differ at each element.
        agree: whether they agree within the limits.
        measured: the torch side's spread, as far as it was measured.
        graded: whether it was asked which weights move the outputs.
    """

    change: Change
    sizes: Mapping[int, int]
    name: str
    values: list[Array]
    inputs: dict[Side, list[Array]]
    outputs: dict[Side, Outputs]
    limits: Limits
    agree: bool
    measured: OutputSpread
    graded: bool

    def not_finite(self) -> tuple[int, int]:
        """Elements of the Keras outputs that are NaN or infinite, and all elements."""
        values = [value for _, value in self.outputs["keras"] if value.dtype.kind == "f"]
        return sum(int(np.count_nonzero(~np.isfinite(v))) for v in values), sum(v.size for v in values)


@dataclass(frozen=True)
class Refused:
    """A probe that one side or both did not take: what was given, and what they said, by side."""

    shapes: str
    said: dict[Side, str]

    def __str__(self) -> str:
        """One line."""
        who = "both sides" if len(self.said) > 1 else f"the {next(iter(self.said))} side alone"
        return f"{who} refused {self.shapes} ({min(self.said.values(), key=len)})"


class HeldOutputs(NamedTuple):
    """Two sides' outputs, held against each other.

    Attributes:
        limits: how far the sides may differ at each element.
        agree: whether they agree within the limits.
        moving: whether rounding was seen to move every output of the torch side.
    """

    limits: Limits
    agree: bool
    moving: bool = False


def held(
    sides: tuple[Adapter, Adapter],
    inputs: Mapping[Side, Sequence[Array]],
    outputs: Mapping[Side, Outputs],
    measured: OutputSpread | None = None,
    whole: bool = True,
) -> HeldOutputs:
    """How far the sides may differ at each element, and whether they agree within it; the cheap measure comes first.

    Args:
        sides: both sides, Keras first, in float64 already.
        inputs: of each side, in its own layout.
        outputs: what each side gave for them.
        measured: the torch side's spread for these inputs, as far as it is measured already. Where it is not known what
            that side gives when it is traced, its outputs must be the same: a probe's are of a pass with gradients, and
            what a model does otherwise then is a difference, and no rounding.
        whole: measure what the weights' rounding and the Keras side's do too, which costs most. Without it, sides that
            do not agree may do so still.
    """
    keras, torch = sides
    moved = [np.zeros(value.shape) for _, value in outputs["torch"]]

    def of_steps(side: Side) -> list[Array]:
        if side == "keras":  # its traces cost more, and torch's roundings explain most
            return [np.zeros(value.shape) for _, value in outputs["keras"]]
        return moved

    measured = measured or OutputSpread(torch, inputs["torch"])
    unexplained: list[Beyond] = []
    for number, more in enumerate(chain([moved], measured.rising())):  # the first look is without any
        if number:
            if [value.shape for _, value in measured.plain] != [value.shape for _, value in outputs["torch"]]:
                return HeldOutputs({}, False)
            moved = [np.maximum(*pair) for pair in zip(moved, more, strict=True)]
            if not all(one.explained(moved) for one in unexplained):
                continue
        limits, agree = limits_of(outputs["keras"], outputs["torch"], of_steps)
        agree = agree and (measured.known or not number or _within(outputs["torch"], measured.plain, moved))
        if agree or not limits:
            measured.forget()
            return HeldOutputs(limits, agree, all((value > FLUSHED).any() for value in moved))
        if not number:
            unexplained = beyond_own(outputs["keras"], outputs["torch"], limits)
    if not whole:
        return HeldOutputs(limits, False)
    limits, agree = limits_of(
        outputs["keras"],
        outputs["torch"],
        lambda side: [*spreads(keras if side == "keras" else torch, inputs[side])][-1],
    )
    return HeldOutputs(limits, agree, all((value > FLUSHED).any() for value in moved))


def _within(outputs: Outputs, again: Outputs, spreads: Sequence[Array]) -> bool:
    """Whether one side's outputs are the same twice, within each element's own rounding and spread."""
    return all(
        bool(np.all(distance(value, later) <= rounding(value, spread)))
        for (_, value), (_, later), spread in zip(outputs, again, spreads, strict=True)
    )


class Attempts:
    """Evaluates both sides on changes of one main input.

    Args:
        sides: both sides, Keras first, in float64 already.
        values: inputs of the main probe, in the Keras layout.
        run: evaluates one side.
        waiting: gives the weights that ran and have moved no output so far.
        last: gives the last steps of torch's pass that `run` made last, where they are kept.
    """

    def __init__(
        self,
        sides: tuple[Adapter, Adapter],
        values: Sequence[Array],
        run: Run,
        waiting: Callable[[], Sequence[str]],
        last: Callable[[], LastSteps | None],
    ) -> None:
        self.sides, self.values, self.run, self.waiting, self.last = sides, values, run, waiting, last
        self.axes = open_axes(sides[0], values)
        self._refused: dict[str, Refused] = {}
        self._form = 0  # which of the forms of sizes a probe took: the next one begins with it
        self.tokens = smallest_table(sides)
        self.padding = masks_zero(sides[0].layers())

    def most(self, change: Change) -> tuple[Tried | None, list[Unproven]]:
        """The probe with the most of the change that both sides take, and what had to be left out of it."""
        refused: list[tuple[Change, Refused]] = []
        hopeless: dict[str, Refused] = {}
        for smaller, sizes in self._ladder(change):
            tried = self._on(smaller, sizes)
            if isinstance(tried, Tried):
                self._refused |= hopeless
                forms = candidates(self.values, self.axes, smaller.parity)
                self._form = forms.index(sizes) if sizes in forms else self._form
                return tried, self._left_out(change, smaller, refused)
            refused.append((smaller, tried))
            if sizes and (smaller.scale, smaller.sign, smaller.batch) == (
                change.scale,
                change.sign,
                change.batch,
            ):
                hopeless[str(sizes)] = tried
        if not refused:
            return None, []
        return None, [Unproven(UnprovenKind.PROBES, f"another probe was not possible: {refused[0][1]}")]

    def one(self, change: Change, sizes: Mapping[int, int]) -> Tried | None:
        """The probe with exactly this change and these sizes; None where a side refuses it."""
        tried = self._on(change, sizes)
        return tried if isinstance(tried, Tried) else None

    def sample(self) -> dict[Side, list[Array]]:
        """One example of the main probe at its full size, for each side."""
        return self._inputs(
            changed_inputs(self.values, Change(batch=1), {}, self.axes, self.tokens, self.padding)
        )

    def like(self, values: Sequence[Array]) -> dict[Side, list[Array]]:
        """Another input of the same shape and kind, drawn anew, for each side."""
        return self._inputs(drawn_like(self.values, values, self.tokens, self.padding, SECOND))

    def usual(self, values: Sequence[Array]) -> dict[Side, list[Array]]:
        """Inputs drawn anew in these shapes, at the scale of the main probe, for each side."""
        return self.like(
            [
                resized(given, value.shape) if is_mask(self.values, i) else np.resize(given, value.shape)
                for i, (given, value) in enumerate(zip(self.values, values, strict=True))
            ]
        )

    def _inputs(self, values: Sequence[Array]) -> dict[Side, list[Array]]:
        """Each side's own, in float64."""
        torch = to_torch_inputs(values, self.sides[0])
        return {"keras": cast(values, "float64"), "torch": cast(torch, "float64")}

    def _ladder(self, change: Change) -> Iterator[tuple[Change, dict[int, int]]]:
        """The whole change first, then less and less of it; each input once, and never the main one."""
        seen = set[str]()
        no_values, given = change.without("values"), change.without("drawn")
        for full in dict.fromkeys((change, no_values, given, no_values.without("drawn"))):
            forms = candidates(self.values, self.axes, full.parity)
            steps = [(full, sizes) for sizes in forms[self._form :] + forms[: self._form]]
            unsized = full.without("sizes")
            for less in (unsized, unsized.without("batch")):
                steps += [(less, sizes) for sizes in [*candidates(self.values, self.axes, ""), {}]]
            for step, sizes in steps:
                if str(sizes) in self._refused:
                    continue
                inputs = changed_inputs(self.values, step, sizes, self.axes, self.tokens, self.padding)
                key = f"{shapes(inputs)} {replace(step, batch=0, parity='')}"
                same = not step.weights and all(map(np.array_equal, inputs, self.values))
                if key not in seen and not same:
                    seen.add(key)
                    yield step, sizes

    def _left_out(
        self, change: Change, kept: Change, refused: Sequence[tuple[Change, Refused]]
    ) -> list[Unproven]:
        """What was asked for, and could not be tried."""
        parts = {
            "sizes": bool(change.parity) and not kept.parity and any(self.axes),
            "batch": bool(change.batch) and not kept.batch,
            "values": (change.scale, change.sign) != (kept.scale, kept.sign),
            "drawn": change.drawn and not kept.drawn,
        }
        lost = [part for part, gone in parts.items() if gone]
        if not refused or not lost:
            return []
        words = {
            "sizes": f"{change.parity} sizes",
            "batch": f"batch {change.batch}",
            "values": in_words(replace(change, drawn=False)),
            "drawn": "inputs drawn anew",
        }
        part = lost[-1]  # what was left out last: the probe passed without it
        said = next(
            (no for smaller, no in reversed(refused) if smaller.without(part) != smaller), refused[0][1]
        )
        kind = KINDS.get(part, UnprovenKind.PROBES)
        return [Unproven(kind, f"{words[part]} not tried: {said}", (said.shapes,))]

    def _on(self, change: Change, sizes: Mapping[int, int]) -> Tried | Refused:
        """Both sides on one changed input."""
        values = changed_inputs(self.values, change, sizes, self.axes, self.tokens, self.padding)
        inputs = self._inputs(values)
        gradients = self._with_gradients(change)
        outputs: dict[Side, Outputs] = {}
        said: dict[Side, str] = {}
        for model in self.sides:
            try:
                outputs[model.side] = self.run(model, inputs[model.side], gradients)
            except Exception as error:  # any model, any error: it does not take this input
                said[model.side] = in_a_line(error, 160)
        if not said and not any(value.size for found in outputs.values() for _, value in found):
            said = {"keras": "the outputs are empty", "torch": "the outputs are empty"}
        if said:
            return Refused(shapes(values), said)
        plain = None if gradients else outputs["torch"]
        measured = OutputSpread(self.sides[1], inputs["torch"], plain, None if gradients else self.last())
        found = held(self.sides, inputs, outputs, measured)
        name = named(change, self.values, values)
        return Tried(
            change, sizes, name, values, inputs, outputs, found.limits, found.agree, measured, gradients
        )

    def _with_gradients(self, change: Change) -> bool:
        """Whether a probe says which weights move the outputs, which costs as much as two others.

        One example of the main input says it, and the probe with other weights where some moved nothing there: zeros may
        have switched them off. Where there are tables of tokens each probe does, because each has other tokens.
        """
        return self.tokens is not None or (change.weights and bool(self.waiting()))
