"""N steps of training from the same weights and batches: where the two sides part, why, and what parts besides.

Both sides run all steps; what they have after each is compared. At the first difference the cause is sought. Where
one is proven, the Keras side follows torch's rule in that point and the run is repeated, until nothing differs or
no cause is known: so one difference does not hide the next.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from parity.core.finding import Finding, Kind
from parity.core.rules import Hyperparameters, in_torch_terms
from parity.core.tolerance import PRECISION_FACTOR, STRUCTURE
from parity.core.types import Array
from parity.training.gradients import Gap, floor_of, gaps
from parity.training.optimizer_causes import OptimizerStep, explain_step
from parity.training.run import Rounding, Runs, TrainingStep
from parity.training.statistics import EXACT, Explained, Statistics, batch_of, explain_statistics

REPEATS = 8
"""How often a run is repeated with what was found made alike."""


@dataclass(frozen=True)
class Parting:
    """The first difference: in which step (from 0), of what, and the tensors."""

    step: int
    what: str
    gaps: tuple[Gap, ...] = ()
    text: str = ""


class Trajectory(Runs):
    """A run of both sides, judged."""

    def judge(self) -> None:
        """Run, compare, explain, repeat."""
        result, bench = self.bench.result, self.bench
        torch = self._run(bench.torch, self.torch_batches, self.optimizers[1])
        self._measure_rounding(torch, 1)
        measured = False
        for attempt in range(REPEATS):
            keras = self._run(bench.keras, self.batches, self.optimizers[0], torch if attempt else ())
            if attempt == 0:
                result.figures["losses"] = {
                    "keras": [s.loss for s in keras],
                    "torch": [s.loss for s in torch],
                }
            if not all(np.isfinite(s.loss) for s in (*keras, *torch)):
                result.findings.append(
                    Finding(
                        None,
                        None,
                        Kind.NON_FINITE,
                        None,
                        "a loss of the training steps is not finite: take a smaller learning rate",
                    )
                )
                return
            parting = self._first_parting(keras, torch)
            if parting is not None and not measured:  # does Keras round more than torch?
                measured = True
                if self._zero(keras, torch):
                    torch = self._run(bench.torch, self.torch_batches, self.optimizers[1])
                    self.rounding = Rounding()
                    self._measure_rounding(torch, 1)
                    keras = self._run(bench.keras, self.batches, self.optimizers[0], torch if attempt else ())
                self._measure_rounding(keras, 0, torch if attempt else ())
                parting = self._first_parting(keras, torch)
            if parting is None:
                break
            found = self._explain(parting, keras, torch)
            self._take(found, parting)
            if not found.known:
                break
        result.figures["steps"] = self.steps
        result.notes += _by_cause(self.matched)
        hyperparameters = self.optimizers[0]
        steady = (
            self.steps > 1
            and isinstance(hyperparameters, Hyperparameters)
            and len(set(hyperparameters.rates)) == 1
        )
        if (
            steady
            and attempt == 0
            and parting is None
            and any(r.rate_in_velocity for r in keras[0].rules.values())
        ):
            result.notes.append(
                "Keras' momentum holds the learning rate, torch's does not: the same while the learning rate stays"
            )

    def _take(self, found: Explained, parting: Parting) -> None:
        """Findings into the result (the frameworks' own rules as notes where they are matched), fixes into the next run."""
        result = self.bench.result
        after = f" (step {parting.step + 1})"
        for finding in found.findings:
            result.findings.append(replace(finding, evidence=finding.evidence + after))
        if self.match_rules:
            self.matched += found.rules
        else:
            result.findings += [replace(f, evidence=f.evidence + after) for f in found.rules]
        for path, changes in found.batchnorm.items():
            self.explained.batchnorm.setdefault(path, {}).update(changes)
        self.explained.parts += [part for part in found.parts if part not in self.explained.parts]
        self.explained.ignored |= found.ignored

    def _first_parting(self, keras: Sequence[TrainingStep], torch: Sequence[TrainingStep]) -> Parting | None:
        bench, figures = self.bench, self.bench.result.figures
        slots, statistics = (
            bench.slots(),
            [i for i in bench.statistics() if i[0].keras not in self.explained.ignored],
        )
        greatest, hidden = 0.0, None
        for number, (ours, theirs) in enumerate(zip(keras, torch, strict=True)):
            rounding = self.rounding.state[number]
            if (
                not abs(ours.loss - theirs.loss)
                <= STRUCTURE * abs(theirs.loss) + PRECISION_FACTOR * self.rounding.loss[number]
            ):
                return Parting(
                    number,
                    "loss",
                    (),
                    f"the loss is {ours.loss:.12g} in Keras and {theirs.loss:.12g} in torch",
                )
            tensors = gaps(
                slots,
                ours.gradients,
                theirs.gradients,
                self.rounding.gradients[number],
                floor_of(ours.gradients),
            )
            for what, found in (
                ("gradient", tensors),
                ("statistics", gaps(statistics, ours.state, theirs.state, rounding)),
                ("parameters", gaps(slots, ours.state, theirs.state, rounding)),
            ):
                beyond = tuple(gap for gap in found if gap.beyond)
                if beyond:
                    return Parting(number, what, beyond)
                greatest = max([greatest, *(gap.relative for gap in found if what != "gradient")])
            text = self._optimizer_states_differ(number, ours, theirs)
            if text and hidden is None:  # the next steps show it in the parameters, and why
                hidden = Parting(number, "optimizer state", (), text)
        figures["training"] = greatest
        return hidden

    def _optimizer_states_differ(self, number: int, ours: TrainingStep, theirs: TrainingStep) -> str:
        """Optimizer states, both as torch keeps them."""
        floor = floor_of(ours.gradients)
        for pair, slot in self.bench.slots():
            if slot.keras not in ours.rules or slot.torch not in theirs.rules:
                continue
            a = in_torch_terms(ours.rules[slot.keras], ours.optimizer_state.get(slot.keras, {}))
            b = theirs.optimizer_state.get(slot.torch, {})
            for name in sorted(set(a) & set(b)):
                value = b[name] if b[name].ndim == 0 else slot.layout.to_keras(b[name])
                scale = float(np.abs(value).max(initial=0.0))
                gap = float(np.abs(a[name] - value).max(initial=0.0))
                rounding = self.rounding.optimizer_state[number].get(slot.torch, {}).get(name, 0.0)
                if not gap <= STRUCTURE * scale + PRECISION_FACTOR * rounding + floor:
                    return f"{pair.keras}: {name} of {slot.keras} differs by {gap:.3g} (scale {scale:.3g})"
        return ""

    # --- causes -------------------------------------------------------------------------------------------

    def _explain(
        self, parting: Parting, keras: Sequence[TrainingStep], torch: Sequence[TrainingStep]
    ) -> Explained:
        before = keras[parting.step - 1].state if parting.step else self.start[0]
        if parting.what == "statistics":
            return self._statistics(parting, before, keras, torch)
        if parting.what == "parameters":
            steps = [self._one_step(number, keras, torch) for number in range(parting.step + 1)]
            worst = max(parting.gaps, key=lambda gap: gap.relative).slot
            blurred = self._blurred(parting.step, keras)
            found = explain_step(
                [a for a, _ in steps], [b for _, b in steps], self.bench.slots(), worst, blurred
            )
            if found.known:
                return found
        first = parting.gaps[0] if parting.gaps else None
        text = f"{parting.what}: {parting.text or '; '.join(str(gap) for gap in parting.gaps[:3])}"
        more = f" and {len(parting.gaps) - 3} tensors more" if len(parting.gaps) > 3 else ""
        ours, theirs = (first.pair.keras, ", ".join(first.pair.torch)) if first else (None, None)
        return Explained([Finding(ours, theirs, Kind.TRAINING, None, text + more)], known=False)

    def _zero(self, keras: Sequence[TrainingStep], torch: Sequence[TrainingStep]) -> bool:
        """Take gradients that are zero but for rounding for zero on both sides: Adam would make steps of the rounding."""
        summed = self.bench.summed(list(self.bench.watched))
        for _, slot in self.bench.slots():
            values = keras[0].gradients.get(slot.keras), torch[0].gradients.get(slot.torch)
            greatest = max((float(np.abs(v).max(initial=0.0)) for v in values if v is not None), default=0.0)
            if 0.0 < greatest <= PRECISION_FACTOR * summed.get(slot.torch, 0.0):
                self.zeroed[0].add(slot.keras)
                self.zeroed[1].add(slot.torch)
        if self.zeroed[0]:
            names = ", ".join(sorted(self.zeroed[0])[:3])
            count = len(self.zeroed[0])
            self.bench.result.notes.append(
                f"gradients that are zero but for rounding ({names}; {count} in all) were taken for zero in the steps"
            )
        return bool(self.zeroed[0])

    def _blurred(self, last: int, keras: Sequence[TrainingStep]) -> set[str]:
        """Parameters whose gradient is rounding and little else, in one of the steps: they follow no rule closely."""
        found = set()
        for number in range(last + 1):
            floor = floor_of(keras[number].gradients)
            for _, slot in self.bench.slots():
                value = keras[number].gradients.get(slot.keras)
                rounding = PRECISION_FACTOR * self.rounding.gradients[number].get(slot.torch, 0.0) + floor
                if value is not None and rounding > EXACT * float(np.abs(value).max(initial=0.0)):
                    found.add(slot.keras)
        return found

    def _one_step(
        self, number: int, keras: Sequence[TrainingStep], torch: Sequence[TrainingStep]
    ) -> tuple[OptimizerStep, OptimizerStep]:
        """A step of either side, torch's under the Keras paths and in the Keras layout."""
        slots = [slot for _, slot in self.bench.slots()]
        paths = {slot.keras for slot in slots}
        ours, theirs = keras[number], torch[number]
        before = (keras[number - 1].state, torch[number - 1].state) if number else self.start

        def mine(values: Mapping[str, Any]) -> dict[str, Any]:
            return {path: value for path, value in values.items() if path in paths}

        def laid(values: Mapping[str, Array]) -> dict[str, Array]:
            return {s.keras: s.layout.to_keras(values[s.torch]) for s in slots if s.torch in values}

        rules = {s.keras: theirs.rules[s.torch] for s in slots if s.torch in theirs.rules}
        return (
            OptimizerStep(
                mine(before[0]),
                mine(ours.gradients),
                mine(ours.penalties),
                mine(ours.rules),
                mine(ours.state),
            ),
            OptimizerStep(laid(before[1]), laid(theirs.gradients), {}, rules, laid(theirs.state)),
        )

    def _statistics(
        self,
        parting: Parting,
        before: dict[str, Array],
        keras: Sequence[TrainingStep],
        torch: Sequence[TrainingStep],
    ) -> Explained:
        """Every normalisation that parts in this step."""
        bench, number = self.bench, parting.step
        pairs = {gap.pair.keras: gap.pair for gap in parting.gaps}
        trainer = bench.keras
        trainer.load(before)
        watch = [path for path in pairs if path in bench.watched]
        with ExitStack() as stack:
            for path, changes in self.explained.batchnorm.items():
                stack.enter_context(trainer.batchnorm(path, **changes))
            calls = trainer.evaluate(self.batches[number], None, training=True, watch=watch).calls
        trainer.load(self.start[0])
        total = Explained()
        for path, pair in pairs.items():
            mine = [call for call in calls if call.path == path and call.inputs]
            found = self._one_layer(
                pair, [call.inputs[0] for call in mine], before, keras[number].state, torch[number].state
            )
            if not found.known:  # its statistics enter nothing in training mode: the rest can be judged
                found.known = True
            total.findings += found.findings
            total.rules += found.rules
            total.batchnorm |= found.batchnorm
            total.ignored |= found.ignored
        return total

    def _one_layer(
        self,
        pair: Any,
        inputs: Sequence[Array],
        before: Mapping[str, Array],
        ours: Mapping[str, Array],
        theirs: Mapping[str, Array],
    ) -> Explained:
        by_name = {slot.torch.rpartition(".")[2]: slot for slot in pair.slots}
        mean, variance = by_name.get("running_mean"), by_name.get("running_var")
        settings = self.bench.layers[0][pair.keras].settings, self.bench.layers[1][pair.torch[0]].settings
        names = pair.keras, ", ".join(pair.torch)
        if mean is None or variance is None or not inputs or pair.keras in self.explained.batchnorm:
            text = "its statistics part in training, by no rule that is known"
            return Explained([Finding(*names, Kind.TRAINING, None, text)], ignored={pair.keras}, known=False)
        axis = settings[0].get("axis", -1)
        axis = int(axis[0] if isinstance(axis, list | tuple) else axis)
        keep = float(settings[0].get("momentum", 0.99)), 1.0 - float(settings[1].get("momentum") or 0.0)
        other_mean = mean.layout.to_keras(theirs[mean.torch])
        if (
            mean.bias is not None
        ):  # of the convolution in front, on one side alone: put into the other's mean too
            bias = {"keras": ours, "torch": theirs}[mean.bias[0]][mean.bias[1]]
            other_mean = other_mean + bias if mean.bias[0] == "keras" else other_mean - bias
        return explain_statistics(
            Statistics(
                pair,
                [batch_of(value, axis) for value in inputs],
                (before[mean.keras], before[variance.keras]),
                (ours[mean.keras], ours[variance.keras]),
                (other_mean, variance.layout.to_keras(theirs[variance.torch])),
                keep,
            )
        )


def _by_cause(matched: Sequence[Finding]) -> list[str]:
    """One note for each rule that was made alike: at how many layers, and what was measured at the first."""
    notes = []
    for cause in dict.fromkeys(finding.cause for finding in matched):
        places = [finding.place for finding in matched if finding.cause == cause]
        first = next(finding for finding in matched if finding.cause == cause)
        more = f" and {len(places) - 1} layers more" if len(places) > 1 else ""
        notes.append(
            f"judged with torch's rule on both sides [{cause}] at {places[0]}{more}: {first.evidence}"
        )
    return notes
