"""Outputs that hide the network: judged at the floating tensors that they were read from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from parity.core.adapter import Adapter
from parity.core.finding import Finding, Kind
from parity.core.types import Array, Side
from parity.replay.hidden import hidden, may_hide, unmatched
from parity.replay.hiding_steps import Hidden
from parity.verdict.outputs import Outputs

FIX = (
    "compare the models without that step, or take the same tensors into it on both sides "
    "(argmax of logits, not of a softmax on one side)"
)


def hiding(
    sides: tuple[Adapter, Adapter], inputs: Mapping[Side, Sequence[Array]], outputs: Mapping[Side, Outputs]
) -> tuple[list[Finding], list[str]]:
    """What equal labels, masks and rounded values leave open.

    Args:
        sides: both sides, Keras first, held in float64.
        inputs: the inputs of each side, in its own layout, in float64.
        outputs: their outputs, which agree.

    Returns:
        Findings: tensors that a hiding step was given and the other side has nowhere, steps that could not be
        followed. And notes: what was judged in their place.
    """
    if not any(may_hide(side, inputs[side.side], outputs[side.side]) for side in sides):
        return [], []
    found = {side.side: hidden(side, inputs[side.side]) for side in sides}
    findings = [_blind(side.side, found[side.side]) for side in sides if found[side.side].blind]
    pairs: tuple[tuple[Side, Side], ...] = (("keras", "torch"), ("torch", "keras"))
    for side, across in pairs:
        for tensor, nearest in unmatched(found[side], found[across]):
            text = (
                f"{tensor.step} on the {side} side hides a tensor of shape {tensor.value.shape} that the {across} "
                f"side does not compute ({nearest})"
            )
            findings.append(Finding(None, None, Kind.HIDDEN, None, text, FIX))
    steps = sorted({f"{tensor.step} {tensor.value.shape}" for tensor in found["keras"].tensors})
    notes = [f"judged at what hiding steps are given: {', '.join(steps)}"] if steps and not findings else []
    return findings, notes


def _blind(side: Side, found: Hidden) -> Finding:
    text = (
        f"{', '.join(dict.fromkeys(found.blind))} of the {side} side holds labels, masks or whole numbers, and the "
        "floating tensors that it was read from could not be followed"
    )
    return Finding(
        None, None, Kind.HIDDEN, None, text, "return the floating tensors (logits, scores) as outputs too"
    )
