"""The first difference between two runs: in which step, of what, and by how much."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from parity.core.rules import in_torch_terms
from parity.core.tolerance import PRECISION_FACTOR, STRUCTURE
from parity.core.types import Both
from parity.pairing.pair import LayerPair
from parity.pairing.slots import Slot
from parity.training.bench import Bench
from parity.training.gaps import Gap, floor_of, gaps
from parity.training.steps.rounding import StepRounding
from parity.training.steps.run import TrainingStep


@dataclass(frozen=True)
class FirstDifference:
    """The first difference.

    Attributes:
        step: in which step, from 0.
        what: "loss", "gradient", "statistics", "parameters" or "optimizer state".
        gaps: the tensors that differ.
        text: the difference in words, where it is not one of tensors.
    """

    step: int
    what: str
    gaps: tuple[Gap, ...] = ()
    text: str = ""


Steps = Both[list[TrainingStep]]


def first_difference(
    bench: Bench, steps: Steps, rounding: Sequence[StepRounding], ignored: set[str]
) -> FirstDifference | None:
    """The first difference that rounding does not explain; None where there is none.

    Args:
        bench: the two sides.
        steps: all steps of both.
        rounding: what one unit roundoff does to each step.
        ignored: Keras paths of layers whose statistics do not count.
    """
    slots = bench.slots()
    statistics = [(pair, slot) for pair, slot in bench.statistics() if pair.keras not in ignored]
    greatest, hidden = 0.0, None
    for number, (keras, torch) in enumerate(zip(*steps, strict=True)):
        allowed = rounding[number]
        gap = abs(keras.loss - torch.loss)
        if not gap <= STRUCTURE * abs(torch.loss) + PRECISION_FACTOR * allowed.loss:
            text = f"the loss is {keras.loss:.12g} in Keras and {torch.loss:.12g} in torch"
            return FirstDifference(number, "loss", (), text)
        floor = floor_of(keras.gradients)
        for what, found in (
            ("gradient", gaps(slots, keras.gradients, torch.gradients, allowed.gradients, floor)),
            ("statistics", gaps(statistics, keras.state, torch.state, allowed.state)),
            ("parameters", gaps(slots, keras.state, torch.state, allowed.state)),
        ):
            beyond = tuple(gap for gap in found if gap.beyond)
            if beyond:
                return FirstDifference(number, what, beyond)
            greatest = max([greatest, *(gap.relative for gap in found if what != "gradient")])
        text = _optimizer_states_differ(slots, keras, torch, allowed)
        if text and hidden is None:  # the next steps show it in the parameters, and why
            hidden = FirstDifference(number, "optimizer state", (), text)
    bench.result.figures["training"] = greatest
    return hidden


def _optimizer_states_differ(
    slots: Sequence[tuple[LayerPair, Slot]], keras: TrainingStep, torch: TrainingStep, rounding: StepRounding
) -> str:
    """The first difference between the optimizers' states, both as torch keeps them, in words."""
    floor = floor_of(keras.gradients)
    for pair, slot in slots:
        if slot.keras not in keras.rules or slot.torch not in torch.rules:
            continue
        a = in_torch_terms(keras.rules[slot.keras], keras.optimizer_state.get(slot.keras, {}))
        b = torch.optimizer_state.get(slot.torch, {})
        for name in sorted(set(a) & set(b)):
            value = b[name] if b[name].ndim == 0 else slot.layout.to_keras(b[name])
            scale = float(np.abs(value).max(initial=0.0))
            gap = float(np.abs(a[name] - value).max(initial=0.0))
            allowed = rounding.optimizer_state.get(slot.torch, {}).get(name, 0.0)
            if not gap <= STRUCTURE * scale + PRECISION_FACTOR * allowed + floor:
                return f"{pair.keras}: {name} of {slot.keras} differs by {gap:.3g} (scale {scale:.3g})"
    return ""
