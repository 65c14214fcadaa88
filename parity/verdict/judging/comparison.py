"""One comparison of the outputs: both sides in float64, where they differ, and what makes EQUAL a proof."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import numpy as np

from parity.adapters.inputs.outputs import in_keras_order
from parity.adapters.patching import layers_anew, layers_known
from parity.adapters.probe import to_torch_inputs
from parity.core.adapter import Adapter
from parity.core.finding import Finding, Kind
from parity.core.types import Array, Side
from parity.core.verdict import verdict_of
from parity.pairing.pair import Pairing
from parity.pairing.recurrent.cells import step_by_step
from parity.probes.change import never_masked_whole
from parity.probes.gathered import Gathered
from parity.replay.hidden import TracedRun, traced_run
from parity.replay.spread import OutputSpread
from parity.report.repro.blueprints import with_blueprints
from parity.report.result import Report
from parity.verdict.attempts import held
from parity.verdict.evaluate import evaluated, evaluated_traced, has_short_cuts, unlike_traced
from parity.verdict.float32.lifting import Lifted, lifted
from parity.verdict.hiding import hiding
from parity.verdict.judging.rivals import with_rivals_heard
from parity.verdict.judging.written_cells import with_causes_of_cells
from parity.verdict.outputs import Judged, Limits, Outputs, axes_notes, cast, judge, vacuous
from parity.verdict.precision import Precision, compare_in
from parity.verdict.proving import Proven, prove
from parity.verdict.runs import progress
from parity.verdict.runs.own_dtype import compare_as_held
from parity.verdict.unmatched import left_out, with_differing_values, with_unmatched
from parity.verdict.where import Where, where
from parity.weights.differences import exact_folds


class PairComparison:
    """One comparison of the outputs: the two sides, their pairing, and the input."""

    def __init__(
        self,
        keras: Adapter,
        torch: Adapter,
        pairing: Pairing,
        values: list[Array],
        dtype: str,
        quick: bool,
        tolerance: float | None = None,
    ) -> None:
        self.sides, self.pairing, self.dtype, self.quick = (keras, torch), pairing, dtype, quick
        self.tolerance = tolerance
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
        self.lifted: Lifted | None = None
        self.untraced: set[Side] = {model.side for model in self.sides if has_short_cuts(model)}

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
        if self.proven is not None and not self.quick and not self.findings:
            self.notes += never_masked_whole(self.inputs["keras"])
        structure = judged.max_abs, judged.max_rel
        if self.lifted is not None and self.lifted.findings:
            structure = max(structure[0], self.lifted.gap[0]), max(structure[1], self.lifted.gap[1])
        if self.proven is not None:
            structure = max(structure[0], self.proven.max_abs), max(structure[1], self.proven.max_rel)
        if self.proven is not None and self.proven.usual is not None and not self.findings:
            held_as = compare_as_held(self.sides, self.proven.usual)
            self.findings += held_as.findings
            self.proven.unproven += held_as.unproven
        equal = bool(outputs) and all(finding.kind is Kind.UNMATCHED for finding in self.findings)
        precision = Precision(max_abs=structure[0], max_rel=structure[1])
        if equal and self.dtype != "float64":
            with layers_anew(*self.sides):
                precision = compare_in(self.dtype, self.sides, self.inputs, outputs, self.tolerance)
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
            stack.enter_context(layers_anew(*self.sides))  # in float64
            stack.enter_context(layers_known(*self.sides))
            inputs: dict[Side, list[Array]] = {
                side: cast(values, "float64") for side, values in self.inputs.items()
            }
            outputs = self._judged(inputs, stack)
        return outputs if len(outputs) == 2 else {}

    def _judged(self, inputs: dict[Side, list[Array]], stack: ExitStack) -> dict[Side, Outputs]:
        """The same, held in float64; float32 within the models is lifted where it is what parts them.

        A side's first pass is traced, and its last one is not: where both give the same bits, one pass shows what two
        would. Where a framework takes short cuts untraced, and wherever something differs, an untraced pass is judged.
        """
        progress.at("forward")
        outputs, runs = self._first_passes(inputs)
        agree = False
        if len(outputs) == 2:
            torch = self.sides[1]
            outputs["torch"] = in_keras_order(torch, outputs["keras"], outputs["torch"])
            if "torch" not in self.untraced:
                runs["torch"] = replace(runs["torch"], outputs=outputs["torch"])
            else:
                runs["torch"] = traced_run(torch, inputs["torch"])
            trace = runs["torch"].trace
            last = None if trace is None else trace.take_last()
            measured = OutputSpread(torch, inputs["torch"], runs["torch"].outputs, last)
            last_judgement = len(self.untraced) == len(self.sides)
            self.limits, agree, moving = held(self.sides, inputs, outputs, measured, last_judgement)
            if not agree and last_judgement and self._lift(inputs, outputs, stack):
                return self._judged(inputs, stack)
        if agree:
            if "keras" in self.untraced:
                runs["keras"] = traced_run(self.sides[0], inputs["keras"])
            self.hiding, notes = hiding(self.sides, inputs, outputs, runs, moving)
            self.hiding += [
                f
                for side in self.sides
                if side.side in self.untraced
                for f in unlike_traced(side, inputs, outputs, runs)
            ]
            self.notes += notes
            self.hides = bool(notes)
        if (not agree or self.hiding) and len(self.untraced) < 2:
            return self._judged_untraced(inputs, stack)
        if not agree or self.hiding:
            self._take(where(self.sides, inputs, self.pairing, bool(self.findings), outputs))
        evaluated_both = len(outputs) == 2
        self.findings = with_differing_values(self.findings, self.sides, self.pairing, evaluated_both)
        if evaluated_both and not agree:
            with layers_anew(*self.sides):  # what is tried there changes settings of layers
                self.findings = with_rivals_heard(self.findings, self.sides, self.pairing, inputs)
                self.findings = with_causes_of_cells(self.findings, self.sides, self.pairing, inputs)
        if agree and not (self.findings or self.hiding or self.pairing.open):
            self._prove(inputs, outputs)
            if self.proven is not None and self.proven.unlike and not self.proven.where.noisy:
                return self._judged_untraced(inputs, stack)
            if self.proven is not None and self.findings and self._lift(inputs, outputs, stack):
                return self._judged(inputs, stack)
        if self.proven is None and len(self.untraced) < 2:  # nothing has shown what an untraced pass gives
            return self._judged_untraced(inputs, stack)
        return outputs

    def _first_passes(
        self, inputs: dict[Side, list[Array]]
    ) -> tuple[dict[Side, Outputs], dict[Side, TracedRun]]:
        """The outputs of each side that takes the inputs, and the traced runs that gave them."""
        outputs: dict[Side, Outputs] = {}
        runs: dict[Side, TracedRun] = {}
        for model in self.sides:
            with self.gathered.watched(model.side):
                if model.side in self.untraced:
                    found, errors = evaluated(model, inputs[model.side])
                else:
                    run, errors = evaluated_traced(model, inputs[model.side])
                    found = None if run is None else run.outputs
                    runs |= {} if run is None else {model.side: run}
            self.findings += errors
            if found is not None:
                outputs[model.side] = found
        return outputs, runs

    def _judged_untraced(self, inputs: dict[Side, list[Array]], stack: ExitStack) -> dict[Side, Outputs]:
        """The same, judged by the outputs of untraced passes."""
        self.untraced = {"keras", "torch"}
        self._anew()
        return self._judged(inputs, stack)

    def _anew(self) -> None:
        """Nothing was found yet, except what lifting found."""
        found = self.lifted
        self.noisy, self.layers, self.graphs, self.proven = set(), [], {}, None
        self.findings, self.hiding, self.limits = [] if found is None else list(found.findings), [], {}
        self.notes = [*self.pairing.notes, *([] if found is None else found.notes)]
        self.gathered = Gathered(self.sides)

    def _lift(self, inputs: dict[Side, list[Array]], outputs: dict[Side, Outputs], stack: ExitStack) -> bool:
        """Whether float32 within the models was lifted just now, so that they are to be judged anew."""
        if self.lifted is not None:
            return False
        with layers_anew(*self.sides):
            found = lifted(self.sides, inputs, outputs, self.pairing, stack)
        if found is None:
            return False
        self.lifted = found
        self._anew()
        return True

    def _prove(self, inputs: dict[Side, list[Array]], outputs: dict[Side, Outputs]) -> None:
        """What the main probe did not show."""
        if not all(np.isfinite(value).all() for found in outputs.values() for _, value in found):
            return  # no verdict rests on it: the outputs themselves are a finding
        values = self.inputs["keras"]
        self.proven = prove(
            self.sides,
            self.pairing,
            values,
            inputs,
            outputs,
            self.gathered,
            self.quick,
            self.hides,
            {model.side for model in self.sides} - self.untraced,
        )
        self._take(self.proven.where)

    def _take(self, found: Where) -> None:
        """Where the sides differ goes into the report."""
        self.findings[:0] = found.findings
        self.noisy, self.layers, self.graphs = found.noisy, found.layers, found.graphs
