"""The first difference between two runs: in which step, of what, and by how much."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from parity.core.types import Array, Both
from parity.pairing.pair import LayerPair
from parity.pairing.slots import Slot
from parity.training.bench import Bench
from parity.training.gaps import Gap, gaps
from parity.training.rounding import limit_of, remembered
from parity.training.steps.rounding import StepSpreads, kept
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
    bench: Bench, steps: Steps, rounding: Sequence[StepSpreads], ignored: set[str]
) -> FirstDifference | None:
    """The first difference that rounding does not explain; None where there is none.

    Args:
        bench: the two sides.
        steps: all steps of both.
        rounding: how far rounding moves what either side has in each step.
        ignored: Keras paths of layers whose statistics do not count.
    """
    slots = bench.slots()
    statistics = [(pair, slot) for pair, slot in bench.statistics() if pair.keras not in ignored]
    greatest, hidden = 0.0, None
    history: dict[str, Array] = {}
    for number, (keras, torch) in enumerate(zip(*steps, strict=True)):
        allowed = rounding[number]
        losses = np.asarray(keras.loss), np.asarray(torch.loss)
        moved = np.asarray(max(allowed.keras.loss, allowed.torch.loss))
        if not abs(keras.loss - torch.loss) <= limit_of(*losses, moved):
            text = f"the loss is {keras.loss:.12g} in Keras and {torch.loss:.12g} in torch"
            return FirstDifference(number, "loss", (), text)
        gradients = Both(*(side.gradients for side in allowed))
        states = Both(*(side.state for side in allowed))
        for what, found in (
            ("gradient", gaps(slots, keras.gradients, torch.gradients, gradients, values=False)),
            ("statistics", gaps(statistics, keras.state, torch.state, states, history)),
            ("parameters", gaps(slots, keras.state, torch.state, states, history)),
        ):
            beyond = tuple(gap for gap in found if gap.beyond)
            if beyond:
                return FirstDifference(number, what, beyond)
            greatest = max([greatest, *(gap.relative for gap in found if what != "gradient")])
        text = _optimizer_states_differ(slots, keras, torch, allowed, history)
        if text and hidden is None:  # the next steps show it in the parameters, and why
            hidden = FirstDifference(number, "optimizer state", (), text)
    bench.result.figures["training"] = greatest
    return hidden


def _optimizer_states_differ(
    slots: Sequence[tuple[LayerPair, Slot]],
    keras: TrainingStep,
    torch: TrainingStep,
    allowed: StepSpreads,
    history: dict[str, Array],
) -> str:
    """The first difference between the optimizers' states, both as torch keeps them, in words."""
    held, spreads = Both(kept(keras), kept(torch)), Both(*(side.optimizer_state for side in allowed))
    for pair, slot in slots:
        if slot.keras not in keras.rules or slot.torch not in torch.rules:
            continue
        for name in sorted(_names(held.keras, slot.keras) & _names(held.torch, slot.torch)):
            paths = Both(f"{slot.keras} {name}", f"{slot.torch} {name}")
            a, b, moved = held.keras[paths.keras], held.torch[paths.torch], spreads.torch.get(paths.torch)
            own = spreads.keras.get(paths.keras)
            if b.ndim:
                b, moved = slot.layout.to_keras(b), None if moved is None else slot.layout.to_keras(moved)
                a = slot.layout.part("keras", a)
                own = None if own is None else slot.layout.part("keras", own)
            measured = [value for value in (own, moved) if value is not None]
            spread = np.max(np.stack(measured), axis=0) if measured else None
            value = remembered(history, f"{paths.keras} {slot.layout.keras_rows}", a, b)
            if not np.all(np.abs(a - b) <= limit_of(value, b, spread)):
                gap, scale = float(np.abs(a - b).max()), float(np.abs(b).max(initial=0.0))
                return f"{pair.keras}: {name} of {slot.keras} differs by {gap:.3g} (scale {scale:.3g})"
    return ""


def _names(held: Mapping[str, Array], path: str) -> set[str]:
    """What is kept of one parameter."""
    return {key.rpartition(" ")[2] for key in held if key.rpartition(" ")[0] == path}
