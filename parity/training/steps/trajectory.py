"""Steps of training from the same weights and batches: where the two sides differ, why, and what else differs.

Both sides run all steps, and what they have after each step is compared. At the first difference the cause is
sought. Where one is proven, the Keras side follows torch's rule in that point, and the run is repeated until nothing
differs or no cause is known. So one difference does not hide the next.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from parity.core.finding import Finding, Kind
from parity.core.rules import Hyperparameters
from parity.core.tolerance import STRUCTURE
from parity.core.types import Both, Side
from parity.training.bench import Bench
from parity.training.rounding import DRAWS, MORE_DRAWS, not_repeated, repeated
from parity.training.steps.explain import blurred_paths, explain, optimizer_steps
from parity.training.steps.explained import Explained
from parity.training.steps.first_difference import FirstDifference, Steps, first_difference
from parity.training.steps.optimizer_causes import does_what_it_says, with_penalties
from parity.training.steps.rounding import StepSpread
from parity.training.steps.run import Runs, TrainingStep
from parity.training.steps.simulated import unseen
from parity.training.steps.stated import compare_stated

REPEATS = 8
"""How often a run is repeated with what was found made alike."""


class Trajectory:
    """Runs of both sides, judged.

    Args:
        bench: the two sides.
        steps: how many steps to compare.
        optimizer: as in `parity.training.findings.training_findings`.
        match_rules: whether differences between the frameworks' own rules are notes instead of findings.
    """

    def __init__(self, bench: Bench, steps: int, optimizer: Any, match_rules: bool) -> None:
        self.bench, self.match_rules = bench, match_rules
        self.runs = Runs(bench, steps, optimizer)
        self.rounding = [Both(StepSpread(), StepSpread()) for _ in range(steps)]
        self.matched: list[Finding] = []
        self._drawn = {"torch": 0, "keras": 0}
        self._zeros_looked_for = False
        self._stray: Side | None = None

    def judge(self) -> None:
        """Run, compare, explain, repeat; findings, notes and figures go into the bench's result."""
        result = self.bench.result
        result.findings += compare_stated(self.runs)
        torch = self.runs.reference = self.runs.run("torch")
        difference: FirstDifference | None = None
        for attempt in range(REPEATS):
            follow = torch if attempt else []
            # The run before is let go first: each holds the weights many times.
            steps = Both[list[TrainingStep]]([], torch)
            steps = Both(self.runs.run("keras", follow), torch)
            if attempt == 0:
                result.figures["losses"] = {
                    "keras": [step.loss for step in steps.keras],
                    "torch": [step.loss for step in steps.torch],
                }
            if not all(np.isfinite(step.loss) for side in steps for step in side):
                text = "a loss of the training steps is not finite: take a smaller learning rate"
                result.findings.append(Finding(None, None, Kind.NON_FINITE, None, text))
                return
            steps, difference = self._beyond_rounding(steps, follow)
            if self._stray is not None:
                result.findings.append(not_repeated(self._stray, "two runs of the steps from the same state"))
                result.noisy.add(self._stray)
                return
            torch = self.runs.reference
            if difference is None or (difference.what == "optimizer state" and self._judge_rules(steps)):
                break
            found = explain(self.runs, difference, steps)
            self._take(found, f" (step {difference.step + 1})")
            if found.held:
                torch = self.runs.reference = self.runs.run("torch")
            if not found.known:
                break
        result.figures["steps"] = len(self.rounding)
        if difference is None:
            self._judge_rules(steps)
        if self.runs.rounded:
            result.notes.append(
                f"Keras computes the learning rate in float32 ({self.runs.rounded:.1g} off): the steps were compared "
                "with torch's rate"
            )
        result.notes += _by_cause(self.matched)
        if attempt == 0 and difference is None and self._hides_the_rate(steps.keras[0]):
            result.notes.append(
                "Keras' momentum holds the learning rate, torch's does not: the same while the learning rate stays"
            )

    def _first_difference(self, steps: Steps) -> FirstDifference | None:
        return first_difference(self.bench, steps, self.rounding, self.runs.explained.ignored)

    def _beyond_rounding(
        self, steps: Steps, follow: Sequence[TrainingStep]
    ) -> tuple[Steps, FirstDifference | None]:
        """The first difference that no rounding explains: spreads are measured until none is left, or all runs are made.

        Gradients that are rounding alone are taken for zero on the way, and the steps are run again.
        """
        difference = self._measured("torch", steps, [])
        if difference is not None and self._stray is None and not self._zeros_looked_for:
            self._zeros_looked_for = True
            if self._take_for_zero(steps):
                torch = self.runs.reference = self.runs.run("torch")
                self.rounding = [Both(StepSpread(), StepSpread()) for _ in torch]
                self._drawn = {"torch": 0, "keras": 0}
                steps = Both(self.runs.run("keras", torch if follow else []), torch)
                follow = torch if follow else []
                difference = self._measured("torch", steps, [])
        if difference is not None and self._stray is None:
            difference = self._measured("keras", steps, follow)
        return steps, difference

    def _measured(self, side: Side, steps: Steps, follow: Sequence[TrainingStep]) -> FirstDifference | None:
        """The first difference, with as many runs of one side as it takes, or as there are."""
        difference = self._first_difference(steps)
        if difference is not None and not self._drawn[side] and not self._repeats(side, steps, follow):
            self._stray = side
        while (
            difference is not None
            and self._stray is None
            and self._drawn[side] < (MORE_DRAWS if _few(difference) else DRAWS)
        ):
            moved = self.runs.nudged(side, self._drawn[side], follow)
            for spread, plain, shaken in zip(self.rounding, steps.of(side), moved, strict=True):
                spread.of(side).take(plain, shaken)
            self._drawn[side] += 1
            difference = self._first_difference(steps)
        return difference

    def _repeats(self, side: Side, steps: Steps, follow: Sequence[TrainingStep]) -> bool:
        """Whether one side makes the same steps once more."""
        again = self.runs.run(side, follow)
        return all(
            repeated(first.state, later.state) for first, later in zip(steps.of(side), again, strict=True)
        )

    def _take_for_zero(self, steps: Steps) -> bool:
        """Take gradients that are rounding alone for zero on both sides: Adam would make steps of the rounding."""
        summed, zeroed = self.bench.summed(list(self.bench.watched)), self.runs.zeroed
        for _, slot in self.bench.slots():
            values = steps.keras[0].gradients.get(slot.keras), steps.torch[0].gradients.get(slot.torch)
            bound, held = summed.get(slot.keras), [np.abs(value) for value in values if value is not None]
            if bound is None or not any(np.any(value) for value in held):
                continue
            if all(np.all(value <= STRUCTURE * bound) for value in held):
                zeroed.keras.add(slot.keras)
                zeroed.torch.add(slot.torch)
        if zeroed.keras:
            names = ", ".join(sorted(zeroed.keras)[:3])
            self.bench.result.notes.append(
                f"gradients that are zero except for rounding ({names}; {len(zeroed.keras)} in all) were taken "
                "for zero in the steps"
            )
        return bool(zeroed.keras)

    def _judge_rules(self, steps: Steps) -> bool:
        """The rules themselves, where the steps agree: whether each side follows its own, and what they do not show.

        Returns:
            Whether something was found.
        """
        last, slots = len(steps.keras) - 1, self.bench.slots()
        if not all(side[last].rules for side in steps):
            return False  # of an unknown kind, which is named already
        pairs = [optimizer_steps(self.runs, number, steps) for number in range(last + 1)]
        decayed = any(part.name == "weight decay" for part in self.runs.explained.parts)
        keras = [
            replace(pair.keras, penalties={}) if decayed else with_penalties(pair.keras) for pair in pairs
        ]
        torch = [pair.torch for pair in pairs]
        held = set(keras[last].rules) & set(torch[last].rules) & set(keras[last].gradients)
        followed = sorted(
            (held & set(torch[last].gradients)) - blurred_paths(self.runs, last, steps, self.rounding)
        )
        for name, side in (("Keras", keras), ("torch", torch)):
            if followed and not does_what_it_says(side, followed):
                text = f"not compared: {name}'s optimizer does not follow the rule that its settings state"
                self.bench.result.findings.append(Finding(None, None, Kind.NOT_COMPARED, None, text))
                return True
        places = [
            (
                pair.keras,
                ", ".join(pair.torch),
                [s.rules[slot.keras] for s in keras],
                [s.rules[slot.keras] for s in torch],
            )
            for pair, slot in slots
            if slot.keras in held
        ]
        found = unseen(places, self.runs.explained.parts)
        self._take(found, "")
        return bool(found.findings or found.rules)

    def _take(self, found: Explained, after: str) -> None:
        """Findings into the result (the frameworks' own rules as notes where they are matched), fixes into the next run."""
        result, explained = self.bench.result, self.runs.explained
        result.findings += [replace(f, evidence=f.evidence + after) for f in found.findings]
        if self.match_rules:
            self.matched += found.rules
        else:
            result.findings += [replace(f, evidence=f.evidence + after) for f in found.rules]
        for path, changes in found.batchnorm.items():
            explained.batchnorm.setdefault(path, {}).update(changes)
        explained.parts += [part for part in found.parts if part not in explained.parts]
        explained.ignored |= found.ignored
        explained.held |= found.held

    def _hides_the_rate(self, first: TrainingStep) -> bool:
        """Whether the frameworks' momentum has two rules that agree only because the learning rate stays."""
        chosen = self.runs.optimizers.keras
        steady = isinstance(chosen, Hyperparameters) and len(set(chosen.rates)) == 1
        return steady and len(self.rounding) > 1 and any(r.rate_in_velocity for r in first.rules.values())


def _few(difference: FirstDifference) -> bool:
    """Whether few elements of each tensor differ, or what follows from them alone, so that more runs may explain it."""
    if difference.what == "optimizer state":
        return True
    return bool(difference.gaps) and all(gap.by_chance for gap in difference.gaps)


def _by_cause(matched: Sequence[Finding]) -> list[str]:
    """One note for each rule that was made alike: at how many layers, and what was measured at the first."""
    notes = []
    for cause in dict.fromkeys(finding.cause for finding in matched):
        places = [finding.place for finding in matched if finding.cause == cause]
        first = next(finding for finding in matched if finding.cause == cause)
        more = f" and {len(places) - 1} more layers" if len(places) > 1 else ""
        notes.append(
            f"judged with torch's rule on both sides [{cause}] at {places[0]}{more}: {first.evidence}"
        )
    return notes
