"""All steps of either side's training, from the same weights on the same batches."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from parity.adapters.inputs.padding import masks_zero, padded_like
from parity.core.rules import Hyperparameters, Rule, State, advance
from parity.core.trainer import Trainer
from parity.core.types import Array, Both, Side
from parity.pairing.slots import Slot
from parity.training.bench import Bench
from parity.training.requests import hyperparameters_of, optimizer_checked
from parity.training.rounding import shaken
from parity.training.steps.explained import Explained
from parity.training.steps.parts import exchanged
from parity.training.ties import add_up

FLOAT32 = 16 * 2.0**-24
"""How far a learning rate may be off, relatively, where Keras' schedule computed it in float32."""


@dataclass
class TrainingStep:
    """What one side had after one step.

    Attributes:
        loss: before the update.
        gradients: of the loss, before the update.
        state: parameters and statistics after it.
        rules: the optimizer's rule of each parameter in this step.
        optimizer_state: what the optimizer keeps of each parameter after it.
        penalties: gradients of the regularisers, before it.
    """

    loss: float
    gradients: dict[str, Array]
    state: dict[str, Array]
    rules: dict[str, Rule]
    optimizer_state: dict[str, State]
    penalties: dict[str, Array]


class Runs:
    """Runs of both sides, with what was explained of their differences made alike.

    Attributes:
        batches: each side's batches, one a step.
        targets: of each step, for both sides.
        start: weights and statistics before the first step.
        optimizers: what each side makes its optimizer of.
        explained: what the Keras side takes over from torch.
        zeroed: paths of parameters whose gradient is rounding alone, and is taken for zero.
        reference: torch's steps, once they are made: a Keras schedule's rounding is judged by their rates.
        rounded: greatest relative rounding of a Keras learning rate that was put right.
    """

    def __init__(self, bench: Bench, steps: int, optimizer: Any) -> None:
        self.bench = bench
        padding = masks_zero(bench.layers.keras)
        keras = [_batch(bench.inputs.keras, step, padding) for step in range(steps)]
        self.batches = Both(keras, [bench.to_torch(batch) for batch in keras])
        self.targets = [bench.targets(step + 1) for step in range(steps)]
        self.start = bench.states()
        self.optimizers = self._optimizers(optimizer)
        self.explained = Explained()
        self.zeroed = Both[set[str]](set(), set())
        self.reference: Sequence[TrainingStep] = ()
        self.rounded = 0.0
        self._shake: np.random.Generator | None = None

    def run(self, side: Side, torch: Sequence[TrainingStep] = ()) -> list[TrainingStep]:
        """All steps of one side; with torch's steps, Keras takes over the parts of the rule that were explained."""
        return list(self._steps(side, self.start.of(side), self.batches.of(side), torch))

    def nudged(self, side: Side, draw: int, torch: Sequence[TrainingStep] = ()) -> Iterator[TrainingStep]:
        """The same steps from weights, inputs and targets that were moved by one unit in the last place.

        Each holds several copies of the weights: take what is needed of one before asking for the next.
        """
        rng = np.random.default_rng((1, draw))
        start = {path: shaken(rng, value) for path, value in self.start.of(side).items()}
        batches = [[shaken(rng, value) for value in batch] for batch in self.batches.of(side)]
        targets = self.targets
        self.targets = [Both(*([shaken(rng, v) for v in values] for values in both)) for both in targets]
        self._shake = rng
        try:
            yield from self._steps(side, start, batches, torch)
        finally:
            self.targets, self._shake = targets, None
            self.bench.trainers.of(side).load(self.start.of(side))

    # --- the optimizers ---------------------------------------------------------------------------------

    def _optimizers(self, wanted: Any) -> Both[Any]:
        optimizer_checked(wanted)
        if isinstance(wanted, tuple | list):
            return Both(*wanted)
        chosen = hyperparameters_of("sgd" if wanted is None else wanted, self._sgd_rate())
        self.bench.result.figures["optimizer"] = {
            "name": chosen.name,
            "lr": list(chosen.rates),
            **chosen.options,
        }
        return Both(chosen, chosen)

    def _sgd_rate(self) -> float:
        """A rate at which the first step takes about a tenth off the loss."""
        with self.bench.unchanged():
            first = self.bench.trainers.torch.evaluate(
                self.batches.torch[0], self.targets[0].torch, training=True
            )
        square = sum(float(np.sum(np.square(v))) for v in first.parameters.values() if v is not None)
        rate = 0.1 * abs(first.loss) / square if square > 0.0 and np.isfinite(square) else 0.01
        return float(f"{min(rate, 1.0):.2g}")

    # --- the steps --------------------------------------------------------------------------------------

    def _steps(
        self,
        side: Side,
        start: dict[str, Array],
        batches: Sequence[list[Array]],
        torch: Sequence[TrainingStep],
    ) -> Iterator[TrainingStep]:
        trainer = self.bench.trainers.of(side)
        trainer.load(start)
        trainer.start(self.optimizers.of(side))
        before: Mapping[str, State] = {}
        with ExitStack() as stack:
            if side == "keras":
                for path, changes in self.explained.batchnorm.items():
                    stack.enter_context(trainer.batchnorm(path, **changes))
                if self.explained.unconstrained:
                    stack.enter_context(trainer.unconstrained())
            for number, batch in enumerate(batches):
                rules = torch[number].rules if torch else None
                step = self._step(side, number, batch, before, rules)
                before = step.optimizer_state
                yield step
        trainer.stop()
        trainer.load(start)

    def _step(
        self,
        side: Side,
        number: int,
        batch: list[Array],
        before: Mapping[str, State],
        torch: Mapping[str, Rule] | None,
    ) -> TrainingStep:
        """One step of one side; `before` is the optimizer's state, `torch` the rules to take parts from."""
        trainer = self.bench.trainers.of(side)
        targets = self.targets[number].of(side)
        found = trainer.evaluate(batch, targets, training=True, shake=self._shake)
        add_up(self.bench.ties, side, found.parameters)
        held = self._left_out(side) | (self.explained.held if side == "torch" else set())
        trained, zeroed = trainer.trainable() - held, self.zeroed.of(side)
        gradients = {
            path: np.zeros_like(gradient) if path in zeroed else gradient
            for path, gradient in found.parameters.items()
            if gradient is not None and path in trained
        }
        penalties = {p: g for p, g in trainer.penalties().items() if p in trained}
        rules, optimizer = trainer.rules(), self.optimizers.of(side)
        if isinstance(optimizer, Hyperparameters):
            rules = {path: replace(rule, rate=optimizer.rate(number)) for path, rule in rules.items()}
        elif side == "keras" and self.reference:
            rules = self._exact_rates(trainer, rules, self.reference[number].rules)
        if torch is not None and self.explained.parts:
            rules = self._exchange(rules, torch)
            optimizer_state = self._by_rule(trainer, rules, gradients, penalties, before)
        else:
            whole = {**penalties, **{p: g + penalties.get(p, 0.0) for p, g in gradients.items()}}
            trainer.apply(whole, number)
            optimizer_state = trainer.optimizer_state() if rules else {}
        return TrainingStep(found.loss, gradients, trainer.state(), rules, optimizer_state, penalties)

    def _left_out(self, side: Side) -> set[str]:
        """Parameters that one side alone trains."""
        pairs = self.bench.pairing.pairs
        alone = {c.path for pair in pairs for c in pair.constants if c.side == side and not c.folded}
        slots = [slot for pair in pairs for slot in pair.slots if slot.keras in self.bench.untrained]
        return alone | {slot.keras if side == "keras" else slot.torch for slot in slots}

    def _exact_rates(
        self, trainer: Trainer, keras: Mapping[str, Rule], torch: Mapping[str, Rule]
    ) -> dict[str, Rule]:
        """The Keras rules with torch's rate, where Keras' is the same number computed in float32."""
        paths = {slot.keras: slot.torch for _, slot in self.bench.slots()}
        pairs = {(rule.rate, torch[paths[p]].rate) for p, rule in keras.items() if paths.get(p) in torch}
        if len(pairs) != 1:
            return dict(keras)
        ((rate, exact),) = pairs
        gap = abs(rate - exact) / abs(exact) if exact else 0.0
        if not 0.0 < gap <= FLOAT32 or float(np.float32(rate)) != rate:
            return dict(keras)
        self.rounded = max(self.rounded, gap)
        trainer.adopt_rate(exact)
        return {path: replace(rule, rate=exact) for path, rule in keras.items()}

    def _exchange(self, keras: Mapping[str, Rule], torch: Mapping[str, Rule]) -> dict[str, Rule]:
        """The Keras rules with the parts that were explained taken from torch's."""
        rules = {s.keras: torch_rule(torch[s.torch], s) for _, s in self.bench.slots() if s.torch in torch}
        return {
            path: exchanged(rule, rules[path], self.explained.parts) if path in rules else rule
            for path, rule in keras.items()
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
        weights, new = advance(rules, trainer.state(), whole, states)
        trainer.load(weights if self.explained.unconstrained else trainer.constrained(weights))
        trainer.count_step()
        return {**states, **new}


def torch_rule(rule: Rule, slot: Slot) -> Rule:
    """The rule of what a slot holds of a torch tensor: of some rows, it says of which tensor, where a norm asks it."""
    return replace(rule, tensor=slot.torch) if slot.layout.torch_rows and rule.clip == "clipnorm" else rule


def _batch(inputs: Sequence[Array], step: int, padding: bool) -> list[Array]:
    """The inputs in another order and a little changed, so that no two steps are the same; `padding` stays at its end."""
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
            rolled = np.roll(value, step, axis=1)
            value = padded_like(rolled, value) if padding else rolled
        batch.append(value)
    return batch
