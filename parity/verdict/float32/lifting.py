"""Whether float32 within the models is all that parts them in float64, and whether both sides have it at the same places.

Where a model casts to float32 in its own body, two equal models differ by 1e-8 in float64. Such casts are lifted to
float64 on both sides. Each side must stay what it was: without the lifting it may be off by the rounding of float32
alone, its own and the other side's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field

import numpy as np

from parity.adapters.probe import to_torch_inputs
from parity.core.adapter import Adapter
from parity.core.finding import Finding
from parity.core.types import Array, Side
from parity.pairing.pair import Pairing
from parity.replay.spread import distance
from parity.verdict.attempts import held
from parity.verdict.evaluate import evaluated
from parity.verdict.float32.places import Placed, Recorded, grouped, one_sided, recorded
from parity.verdict.float32.said import findings_of, note_of
from parity.verdict.float32.tables import settled
from parity.verdict.outputs import Outputs, greatest
from parity.verdict.precision import TOLERATED, Dispersion
from parity.weights.shake import shaken_alike

SEED = 1
"""Of the other input and the other weights."""
MOST = 64
"""Classes of layers whose requests are tried one by one."""
EFFECT = 1e-14
"""Relative to the scale: what less moves is no computation in float32."""


@dataclass
class Lifted:
    """What the lifting showed.

    Attributes:
        agree: whether both sides agree with every request lifted.
        findings: one side alone computes in float32.
        notes: both sides do, or a table of one side stands for that of the other.
        gap: the greatest difference of the outputs as they are, absolute and relative to their scale.
    """

    agree: bool
    findings: list[Finding] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    gap: tuple[float, float] = (0.0, 0.0)


def lifted(
    sides: tuple[Adapter, Adapter],
    inputs: Mapping[Side, Sequence[Array]],
    outputs: Mapping[Side, Outputs],
    pairing: Pairing,
    stack: ExitStack,
) -> Lifted | None:
    """Lift float32 within both models to float64, until the stack closes; None where that is not what parts them.

    Args:
        sides: both sides, Keras first, held in float64.
        inputs: of each side, in its own layout.
        outputs: what each side gave for them as it is.
        pairing: which layer is which.
        stack: takes what puts the models back.
    """
    try:
        found = {model.side: recorded(model, inputs[model.side], pairing) for model in sides}
    except Exception:  # any model, any error: it is judged as it is
        return None
    if not any(item.asked for item in found.values()):
        return None
    with ExitStack() as tentative:
        for model in sides:
            model.float32.lifting = True
            tentative.callback(setattr, model.float32, "lifting", False)
            tentative.enter_context(model.float32_seen())
        try:
            result = _judged(sides, inputs, outputs, pairing, found, tentative)
        except Exception:  # any model, any error: it does not run so
            return None
        if result is not None:
            stack.push(tentative.pop_all())
        return result


def _judged(
    sides: tuple[Adapter, Adapter],
    inputs: Mapping[Side, Sequence[Array]],
    outputs: Mapping[Side, Outputs],
    pairing: Pairing,
    found: Mapping[Side, Recorded],
    stack: ExitStack,
) -> Lifted | None:
    """The same with everything lifted already."""
    exact = _outputs(sides, inputs)
    agree = held(sides, inputs, exact).agree
    notes: list[str] = []
    if not agree:
        with ExitStack() as tables:
            said = tables.enter_context(settled(sides, pairing, inputs))
            again = _outputs(sides, inputs) if said else exact
            agree = bool(said) and held(sides, inputs, again).agree
            if agree:
                exact, notes = again, said
                stack.push(tables.pop_all())
    if not explained(sides, inputs, outputs, exact, agree):
        return None
    matter = {
        model.side: _matter(model, inputs[model.side], exact[model.side], found[model.side].asked)
        for model in sides
    }
    if not any(matter.values()):
        return Lifted(agree, [], notes) if agree and notes else None
    alone = one_sided(matter["keras"], matter["torch"], found["keras"].declared)
    alone = [
        one
        for model in sides
        for one in _matter(
            model, inputs[model.side], exact[model.side], [a for a in alone if a.side == model.side]
        )
    ]
    gap = greatest(outputs["keras"], outputs["torch"])
    both = [one for side in matter.values() for one in side if one not in alone]
    if both:
        notes = [note_of(both), *notes]
    tried = bool(alone) and agree and _again(sides, pairing, inputs)
    return Lifted(agree, findings_of(alone, pairing, gap[1], agree, tried), notes, gap)


def _again(sides: tuple[Adapter, Adapter], pairing: Pairing, inputs: Mapping[Side, Sequence[Array]]) -> bool:
    """Whether both sides agree on another input and with other weights too, everything lifted."""
    from parity.causes.again import fresh_inputs  # on demand, like all causes

    values = fresh_inputs(inputs["keras"], SEED)
    fresh: dict[Side, list[Array]] = {"keras": values, "torch": to_torch_inputs(values, sides[0])}
    with shaken_alike(*sides, pairing):
        return held(sides, fresh, _outputs(sides, fresh)).agree


def _outputs(sides: tuple[Adapter, Adapter], inputs: Mapping[Side, Sequence[Array]]) -> dict[Side, Outputs]:
    return {model.side: model.forward(inputs[model.side]) for model in sides}


def _matter(model: Adapter, inputs: Sequence[Array], exact: Outputs, asked: Sequence[Placed]) -> list[Placed]:
    """The requests without whose lifting the outputs move: those of one class of layers together."""
    found: list[Placed] = []

    def matters(group: Sequence[Placed], raised: bool) -> bool:
        with model.float32.keeping(frozenset(one.request.key for one in group)):
            kept, _ = evaluated(model, inputs)
        return raised if kept is None else _moved(exact, kept)

    for number, group in enumerate(grouped(asked, lambda one: one.group)):
        if number >= MOST:
            found += group
        elif matters(group, True):
            lines = grouped(group, lambda one: one.request.spot)
            alone = [line for line in lines if matters(line, False)] if 1 < len(lines) <= MOST else []
            found += [one for line in alone for one in line]
            rest = [one for line in lines if line not in alone for one in line]
            if rest and (not alone or matters(rest, False)):  # several lines of one computation
                found += rest
    return found


def _moved(exact: Outputs, kept: Outputs) -> bool:
    for (_, before), (_, after) in zip(exact, kept, strict=True):
        if before.shape != after.shape:
            return True
        scale = (
            float(np.abs(before[np.isfinite(before)]).max(initial=0.0)) if before.dtype.kind == "f" else 0.0
        )
        if float(distance(before, after).max(initial=0.0)) > EFFECT * scale:
            return True
    return False


def explained(
    sides: tuple[Adapter, Adapter],
    inputs: Mapping[Side, Sequence[Array]],
    plain: Mapping[Side, Outputs],
    exact: Mapping[Side, Outputs],
    alike: bool = True,
) -> bool:
    """Whether the rounding of float32 explains what lifting changes on each side.

    Args:
        sides: both sides, Keras first, lifted.
        inputs: of each side, in its own layout.
        plain: the outputs as the models give them.
        exact: the outputs with everything lifted.
        alike: the two sides are the same when lifted, so that neither may be off by more than the other's rounding.
    """
    tolerated = TOLERATED["float32"]
    measured = {model.side: Dispersion("float32", model, inputs[model.side]) for model in sides}
    for model in sides:
        side = model.side
        if [v.shape for _, v in plain[side]] != [v.shape for _, v in exact[side]]:
            return False
        if not measured[side].roundoffs(exact[side], plain[side]).within(tolerated):
            return False
    if not alike:
        return True
    sizes = {side: measured[side].sizes(exact[side]) for side in exact}
    for side in exact:
        for number, ((_, want), (_, value)) in enumerate(zip(exact[side], plain[side], strict=True)):
            off = distance(want, value)
            greatest_unit = min(sizes[name][number][0] for name in exact)
            mean_unit = min(sizes[name][number][1] for name in exact)
            if float(off.max(initial=0.0)) > tolerated.element * greatest_unit:
                return False
            if off.size and float(np.sqrt(np.mean(off**2))) > tolerated.rms * mean_unit:
                return False
    return True


def still(
    sides: tuple[Adapter, Adapter], inputs: Mapping[Side, Sequence[Array]], exact: Mapping[Side, Outputs]
) -> bool:
    """The same on another input: neither model is another one where it computes in float32; True where none is lifted."""
    plain: dict[Side, Outputs] = {}
    if not any(model.float32.lifting for model in sides):
        return True
    for model in sides:
        with model.float32.keeping(None):
            found, _ = evaluated(model, inputs[model.side])
        if found is None:
            return False
        plain[model.side] = found
    return explained(sides, inputs, plain, exact)
