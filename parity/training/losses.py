"""Why two losses differ on the same outputs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from parity.core.finding import Finding, Kind
from parity.core.trainer import Evaluation
from parity.core.types import Array

if TYPE_CHECKING:
    from parity.training.bench import Bench

EXACT = 1e-9


def explain_loss(bench: Bench, ours: Evaluation, theirs: Evaluation, targets: Any) -> list[Finding]:
    """One finding: a second softmax, a constant factor, or neither."""
    gap = f"on the same outputs the loss is {ours.loss:.10g} in Keras and {theirs.loss:.10g} in torch"
    return [_double_softmax(bench, ours, theirs, targets, gap) or _reduction(bench, ours, theirs, gap)
            or Finding(None, None, Kind.TRAINING, None, gap)]  # fmt: skip


def _double_softmax(
    bench: Bench, ours: Evaluation, theirs: Evaluation, targets: Any, gap: str
) -> Finding | None:
    """Whether a loss of logits gets probabilities: with their logarithm it gives the other side's loss."""
    outputs = [value for _, value in ours.outputs]
    if not all(_probabilities(value) for value in outputs):
        return None
    logs = [np.log(value) for value in outputs]
    theirs_logs = [np.log(value) for _, value in theirs.outputs]
    for side, trainer, values, wanted, other in (
        ("torch", bench.torch, theirs_logs, targets[1], ours.loss),
        ("Keras", bench.keras, logs, targets[0], theirs.loss),
    ):
        loss = trainer.loss_of(values, wanted)
        if abs(loss - other) <= 1e-7 * abs(other):
            text = (
                f"{gap}; the outputs are probabilities, and {side}'s loss takes them for logits: "
                f"of their logarithm it gives {loss:.10g}"
            )
            fix = (
                f"logits into {side}'s loss: leave the softmax out of the models, or take a loss of probabilities "
                "(from_logits=False; NLLLoss of the logarithm)"
            )
            return Finding(None, None, Kind.TRAINING, "double-softmax", text, fix, True)
    return None


def _probabilities(value: Array) -> bool:
    return (
        value.ndim > 1
        and value.shape[-1] > 1
        and bool(np.all(value > 0.0))
        and bool(np.allclose(value.sum(-1), 1.0, rtol=0, atol=1e-9))
    )


def _reduction(bench: Bench, ours: Evaluation, theirs: Evaluation, gap: str) -> Finding | None:
    """Whether loss and every gradient differ by one and the same factor."""
    if not theirs.loss or not ours.loss:
        return None
    factor = ours.loss / theirs.loss
    worst = 0.0
    for _, slot in bench.slots():
        a, b = ours.parameters.get(slot.keras), theirs.parameters.get(slot.torch)
        if a is None or b is None:
            continue
        b = slot.layout.to_keras(b) * factor
        scale = float(np.abs(a).max(initial=0.0))
        worst = max(worst, float(np.abs(a - b).max(initial=0.0)) / scale) if scale else worst
    if worst > EXACT:
        return None
    text = (
        f"{gap}: a factor of {factor:.10g}{_meaning(factor, ours)}, "
        f"and every gradient differs by the same (to {worst:.1g})"
    )
    fix = f"one reduction on both sides; with torch's loss times {factor:.6g} loss and gradients agree to {worst:.1g}"
    return Finding(None, None, Kind.TRAINING, "loss-reduction", text, fix, True)


def _meaning(factor: float, ours: Evaluation) -> str:
    """What number of the outputs' shape the factor is."""
    shape = ours.outputs[0][1].shape
    sizes = {"the batch": shape[0], "the channels": shape[-1], "the elements": int(np.prod(shape)),
             "the places of an image": int(np.prod(shape[1:-1])), "the places of the batch": int(np.prod(shape[:-1])),
             "the elements of one example": int(np.prod(shape[1:]))}  # fmt: skip
    for name, size in sizes.items():
        for value, text in ((factor, "the number of {}"), (1.0 / factor, "one over the number of {}")):
            if size > 1 and abs(value - size) <= EXACT * size:
                return f" ({text.format(name.removeprefix('the '))}: a sum on one side, a mean on the other)"
    return ""
