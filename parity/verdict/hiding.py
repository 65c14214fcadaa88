"""Outputs that hide the network: judged at the floating tensors that they were read from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from parity.core.adapter import Adapter
from parity.core.finding import Finding, Kind
from parity.core.types import Array, Side
from parity.replay.hidden import (
    TracedRun,
    before_activations,
    has_hiding_steps,
    hidden,
    stands_still,
    traced_run,
    unmatched,
)
from parity.replay.hiding_steps import Hidden
from parity.verdict.outputs import Outputs

FIX = (
    "compare the models without that step, or take the same tensors into it on both sides "
    "(argmax of logits, not of a softmax on one side)"
)


def hiding(
    sides: tuple[Adapter, Adapter],
    inputs: Mapping[Side, Sequence[Array]],
    outputs: Mapping[Side, Outputs],
    runs: Mapping[Side, TracedRun] | None = None,
    moving: bool = False,
) -> tuple[list[Finding], list[str]]:
    """What equal labels, masks and rounded values leave open.

    Args:
        sides: both sides, Keras first, held in float64.
        inputs: the inputs of each side, in its own layout, in float64.
        outputs: their outputs, which agree.
        runs: the traced run of each side, where they were traced already.
        moving: whether rounding was seen to move every output of the torch side.

    Returns:
        Findings: tensors that a hiding step was given and the other side has nowhere, steps that could not be
        followed. And notes: what was judged in their place.
    """
    if not _may_hide(sides, inputs, outputs, runs or {}, moving):
        return [], []
    found = {side.side: hidden(side, inputs[side.side]) for side in sides}
    findings = [_blind(side.side, found[side.side]) for side in sides if found[side.side].blind]
    models = {side.side: side for side in sides}
    pairs: tuple[tuple[Side, Side], ...] = (("keras", "torch"), ("torch", "keras"))
    for side, across in pairs:
        if unmatched(found[side], found[across]):
            found[across].values += before_activations(models[across], inputs[across])
        for tensor, nearest in unmatched(found[side], found[across]):
            text = (
                f"{tensor.step} on the {side} side hides a tensor of shape {tensor.value.shape} that the {across} "
                f"side does not compute ({nearest})"
            )
            findings.append(Finding(None, None, Kind.HIDDEN, None, text, FIX))
    steps = sorted({f"{tensor.step} {tensor.value.shape}" for tensor in found["keras"].tensors})
    notes = [f"judged at what hiding steps are given: {', '.join(steps)}"] if steps and not findings else []
    return findings, notes


def _may_hide(
    sides: tuple[Adapter, Adapter],
    inputs: Mapping[Side, Sequence[Array]],
    outputs: Mapping[Side, Outputs],
    runs: Mapping[Side, TracedRun],
    moving: bool,
) -> bool:
    """Whether an output of either side may hide what it was read from.

    What stands still where everything moves is looked for on the torch side alone: outputs that agree to the last
    digits are as coarse on both.
    """
    torch = sides[1]
    if any(
        has_hiding_steps(runs.get(model.side) or traced_run(model, inputs[model.side]))
        for model in sides[::-1]
    ):
        return True
    return not moving and stands_still(torch, inputs["torch"], outputs["torch"])


def _blind(side: Side, found: Hidden) -> Finding:
    text = (
        f"{', '.join(dict.fromkeys(found.blind))} of the {side} side holds labels, masks or whole numbers, and the "
        "floating tensors that it was read from could not be followed"
    )
    return Finding(
        None, None, Kind.HIDDEN, None, text, "return the floating tensors (logits, scores) as outputs too"
    )
