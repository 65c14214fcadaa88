"""Compares a Keras model with a torch module and says EQUAL, DIVERGED or INCONCLUSIVE; fails closed."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import numpy as np

from parity.adapters import trainer_of
from parity.adapters.probe import as_list, declared, random_inputs, to_torch_inputs
from parity.causes.table import CAUSES
from parity.core.adapter import Adapter
from parity.core.environment import environment
from parity.core.errors import ParityError, UsageError
from parity.core.finding import Finding, in_a_line
from parity.core.layout import aligned
from parity.core.tolerance import COORDINATE_FACTOR, PRECISION_FACTOR, STRUCTURE, UNIT_ROUNDOFF, difference
from parity.core.types import Array
from parity.pairing.pair import MappingLike, Pairing
from parity.pairing.slots import Problem
from parity.replay.noise import noise
from parity.replay.settings import differing_settings
from parity.report.repro.blueprints import with_blueprints
from parity.report.result import Report
from parity.training.findings import add_training
from parity.verdict.localise import localise
from parity.weights.transfer import (
    adapters_of,
    exact_folds,
    layer_pairs,
    pair_models,
    sorted_sides,
    tensor_differences,
)

FITTING_INPUT = (
    "where the input is what it does not take, give one that both models take (inputs=, --input 2x65x96x3)"
)
NO_FLOAT64 = "it runs in float32, so one of its operations takes no float64 here, which parity judges by: "
ELSEWHERE = {
    "keras": "check on another Keras backend (KERAS_BACKEND=jax or torch)",
    "torch": "check on another device (--device cpu)",
}
Outputs = list[tuple[str, Array]]


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
    loss: tuple[Any, ...] | None = None,
    optimizer: Any = None,
    match_rules: bool = False,
) -> Report:
    """Evaluate both models on the same input with the weights that they have, and compare the outputs.

    Neither model is changed: weights are held in float64 for the time being and put back.

    Args:
        keras_model: a built Keras model or layer.
        torch_module: a torch module.
        inputs: NumPy array in the Keras layout (N, H, W, C), or a list of them; None draws random ones
            with H != W and odd sizes from the model's own input specification.
        dtype: "float64" judges the structure; "float32", "float16" and "bfloat16" judge the rounding too.
        gradients: compare loss and gradients too, in inference and in training mode (parity.training).
        train_steps: compare this many steps of an optimizer too, with statistics and optimizer state.
        device: "cpu" or "gpu".
        mapping: {Keras path: torch path or tuple of paths} for layers whose names differ.
        loss: (Keras loss of (targets, outputs), torch loss of (outputs, targets)[, targets in the Keras
            layout]); None means the squared error against random targets.
        optimizer: "sgd", "sgd-nesterov", "adam", "adamw", "rmsprop", {"name": ..., "lr": number or list, option:
            value}, or (Keras optimizer, torch optimizer or function of the parameters); None means SGD with momentum.
        match_rules: judge training with one rule where the frameworks' own rules differ, and only note these.

    Returns:
        The report; `bool(report)` is True for EQUAL alone.

    Raises:
        UsageError: the comparison cannot be made as asked.
    """
    if dtype not in UNIT_ROUNDOFF:
        raise UsageError(f"dtype must be one of {', '.join(UNIT_ROUNDOFF)}; got dtype={dtype!r}.")
    started = time.perf_counter()
    sides = adapters_of(keras_model, torch_module, inputs, device)
    keras, torch = sorted_sides(*sides)
    restore = [
        trainer_of(side).statistics() for side in sides
    ]  # a model left in training mode changes in a pass
    for values in [declared(as_list(inputs), keras)] if inputs is not None else random_inputs(keras):
        pairing = pair_models(keras, torch, mapping, values)
        report = _Comparison(keras, torch, pairing, values, dtype, pairing.flattened).report()
        # Sizes that a model refuses are no verdict; a difference that they showed before it raised is one.
        if report.verdict != "INCONCLUSIVE" or not any(f.kind == "error" for f in report.findings):
            break
    for put_back in restore:
        put_back()
    if gradients or train_steps:
        add_training(report, keras, torch, pairing, values, gradients=gradients, train_steps=train_steps, loss=loss,
                     optimizer=optimizer, match_rules=match_rules)  # fmt: skip
    report.pairs = layer_pairs(pairing)
    report.environment = environment()
    report.seconds = time.perf_counter() - started
    return report


def assert_parity(keras_model: Any, torch_module: Any, **arguments: Any) -> Report:
    """`compare`, raising unless the verdict is EQUAL.

    Returns:
        The report.

    Raises:
        ParityError: the models are not proven equal; the message lists every finding.
    """
    report = compare(keras_model, torch_module, **arguments)
    if not report:
        raise ParityError(str(report))
    return report


class _Comparison:
    """One comparison: the two sides, their pairing, and the input."""

    def __init__(
        self,
        keras: Adapter,
        torch: Adapter,
        pairing: Pairing,
        values: list[Array],
        dtype: str,
        flattened: Mapping[str, tuple[int, ...]],
    ) -> None:
        self.keras, self.torch, self.pairing, self.dtype = keras, torch, pairing, dtype
        self.flattened = flattened
        self.inputs = {"keras": values, "torch": to_torch_inputs(values, keras)}
        self.findings: list[Finding] = []
        self.notes: list[str] = list(pairing.notes)
        self.layers: list[dict[str, Any]] = []
        self.graphs: dict[str, Any] = {}
        self.noisy: list[str] = []

    def report(self) -> Report:
        """Run everything and put the verdict together."""
        outputs = self._structure()
        self._add_unmatched()
        structure = self._judge(outputs) if outputs else (float("inf"), float("inf"), 0)
        equal = bool(outputs) and not any(finding.kind != "unmatched" for finding in self.findings)
        precision: dict[str, float] = {}
        greatest = structure[:2]
        if equal and self.dtype != "float64":
            precision, greatest = self._precision(outputs)
        return Report(
            verdict=self._verdict(bool(outputs)),
            max_abs_diff=greatest[0],
            max_rel_diff=greatest[1],
            findings=with_blueprints(self.findings, self.keras, self.torch, self.flattened),
            notes=self.notes,
            dtype=self.dtype,
            structure=structure[1],
            structure_abs=structure[0],
            precision=precision,
            layers=self.layers,
            graphs=self.graphs,
            elements=structure[2],
        )

    def _unlike(self) -> list[Finding]:
        """What to do where most layers of one side have no counterpart: these are hardly two of one network."""
        sides = [
            sum(bool(layer.tensors) for layer in side.layers().values()) for side in (self.keras, self.torch)
        ]
        misfit = {problem.keras for problem in self.pairing.problems}
        whole = sum(1 for item in self.pairing.pairs if item.slots and item.keras not in misfit)
        if not self.pairing.problems or whole >= min(sides) / 2:
            return []
        text = (
            f"{whole} of {sides[0]} Keras and {sides[1]} torch layers with weights correspond: are these two versions "
            "of one network?"
        )
        fix = "check what --keras and --torch name, or pass a mapping from Keras paths to torch paths"
        if self.pairing.unrun:
            text = (
                f"the names pair {whole} of {sides[0]} Keras and {sides[1]} torch layers with weights, and what the "
                f"models compute could not be looked at: {self.pairing.unrun}"
            )
            fix = "give inputs that both models take (inputs=, --input), or a mapping from Keras paths to torch paths"
        return [Finding(None, None, "unmatched", None, text, fix)]

    def _verdict(self, evaluated: bool) -> str:
        kinds = {finding.kind for finding in self.findings}
        if not kinds:
            return "EQUAL"
        proven = {
            "layer",
            "wiring",
            "missing-call",
            "extra-call",
            "output",
            "shape",
            "non-finite",
            "precision",
            "gradient",
            "training",
        }
        if (
            "not-repeatable" in kinds
        ):  # a random model is not a repeatable one; of two random ones nothing is proven
            named = any(finding.kind == "not-repeatable" and finding.cause for finding in self.findings)
            return "DIVERGED" if len(self.noisy) == 1 and named else "INCONCLUSIVE"
        return "DIVERGED" if kinds & proven else "INCONCLUSIVE"

    # --- float64 ----------------------------------------------------------------------------------

    def _structure(self) -> dict[str, Outputs]:
        """Outputs of both sides in float64; where they differ, the findings that say where."""
        with ExitStack() as stack:
            for model in (self.keras, self.torch):
                stack.enter_context(model.precision("float64"))
            exact_folds(self.pairing, self.keras, self.torch)
            inputs = {side: _cast(values, "float64") for side, values in self.inputs.items()}
            outputs: dict[str, Outputs] = {}
            for model in (self.keras, self.torch):
                self._run(model, inputs[model.side], outputs)
            agree = len(outputs) == 2 and _agree(outputs["keras"], outputs["torch"])
            if not agree and not self._add_noise(inputs):
                found = localise(
                    self.keras, self.torch, self.pairing, inputs["keras"], inputs["torch"], self.flattened
                )
                errors = any(finding.kind == "error" for finding in self.findings)
                self.findings[:0] = [item for item in found.findings if not (errors and item.kind == "error")]
                self.layers = found.layers
                self.graphs = self._graphs(inputs)
            self._explain()
        return outputs if len(outputs) == 2 else {}

    def _graphs(self, inputs: Mapping[str, Sequence[Array]]) -> dict[str, Any]:
        """Both sides' forward passes as graphs, for the report; a side that raises has none."""
        graphs: dict[str, Any] = {}
        for model in (self.keras, self.torch):
            try:
                graphs[model.side] = model.trace(inputs[model.side])[1].graph()
            except Exception:  # any model, any error: the finding says it already
                continue
        return graphs

    def _add_noise(self, inputs: Mapping[str, Sequence[Array]]) -> bool:
        """Whether a side is not repeatable; then that is the finding, and no layer is blamed for noise."""
        found = {model.side: noise(model, inputs[model.side]) for model in (self.keras, self.torch)}
        mates = {item.keras: item.torch for item in self.pairing.pairs}
        for side, item in found.items():
            if item is None:
                continue
            ours, theirs = (item.path, None) if side == "keras" else (None, item.path)
            for mine, others in mates.items():
                if ours == mine or theirs in others:
                    ours, theirs = mine, ", ".join(others)
            alone = sum(value is not None for value in found.values()) == 1
            other = "torch" if side == "keras" else "Keras"
            text = f"the {side} model is not repeatable: {item.evidence}" + (
                f"; the {other} side is" if alone else ""
            )
            fix = "module.eval(), and no dropout with training=True" if side == "torch" else "training=False"
            cause = "train-mode-left-on" if item.dropped else None
            self.findings.append(Finding(ours, theirs, "not-repeatable", cause, text, fix if cause else None))
        self.noisy = [side for side, item in found.items() if item is not None]
        return bool(self.noisy)

    def _run(self, model: Adapter, inputs: Sequence[Array], outputs: dict[str, Outputs]) -> None:
        """Evaluate one side; an error becomes a finding."""
        try:
            outputs[model.side] = model.forward(inputs)
        except Exception as error:  # any model, any error: it is a finding, not a crash of the tool
            text = f"{model.side} raised {in_a_line(error)}"
            fix = NO_FLOAT64 + ELSEWHERE[model.side] if _runs_in_float32(model, inputs) else FITTING_INPUT
            self.findings.append(Finding(None, None, "error", None, text, fix))

    def _add_unmatched(self) -> None:
        """Tensors without a counterpart: told with the layer that differs for want of them, or on their own."""
        self.findings += self._unlike()
        for problem in self.pairing.problems:
            for i, finding in enumerate(self.findings):
                mine = problem.keras is not None and problem.keras == finding.keras
                if finding.kind == "layer" and (
                    mine or (problem.torch is not None and problem.torch == finding.torch)
                ):
                    self.findings[i] = replace(finding, evidence=f"{finding.evidence}; {problem.text}")
                    break
            else:
                self.findings.append(self._unmatched(problem))

    def _unmatched(self, problem: Problem) -> Finding:
        """A tensor without a counterpart; a bias that one of two paired layers alone has is a missing one."""
        mates = {item.keras: item.torch for item in self.pairing.pairs}
        ours, theirs, cause, fix = problem.keras, problem.torch, None, None
        for mine, others in mates.items():
            lone = ".bias " in f"{problem.text.split(' has no counterpart')[0]} " and not problem.tensors
            if lone and (ours == mine or theirs in others):
                lacking = ("torch layer", ", ".join(others)) if ours == mine else ("Keras layer", mine)
                ours, theirs, cause = mine, ", ".join(others), "missing-bias"
                fix = f"give {lacking[0]} {lacking[1]} a bias"
                break
        return Finding(ours, theirs, "unmatched", cause, problem.text, fix)

    def _explain(self) -> None:
        """Add to each differing layer which weights and settings are not the same; note those without effect."""
        differing = tensor_differences(self.pairing, self.keras, self.torch)
        texts: dict[str, list[str]] = {}
        for path, (slot, ours, theirs) in differing.items():
            layer, _, name = path.rpartition(".")
            gap = difference(ours, theirs)
            text = f"{name} is not torch's {slot.torch} ({gap.mismatched} of {gap.size} values, by up to {gap.max_abs:.3g})"
            texts.setdefault(layer, []).append(text)
        layers = self.keras.layers(), self.torch.layers()
        for i, finding in enumerate(self.findings):
            if (
                finding.kind in {"layer", "shape"}
                and finding.keras in layers[0]
                and finding.torch in layers[1]
            ):
                settings = differing_settings(
                    layers[0][finding.keras].settings, layers[1][finding.torch].settings
                )
                more = texts.pop(finding.keras, []) + settings
                self.findings[i] = replace(finding, evidence="; ".join([finding.evidence, *more]))
        if texts:
            shown = ", ".join(list(texts)[:5]) + (" ..." if len(texts) > 5 else "")
            self.notes.append(f"weights of {len(texts)} layers differ without effect on this output: {shown}")

    def _judge(self, outputs: dict[str, Outputs]) -> tuple[float, float, int]:
        """Greatest absolute and relative difference, elements compared; findings on what proves nothing."""
        ours, theirs = outputs["keras"], outputs["torch"]
        located = any(finding.kind != "unmatched" for finding in self.findings)
        if len(ours) != len(theirs) or not ours:
            text = f"Keras gives {len(ours)} output tensors, torch {len(theirs)}"
            self.findings.append(Finding(None, None, "shape", None, text))
            return float("inf"), float("inf"), 0
        greatest_abs = greatest_rel = 0.0
        elements = 0
        for (name, mine), (_, other) in _by_name(ours, theirs):
            fit = aligned(mine, other)
            if fit is None:
                text = f"output {name}: shape {mine.shape} in Keras, {other.shape} in torch"
                if not located:
                    self.findings.append(Finding(None, None, "shape", None, text))
                return float("inf"), float("inf"), elements
            gap = difference(mine, fit[0])
            elements += gap.size
            greatest_abs, greatest_rel = max(greatest_abs, gap.max_abs), max(greatest_rel, gap.max_rel)
            if gap.non_finite:
                one_sided = not np.isfinite(gap.max_abs)
                text = f"output {name}: {gap.non_finite} of {gap.size} elements are NaN or infinite" + (
                    " on one side alone" if one_sided else " on both sides, which proves nothing"
                )
                fix = None if one_sided else "inputs and weights that keep the outputs finite"
                self.findings.append(
                    Finding(None, None, "non-finite" if one_sided else "error", None, text, fix)
                )
            elif gap.size and not gap.within() and not located:
                self.findings.append(
                    Finding(None, None, "output", None, f"output {name}: {gap}, not located")
                )
        if elements == 0:
            self.findings.append(
                Finding(None, None, "error", None, "nothing was compared: the outputs are empty")
            )
        elif not located and self._hands_through(ours, theirs):
            text = "both models hand their input through: there is nothing to compare. Are these the models you mean?"
            self.findings.append(Finding(None, None, "error", None, text))
        elif not located:
            for name in self._constant_outputs(ours):
                text = f"output {name}: another input gives the same, so that equality would prove nothing"
                self.findings.append(Finding(None, None, "constant-output", None, text))
        return greatest_abs, greatest_rel, elements

    def _hands_through(self, ours: Outputs, theirs: Outputs) -> bool:
        """Whether neither side does anything: no layers with weights, and every output is an input."""
        if any(layer.tensors for side in (self.keras, self.torch) for layer in side.layers().values()):
            return False
        given = {
            "keras": _cast(self.inputs["keras"], "float64"),
            "torch": _cast(self.inputs["torch"], "float64"),
        }
        return all(
            any(np.array_equal(value, one) for one in given[side])
            for side, outputs in (("keras", ours), ("torch", theirs))
            for _, value in outputs
        )

    def _constant_outputs(self, outputs: Outputs) -> list[str]:
        """Names of the outputs that do not depend on the input (a dead ReLU), found by a second input."""
        suspects = [(i, name) for i, (name, value) in enumerate(outputs) if _constant(value)]
        if not suspects:
            return []
        rng = np.random.default_rng(1)
        other = [
            value * rng.uniform(-2.0, 2.0, value.shape) + rng.normal(0.0, 1.0, value.shape)
            if value.dtype.kind == "f"
            else np.roll(value, 1, axis=-1)
            for value in _cast(self.inputs["keras"], "float64")
        ]
        with self.keras.precision("float64"):
            again = self.keras.forward(other)
        return [name for i, name in suspects if np.array_equal(again[i][1], outputs[i][1])]

    # --- the dtype asked for ----------------------------------------------------------------------

    def _precision(self, exact: dict[str, Outputs]) -> tuple[dict[str, float], tuple[float, float]]:
        """Each side in `dtype` against itself in float64, and the sides against each other."""
        rounded: dict[str, Outputs] = {}
        for model in (self.keras, self.torch):
            with model.precision(self.dtype):
                self._run(model, _cast(self.inputs[model.side], self.dtype), rounded)
        if len(rounded) < 2:
            return {}, (float("inf"), float("inf"))
        conditioning = self._conditioning(exact)
        allowed = max(
            PRECISION_FACTOR * conditioning, COORDINATE_FACTOR * _extent(exact) * UNIT_ROUNDOFF[self.dtype]
        )
        errors = {side: _greatest(exact[side], rounded[side])[1] for side in ("keras", "torch")}
        apart = _greatest(rounded["keras"], rounded["torch"])
        for model in (self.keras, self.torch):
            if not errors[model.side] <= allowed:
                self.findings.append(self._imprecise(model, errors[model.side], allowed, exact))
        if not apart[1] <= 2.0 * max(errors.values()):
            text = f"the sides are {apart[1]:.3g} of the scale apart in {self.dtype}, more than either is from float64"
            self.findings.append(Finding(None, None, "precision", None, text))
        figures = {**{f"{side}_error": error for side, error in errors.items()}, "disagreement": apart[1]}
        return {**figures, "conditioning": conditioning, "allowed": allowed}, apart

    def _imprecise(self, model: Adapter, error: float, allowed: float, exact: dict[str, Outputs]) -> Finding:
        """One side is less exact than its dtype allows; reduced precision is named where that was it."""
        text = (
            f"the {model.side} side's {self.dtype} output is {error:.3g} of the scale away from its own float64 output; "
            f"rounding explains {allowed:.3g}"
        )
        again: dict[str, Outputs] = {}
        with model.full_multiplication() as reduced, model.precision(self.dtype):
            if reduced:
                self._run(model, _cast(self.inputs[model.side], self.dtype), again)
        if model.side in again:
            better = _greatest(exact[model.side], again[model.side])[1]
            if better <= allowed:
                text += f"; without TF32 it is {better:.3g}"
                return Finding(None, None, "precision", "tf32", text, CAUSES["tf32"].fix, True)
        return Finding(
            None, None, "precision", None, f"{text}. Is reduced precision (fast convolution) switched on?"
        )

    def _conditioning(self, exact: dict[str, Outputs]) -> float:
        """What one unit roundoff on every weight and input does to the output, in float64."""
        rng = np.random.default_rng(0)
        unit = UNIT_ROUNDOFF[self.dtype]

        def nudged(value: Array) -> Array:
            return value * (1.0 + unit * rng.uniform(-1.0, 1.0, value.shape))

        with self.torch.precision("float64"):
            for layer in self.torch.layers().values():
                for tensor in layer.tensors:
                    if tensor.dtype.startswith(("float", "bfloat")):
                        self.torch.write(tensor.path, nudged(self.torch.read(tensor.path)))
            inputs = [nudged(v) if v.dtype.kind == "f" else v for v in _cast(self.inputs["torch"], "float64")]
            moved = _greatest(exact["torch"], self.torch.forward(inputs))[1]
        return max(moved, unit)


def _cast(values: Sequence[Array], dtype: str) -> list[Array]:
    """Floating inputs in the dtype to judge in (bfloat16 stays float32: NumPy has none, the models cast)."""
    wanted = "float32" if dtype == "bfloat16" else dtype
    return [value.astype(wanted) if value.dtype.kind == "f" else value for value in values]


def _by_name(ours: Outputs, theirs: Outputs) -> list[tuple[tuple[str, Array], tuple[str, Array]]]:
    """Outputs side by side: by name where both have the same names, else by position."""
    names = [name for name, _ in theirs]
    if {name for name, _ in ours} == set(names):
        return [(item, theirs[names.index(item[0])]) for item in ours]
    return list(zip(ours, theirs, strict=True))


def _extent(outputs: dict[str, Outputs]) -> int:
    """Rows or columns of the largest image among the outputs; 0 where there is none."""
    return max((max(value.shape[1:-1]) for _, value in outputs["keras"] if value.ndim > 3), default=0)


def _agree(ours: Outputs, theirs: Outputs) -> bool:
    if len(ours) != len(theirs) or not ours:
        return False
    for (_, mine), (_, other) in _by_name(ours, theirs):
        fit = aligned(mine, other)
        if fit is None or not difference(mine, fit[0]).within(STRUCTURE):
            return False
    return True


def _greatest(ours: Outputs, theirs: Outputs) -> tuple[float, float]:
    """Greatest absolute and relative difference over the outputs."""
    gaps = []
    for (_, mine), (_, other) in _by_name(ours, theirs):
        fit = aligned(mine, other)
        gaps.append(difference(mine, fit[0]) if fit else None)
    if not gaps or None in gaps:
        return float("inf"), float("inf")
    return max(gap.max_abs for gap in gaps if gap), max(gap.max_rel for gap in gaps if gap)


def _constant(value: Array) -> bool:
    """Whether every place of the batch (and of the image) has the same channels."""
    places = value.reshape(-1, value.shape[-1]) if value.ndim > 1 else value.reshape(-1, 1)
    return bool(np.all(places == places[0]))


def _runs_in_float32(model: Adapter, inputs: Sequence[Array]) -> bool:
    """Whether a model that raised on these inputs takes them in float32."""
    if not any(value.dtype == np.float64 for value in inputs):
        return False
    single = [value.astype(np.float32) if value.dtype == np.float64 else value for value in inputs]
    try:
        with model.precision("float32"):
            model.forward(single)
    except Exception:  # any model, any error: it was not the precision
        return False
    return True
