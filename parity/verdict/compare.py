"""Compares a Keras model with a torch module and says EQUAL, DIVERGED or INCONCLUSIVE; fails closed."""

from __future__ import annotations

import gc
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np

from parity.adapters import trainer_of, with_plain_weights
from parity.adapters.inputs.outputs import in_keras_order
from parity.adapters.probe import to_torch_inputs
from parity.core.adapter import Adapter
from parity.core.environment import environment
from parity.core.errors import ParityError, UsageError
from parity.core.finding import Finding, Kind
from parity.core.tolerance import UNIT_ROUNDOFF
from parity.core.types import Array, Side
from parity.core.verdict import Verdict, verdict_of
from parity.pairing.pair import MappingLike, Pairing
from parity.pairing.recurrent.cells import step_by_step
from parity.probes.gathered import Gathered
from parity.replay.hidden import traced_run
from parity.replay.spread import OutputSpread
from parity.report.proof import UnprovenKind
from parity.report.repro.blueprints import with_blueprints
from parity.report.rests import too_little
from parity.report.result import Report
from parity.training.findings import add_training
from parity.training.initial.findings import add_initialisers
from parity.training.requests import loss_checked, optimizer_checked
from parity.verdict.attempts import held
from parity.verdict.evaluate import evaluated, unlike_traced
from parity.verdict.hiding import hiding
from parity.verdict.outputs import Judged, Limits, Outputs, axes_notes, cast, judge, vacuous
from parity.verdict.precision import Precision, compare_in
from parity.verdict.proving import Proven, prove
from parity.verdict.runs import progress
from parity.verdict.runs.own_dtype import compare_as_held
from parity.verdict.unmatched import left_out, with_differing_values, with_unmatched
from parity.verdict.where import Where, where
from parity.weights.differences import exact_folds
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
    started = time.perf_counter()
    sides = adapters_of(keras_model, torch_module, inputs, device)
    keras, torch = sorted_sides(*sides)
    if pairing is not None:
        pairing = given(pairing, keras, torch, mapping, ignore)
    with ExitStack() as stack:
        stack.enter_context(_no_full_collection())
        for side in sides:  # a model that was left in training mode changes in a pass
            stack.callback(trainer_of(side).statistics())
        progress.at("pairing")
        candidates, refused = taking(keras, torch, inputs, mapping, layout)
        for values in candidates:
            paired = pair_models(keras, torch, mapping, values, ignore=ignore) if pairing is None else pairing
            comparison = _Comparison(keras, torch, paired, values, dtype, quick)
            report = comparison.report()
            # Sizes that a model refuses are no verdict; a difference that they showed before it raised is one.
            raised = any(finding.kind is Kind.ERROR for finding in report.findings)
            if report.verdict is not Verdict.INCONCLUSIVE or not raised:
                break
    if gradients or train_steps:
        report.unproven = [entry for entry in report.unproven if entry.kind is not UnprovenKind.TRAINING]
        add_training(report, keras, torch, paired, values, comparison.noisy, gradients=gradients,
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


class _Comparison:
    """One comparison of the outputs: the two sides, their pairing, and the input."""

    def __init__(
        self, keras: Adapter, torch: Adapter, pairing: Pairing, values: list[Array], dtype: str, quick: bool
    ) -> None:
        self.sides, self.pairing, self.dtype, self.quick = (keras, torch), pairing, dtype, quick
        self.inputs: dict[Side, list[Array]] = {"keras": values, "torch": to_torch_inputs(values, keras)}
        self.noisy: set[Side] = set()
        self.limits: Limits = {}
        self.findings: list[Finding] = []
        self.hiding: list[Finding] = []
        self.hides = False
        self.notes: list[str] = list(pairing.notes)
        self.layers: list[dict[str, Any]] = []
        self.graphs: dict[str, Any] = {}
        self.gathered = Gathered(self.sides)
        self.proven: Proven | None = None

    def report(self) -> Report:
        """Run everything and put the report together."""
        outputs = self._structure()
        self.findings = with_unmatched(self.findings, self.sides, self.pairing, self.inputs, outputs)
        located = any(finding.kind not in {Kind.UNMATCHED, Kind.WEIGHT} for finding in self.findings)
        judged = Judged(float("inf"), float("inf"))
        if outputs:
            if not self._keras_channels_first() and len(outputs["keras"]) == len(outputs["torch"]):
                self.notes += axes_notes(outputs["keras"], outputs["torch"])
            judged = judge(outputs["keras"], outputs["torch"], self.limits, located)
            self.findings += judged.findings
            if judged.elements and not located and not any(f.kind is Kind.SHAPE for f in judged.findings):
                self.findings += vacuous(self.sides, self.inputs, outputs)
        if not self.findings:
            self.findings += self.hiding
        structure = judged.max_abs, judged.max_rel
        if self.proven is not None:
            structure = max(structure[0], self.proven.max_abs), max(structure[1], self.proven.max_rel)
        if self.proven is not None and self.proven.usual is not None and not self.findings:
            held_as = compare_as_held(self.sides, self.proven.usual)
            self.findings += held_as.findings
            self.proven.unproven += held_as.unproven
        equal = bool(outputs) and all(finding.kind is Kind.UNMATCHED for finding in self.findings)
        precision = Precision(max_abs=structure[0], max_rel=structure[1])
        if equal and self.dtype != "float64":
            precision = compare_in(self.dtype, self.sides, self.inputs, outputs)
            self.findings += precision.findings
        return Report(
            verdict=verdict_of(self.findings, evaluated=bool(outputs), noisy=self.noisy),
            max_abs_diff=precision.max_abs,
            max_rel_diff=precision.max_rel,
            findings=with_blueprints(self.findings, *self.sides, self.pairing.flattened),
            notes=self.notes,
            dtype=self.dtype,
            structure=structure[1],
            structure_abs=structure[0],
            precision=precision.figures,
            layers=self.layers,
            graphs=self.graphs,
            elements=judged.elements,
            unproven=[*left_out(self.pairing), *(self.proven.unproven if self.proven else [])],
            proof=self.proven.proof if self.proven else None,
        )

    def _keras_channels_first(self) -> bool:
        layers = self.sides[0].layers().values()
        return any(layer.settings.get("data_format") == "channels_first" for layer in layers)

    def _structure(self) -> dict[Side, Outputs]:
        """Outputs of both sides in float64; where they differ, here or on a further probe, the findings that say where."""
        with ExitStack() as stack:
            for model in self.sides:
                stack.enter_context(model.precision("float64"))
            pairs = [(item.keras, item.torch) for item in self.pairing.pairs]
            stack.enter_context(self.sides[0].step_by_step(step_by_step(pairs, self.sides[1].layers())))
            exact_folds(self.pairing, *self.sides)
            inputs: dict[Side, list[Array]] = {
                side: cast(values, "float64") for side, values in self.inputs.items()
            }
            outputs: dict[Side, Outputs] = {}
            progress.at("forward")
            for model in self.sides:
                with self.gathered.watched(model.side):
                    found, errors = evaluated(model, inputs[model.side])
                self.findings += errors
                if found is not None:
                    outputs[model.side] = found
            agree = False
            if len(outputs) == 2:
                keras, torch = self.sides
                outputs["torch"] = in_keras_order(torch, outputs["keras"], outputs["torch"])
                runs = {torch.side: traced_run(torch, inputs["torch"])}
                self.limits, agree, moving = held(
                    self.sides, inputs, outputs, OutputSpread(torch, inputs["torch"], runs["torch"].outputs)
                )
            if agree:
                runs["keras"] = traced_run(keras, inputs["keras"])
                self.hiding, notes = hiding(self.sides, inputs, outputs, runs, moving)
                self.hiding += [f for side in self.sides for f in unlike_traced(side, inputs, outputs, runs)]
                self.notes += notes
                self.hides = bool(notes)
            if not agree or self.hiding:
                self._take(where(self.sides, inputs, self.pairing, bool(self.findings), outputs))
            evaluated_both = len(outputs) == 2
            self.findings = with_differing_values(self.findings, self.sides, self.pairing, evaluated_both)
            if agree and not (self.findings or self.hiding or self.pairing.open):
                self._prove(inputs, outputs)
        return outputs if len(outputs) == 2 else {}

    def _prove(self, inputs: dict[Side, list[Array]], outputs: dict[Side, Outputs]) -> None:
        """What the main probe did not show."""
        if not all(np.isfinite(value).all() for found in outputs.values() for _, value in found):
            return  # no verdict rests on it: the outputs themselves are a finding
        values = self.inputs["keras"]
        self.proven = prove(
            self.sides, self.pairing, values, inputs, outputs, self.gathered, self.quick, self.hides
        )
        self._take(self.proven.where)

    def _take(self, found: Where) -> None:
        """Where the sides differ goes into the report."""
        self.findings[:0] = found.findings
        self.noisy, self.layers, self.graphs = found.noisy, found.layers, found.graphs
