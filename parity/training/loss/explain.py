"""Why two losses differ on the same outputs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from parity.adapters.sites.making import function_at
from parity.core.finding import Finding, Fix, Kind
from parity.core.trainer import Evaluation
from parity.core.types import Array, Both
from parity.training.bench import Bench
from parity.training.loss.shapes import explain_shapes

EXACT = 1e-9
"""How closely, relative to its scale, a gradient must follow a factor for the factor to be proven."""
NO_FACTOR = 1e-6
"""A factor this near to one is no reduction: it is what else differs a little."""


def explain_loss(bench: Bench, passes: Both[Evaluation], targets: Both[list[Array]]) -> list[Finding]:
    """One finding: a second softmax, a constant factor, a shape, or none of these; with the places of both losses."""
    keras, torch = passes.keras.loss, passes.torch.loss
    gap = f"on the same outputs the loss is {keras:.10g} in Keras and {torch:.10g} in torch"
    outputs = Both(*([value for _, value in found.outputs] for found in passes))
    found = (
        _double_softmax(bench, passes, targets, gap)
        or _reduction(bench, passes, gap)
        or explain_shapes(bench, outputs, targets, gap)
        or Finding(None, None, Kind.TRAINING, None, gap)
    )
    at = [None if place is None else str(place) for place in (function_at(t.loss) for t in bench.trainers)]
    return [replace(found, keras_at=at[0], torch_at=at[1])]


def _double_softmax(
    bench: Bench, passes: Both[Evaluation], targets: Both[list[Array]], gap: str
) -> Finding | None:
    """Whether a loss of logits gets probabilities: with their logarithm it gives the other side's loss."""
    outputs = Both(*([value for _, value in found.outputs] for found in passes))
    if not all(_probabilities(value) for value in outputs.keras):
        return None
    for name, trainer, values, wanted, expected in (
        ("torch", bench.trainers.torch, outputs.torch, targets.torch, passes.keras.loss),
        ("Keras", bench.trainers.keras, outputs.keras, targets.keras, passes.torch.loss),
    ):
        loss = trainer.loss_of([np.log(value) for value in values], wanted)
        if abs(loss - expected) <= 1e-7 * abs(expected):
            text = (
                f"{gap}; the outputs are probabilities, and {name}'s loss takes them for logits: "
                f"of their logarithm it gives {loss:.10g}"
            )
            fix = (
                f"logits into {name}'s loss: leave the softmax out of the models, or take a loss of probabilities "
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


def _reduction(bench: Bench, passes: Both[Evaluation], gap: str) -> Finding | None:
    """Whether loss and every gradient differ by one and the same factor."""
    if not passes.torch.loss or not passes.keras.loss:
        return None
    factor = passes.keras.loss / passes.torch.loss
    if abs(factor - 1.0) <= NO_FACTOR:
        return None
    worst = 0.0
    for _, slot in bench.slots():
        a, b = passes.keras.parameters.get(slot.keras), passes.torch.parameters.get(slot.torch)
        if a is None or b is None:
            continue
        a, b = slot.layout.part("keras", a), slot.layout.to_keras(b) * factor
        scale = float(np.abs(a).max(initial=0.0))
        worst = max(worst, float(np.abs(a - b).max(initial=0.0)) / scale) if scale else worst
    if worst > EXACT:
        return None
    text = (
        f"{gap}: a factor of {factor:.10g}{_meaning(factor, passes.keras.outputs[0][1].shape)}, "
        f"and every gradient differs by the same (to {worst:.1g})"
    )
    fix = Fix(
        f"Keras' loss times {1.0 / factor:.6g}", f"torch's loss times {factor:.6g}",
        f"one reduction on both sides; with torch's loss times {factor:.6g} loss and gradients agree to {worst:.1g}",
    )  # fmt: skip
    return Finding(None, None, Kind.TRAINING, "loss-reduction", text, fix, True)


def _meaning(factor: float, shape: tuple[int, ...]) -> str:
    """What number of the outputs' shape (in the Keras layout) the factor is."""
    sizes = {
        "the batch size": shape[0],
        "the number of channels": shape[-1],
        "the number of elements": int(np.prod(shape)),
        "the number of pixels in an image": int(np.prod(shape[1:-1])),
        "the number of pixels in the batch": int(np.prod(shape[:-1])),
        "the number of elements in one example": int(np.prod(shape[1:])),
    }
    for name, size in sizes.items():
        for value, text in ((factor, name), (1.0 / factor, f"one over {name}")):
            if size > 1 and abs(value - size) <= EXACT * size:
                return f" ({text}: a sum on one side, a mean on the other)"
    return ""
