"""Two losses that were given, alone: on other batches, greater outputs and other labels than the models give."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from parity.adapters.inputs.fitted import fitted
from parity.core.errors import in_a_line
from parity.core.finding import Finding, Kind
from parity.core.types import Array, Both
from parity.report.proof import Unproven, UnprovenKind
from parity.training.bench import Bench

SAME = 1e-9
"""How far two losses of the same outputs may be from one another, relatively: they add up in another order."""
SCALES = (64.0, 2.0**12, 2.0**20, 2.0**40)
"""By what the outputs are multiplied, so that a loss's own limits act."""
SHARPER = 64.0
"""By what the logits behind probabilities are multiplied."""
SEED = 20_261_130


@dataclass(frozen=True)
class _Case:
    """Outputs and targets in the Keras layout, and what was changed, in words.

    Attributes:
        ends: whether the outputs are probabilities next to 0 and 1, where losses guard against zero in their own ways.
    """

    name: str
    outputs: Sequence[Array]
    targets: Sequence[Array]
    ends: bool = False


def compare_losses(bench: Bench) -> None:
    """Both losses on what the models' outputs do not show; what differs goes into the bench's result."""
    with bench.unchanged():
        outputs = [value for _, value in bench.evaluate(False, None).keras.outputs]
    targets = bench.targets(0).keras
    with bench.look():
        _compared(bench, outputs, targets)


def _compared(bench: Bench, outputs: Sequence[Array], targets: Sequence[Array]) -> None:
    result, main = bench.result, _Case("", outputs, targets)
    first = _losses(bench, main)
    apart = first.torch - first.keras  # what one side's loss holds of the model itself: penalties
    if not np.isfinite(apart):
        return
    for case in _cases(outputs, targets):
        try:
            losses = _losses(bench, case)
        except Exception as error:  # any loss, any error: it does not take these
            text = f"the losses {case.name}: not possible: {in_a_line(error)}"
            result.unproven.append(Unproven(UnprovenKind.PROBES, text))
            continue
        if not np.isfinite(losses).all():
            continue
        if abs(losses.torch - losses.keras - apart) <= SAME * max(*map(abs, losses), abs(apart)):
            continue
        text = f"the losses {case.name} are {losses.keras:.10g} in Keras and {losses.torch:.10g} in torch"
        if case.ends:
            result.unproven.append(
                Unproven(UnprovenKind.LIMITS, f"{text}: they guard against zero otherwise")
            )
            continue
        result.findings.append(Finding(None, None, Kind.TRAINING, None, text, "the same loss on both sides"))
        return
    again = _losses(bench, main)
    if again != first:
        text = "a loss gives something else for outputs and targets that it was given before; does it count or draw?"
        result.findings.append(Finding(None, None, Kind.NOT_REPEATABLE, None, text))


def _losses(bench: Bench, case: _Case) -> Both[float]:
    keras, torch = bench.trainers
    return Both(
        keras.loss_of(case.outputs, case.targets),
        torch.loss_of(bench.laid(case.outputs), bench.laid(case.targets)),
    )


def _cases(outputs: Sequence[Array], targets: Sequence[Array]) -> Iterator[_Case]:
    """What is tried, one change at a time."""
    sizes = {value.shape[0] if value.ndim else 0 for value in (*outputs, *targets)}
    if len(sizes) == 1 and (size := sizes.pop()):
        enlarged = [fitted(value, 0, size + 1) for value in outputs]
        yield _Case(f"of a batch of {size + 1}", enlarged, [fitted(value, 0, size + 1) for value in targets])
    if all(_probabilities(value) for value in outputs):
        sharp = [_sharper(value) for value in outputs]
        yield _Case("of probabilities next to 0 and 1", sharp, targets, ends=True)
    elif not any(_probabilities(value) for value in outputs):
        for scale in SCALES:
            yield _Case(f"of outputs times {scale:g}", [value * scale for value in outputs], targets)
    if all(value.dtype.kind == "f" and not _probabilities(value) for value in targets):
        for scale in SCALES:
            yield _Case(f"of targets times {scale:g}", outputs, [value * scale for value in targets])
    labels = [_labels_anew(value, target) for value, target in zip(outputs, targets, strict=False)]
    if len(labels) == len(targets) and any(a is not b for a, b in zip(labels, targets, strict=True)):
        yield _Case("of labels drawn anew", outputs, labels)


def _probabilities(value: Array) -> bool:
    return bool(value.size) and bool(np.all((value >= 0.0) & (value <= 1.0)))


def _sharper(value: Array) -> Array:
    """The same probabilities with logits that are greater."""
    logits = np.log(np.clip(value, 1e-300, None))
    if value.ndim > 1 and value.shape[-1] > 1 and np.allclose(value.sum(-1), 1.0, rtol=0, atol=1e-9):
        raised = np.exp(SHARPER * (logits - logits.max(-1, keepdims=True)))
        return np.asarray(raised / raised.sum(-1, keepdims=True))
    against = np.log(np.clip(1.0 - value, 1e-300, None))
    return np.asarray(1.0 / (1.0 + np.exp(np.clip(SHARPER * (against - logits), -700.0, 700.0))))


def _labels_anew(output: Array, target: Array) -> Array:
    """Labels of all classes where whole numbers stand for classes; else the targets as they are."""
    classes = output.shape[-1] if output.ndim > 1 else 0
    whole = target.dtype.kind in "iu" and target.size > 0
    if not whole or target.shape == output.shape or classes < 2:
        return target
    if int(target.min()) < 0 or int(target.max()) >= classes:
        return target
    turned = np.arange(target.size).reshape(target.shape) % classes
    return np.random.default_rng(SEED).permuted(turned).astype(target.dtype)
