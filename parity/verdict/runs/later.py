"""Later calls: two inputs of one shape in turn, again and again, then the main one, and what a call leaves behind."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from parity.core.adapter import Adapter
from parity.core.errors import in_a_line
from parity.core.finding import Finding, Kind
from parity.core.types import Array, Side
from parity.probes.memory.look import changed, held_by, named
from parity.probes.memory.walk import Contents
from parity.replay.spread import OutputSpread
from parity.report.proof import Unproven, UnprovenKind
from parity.verdict.attempts import held
from parity.verdict.evaluate import ANOTHER
from parity.verdict.outputs import Outputs, same

Inputs = Mapping[Side, Sequence[Array]]

CALLS = 4
"""Calls of each side where they are cheap: counters and rare noise speak in later ones."""
FEW = 2
"""The same where an input of the probes is nearly as large as the given one."""
CHEAP = 20_000
"""Input elements that are cheap in any case."""
LAYER = 600
"""Input elements that take about as long as what the frameworks do for one layer, whatever the size of the input."""


@dataclass
class Later:
    """What later calls showed.

    Attributes:
        stray: what is wrong with a side that does not repeat itself.
        findings: differences between the sides that one call alone does not show.
        unproven: what a call leaves behind, and modes that could not be tried.
        first: what each side that took it gave for the first input.
        main: what each side gave for the main input, behind all the others.
        measured: torch's spread for the first input.
    """

    stray: dict[Side, str] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    unproven: list[Unproven] = field(default_factory=list)
    first: dict[Side, Outputs] = field(default_factory=dict)
    main: dict[Side, Outputs] = field(default_factory=dict)
    measured: OutputSpread | None = None


@dataclass(frozen=True)
class Traced:
    """What a side gave in traced passes: for the second input, and for the main one."""

    second: Outputs
    main: Outputs


def calls_for(given: Sequence[Array], sample: Sequence[Array], layers: int) -> int:
    """How often a sample may be evaluated, so that it costs no more than one pass of what was given.

    Args:
        given: the main input.
        sample: what is evaluated.
        layers: of both sides.
    """
    cost, whole = (sum(value.size for value in values) + LAYER * layers for values in (sample, given))
    return CALLS if cost <= CHEAP or CALLS * cost <= whole else FEW


def later_calls(
    sides: tuple[Adapter, Adapter],
    inputs: tuple[Inputs, Inputs],
    main: Inputs,
    count: int,
    own: Callable[[str], bool],
    measured: OutputSpread | None = None,
    traced: Mapping[Side, Traced] | None = None,
) -> Later:
    """Evaluate each side on two inputs in turn; an input must give the same bits whatever was evaluated in between.

    The main input comes last, so that nothing of what all other calls leave behind stays unseen.

    Args:
        sides: both sides, Keras first, in float64 already.
        inputs: an input that both sides take, and another one of its shape.
        main: the main input.
        count: calls of each side on the two inputs, an even number.
        own: whether a file holds the models' own code.
        measured: torch's spread for the second input, as far as it is measured already.
        traced: what sides gave in traced passes. The one on the second input is a call like the others where the main
            input gives the same bits traced and untraced.
    """
    traced = traced or {}
    first, second = inputs
    found = Later()
    given: dict[Side, list[Outputs]] = {}
    modes = {model.side: _modes(model, first[model.side]) for model in sides}
    alike = False
    for model in sides:
        known = traced.get(model.side)
        calls = count if known is None else count - 1
        looks: list[Contents] = [held_by(model, own)] if calls == 1 else []

        def look(
            number: int, model: Adapter = model, looks: list[Contents] = looks, calls: int = calls
        ) -> None:
            if number in (calls - 2, calls - 1):
                looks.append(held_by(model, own))

        turns = ([first[model.side], second[model.side]] * (count // 2))[:calls]
        try:
            *gave, found.main[model.side] = model.in_turn([*turns, main[model.side]], look)
            alike = known is not None and same(model, known.main, found.main[model.side])
            if known is not None:
                gave.append(known.second if alike else model.forward(second[model.side]))
        except Exception as error:  # any model, any error: it took an input like these before
            text = f"later calls of the {model.side} side: it raised {in_a_line(error, 120)}"
            found.unproven.append(Unproven(UnprovenKind.PROBES, text))
            continue
        found.unproven += named(model.side, changed(*looks[-2:]))
        given[model.side] = gave
        if not all(same(model, gave[i % 2], again) for i, again in enumerate(gave)):
            found.stray[model.side] = ANOTHER
    found.first = {side: turns[0] for side, turns in given.items()}
    if len(given) == 2 and not found.stray:
        _across(sides, inputs, given, modes, found, measured, alike)
    return found


def _modes(model: Adapter, values: Sequence[Array]) -> dict[str, Outputs] | str:
    """What a side gives in the modes that must change nothing; what it says where it does not run in one of them."""
    try:
        return model.in_modes(values)
    except Exception as error:  # any model, any error: it does not run in such a mode
        return f"other modes of the {model.side} side: it raised {in_a_line(error, 120)}"


def _across(
    sides: tuple[Adapter, Adapter],
    inputs: tuple[Inputs, Inputs],
    given: dict[Side, list[Outputs]],
    modes: Mapping[Side, dict[str, Outputs] | str],
    found: Later,
    second: OutputSpread | None,
    traced_alike: bool,
) -> None:
    """Both sides on both inputs, one after the other; and the modes that must change nothing."""
    torch = sides[1]
    spread = OutputSpread(torch, inputs[0]["torch"], given["torch"][0] if traced_alike else None)
    found.measured = spread
    for number, said in enumerate(("", "after another input of the same shape ")):
        outputs = {side: turns[number] for side, turns in given.items()}
        measured = (second or OutputSpread(torch, inputs[1]["torch"])) if number else spread
        if not held(sides, inputs[number], outputs, measured).agree:
            text = f"{said}the sides differ in later calls; does one of them remember what it was given?"
            found.findings.append(Finding(None, None, Kind.OUTPUT, None, text))
            return
    for model in sides:
        gave = modes[model.side]
        if isinstance(gave, str):
            found.unproven.append(Unproven(UnprovenKind.PROBES, gave))
            continue
        for name, values in gave.items():
            outputs = {**{side: turns[0] for side, turns in given.items()}, model.side: values}
            if same(model, given[model.side][0], values):
                continue
            if not held(sides, inputs[0], outputs, spread).agree:
                text = f"with {name} the {model.side} side gives another result"
                found.findings.append(Finding(None, None, Kind.OUTPUT, None, text))
