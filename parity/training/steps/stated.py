"""What goes on around the optimizers' updates: stated on both sides and compared, or named as not compared."""

from __future__ import annotations

import numpy as np

from parity.core.finding import Finding, Kind
from parity.core.tolerance import limits
from parity.core.types import Array, Both
from parity.report.proof import Unproven, UnprovenKind
from parity.training.steps.run import Runs

SCALES = (1.0, -1.0, 8.0, 64.0, 1e4, 1e8)
"""By what the weights are multiplied, so that constraints act."""

UPDATES = sorted(
    {
        *range(16),
        *(2**k + i for k in range(4, 15) for i in (-1, 0)),
        *(10**k + i for k in (2, 3, 4) for i in (-1, 0, 1)),
    }
)
"""The updates whose learning rates are compared: milestones are often round."""
RATES_AGREE = 1e-5
"""How far two rates may be from one another, relatively: Keras' schedules compute in float32."""
AGREE = 64.0
"""How many times an element's own rounding two constraints may differ: they take norms of a few thousand terms."""


def compare_stated(runs: Runs) -> list[Finding]:
    """Findings on loss scales, weight constraints, and everything that changes training and parity does not know."""
    trainers = runs.bench.trainers
    for trainer, optimizer in zip(trainers, runs.optimizers, strict=True):
        trainer.start(optimizer)
    try:
        found = [
            _not_compared(f"{item} ({trainer.side})") for trainer in trainers for item in trainer.unknown()
        ]
        runs.bench.result.unproven += [
            Unproven(UnprovenKind.TRAINING, f"{item} ({trainer.side})")
            for trainer in trainers
            for item in trainer.own_updates()
        ]
        found += _loss_scales(trainers.keras.loss_scale(), trainers.torch.loss_scale())
        found += _left_out_of_optimizer(runs)
        found += _schedules(runs)
        bounds = Both(trainers.keras.constraints(), trainers.torch.constraints())
        if bounds.torch:
            found += _same_constraints(runs, bounds)
    finally:
        for trainer in trainers:
            trainer.stop()
    if bounds.keras and not bounds.torch:
        found += _keras_alone(runs, bounds.keras)
    return found


def _not_compared(text: str) -> Finding:
    return Finding(None, None, Kind.NOT_COMPARED, None, f"not compared: {text}")


def _loss_scales(keras: str, torch: str) -> list[Finding]:
    if keras == torch:
        return []
    text = (
        f"the loss's scale: {keras or 'none'} in Keras, {torch or 'none'} in torch. It cancels in float64, in which "
        "the steps are compared, and not in float16"
    )
    return [_not_compared(text)]


def _left_out_of_optimizer(runs: Runs) -> list[Finding]:
    """Parameters that both models train and one optimizer does not hold."""
    rules = Both(*(trainer.rules() for trainer in runs.bench.trainers))
    found = []
    for pair, slot in runs.bench.slots():
        for side, held, path in (("Keras", rules.keras, slot.keras), ("torch", rules.torch, slot.torch)):
            if held and path not in held:
                text = f"{path} is none of the parameters that {side}'s optimizer updates"
                fix = "give the optimizer all parameters, or freeze this one on both sides"
                found.append(Finding(pair.keras, ", ".join(pair.torch), Kind.TRAINING, None, text, fix))
    return found


def _schedules(runs: Runs) -> list[Finding]:
    """Schedules of learning rates, of updates that no run gets to: the first one at which they differ."""
    trainers = runs.bench.trainers
    rates = Both(trainers.keras.rates(UPDATES), trainers.torch.rates(UPDATES))
    if not any(rates):
        return []
    last = min(len(side) or len(UPDATES) for side in rates)
    runs.bench.result.notes.append(
        f"the schedules of learning rates were compared in {last} of the first {UPDATES[last - 1] + 1:,} updates"
    )
    constant = Both(*({rule.rate for rule in trainer.rules().values()} for trainer in trainers))
    if any(not side and len(known) != 1 for side, known in zip(rates, constant, strict=True)):
        return []
    keras, torch = (side or [*known] * last for side, known in zip(rates, constant, strict=True))
    for update, a, b in zip(UPDATES, keras, torch, strict=False):
        if abs(a - b) <= RATES_AGREE * max(abs(a), abs(b)):
            continue
        if update < len(runs.targets):
            return []  # the steps show it
        if all(rates):
            said = f"learning rates: that of update {update + 1:,} is {a:.6g} in Keras and {b:.6g} in torch"
            runs.bench.result.unproven.append(Unproven(UnprovenKind.TRAINING, said))
            return []
        text = f"learning rate of update {update + 1:,}: {a:.6g} in Keras, {b:.6g} in torch; these steps do not show it"
        return [Finding(None, None, Kind.TRAINING, None, text, "the same schedule on both sides")]
    return []


# --- constraints ----------------------------------------------------------------------------------------


def _same_constraints(runs: Runs, bounds: Both[dict[str, str]]) -> list[Finding]:
    """Both sides' constraints on the weights as they are, turned and enlarged."""
    trainers, slots = runs.bench.trainers, runs.bench.slots()
    for scale in SCALES:
        keras = {slot.keras: runs.start.keras[slot.keras] * scale for _, slot in slots}
        torch = {slot.torch: runs.start.torch[slot.torch] * scale for _, slot in slots}
        after = Both(trainers.keras.constrained(keras), trainers.torch.constrained(torch))
        for pair, slot in slots:
            a = slot.layout.part("keras", after.keras[slot.keras])
            b = slot.layout.to_keras(after.torch[slot.torch])
            if np.all(np.abs(a - b) <= AGREE * limits(np.maximum(np.abs(a), np.abs(b)))):
                continue
            gap = float(np.abs(a - b).max())
            text = (
                f"weight constraint: on the weights times {scale:g}, {slot.keras} differs by {gap:.3g} after "
                f"{bounds.keras.get(slot.keras, 'none')} in Keras and {bounds.torch['']} in torch"
            )
            fix = "the same constraint on both sides"
            return [Finding(pair.keras, ", ".join(pair.torch), Kind.TRAINING, None, text, fix)]
    return []


def _keras_alone(runs: Runs, bounds: dict[str, str]) -> list[Finding]:
    """Constraints of Keras alone: a difference where they act in these steps, else named as not compared."""
    with_them = runs.run("keras")
    runs.explained.unconstrained = True
    without = runs.run("keras")
    found = []
    pairs = {slot.keras: (pair, slot) for pair, slot in runs.bench.slots()}
    for path, words in bounds.items():
        moved = max(_greatest(a.state[path], b.state[path]) for a, b in zip(with_them, without, strict=True))
        stated = f"Keras applies {words} to {path} after every step, torch states nothing like it"
        if not moved:
            found.append(_not_compared(f"weight constraint: {stated}, and these steps do not reach it"))
            continue
        pair = pairs[path][0] if path in pairs else None
        names = (pair.keras, ", ".join(pair.torch)) if pair else (path.rpartition(".")[0], None)
        text = f"weight constraint: {stated}; it changes the weights by up to {moved:.3g} in these steps"
        fix = "the same constraint on both sides: {'after_step': ...} with torch's optimizer (docs/parity.md)"
        found.append(Finding(names[0], names[1], Kind.TRAINING, None, text, fix))
    return found


def _greatest(a: Array, b: Array) -> float:
    return float(np.abs(a - b).max(initial=0.0))
