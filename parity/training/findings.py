"""Training parity: loss, gradients, normalisation statistics, optimizer steps and trajectories, in float64.

Both models start from the weights that they have. What is random (dropout) is switched off on both sides. Where
the frameworks' own rules differ (the running variance, Adam's epsilon, ...) that is a finding, and the rest is
judged as if the rule were one: the Keras side follows torch's rule from there on.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from parity.core.adapter import Adapter
from parity.core.errors import UsageError, in_a_line
from parity.core.finding import Finding, Kind
from parity.core.types import Array, Both, Side
from parity.core.verdict import verdict_of
from parity.pairing.pair import Pairing
from parity.report.proof import Unproven, UnprovenKind
from parity.report.result import Report
from parity.training.bench import Bench, TrainingResult
from parity.training.further.batch import Further, compare_further
from parity.training.further.losses import compare_losses
from parity.training.gradients import compare_gradients
from parity.training.inference import infer
from parity.training.loss.held import settle
from parity.training.steps.trajectory import Trajectory
from parity.training.train_mode import train_mode
from parity.weights.differences import exact_folds

RUNNING = frozenset({"running_mean", "running_var", "moving_mean", "moving_variance"})
"""Names of statistics that a pass in training moves."""
NOT_MOVED = "what a pass in training makes of running statistics was not compared: train_steps compares it"


def training_findings(
    keras: Adapter,
    torch: Adapter,
    pairing: Pairing,
    inputs: Sequence[Array],
    *,
    gradients: bool,
    train_steps: int,
    loss: tuple[Any, ...] | str | None = None,
    optimizer: Any = None,
    match_rules: bool = False,
    further: Further | None = None,
    look: Callable[[], AbstractContextManager[object]] = nullcontext,
) -> TrainingResult:
    """Compare two paired models in training; both come back exactly as they were.

    Args:
        keras: the Keras side.
        torch: the torch side.
        pairing: which layer is which.
        inputs: model inputs in the Keras layout.
        gradients: compare loss and gradients, in inference and in training mode.
        train_steps: how many steps of an optimizer to compare.
        loss: a name of parity.training.requests.LOSSES, or (Keras loss of (targets, outputs), torch loss of
            (outputs, targets)[, targets in the Keras layout]); None means the squared error against random targets.
        optimizer: a name or {"name": ..., "lr": number or list, option: value} (parity.training.requests), or
            (Keras optimizer, torch optimizer, function of the parameters, or dictionary with "optimizer"); None
            means SGD with momentum.
        match_rules: judge with the frameworks' own rules made one, and only note them.
        further: another batch, on which both sides are compared where they agree on this one.
        look: a context in which the branches of the models' own code, and of the losses, are watched.
    """
    bench = Bench(Both(keras, torch), pairing, inputs, loss, look)
    sessions = [trainer.session() for trainer in bench.trainers]
    with sessions[0], sessions[1], bench.fixes, bench.inference:
        exact_folds(pairing, keras, torch)
        if not infer(bench):
            return bench.result
        settle(bench)
        if gradients:
            compare_gradients(bench, training=False)
        tensors = [tensor for side in bench.layers for layer in side.values() for tensor in layer.tensors]
        if train_steps and not tensors:
            bench.result.notes.append("neither model has a parameter: there is nothing to train")
        bench.result.unproven += [
            Unproven(UnprovenKind.TRAINING, f"{item} ({trainer.side})")
            for trainer in bench.trainers
            for item in trainer.own_hooks()
        ]
        if train_mode(bench, gradients):
            if bench.own_loss and not bench.result.findings:
                compare_losses(bench)
            if further is not None and not bench.result.findings:
                compare_further(bench, further)
            if train_steps and tensors:
                Trajectory(bench, train_steps, optimizer, match_rules).judge()
            elif any(tensor.name in RUNNING for tensor in tensors):
                bench.result.notes.append(NOT_MOVED)
    return bench.result


def _computed(keras: Adapter, torch: Adapter, arguments: dict[str, Any]) -> tuple[list[Finding], int]:
    """Findings for weights that are computed from others, whose training is not compared; and the steps that are left.

    The gradient of an effective weight is compared; what an optimizer moves is something else. A spectral norm
    changes its estimate in every pass of training, and its gradients are not compared either.
    """
    found = []
    for side in (keras, torch):
        for path, how in side.computed().items():
            spectral = "Spectral" in how
            if not (spectral or arguments["train_steps"]):
                continue
            what = "its steps of an optimizer move what it is computed from"
            text = f"{path} is computed ({how}): {'each pass of training changes it' if spectral else what}"
            fix = "compare the training of both models without that, or by their own losses"
            keras_path, torch_path = (path, None) if side.side == "keras" else (None, path)
            found.append(Finding(keras_path, torch_path, Kind.NOT_COMPARED, None, text, fix))
            arguments["gradients"] = arguments["gradients"] and not spectral
    return found, 0 if found else arguments["train_steps"]


def add_training(
    report: Report,
    keras: Adapter,
    torch: Adapter,
    pairing: Pairing,
    inputs: Sequence[Array],
    noisy: Collection[Side] = (),
    **arguments: Any,
) -> None:
    """Compare in training and take what is found into the report of a comparison; fails closed.

    Args:
        report: of the outputs; its findings, notes, figures and verdict are changed.
        keras: the Keras side.
        torch: the torch side.
        pairing: which layer is which.
        inputs: model inputs in the Keras layout.
        noisy: the sides whose outputs were not repeatable.
        arguments: of `training_findings`.

    Raises:
        UsageError: the comparison cannot be made as asked.
    """
    if any(finding.kind is Kind.ERROR for finding in report.findings):
        report.notes.append("gradients and training were not compared: the models could not be evaluated")
        return
    open_, arguments["train_steps"] = _computed(keras, torch, arguments)
    report.findings += open_
    if open_ and not arguments["gradients"]:
        report.verdict = verdict_of(report.findings, evaluated=True, noisy=noisy, parts=[report.verdict])
        return
    try:
        result = training_findings(keras, torch, pairing, inputs, **arguments)
    except UsageError:
        raise
    except Exception as error:  # any model, any error: it is a finding, not a crash of the tool
        text = f"in training a side raised {in_a_line(error)}"
        result = TrainingResult([Finding(None, None, Kind.ERROR, None, text)])
    known = {(finding.keras, finding.torch, finding.cause) for finding in report.findings if finding.cause}
    report.findings += [f for f in result.findings if (f.keras, f.torch, f.cause) not in known]
    report.notes += result.notes
    report.unproven += result.unproven
    if any(layer.kind == "OptimizedModule" for layer in torch.layers().values()):
        report.notes.append(
            "in training the torch module ran as it is written: what torch.compile makes of its gradients was not compared"
        )
    report.training = result.figures
    report.verdict = verdict_of(
        report.findings,
        evaluated=bool(result.figures),
        noisy={*noisy, *result.noisy},
        parts=[report.verdict],
    )
