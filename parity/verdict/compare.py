"""Compares a Keras model with a torch module and says EQUAL, DIVERGED or INCONCLUSIVE; fails closed."""

from __future__ import annotations

import gc
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from parity.adapters import trainer_of, with_plain_weights
from parity.adapters.patching import layers_known
from parity.core.environment import environment
from parity.core.errors import ParityError, UsageError
from parity.core.finding import Kind
from parity.core.tolerance import UNIT_ROUNDOFF
from parity.core.types import Side
from parity.core.verdict import Verdict
from parity.pairing.leftover.ignored import patterns_of
from parity.pairing.pair import MappingLike, Pairing
from parity.report.rests import too_little
from parity.report.result import Report
from parity.training.initial.findings import add_initialisers
from parity.training.requests import loss_checked, optimizer_checked, tolerance_checked
from parity.verdict.judging.comparison import PairComparison
from parity.verdict.judging.in_training import add_compared_training
from parity.verdict.judging.roles import by_roles
from parity.verdict.runs import progress
from parity.verdict.runs.notebook import line_in_notebook
from parity.weights.models import adapters_of, given, layer_pairs, pair_models, sorted_sides, taking


@with_plain_weights
def compare(
    keras_model: Any,
    torch_module: Any,
    inputs: Any = None,
    *,
    dtype: str = "float64",
    gradients: bool = False,
    train_steps: int = 0,
    device: str = "cpu",
    mapping: MappingLike | None = None,
    loss: tuple[Any, ...] | str | None = None,
    optimizer: Any = None,
    match_rules: bool = False,
    pairing: Pairing | None = None,
    quick: bool = False,
    initialisers: bool | str = False,
    layout: Any = None,
    ignore: Any = (),
    reference: Side | None = None,
    tolerance: float | None = None,
) -> Report:
    """Evaluate both models on the same inputs with the weights that they have, and compare the outputs.

    Where they agree on the given input, further probes follow: other scales and signs, odd and even sizes, batches of
    1 and 2, and the weights of both sides drawn anew. `report.unproven` says what none of them showed.

    Neither model is changed: weights are held in float64 for the time being and put back.

    Args:
        keras_model: a built Keras model or layer.
        torch_module: a torch module.
        inputs: NumPy array in the Keras layout (N, H, W, C), or a list of them, or a dictionary of them by name; the
            key (Keras name, torch name) says both. None draws random ones with H != W and odd sizes from the model's
            own input specification.
        dtype: "float64" judges the structure; "float32", "float16" and "bfloat16" judge the rounding too.
        gradients: compare loss and gradients too, in inference and in training mode (parity.training).
        train_steps: compare this many steps of an optimizer too, with statistics and optimizer state.
        device: "cpu" or "gpu".
        mapping: {Keras path: torch path or tuple of paths} for layers whose names differ.
        loss: "mse", "mae", "bce" or "cross-entropy" (both of logits), or (Keras loss of (targets, outputs), torch
            loss of (outputs, targets)[, targets in the Keras layout]); None means the squared error against random targets.
        optimizer: "sgd", "sgd-nesterov", "adam", "adamw", "rmsprop", {"name": ..., "lr": number or list, option:
            value}, or (Keras optimizer, torch optimizer, function of the parameters, or dictionary with "optimizer"
            and what else is done); None means SGD with momentum.
        match_rules: judge training with one rule where the frameworks' own rules differ, and only note these.
        pairing: of these two models, made before (`parity.pair`, or the result of `transfer`); None pairs them here.
        quick: the one input alone, without further probes.
        initialisers: compare the laws of both sides' first values too; what differs is a note, with "strict" a finding.
        layout: the order of axes in which torch takes the inputs: "same", "channels-first", "channels-last", "frames" or
            axes such as "0312"; a list or a dictionary says it for each input. None finds it; the notes say which.
        ignore: patterns of paths of layers or tensors of either side ("aux.*") that are not compared; they need no
            counterpart, and stand in `report.unproven`.
        reference: "keras" or "torch", the side that is right: fixes are written for the other one alone, with the file
            and line where it is written. None says what to change on either side.
        tolerance: for a dtype other than float64, how far from its own float64 result a side may be where rounding does
            not explain it, relative to the output's greatest magnitude. The report says so. Structure has none.

    Returns:
        The report; `bool(report)` is True for EQUAL alone.

    Raises:
        UsageError: the comparison cannot be made as asked.
    """
    if dtype not in UNIT_ROUNDOFF:
        raise UsageError(f"dtype must be one of {', '.join(UNIT_ROUNDOFF)}; got dtype={dtype!r}.")
    optimizer_checked(optimizer)
    loss_checked(loss)
    if reference not in (None, "keras", "torch"):
        raise UsageError(f"reference must be 'keras' or 'torch', the side that is right; got {reference!r}.")
    tolerance_checked(tolerance, dtype)
    started = time.perf_counter()
    sides = adapters_of(keras_model, torch_module, inputs, device)
    keras, torch = sorted_sides(*sides)
    if pairing is not None:
        pairing = given(pairing, keras, torch, mapping, ignore)
    with ExitStack() as stack:
        stack.enter_context(line_in_notebook())
        stack.enter_context(_no_full_collection())
        for side in sides:  # a model that was left in training mode changes in a pass
            stack.callback(trainer_of(side).statistics())
        progress.at("pairing")
        candidates, refused = taking(keras, torch, inputs, mapping, layout)
        stack.enter_context(layers_known(keras, torch))
        for values in candidates:
            paired = pair_models(keras, torch, mapping, values, ignore=ignore) if pairing is None else pairing
            comparison = PairComparison(keras, torch, paired, values, dtype, quick, tolerance)
            report = comparison.report()
            if report.verdict is Verdict.DIVERGED:
                roles = by_roles(paired, (keras, torch), values, mapping, patterns_of(ignore))
                if roles is not None:
                    paired = roles
                    comparison = PairComparison(keras, torch, paired, values, dtype, quick, tolerance)
                    report = comparison.report()
            # Sizes that a model refuses are no verdict; a difference that they showed before it raised is one.
            raised = any(finding.kind is Kind.ERROR for finding in report.findings)
            if report.verdict is not Verdict.INCONCLUSIVE or not raised:
                break
    if gradients or train_steps:
        add_compared_training(report, comparison, paired, values, quick, gradients=gradients,
                              train_steps=train_steps, loss=loss, optimizer=optimizer, match_rules=match_rules)  # fmt: skip
    if initialisers:
        add_initialisers(report, keras, torch, paired, initialisers)
    report.notes[:0] = [*keras.said, *torch.said, *refused]
    from parity.causes.regions.placed import with_sites  # computes with torch: not for `import parity`

    report.findings = with_sites(report.findings, (keras, torch))
    if reference is not None:
        report.findings = [finding.for_reference(reference) for finding in report.findings]
    report.pairs = layer_pairs(paired)
    report.environment = environment()
    report.seconds = time.perf_counter() - started
    return report


def assert_parity(keras_model: Any, torch_module: Any, *, strict: bool = False, **arguments: Any) -> Report:
    """`compare`, raising unless the verdict is EQUAL.

    Args:
        keras_model: a built Keras model or layer.
        torch_module: a torch module.
        strict: raise too where anything stays unproven (`report.unproven`).
        arguments: of `compare`.

    Returns:
        The report.

    Raises:
        ParityError: the models are not proven equal; the message lists every finding, or what stays unproven.
    """
    report = compare(keras_model, torch_module, **arguments)
    if not report:
        raise ParityError(str(report))
    if strict and report.unproven:
        raise ParityError(f"{too_little(report)} (strict=True).\n{report}")
    return report


@contextmanager
def _no_full_collection() -> Iterator[None]:
    """While this is open, Python's garbage collector looks at young objects alone.

    With two frameworks imported, one full collection takes as long as several passes of a small network.
    """
    young, middle, old = gc.get_threshold()
    gc.set_threshold(young, middle, max(old, 10_000))
    try:
        yield
    finally:
        gc.set_threshold(young, middle, old)
