"""torch's recurrent cells train two biases where Keras trains one: each step moves their sum twice as far."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from parity.core.finding import Finding, Kind
from parity.core.types import Array, Both
from parity.pairing.pair import LayerPair
from parity.pairing.slots import Slot
from parity.training.gaps import Gap
from parity.training.steps.explained import EXACT, Explained


def two_biases(
    gaps: Sequence[Gap],
    slots: Sequence[tuple[LayerPair, Slot]],
    before: Both[dict[str, Array]],
    after: Both[dict[str, Array]],
) -> Explained | None:
    """The cause where only sums of two biases differ, and torch's first one alone moves as Keras' does.

    Args:
        gaps: the parameters that differ after a step.
        slots: all pairs of trained tensors.
        before, after: the states around that step.
    """
    if not gaps or not all(gap.slot.summed and _moves_alike(gap.slot, before, after) for gap in gaps):
        return None
    second = {slot.bias[1] for _, slot in slots if slot.summed and slot.bias is not None}
    findings = []
    for gap in gaps:
        assert gap.slot.bias is not None
        text = (
            f"torch trains two biases, so that their sum moves twice as far as Keras' {gap.slot.keras}; "
            f"with {gap.slot.bias[1]} held, {gap.slot.torch} moves as Keras' does"
        )
        fix = f"hold one of the two biases in torch: requires_grad_(False) of {gap.slot.bias[1]}"
        pair = gap.pair
        findings.append(
            Finding(pair.keras, ", ".join(pair.torch), Kind.TRAINING, "recurrent-bias", text, fix, True)
        )
    return Explained(rules=findings, held=second)


def _moves_alike(slot: Slot, before: Both[dict[str, Array]], after: Both[dict[str, Array]]) -> bool:
    keras = after.keras[slot.keras] - before.keras[slot.keras]
    torch = slot.layout.to_keras(after.torch[slot.torch]) - slot.layout.to_keras(before.torch[slot.torch])
    return bool(np.abs(keras - torch).max(initial=0.0) <= EXACT * np.abs(keras).max(initial=0.0) + 1e-14)
