"""Inference and training mode on both sides: what is left on, frozen, random or one-sided, and the gradients."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from difflib import SequenceMatcher
from typing import Any

import numpy as np

from parity.core.finding import Finding, Kind
from parity.core.layout import aligned
from parity.core.tolerance import PRECISION_FACTOR, STRUCTURE, difference
from parity.core.trainer import Evaluation, Trainer
from parity.core.types import Array
from parity.training.bench import Bench, greater
from parity.training.gradients import Backward, moved
from parity.training.losses import explain_loss
from parity.training.shared_layers import find_ties
from parity.training.ties import tied

BLURRED = 1e-6
"""Share of a gradient that rounding may excuse before the report says so."""
ROUNDING_AT_MOST = 1e-6
"""Beyond this relative difference of outputs in float64 it is not asked what rounding does."""


class Modes(Bench):
    """The two modes, judged one after the other."""

    def infer(self) -> bool:
        """Inference mode: what is left in training mode, and whether the outputs agree at all."""
        before = self.keras.state(), self.torch.state()
        ours, theirs = self.evaluate(False, None)
        for trainer, state in zip((self.keras, self.torch), before, strict=True):
            self._left_on(trainer, state, (ours if trainer is self.keras else theirs).dropped)
            trainer.load(state)
        found = [f for f in self.result.findings if f.cause == "train-mode-left-on"]
        if found:
            ours, theirs = self.evaluate(False, None)
        agree, apart = self.agree(ours, theirs)
        if found and agree:
            self.result.findings = [
                replace(
                    f,
                    fix_verified=True,
                    evidence=f"{f.evidence}; without it the outputs agree to {apart:.1g}",
                )
                if f.cause == "train-mode-left-on"
                else f
                for f in self.result.findings
            ]
        if not agree:
            self.result.notes.append("gradients and training were not compared: the outputs differ already")
            return False
        self.ties, findings = find_ties(self)
        self.result.findings += findings
        return True

    def _left_on(self, trainer: Trainer, before: Mapping[str, Array], dropped: Sequence[Any]) -> None:
        """Statistics that move, and random layers that act, although the model infers."""
        after = trainer.state()
        side = "Keras" if trainer.side == "keras" else "torch"
        changed = {
            path.rpartition(".")[0]: path
            for path, value in after.items()
            if not np.array_equal(value, before[path], equal_nan=True)
        }
        for layer, path in changed.items():
            names = self._names(trainer, layer)
            gap = float(np.abs(after[path] - before[path]).max())
            text = f"in inference mode {side} changes {path} (by up to {gap:.3g}): it normalises by the batch"
            fix = f"training=False at {side} {layer}: pass the mode on, and call eval() in torch"
            self.result.findings.append(Finding(*names, Kind.TRAINING, "train-mode-left-on", text, fix))
            self.inference.enter_context(trainer.batchnorm(layer, frozen=True))
        for item in dict.fromkeys(dropped):
            names = self._names(trainer, item.path) if item.path else (None, None)
            text = f"in inference mode {side} still drops at a rate of {item.rate:g}"
            fix = f"no dropout in inference: training=self.training in torch, training=False in Keras ({side} {item.path})"
            self.result.findings.append(Finding(*names, Kind.TRAINING, "train-mode-left-on", text, fix))

    def _names(self, trainer: Trainer, path: str) -> tuple[str | None, str | None]:
        """Both names of a layer of one side."""
        if trainer.side == "keras":
            pair = next((pair for pair in self.pairing.pairs if pair.keras == path), None)
            return path, ", ".join(pair.torch) if pair else None
        pair = next((pair for pair in self.pairing.pairs if path in pair.torch), None)
        return pair.keras if pair else None, path

    def gradients(self, training: bool) -> bool:
        """Loss and gradients of every parameter and input; whether they agree."""
        targets = self.targets(0)
        with self.unchanged():
            ours, theirs = self.evaluate(training, targets)
        if self.own_loss and not abs(ours.loss - theirs.loss) <= 1e-10 * abs(ours.loss):
            self.result.findings += explain_loss(self, ours, theirs, targets)
            self.keras.loss = self.torch.loss = None
            self.own_loss, self.given = False, ()
            self.result.notes.append("the losses differ: the rest is judged with the squared error")
            return self.gradients(training)
        with self.unchanged():
            shaken = self.nudged(self.torch, training, targets[1], ())
        backward = self._backward(ours, theirs, shaken, training, targets)
        extra: dict[str, float] = {}
        if backward.input_gaps() or any(
            gap.beyond for gap in backward.gaps()
        ):  # does Keras round more than torch?
            with self.unchanged():
                again = self.nudged(self.keras, training, targets[0], ())
            extra = self.in_torch_names(moved(ours.parameters, again.parameters))
            extra |= moved(_numbered(ours.inputs), _numbered(again.inputs))
            if training:
                extra = greater(extra, self.summed([gap.pair.keras for gap in backward.gaps() if gap.beyond]))
            backward.rounding = greater(backward.rounding, extra)
        found = backward.gaps()
        mode = "training" if training else "inference"
        largest = max((gap.scale for gap in found), default=0.0)
        greatest = max(
            (gap.greatest / max(gap.scale, gap.allowed / STRUCTURE) for gap in found if gap.scale > 0.0),
            default=0.0,
        )
        self.result.figures[f"gradients_{mode}"] = greatest
        self.result.figures[f"loss_{mode}"] = {"keras": ours.loss, "torch": theirs.loss}
        blurred = [gap for gap in found if gap.allowed > BLURRED * gap.scale > BLURRED * 1e-9 * largest]
        if blurred:
            names = ", ".join(gap.slot.keras for gap in blurred[:3])
            self.result.notes.append(
                f"in {mode} mode one roundoff moves the gradient of {names} by more than {BLURRED:g} of it "
                f"({len(blurred)} tensors: ties in a pooling, or an ill-conditioned network): judged that much less sharply"
            )
        inputs = backward.input_gaps()
        if not inputs and not any(gap.beyond for gap in found):
            return True
        with self.unchanged():
            watched = self.evaluate(training, targets, watch=True)
        with self.unchanged():
            shaken = self.nudged(self.torch, training, targets[1], list(dict.fromkeys(self.watched.values())))
        backward = self._backward(*watched, shaken, training, targets)
        backward.rounding = greater(backward.rounding, extra)
        located = backward.locate()
        if not located:
            text = "; ".join(inputs) or "; ".join(str(gap) for gap in found if gap.beyond)
            located = [Finding(None, None, Kind.GRADIENT, None, f"the loss's gradient: {text}")]
        known = {(f.keras, f.torch) for f in self.result.findings}
        self.result.findings += [
            replace(f, evidence=f"in {mode} mode {f.evidence}")
            for f in located
            if (f.keras, f.torch) not in known
        ]
        return False

    def _backward(
        self, ours: Evaluation, theirs: Evaluation, shaken: Evaluation, training: bool, targets: Any
    ) -> Backward:
        rounding = moved(theirs.parameters, shaken.parameters)
        rounding |= moved(_numbered(theirs.inputs), _numbered(shaken.inputs))
        calls = {(c.path, c.index): c.gradient for c in shaken.calls}
        call_rounding = {
            (c.path, c.index): float(np.abs(c.gradient - other).max(initial=0.0))
            for c in theirs.calls
            if c.gradient is not None and (other := calls.get((c.path, c.index))) is not None
        }

        def again(forced: Mapping[tuple[str, int], Array]) -> Evaluation:
            with self.unchanged():
                result = self.torch.evaluate(
                    self.inputs[1],
                    targets[1],
                    training=training,
                    watch=list(dict.fromkeys(self.watched.values())),
                    forced=forced,
                )
            tied(self.ties, {}, result.parameters)
            return result

        return Backward(self.slots(), self.watched, ours, theirs, rounding, call_rounding, again)

    def train_mode(self, gradients: bool) -> bool:
        """Training mode: what is frozen on one side, dropout, outputs, and gradients; whether to go on."""
        self.inference.close()
        before = self.keras.state(), self.torch.state()
        ours, theirs = self.evaluate(True, None)
        moves = any(not np.array_equal(value, before[0][path]) for path, value in self.keras.state().items())
        if not self.keras.told_by_fit and (moves or ours.dropped):
            self.result.notes.append(
                "the Keras model's call has no `training` argument, so that fit() leaves its normalisations and dropout "
                "in inference mode; judged here as called with training=True"
            )
        self._frozen(before)
        for trainer, state in zip((self.keras, self.torch), before, strict=True):
            trainer.load(state)
        mine = self._dropout(ours, theirs)
        self._untrained()
        with self.unchanged():
            ours, theirs = self.evaluate(True, None, watch=True)
        agree, apart = self.agree(ours, theirs)
        if not agree and apart < ROUNDING_AT_MOST:  # many normalisations by the batch enlarge rounding
            agree = apart <= STRUCTURE + PRECISION_FACTOR * self._shaken(theirs)
        self.result.findings = [
            replace(
                f,
                fix_verified=agree,
                evidence=f"{f.evidence}; without it the outputs in training mode agree to {apart:.1g}"
                if agree
                else f.evidence,
            )
            if f in mine or f.cause == "batchnorm-frozen"
            else f
            for f in self.result.findings
        ]
        if not agree and self._unrepeatable():
            return False
        if not agree:
            self.result.findings.append(self._first_output(ours, theirs))
            self.result.notes.append(
                "gradients and steps in training mode were not compared: the outputs differ there"
            )
            return False
        return self.gradients(True) if gradients else True

    def _shaken(self, theirs: Evaluation) -> float:
        """How far one unit roundoff in every weight and input moves torch's outputs in training mode, relatively."""
        with self.unchanged():
            shaken = self.nudged(self.torch, True, None, ())
        pairs = zip(theirs.outputs, shaken.outputs, strict=True)
        return max((difference(value, other).max_rel for (_, value), (_, other) in pairs), default=0.0)

    def _unrepeatable(self) -> bool:
        """Whether a side gives different outputs for one input in training mode, with all known dropout off."""
        found = False
        for trainer, inputs in ((self.keras, self.inputs[0]), (self.torch, self.inputs[1])):
            with self.unchanged():
                first = trainer.evaluate(inputs, None, training=True).outputs
            with self.unchanged():
                again = trainer.evaluate(inputs, None, training=True).outputs
            if any(
                not np.array_equal(a, b, equal_nan=True) for (_, a), (_, b) in zip(first, again, strict=True)
            ):
                text = (
                    f"two evaluations of the {trainer.side} model in training mode differ: "
                    "a random step that is no dropout"
                )
                self.result.findings.append(Finding(None, None, Kind.NOT_REPEATABLE, None, text))
                self.result.noisy.add(trainer.side)
                found = True
        return found

    def _frozen(self, before: tuple[dict[str, Array], dict[str, Array]]) -> None:
        """Normalisations whose statistics move on one side alone."""
        after = self.keras.state(), self.torch.state()
        for pair in self.pairing.pairs:
            slots = [slot for p, slot in self.statistics() if p is pair]
            still = [
                [
                    np.array_equal(after[i][path], before[i][path])
                    for path in ((s.keras, s.torch)[i] for s in slots)
                ]
                for i in (0, 1)
            ]
            if not slots or all(still[0]) == all(still[1]):
                continue
            names = pair.keras, ", ".join(pair.torch)
            frozen, moving = ("Keras", "torch") if all(still[0]) else ("torch", "Keras")
            how = "trainable=False" if frozen == "Keras" else "eval()"
            text = (
                f"in training mode {frozen} leaves the statistics as they are ({how}: it normalises by them), "
                f"{moving} normalises by the batch and updates them"
            )
            fix = (
                f"torch {names[1]}.eval() after train(), with requires_grad_(False); or trainable=True in Keras"
                if frozen == "Keras"
                else f"trainable=False on Keras {names[0]}; or train() on torch {names[1]}"
            )
            self.result.findings.append(Finding(*names, Kind.TRAINING, "batchnorm-frozen", text, fix))
            trainer, path = (self.torch, pair.torch[0]) if frozen == "Keras" else (self.keras, pair.keras)
            self.fixes.enter_context(trainer.batchnorm(path, frozen=True))
            self.untrained |= {slot.keras for slot in pair.slots}

    def _dropout(self, ours: Evaluation, theirs: Evaluation) -> list[Finding]:
        """Random layers that differ in their rate, or are on one side alone."""
        a, b = ours.dropped, theirs.dropped
        if a or b:
            self.result.notes.append(
                f"what is random was switched off in training mode: {len(a)} places in Keras, {len(b)} in torch "
                "(the rates are compared)"
            )
        matcher = SequenceMatcher(
            None, [(x.rate, x.kind) for x in a], [(x.rate, x.kind) for x in b], autojunk=False
        )
        found = []
        for tag, i, j, k, m in matcher.get_opcodes():
            for mine, other in zip(_padded(a[i:j], m - k), _padded(b[k:m], j - i), strict=True):
                if tag == "equal":
                    continue
                said = [f"{x.kind} dropout at a rate of {x.rate:g}" if x else "none" for x in (mine, other)]
                text = f"{said[0]} in Keras, {said[1]} in torch"
                rate = (mine or other).rate
                fix = (
                    f"rate {rate:g} on both sides"
                    if mine and other
                    else "the same random layer on both sides"
                )
                found.append(
                    Finding(
                        mine.path if mine else None,
                        other.path if other else None,
                        Kind.TRAINING,
                        "dropout-rate",
                        text,
                        fix,
                    )
                )
        self.result.findings += found
        return found

    def _untrained(self) -> None:
        """Parameters that one side alone trains; they are left out of the rest."""
        ours, theirs = self.keras.trainable(), self.torch.trainable()
        explained = {f.keras for f in self.result.findings if f.cause == "batchnorm-frozen"}
        for pair in self.pairing.pairs:
            for constant in pair.constants:
                if not constant.folded and constant.path in (ours if constant.side == "keras" else theirs):
                    side, other = ("Keras", "torch") if constant.side == "keras" else ("torch", "Keras")
                    text = f"{constant.path.rpartition('.')[2]}: trained in {side}, and the {other} layer has none"
                    fix = f"freeze it in {side}, or give the {other} layer one"
                    self.result.findings.append(
                        Finding(pair.keras, ", ".join(pair.torch), Kind.TRAINING, None, text, fix)
                    )
            one_sided = [s for s in pair.slots if (s.keras in ours) != (s.torch in theirs)]
            if not one_sided:
                continue
            self.untrained |= {s.keras for s in one_sided}
            if pair.keras in explained:
                continue
            side, how = (
                ("Keras", "requires_grad=False or a buffer in torch")
                if one_sided[0].keras in ours
                else ("torch", "trainable=False in Keras")
            )
            names = ", ".join(s.keras.rpartition(".")[2] for s in one_sided)
            text = f"{names}: trained in {side} alone ({how})"
            self.result.findings.append(
                Finding(
                    pair.keras,
                    ", ".join(pair.torch),
                    Kind.TRAINING,
                    None,
                    text,
                    "freeze or train it on both sides",
                )
            )

    def _first_output(self, ours: Evaluation, theirs: Evaluation) -> Finding:
        """The first watched call, in execution order, whose output differs in training mode."""
        mates = {(call.path, call.index): call for call in theirs.calls}
        for call in ours.calls:
            other = mates.get((self.watched[call.path], call.index))
            fit = aligned(call.output, other.output) if other else None
            if other and (fit is None or not difference(call.output, fit[0]).within()):
                inputs = [aligned(a, b) for a, b in zip(call.inputs, other.inputs, strict=False)]
                same = all(
                    f is not None and difference(a, f[0]).within()
                    for a, f in zip(call.inputs, inputs, strict=True)
                )
                if call.inputs and not same:
                    continue  # it got something else already (an activation built in here, a step of its own there)
                text = f"in training mode the output differs: {difference(call.output, fit[0]) if fit else 'shapes'}"
                return Finding(call.path, self.watched[call.path], Kind.TRAINING, None, text)
        return Finding(
            None, None, Kind.TRAINING, None, "in training mode the outputs differ, at no paired layer"
        )


def _numbered(inputs: Sequence[Array | None]) -> dict[str, Array | None]:
    return {f"input {i}": value for i, value in enumerate(inputs)}


def _padded(items: Sequence[Any], length: int) -> list[Any]:
    return [*items, *[None] * (length - len(items))]
