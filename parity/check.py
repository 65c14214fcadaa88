"""Checks one pair from end to end: transfer both ways, the round trip, and the comparison on each picture."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from parity.adapters import adapt, plain_weights
from parity.adapters.inputs.wanted import Wanted, arrays_of
from parity.adapters.probe import build, randomise
from parity.core.adapter import Adapter
from parity.core.finding import Finding, Kind
from parity.core.types import Array, Side
from parity.core.verdict import verdict_of
from parity.pairing.pair import MappingLike, Pairing
from parity.report.result import Report, Result
from parity.training.requests import loss_checked, optimizer_checked
from parity.verdict.compare import compare
from parity.weights.models import pair
from parity.weights.saved.load import load_side
from parity.weights.transfer import transfer

BOTH = DIRECTIONS = ("torch-to-keras", "keras-to-torch")
"""Ways to copy weights before a comparison; the n-th draws its random weights from the seed plus n."""


def check_pair(
    name: str,
    keras_spec: str,
    torch_spec: str,
    pictures: Mapping[str, Any],
    *,
    directions: Sequence[str] = BOTH,
    dtype: str | None = None,
    device: str = "cpu",
    mapping: MappingLike | None = None,
    seed: int = 0,
    quick: bool = False,
    layout: Any = None,
    ignore: Any = (),
    reference: Side | None = None,
    tolerance: float | None = None,
    weights: Mapping[Side, Path] | None = None,
    kept: Collection[str] = (),
    **training: Any,
) -> Result:
    """Check one pair of models.

    Args:
        name: for the report.
        keras_spec: "module:attribute" of the Keras model, or a file or folder that holds one (parity.weights.saved).
        torch_spec: the same of the torch module.
        pictures: inputs in the Keras layout by name, as `compare` takes them or as lists of what is wanted
            (`parity.adapters.inputs.wanted`); a value None draws random input from the model's own specification.
        directions: "torch-to-keras", "keras-to-torch" or "none" (the weights stay as they are). Before
            a transfer the source gets random weights and statistics, which hide nothing.
        dtype: one dtype to judge in; None judges in float64 and float32.
        device: "cpu" or "gpu".
        mapping: {Keras path: torch path} where names differ.
        seed: of the random weights.
        layout: the order of axes in which torch takes the inputs, as for `compare`; None finds it.
        ignore: patterns of paths that are left out, as for `compare`.
        reference: the side that is right, as for `compare`.
        tolerance: in the dtype, as for `compare`; with dtype None in float32.
        quick: no further probes; without it the first picture of the first direction has them. The weights of the second
            direction are others on the same two models: every tensor is compared, and every picture evaluated.
        weights: a file of weights for a side, which is read into it.
        kept: sides that keep their weights, where a transfer copies these and not random ones.
        training: gradients, train_steps, loss, optimizer, match_rules and initialisers of `compare`, for the first
            picture of each direction.
    """
    optimizer_checked(training.get("optimizer"))
    loss_checked(training.get("loss"))
    started = time.perf_counter()
    weights = weights or {}
    torch_module = load_side(torch_spec, "torch", weights.get("torch"))
    keras_model = load_side(keras_spec, "keras", weights.get("keras"))
    pictures = {key: _made(value, keras_model, seed) for key, value in pictures.items()}
    first = next(iter(pictures.values()), None)
    build(keras_model, first)
    result = Result(name, parameters=_parameters(torch_module))
    pairing: Pairing | None = None
    with plain_weights(torch_module):
        for turn, direction in enumerate(directions):
            if direction != "none":
                source = torch_module if direction == "torch-to-keras" else keras_model
                if direction.partition("-")[0] not in kept:
                    randomise(adapt(source), seed + DIRECTIONS.index(direction))
            pairing = pairing or pair(keras_model, torch_module, mapping, first, layout=layout, ignore=ignore)
            if direction != "none":
                target = keras_model if source is torch_module else torch_module
                result.findings += _lost(source, target, pairing, seed)
            for number, (picture, values) in enumerate(pictures.items()):
                report = compare(
                    keras_model,
                    torch_module,
                    values,
                    dtype=dtype or "float32",
                    device=device,
                    pairing=pairing,
                    quick=quick or turn > 0 or number > 0,
                    layout=layout,
                    reference=reference,
                    tolerance=tolerance,
                    **(training if number == 0 else {}),
                )
                _add(result, f"{direction}, {picture}", report, dtype)
    result.verdict = verdict_of(
        result.findings,
        evaluated=bool(result.reports),
        parts=[report.verdict for report in result.reports.values()],
    )
    proven = [report for report in result.reports.values() if report.proof is not None and report]
    if proven:
        best = max(
            proven,
            key=lambda report: (len(report.proof.probes) if report.proof else 0, -len(report.unproven)),
        )
        result.unproven, result.proof = best.unproven, best.proof
    result.seconds = time.perf_counter() - started
    result.environment = next((report.environment for report in result.reports.values()), {})
    return result


def _made(values: Any, keras_model: Any, seed: int) -> Any:
    """The inputs that are wanted, as arrays."""
    wanted = isinstance(values, list) and bool(values) and isinstance(values[0], Wanted)
    return arrays_of(values, keras_model, seed) if wanted else values


def _lost(source: Any, target: Any, pairing: Pairing, seed: int) -> list[Finding]:
    """Copy the source over, and see that the copy comes back bit for bit; a finding for each tensor that does not.

    Tensors without a counterpart stay behind: the comparison that follows names them and fails closed.
    """
    adapter = adapt(source)
    before = _state(adapter)
    there = transfer(source, target, strict=False, pairing=pairing)
    held = _state(adapt(target))
    randomise(adapter, seed + 2)
    transfer(target, source, strict=False, pairing=pairing)
    for path in (*there.unmatched_source, *there.ignored[0]):
        adapter.write(path, before[path])
    changed = [path for path, value in _state(adapter).items() if not np.array_equal(value, before[path])]
    if set(changed) & set(there.rewritten):  # held in another form: what is made of it again must be the same
        transfer(source, target, strict=False, pairing=pairing)
        again = _state(adapt(target))
        if all(np.array_equal(value, again[path]) for path, value in held.items()):
            changed = [path for path in changed if path not in there.rewritten]
    places = [(path, None) if adapter.side == "keras" else (None, path) for path in changed]
    text = "weights do not survive the round trip"
    return [Finding(keras, torch, Kind.ROUND_TRIP, None, text) for keras, torch in places]


def _state(model: Adapter) -> dict[str, Array]:
    return {
        tensor.path: model.read(tensor.path) for layer in model.layers().values() for tensor in layer.tensors
    }


def _add(result: Result, key: str, report: Report, dtype: str | None) -> None:
    """Take one comparison into the result."""
    result.reports[key] = report
    known = {_key(finding) for finding in result.findings}
    result.findings += [finding for finding in report.findings if _key(finding) not in known]
    if dtype is None:
        result.max_abs_diff = max(result.max_abs_diff, report.structure_abs)
        result.max_rel_diff = max(result.max_rel_diff, report.structure)
        if report.precision:
            result.float32 = max(result.float32 or 0.0, report.precision["disagreement"])
    else:
        result.max_abs_diff = max(result.max_abs_diff, report.max_abs_diff)
        result.max_rel_diff = max(result.max_rel_diff, report.max_rel_diff)


def _key(finding: Finding) -> tuple[str | None, ...]:
    """What makes two findings the same: the figures in the evidence change from picture to picture."""
    place = (finding.keras, finding.torch, finding.kind)
    if finding.kind in {Kind.UNMATCHED, Kind.NOT_COMPARED}:
        return (*place, finding.evidence)
    if finding.kind is Kind.TRAINING and finding.cause is None:  # which number of an optimizer it is
        return (*place, finding.evidence.partition(";")[0])
    return (*place, finding.cause)


def _parameters(module: Any) -> int:
    return sum(parameter.numel() for parameter in module.parameters() if parameter.requires_grad)
