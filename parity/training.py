"""Training parity: loss, gradients, normalisation statistics, optimizer steps and trajectories, in float64.

Both models start from the weights that they have. What is random (dropout) is switched off on both sides. Where
the frameworks' own rules differ (the running variance, Adam's epsilon, ...) that is a finding, and the rest is
judged as if the rule were one: the Keras side follows torch's rule from there on.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from difflib import SequenceMatcher
from typing import Any

import numpy as np

from parity.adapters import trainer_of
from parity.adapters.base import Adapter, Array
from parity.errors import UsageError
from parity.finding import Finding, in_a_line
from parity.gradients import Backward, moved
from parity.layout import activation_to_torch, aligned
from parity.pairing import LayerPair, Pairing
from parity.probe import to_torch_inputs
from parity.shared_layers import Tie, find_ties, tied
from parity.slots import Slot
from parity.tolerance import STRUCTURE, UNIT_ROUNDOFF, difference
from parity.training_losses import explain_loss
from parity.training_side import Call, Evaluation, Trainer
from parity.weights import exact_folds

UNIT = UNIT_ROUNDOFF["float64"]
PROVEN = {"gradient", "training", "non-finite"}
"""Kinds of findings that prove a difference in training."""


@dataclass
class TrainingResult:
    """What a comparison in training found.

    Attributes:
        findings: every difference.
        notes: what is worth knowing and no difference.
        figures: greatest relative differences, losses of either side by step, and what was used.
    """

    findings: list[Finding] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    figures: dict[str, Any] = field(default_factory=dict)


def training_findings(
    keras: Adapter,
    torch: Adapter,
    pairing: Pairing,
    inputs: Sequence[Array],
    *,
    gradients: bool,
    train_steps: int,
    loss: tuple[Any, ...] | None = None,
    optimizer: Any = None,
    match_rules: bool = False,
) -> TrainingResult:
    """Compare two paired models in training; both come back exactly as they were.

    Args:
        keras: the Keras side.
        torch: the torch side.
        pairing: which layer is which.
        inputs: model inputs in the Keras layout.
        gradients: compare loss and gradients, in inference and in training mode.
        train_steps: how many steps of an optimizer to compare.
        loss: (Keras loss of (targets, outputs), torch loss of (outputs, targets)[, targets in the Keras
            layout]); None means the squared error against random targets.
        optimizer: a name or {"name": ..., "lr": number or list, option: value} for `parity.optimizers`, or
            (Keras optimizer, torch optimizer or function of the parameters); None means SGD with momentum.
        match_rules: judge with the frameworks' own rules made one, and only note them.
    """
    bench = Bench(keras, torch, pairing, inputs, loss)
    with bench.keras.session(), bench.torch.session(), bench.fixes, bench.inference:
        exact_folds(pairing, keras, torch)
        if not bench.infer():
            return bench.result
        if gradients:
            bench.gradients(training=False)
        if bench.train_mode(gradients) and train_steps:
            from parity.trajectory import Trajectory

            Trajectory(bench, train_steps, optimizer, match_rules).judge()
    return bench.result


def add_training(
    report: Any, keras: Adapter, torch: Adapter, pairing: Pairing, inputs: Sequence[Array], **arguments: Any
) -> None:
    """Compare in training and take what is found into the report of a comparison; fails closed.

    Args:
        report: of the outputs (parity.verdict.Report); its findings, notes, figures and verdict are changed.
        keras: the Keras side.
        torch: the torch side.
        pairing: which layer is which.
        inputs: model inputs in the Keras layout.
        arguments: of `training_findings`.

    Raises:
        UsageError: the comparison cannot be made as asked.
    """
    if any(finding.kind == "error" for finding in report.findings):
        report.notes.append("gradients and training were not compared: the models could not be evaluated")
        return
    try:
        result = training_findings(keras, torch, pairing, inputs, **arguments)
    except UsageError:
        raise
    except Exception as error:  # any model, any error: it is a finding, not a crash of the tool
        text = f"in training a side raised {in_a_line(error)}"
        result = TrainingResult([Finding(None, None, "error", None, text)])
    known = {(finding.keras, finding.torch, finding.cause) for finding in report.findings if finding.cause}
    report.findings += [f for f in result.findings if (f.keras, f.torch, f.cause) not in known]
    report.notes += result.notes
    report.training = result.figures
    if any(finding.kind in PROVEN for finding in result.findings) and report.verdict != "DIVERGED":
        noisy = any(finding.kind == "not-repeatable" for finding in report.findings)
        report.verdict = "INCONCLUSIVE" if noisy else "DIVERGED"
    elif report.verdict == "EQUAL" and (result.findings or not result.figures):
        report.verdict = "INCONCLUSIVE"


class Bench:
    """Two models side by side, with inputs and targets in both layouts."""

    def __init__(
        self,
        keras: Adapter,
        torch: Adapter,
        pairing: Pairing,
        inputs: Sequence[Array],
        loss: tuple[Any, ...] | None,
    ) -> None:
        self.keras: Trainer = trainer_of(keras, loss[0] if loss else None)
        self.torch: Trainer = trainer_of(torch, loss[1] if loss else None)
        self.layers = keras.layers(), torch.layers()
        self.pairing, self.given = pairing, loss[2:] if loss else ()
        self.own_loss = loss is not None
        values = [v.astype("float64") if v.dtype.kind == "f" else v for v in inputs]
        self._to_torch = lambda values: to_torch_inputs(values, keras)
        self.inputs = values, self._to_torch(values)
        self.result = TrainingResult()
        self.fixes, self.inference = ExitStack(), ExitStack()
        self.readings: list[tuple[int, bool]] = []
        self.ties: list[Tie] = []
        self.untrained: set[str] = set()
        self.watched = {
            pair.keras: pair.torch[-1]
            for pair in pairing.pairs
            if self.layers[0][pair.keras].leaf and self.layers[1][pair.torch[-1]].leaf
        }

    # --- pieces -----------------------------------------------------------------------------------------

    @contextmanager
    def unchanged(self) -> Iterator[None]:
        """Weights and statistics as they were before."""
        states = self.keras.state(), self.torch.state()
        try:
            yield
        finally:
            self.keras.load(states[0])
            self.torch.load(states[1])

    def slots(self) -> list[tuple[LayerPair, Slot]]:
        """Pairs of parameters that both sides train."""
        ours, theirs = self.keras.trainable(), self.torch.trainable()
        return [
            (pair, slot)
            for pair in self.pairing.pairs
            for slot in pair.slots
            if slot.keras in ours and slot.torch in theirs and slot.keras not in self.untrained
        ]

    def statistics(self) -> list[tuple[LayerPair, Slot]]:
        """Pairs of tensors that training changes by other means than a gradient."""
        ours, theirs = self.keras.trainable(), self.torch.trainable()
        return [
            (pair, slot)
            for pair in self.pairing.pairs
            for slot in pair.slots
            if slot.keras not in ours and slot.torch not in theirs
        ]

    def targets(self, seed: int) -> tuple[list[Array], list[Array]]:
        """Targets for both sides: those given, else random ones of the outputs' shapes."""
        if self.given:
            ours = [
                np.asarray(v) for v in (self.given[0] if isinstance(self.given[0], list) else [self.given[0]])
            ]
            ours = [v.astype("float64") if v.dtype.kind == "f" else v for v in ours]
        else:
            rng = np.random.default_rng(seed)
            ours = [_target(rng, shape, self.own_loss) for shape in self.shapes]
        theirs: list[Array] = [ours[0]] * len(ours)
        for value, shape, (place, first) in zip(ours, self.shapes, self.readings, strict=True):
            theirs[place] = activation_to_torch(value) if first and value.ndim == len(shape) else value
        return ours, theirs

    def evaluate(
        self, training: bool, targets: tuple[list[Array], list[Array]] | None, watch: bool = False
    ) -> tuple[Evaluation, Evaluation]:
        """Both sides, from the state that they are in."""
        mine, other = targets if targets else (None, None)
        paths = list(self.watched) if watch else []
        ours = self.keras.evaluate(self.inputs[0], mine, training=training, watch=paths)
        mates = list(dict.fromkeys(self.watched.values())) if watch else []
        theirs = self.torch.evaluate(self.inputs[1], other, training=training, watch=mates)
        tied(self.ties, ours.parameters, theirs.parameters)
        for call in ours.calls:
            self._in_torch_order(call)
        return ours, theirs

    def _in_torch_order(self, call: Call) -> None:
        """What was flattened from H, W, C, as torch flattens it: from C, H, W."""
        image = self.pairing.flattened.get(call.path)
        if image is None or self.layers[0][call.path].family == "dense":
            return
        for name in ("output", "gradient"):
            value = getattr(call, name)
            if value is not None and value.ndim == 2 and value.shape[1] == int(np.prod(image)):
                setattr(call, name, np.moveaxis(value.reshape(-1, *image), -1, 1).reshape(value.shape))

    def agree(self, ours: Evaluation, theirs: Evaluation) -> tuple[bool, float]:
        """Whether the outputs agree, and the greatest relative difference; learns the outputs' layouts."""
        names = [name for name, _ in theirs.outputs]
        if len(ours.outputs) != len(names) or not names:
            return False, float("inf")
        by_name = {name for name, _ in ours.outputs} == set(names)
        self.shapes = [value.shape for _, value in ours.outputs]
        self.readings, greatest = [], 0.0
        for i, (name, value) in enumerate(ours.outputs):
            place = names.index(name) if by_name else i
            fit = aligned(value, theirs.outputs[place][1])
            if fit is None:
                return False, float("inf")
            self.readings.append((place, fit[1] == "channels first"))
            greatest = max(greatest, difference(value, fit[0]).max_rel)
        return greatest <= STRUCTURE, greatest

    def nudged(self, training: bool, targets: list[Array], watch: Sequence[str]) -> Evaluation:
        """The torch side with every weight and input moved by one unit roundoff; the state comes back."""
        rng = np.random.default_rng(0)
        before = self.torch.state()
        self.torch.load({path: nudge(rng, value) for path, value in before.items()})
        inputs = [nudge(rng, value) for value in self.inputs[1]]
        moved_pass = self.torch.evaluate(inputs, targets, training=training, watch=watch)
        tied(self.ties, {}, moved_pass.parameters)
        self.torch.load(before)
        return moved_pass

    # --- the phases -------------------------------------------------------------------------------------

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
            text = f"in inference mode {side} changes {path} (by up to {np.abs(after[path] - before[path]).max():.3g}): it normalises by the batch"
            fix = f"training=False at {side} {layer}: pass the mode on, and call eval() in torch"
            self.result.findings.append(Finding(*names, "training", "train-mode-left-on", text, fix))
            self.inference.enter_context(trainer.batchnorm(layer, frozen=True))
        for item in dict.fromkeys(dropped):
            names = self._names(trainer, item.path) if item.path else (None, None)
            text = f"in inference mode {side} still drops at a rate of {item.rate:g}"
            fix = f"no dropout in inference: training=self.training in torch, the model's own training flag in Keras ({side} {item.path})"
            self.result.findings.append(Finding(*names, "training", "train-mode-left-on", text, fix))

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
            shaken = self.nudged(training, targets[1], ())
        backward = self._backward(ours, theirs, shaken, training, targets)
        found = backward.gaps()
        mode = "training" if training else "inference"
        greatest = max(
            (gap.greatest / max(gap.scale, gap.allowed / STRUCTURE) for gap in found if gap.scale > 0.0),
            default=0.0,
        )
        self.result.figures[f"gradients_{mode}"] = greatest
        self.result.figures[f"loss_{mode}"] = {"keras": ours.loss, "torch": theirs.loss}
        inputs = backward.input_gaps()
        if not inputs and not any(gap.beyond for gap in found):
            return True
        with self.unchanged():
            watched = self.evaluate(training, targets, watch=True)
        with self.unchanged():
            shaken = self.nudged(training, targets[1], list(dict.fromkeys(self.watched.values())))
        located = self._backward(*watched, shaken, training, targets).locate()
        if not located:
            text = "; ".join(inputs) or "; ".join(str(gap) for gap in found if gap.beyond)
            located = [Finding(None, None, "gradient", None, f"the loss's gradient: {text}")]
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
        noise = moved(theirs.parameters, shaken.parameters)
        for i, (a, b) in enumerate(zip(theirs.inputs, shaken.inputs, strict=True)):
            noise |= moved({f"input {i}": a}, {f"input {i}": b})
        calls = {(c.path, c.index): c.gradient for c in shaken.calls}
        call_noise = {
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

        return Backward(self.slots(), self.watched, ours, theirs, noise, call_noise, again)

    def train_mode(self, gradients: bool) -> bool:
        """Training mode: what is frozen on one side, dropout, outputs, and gradients; whether to go on."""
        self.inference.close()
        before = self.keras.state(), self.torch.state()
        ours, theirs = self.evaluate(True, None)
        self._frozen(before)
        for trainer, state in zip((self.keras, self.torch), before, strict=True):
            trainer.load(state)
        mine = self._dropout(ours, theirs)
        self._untrained()
        with self.unchanged():
            ours, theirs = self.evaluate(True, None, watch=True)
        agree, apart = self.agree(ours, theirs)
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
        if not agree:
            self.result.findings.append(self._first_output(ours, theirs))
            self.result.notes.append(
                "gradients and steps in training mode were not compared: the outputs differ there"
            )
            return False
        return self.gradients(True) if gradients else True

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
                f"torch {names[1]}.eval() after train(), and requires_grad_(False) on its weight and bias; or trainable=True in Keras"
                if frozen == "Keras"
                else f"trainable=False on Keras {names[0]}; or train() on torch {names[1]}"
            )
            self.result.findings.append(Finding(*names, "training", "batchnorm-frozen", text, fix))
            trainer, path = (self.torch, pair.torch[0]) if frozen == "Keras" else (self.keras, pair.keras)
            self.fixes.enter_context(trainer.batchnorm(path, frozen=True))
            self.untrained |= {slot.keras for slot in pair.slots}

    def _dropout(self, ours: Evaluation, theirs: Evaluation) -> list[Finding]:
        """Random layers that differ in their rate, or are on one side alone."""
        a, b = ours.dropped, theirs.dropped
        if a or b:
            self.result.notes.append(
                f"what is random was switched off in training mode: {len(a)} places in Keras, {len(b)} in torch (rates are compared)"
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
                        "training",
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
                        Finding(pair.keras, ", ".join(pair.torch), "training", None, text, fix)
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
                    "training",
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
                return Finding(call.path, self.watched[call.path], "training", None, text)
        return Finding(
            None, None, "training", None, "in training mode the outputs differ, at no paired layer"
        )


def nudge(rng: np.random.Generator, value: Array) -> Array:
    """Each floating element moved by up to one unit roundoff."""
    return value * (1.0 + UNIT * rng.uniform(-1.0, 1.0, value.shape)) if value.dtype.kind == "f" else value


def _target(rng: np.random.Generator, shape: tuple[int, ...], own_loss: bool) -> Array:
    """Random numbers; for a loss that was given, probabilities along the channels, which any loss takes."""
    if not own_loss:
        return rng.standard_normal(shape)
    if len(shape) < 2 or shape[-1] == 1:
        return rng.uniform(0.05, 0.95, shape)
    value = np.exp(rng.standard_normal(shape))
    return value / value.sum(-1, keepdims=True)


def _padded(items: Sequence[Any], length: int) -> list[Any]:
    return [*items, *[None] * (length - len(items))]
