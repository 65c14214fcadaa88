"""All steps of either side's training, from the same weights on the same batches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from parity.core.errors import UsageError
from parity.core.finding import Finding
from parity.core.rules import (
    Hyperparameters,
    Rule,
    State,
    clipped,
    exchanged,
    hyperparameters_of,
    in_torch_terms,
    update,
)
from parity.core.trainer import Trainer
from parity.core.types import Array
from parity.training.bench import greater, nudge
from parity.training.gradients import moved
from parity.training.statistics import Explained
from parity.training.ties import tied

if TYPE_CHECKING:
    from parity.training.bench import Bench


@dataclass
class TrainingStep:
    """What one side had after one step.

    Attributes:
        loss: before the update.
        gradients: of the loss, before the update.
        state: parameters and statistics after it.
        rules: the optimizer's rule of each parameter in this step.
        optimizer_state: its state of each parameter after it.
        penalties: gradients of the regularisers, before it.
    """

    loss: float
    gradients: dict[str, Array]
    state: dict[str, Array]
    rules: dict[str, Rule]
    optimizer_state: dict[str, State]
    penalties: dict[str, Array]


@dataclass
class Rounding:
    """What one unit roundoff in weights and inputs does to the torch side after each step."""

    loss: list[float] = field(default_factory=list)
    gradients: list[dict[str, float]] = field(default_factory=list)
    state: list[dict[str, float]] = field(default_factory=list)
    optimizer_state: list[dict[str, dict[str, float]]] = field(default_factory=list)


class Runs:
    """Runs of both sides, with what was explained of their differences made alike."""

    def __init__(self, bench: Bench, steps: int, optimizer: Any, match_rules: bool) -> None:
        self.bench, self.steps, self.match_rules = bench, steps, match_rules
        self.batches = [_batch(bench.inputs[0], step) for step in range(steps)]
        self.torch_batches = [bench._to_torch(batch) for batch in self.batches]
        self.targets = [bench.targets(step + 1) for step in range(steps)]
        self.start = bench.keras.state(), bench.torch.state()
        self.optimizers = self._optimizers(optimizer)
        self.explained = Explained()
        self.rounding = Rounding()
        self.zeroed: tuple[set[str], set[str]] = (set(), set())
        self.matched: list[Finding] = []

    def _optimizers(self, wanted: Any) -> tuple[Any, Any]:
        """What each side makes its optimizer of."""
        if isinstance(wanted, tuple | list):
            if len(wanted) != 2:
                raise UsageError(
                    f"optimizer must be a name, a dictionary, or a pair (Keras, torch); got {len(wanted)} items."
                )
            return wanted[0], wanted[1]
        hyperparameters = hyperparameters_of("sgd" if wanted is None else wanted, self._sgd_rate())
        self.bench.result.figures["optimizer"] = {
            "name": hyperparameters.name,
            "lr": list(hyperparameters.rates),
            **hyperparameters.options,
        }
        return hyperparameters, hyperparameters

    def _sgd_rate(self) -> float:
        """A rate at which the first step takes about a tenth off the loss."""
        with self.bench.unchanged():
            first = self.bench.torch.evaluate(self.torch_batches[0], self.targets[0][1], training=True)
        square = sum(float(np.sum(np.square(v))) for v in first.parameters.values() if v is not None)
        rate = 0.1 * abs(first.loss) / square if square > 0.0 and np.isfinite(square) else 0.01
        return float(f"{min(rate, 1.0):.2g}")

    # --- running ------------------------------------------------------------------------------------------

    def _run(
        self, trainer: Trainer, batches: Sequence[Any], wanted: Any, theirs: Sequence[TrainingStep] = ()
    ) -> list[TrainingStep]:
        """All steps of one side; with `theirs`, the Keras side takes over the parts of the rule that were explained."""
        side = 0 if trainer.side == "keras" else 1
        trainer.load(self.start[side])
        trainer.start(wanted)
        steps: list[TrainingStep] = []
        states: dict[str, State] = {}
        with ExitStack() as stack:
            if side == 0:
                for path, changes in self.explained.batchnorm.items():
                    stack.enter_context(trainer.batchnorm(path, **changes))
            for number, batch in enumerate(batches):
                targets = self.targets[number][side]
                result = trainer.evaluate(batch, targets, training=True)
                tied(self.bench.ties, *((result.parameters, {}) if side == 0 else ({}, result.parameters)))
                trained = trainer.trainable() - self._left_out(side)
                gradients = {
                    p: np.zeros_like(g) if p in self.zeroed[side] else g
                    for p, g in result.parameters.items()
                    if g is not None and p in trained
                }
                penalties = {p: g for p, g in trainer.penalties().items() if p in trained}
                whole = {**penalties, **{p: g + penalties.get(p, 0.0) for p, g in gradients.items()}}
                if isinstance(wanted, Hyperparameters):
                    rules = {p: replace(r, rate=wanted.rate(number)) for p, r in trainer.rules().items()}
                else:
                    rules = trainer.rules()
                if theirs and self.explained.parts:
                    rules = self._exchange(rules, theirs[number].rules)
                    states = self._by_rule(trainer, rules, gradients, penalties, states)
                    optimizer_state = states
                else:
                    trainer.apply(whole, number)
                    optimizer_state = trainer.optimizer_state() if rules else {}
                steps.append(
                    TrainingStep(result.loss, gradients, trainer.state(), rules, optimizer_state, penalties)
                )
        trainer.stop()
        trainer.load(self.start[side])
        return steps

    def _left_out(self, side: int) -> set[str]:
        """Parameters that one side alone trains."""
        pairs = self.bench.pairing.pairs
        slots = [slot for pair in pairs for slot in pair.slots]
        alone = {
            c.path
            for pair in pairs
            for c in pair.constants
            if c.side == ("keras", "torch")[side] and not c.folded
        }
        return alone | {(s.keras, s.torch)[side] for s in slots if s.keras in self.bench.untrained}

    def _exchange(self, ours: Mapping[str, Rule], theirs: Mapping[str, Rule]) -> dict[str, Rule]:
        mates = {slot.keras: slot.torch for _, slot in self.bench.slots()}
        return {
            path: exchanged(rule, theirs[mates[path]], self.explained.parts)
            if mates.get(path) in theirs
            else rule
            for path, rule in ours.items()
        }

    def _by_rule(
        self, trainer: Trainer, rules: Mapping[str, Rule], gradients: Mapping[str, Array],
        penalties: Mapping[str, Array], states: Mapping[str, State],
    ) -> dict[str, State]:  # fmt: skip
        """One step by the rules themselves; a regulariser is a weight decay there already."""
        decayed = any(part.name == "weight decay" for part in self.explained.parts)
        whole = {
            p: g if decayed or p not in penalties else g + penalties[p]
            for p, g in gradients.items()
            if p in rules
        }
        before = trainer.state()
        cut = clipped(rules, whole)
        new = {path: update(rules[path], before[path], cut[path], states.get(path, {})) for path in whole}
        trainer.load({path: weight for path, (weight, _) in new.items()})
        return {**states, **{path: state for path, (_, state) in new.items()}}

    def _measure_rounding(
        self, steps: Sequence[TrainingStep], side: int, theirs: Sequence[TrainingStep] = ()
    ) -> None:
        """Repeat a side's run from weights and inputs moved by one roundoff; the greater rounding of both sides counts."""
        trainer = (self.bench.keras, self.bench.torch)[side]
        rng = np.random.default_rng(1)
        start, batches = self.start, (self.batches, self.torch_batches)[side]
        moved_state = {path: nudge(rng, value) for path, value in start[side].items()}
        self.start = (moved_state, start[1]) if side == 0 else (start[0], moved_state)
        moved_batches = [[nudge(rng, value) for value in batch] for batch in batches]
        shaken = self._run(trainer, moved_batches, self.optimizers[side], theirs)
        self.start = start
        trainer.load(start[side])
        slots = [slot for pair in self.bench.pairing.pairs for slot in pair.slots]
        names = (
            {slot.keras: slot.torch for slot in slots}
            if side == 0
            else {slot.torch: slot.torch for slot in slots}
        )
        for number, (plain, other) in enumerate(zip(steps, shaken, strict=True)):
            if len(self.rounding.loss) <= number:
                self.rounding.loss.append(0.0)
                self.rounding.gradients.append({})
                self.rounding.state.append({})
                self.rounding.optimizer_state.append({})
            self.rounding.loss[number] = max(self.rounding.loss[number], abs(plain.loss - other.loss))
            for kept, measured in (
                (self.rounding.gradients, moved(plain.gradients, other.gradients)),
                (self.rounding.state, moved(plain.state, other.state)),
            ):
                kept[number] = greater(kept[number], {names[p]: v for p, v in measured.items() if p in names})
            for path, states in plain.optimizer_state.items():
                if path in names and path in other.optimizer_state:
                    rule = plain.rules.get(path)
                    values = [
                        in_torch_terms(rule, s) if rule else s for s in (states, other.optimizer_state[path])
                    ]
                    known = self.rounding.optimizer_state[number].get(names[path], {})
                    self.rounding.optimizer_state[number][names[path]] = greater(
                        known, moved(values[0], values[1])
                    )


def _batch(inputs: Sequence[Array], step: int) -> list[Array]:
    """The inputs in another order and a little changed, so that no two steps are the same."""
    if step == 0:
        return list(inputs)
    rng = np.random.default_rng(step)
    order = rng.permutation(inputs[0].shape[0])
    batch = []
    for value in inputs:
        value = value[order] if value.shape[0] == len(order) else value
        if value.dtype.kind == "f":
            spread = 0.1 * float(np.std(value)) or 0.1
            value = value + spread * rng.standard_normal(value.shape)
        elif value.ndim > 1:
            value = np.roll(value, step, axis=1)
        batch.append(value)
    return batch
