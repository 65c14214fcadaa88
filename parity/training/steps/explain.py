"""Why two runs differ: the optimizers' rules, the normalisations' statistics, or no known reason."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import TypeVar

import numpy as np

from parity.core.finding import Finding, Kind
from parity.core.types import Array, Both
from parity.pairing.pair import LayerPair
from parity.training.gaps import spread_of
from parity.training.rounding import limit_of
from parity.training.steps.explained import EXACT, Explained
from parity.training.steps.first_difference import FirstDifference, Steps
from parity.training.steps.optimizer_causes import OptimizerStep, explain_step
from parity.training.steps.rounding import StepSpreads
from parity.training.steps.run import Runs, torch_rule
from parity.training.steps.statistics import Statistics, batch_of, explain_statistics
from parity.training.steps.two_biases import two_biases

V = TypeVar("V")


def explain(runs: Runs, difference: FirstDifference, steps: Steps) -> Explained:
    """The causes of the first difference; one finding without a cause where none is proven."""
    if difference.what == "statistics":
        return _statistics(runs, difference, steps)
    if difference.what == "parameters":
        pairs = [optimizer_steps(runs, number, steps) for number in range(difference.step + 1)]
        before = Both(*(s[difference.step - 1].state for s in steps)) if difference.step else runs.start
        after = Both(*(side[difference.step].state for side in steps))
        biases = two_biases(difference.gaps, runs.bench.slots(), before, after)
        if biases is not None:
            return biases
        plain = [
            gap for gap in difference.gaps if not gap.slot.summed
        ]  # sums of two biases follow a rule of their own
        worst = max(plain or difference.gaps, key=lambda gap: gap.relative).slot
        left_out = {slot.keras for _, slot in runs.bench.slots() if slot.summed} if plain else set()
        found = explain_step(
            [pair.keras for pair in pairs],
            [pair.torch for pair in pairs],
            runs.bench.slots(),
            worst,
            left_out,
        )
        if found.known or found.findings:
            return found
    first = difference.gaps[0] if difference.gaps else None
    text = f"{difference.what}: {difference.text or '; '.join(str(gap) for gap in difference.gaps[:3])}"
    more = f" and {len(difference.gaps) - 3} more tensors" if len(difference.gaps) > 3 else ""
    keras, torch = (first.pair.keras, ", ".join(first.pair.torch)) if first else (None, None)
    return Explained([Finding(keras, torch, Kind.TRAINING, None, text + more)], known=False)


# --- optimizers -----------------------------------------------------------------------------------------


def blurred_paths(runs: Runs, last: int, steps: Steps, rounding: Sequence[StepSpreads]) -> set[str]:
    """Parameters whose gradient is little more than rounding in one of the steps: they follow no rule closely."""
    found = set()
    for number in range(last + 1):
        gradients = steps.keras[number].gradients
        spreads = Both(*(side.gradients for side in rounding[number]))
        for _, slot in runs.bench.slots():
            value = gradients.get(slot.keras)
            if value is None:
                continue
            limit = limit_of(value, value, spread_of(slot, spreads))
            if float(limit.max(initial=0.0)) > EXACT * float(np.abs(value).max(initial=0.0)):
                found.add(slot.keras)
    return found


def optimizer_steps(runs: Runs, number: int, steps: Steps) -> Both[OptimizerStep]:
    """A step of either side, torch's under the Keras paths and in the Keras layout."""
    slots = [slot for _, slot in runs.bench.slots() if slot.layout.keras_rows is None]
    keras, torch = steps.keras[number], steps.torch[number]
    before = Both(steps.keras[number - 1].state, steps.torch[number - 1].state) if number else runs.start

    def paired(values: Mapping[str, V]) -> dict[str, V]:
        return {slot.keras: values[slot.keras] for slot in slots if slot.keras in values}

    def laid(values: Mapping[str, Array]) -> dict[str, Array]:
        return {
            slot.keras: slot.layout.to_keras(values[slot.torch]) for slot in slots if slot.torch in values
        }

    rules = {
        slot.keras: torch_rule(torch.rules[slot.torch], slot) for slot in slots if slot.torch in torch.rules
    }
    trainers = runs.bench.trainers
    whole = not any(slot.layout.partial for slot in slots)

    def constrained(weights: Mapping[str, Array]) -> dict[str, Array]:
        """What the user calls after torch's updates, on weights under the Keras paths."""
        held = {
            slot.torch: slot.layout.to_torch(weights[slot.keras]) for slot in slots if slot.keras in weights
        }
        return laid(trainers.torch.constrained({**trainers.torch.state(), **held}))

    bound = trainers.keras.constraints() and not runs.explained.unconstrained
    after_step = trainers.torch.constraints() and whole
    return Both(
        OptimizerStep(
            paired(before.keras),
            paired(keras.gradients),
            paired(keras.penalties),
            paired(keras.rules),
            paired(keras.state),
            trainers.keras.constrained if bound else None,
        ),
        OptimizerStep(
            laid(before.torch),
            laid(torch.gradients),
            {},
            rules,
            laid(torch.state),
            constrained if after_step else None,
        ),
    )


# --- statistics -----------------------------------------------------------------------------------------


def _statistics(runs: Runs, difference: FirstDifference, steps: Steps) -> Explained:
    """Every normalisation whose statistics differ in this step."""
    bench, number = runs.bench, difference.step
    before = steps.keras[number - 1].state if number else runs.start.keras
    after = Both(steps.keras[number].state, steps.torch[number].state)
    pairs = {gap.pair.keras: gap.pair for gap in difference.gaps}
    trainer = bench.trainers.keras
    trainer.load(before)
    with ExitStack() as stack:
        for path, changes in runs.explained.batchnorm.items():
            stack.enter_context(trainer.batchnorm(path, **changes))
        watch = [path for path in pairs if path in bench.layers.keras]  # also one that holds an activation
        calls = trainer.evaluate(runs.batches.keras[number], None, training=True, watch=watch).calls
    trainer.load(runs.start.keras)
    total = Explained()  # known, always: these statistics enter nothing in training mode
    for path, pair in pairs.items():
        inputs = [call.inputs[0] for call in calls if call.path == path and call.inputs]
        found = _normalisation(runs, pair, inputs, before, after)
        total.findings += found.findings
        total.rules += found.rules
        total.batchnorm |= found.batchnorm
        total.ignored |= found.ignored
    return total


def _normalisation(
    runs: Runs,
    pair: LayerPair,
    inputs: Sequence[Array],
    before: Mapping[str, Array],
    after: Both[dict[str, Array]],
) -> Explained:
    """Why the statistics of one normalisation differ after one step; `inputs` is what it got in Keras."""
    by_name = {slot.torch.rpartition(".")[2]: slot for slot in pair.slots}
    mean, variance = by_name.get("running_mean"), by_name.get("running_var")
    names = pair.keras, ", ".join(pair.torch)
    if mean is None or variance is None or not inputs or pair.keras in runs.explained.batchnorm:
        text = "its statistics differ in training, by no known rule"
        return Explained([Finding(*names, Kind.TRAINING, None, text)], ignored={pair.keras}, known=False)
    layers = runs.bench.layers
    settings = Both(layers.keras[pair.keras].settings, layers.torch[pair.torch[0]].settings)
    axis = settings.keras.get("axis", -1)
    axis = int(axis[0] if isinstance(axis, list | tuple) else axis)
    keep = float(settings.keras.get("momentum", 0.99)), 1.0 - float(settings.torch.get("momentum") or 0.0)
    torch_mean = mean.layout.to_keras(after.torch[mean.torch])
    if mean.bias is not None:  # of the convolution in front, on one side alone: put into torch's mean too
        side, path = mean.bias
        torch_mean = torch_mean + after.of(side)[path] * (1.0 if side == "keras" else -1.0)
    return explain_statistics(
        Statistics(
            pair,
            [batch_of(value, axis) for value in inputs],
            (before[mean.keras], before[variance.keras]),
            (after.keras[mean.keras], after.keras[variance.keras]),
            (torch_mean, variance.layout.to_keras(after.torch[variance.torch])),
            keep,
        )
    )
