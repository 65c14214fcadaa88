"""A standalone script for one finding: the two layers built anew, their weights, and the input that shows it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from parity.core.adapter import Adapter
from parity.core.errors import UsageError
from parity.core.finding import Finding
from parity.core.tolerance import difference
from parity.core.types import Array
from parity.report.repro_script import script

ROOT = "(the model itself)"

CONFIRMED = 1e-12
"""What a layer's own result may be off, relative to its scale, from what was saved of it."""


def with_recipes(
    findings: Sequence[Finding],
    keras: Adapter,
    torch: Adapter,
    flattened: Mapping[str, tuple[int, ...]] | None = None,
) -> list[Finding]:
    """The findings with how to build their layers anew, and the layers' weights, where that can be.

    A side is built anew only where its layer alone, run on the saved input, gives the saved output.

    Args:
        findings: in any order; those without tensors, or of another kind than "layer" and "shape", stay.
        keras: the Keras side, with the weights and dtypes that the model has.
        torch: the torch side.
        flattened: (H, W, C) of the image that was flattened in front of a Keras layer, by its path.
    """
    made = [_with_recipe(finding, keras, torch, flattened or {}) for finding in findings]
    if not any(finding.blueprint for finding in made):
        return made
    with keras.precision("float64"), torch.precision("float64"):
        return [_confirmed(finding, keras, torch) if finding.blueprint else finding for finding in made]


def _with_recipe(
    finding: Finding, keras: Adapter, torch: Adapter, flattened: Mapping[str, tuple[int, ...]]
) -> Finding:
    """One finding: each side is built anew or, where it has no blueprint, left to the saved tensors."""
    if not finding.tensors or finding.kind not in {"layer", "shape"}:
        return finding
    blueprint: dict[str, Any] = {"keras": None, "torch": None}
    tensors = dict(finding.tensors)
    image = flattened.get(finding.keras or "")
    if image is not None and "keras_input.0" in tensors:
        tensors["keras_input.0"] = _channels_last(tensors["keras_input.0"], image)
    if finding.keras is not None:
        made = _recipe(keras, finding.keras)
        if made is not None:
            blueprint["keras"] = made[0]
            tensors |= {f"keras_weight.{name}": value for name, value in made[1].items()}
    parts = [_recipe(torch, path) for path in _paths(finding)]
    known = [part for part in parts if part is not None]
    if parts and len(known) == len(parts):
        blueprint["torch"] = [part[0] for part in known]
        for i, (_, weights) in enumerate(known):
            tensors |= {f"torch_weight.{i}.{name}": value for name, value in weights.items()}
    return replace(finding, tensors=tensors, blueprint=blueprint)


def _paths(finding: Finding) -> list[str]:
    return [] if finding.torch is None else finding.torch.replace(ROOT, "").split(", ")


def _channels_last(value: Array, image: tuple[int, ...]) -> Array:
    """A flattened image in Keras' order; findings hold it in torch's, as the torch layer takes it."""
    if value.ndim != 2 or value.shape[1] != prod(image):
        return value
    return np.moveaxis(value.reshape(-1, image[-1], *image[:-1]), 1, -1).reshape(value.shape)


def _confirmed(finding: Finding, keras: Adapter, torch: Adapter) -> Finding:
    """Keep the blueprint of a side only where its layer alone gives the saved output; without its weights otherwise."""
    blueprint, tensors = dict(finding.blueprint), finding.tensors
    if blueprint["keras"] is not None and finding.keras is not None:
        path = "" if finding.keras == ROOT else finding.keras
        inputs = _in_order(tensors, "keras_input.")
        if not _gives(tensors, "keras", keras.trial(path, inputs, {}, {})):
            # torch applies a built-in activation as a step of its own: then what comes before it was compared
            before = keras.trial(path, inputs, {}, {"activation": None})
            blueprint["keras"] = (
                _without_activation(blueprint["keras"]) if _gives(tensors, "keras", before) else None
            )
    if blueprint["torch"] is not None:
        values: list[Array] | None = _in_order(tensors, "torch_input.")
        for path in _paths(finding):
            values = torch.trial(path, values, {}, {}) if values else None
        blueprint["torch"] = blueprint["torch"] if _gives(tensors, "torch", values) else None
    kept = {
        key: value
        for key, value in tensors.items()
        if "_weight." not in key or blueprint[key.partition("_")[0]] is not None
    }
    return replace(finding, tensors=kept, blueprint=blueprint)


def _without_activation(blueprint: dict[str, Any]) -> dict[str, Any]:
    layer = blueprint["config"]
    return {**blueprint, "config": {**layer, "config": {**layer["config"], "activation": "linear"}}}


def _in_order(tensors: Mapping[str, Array], start: str) -> list[Array]:
    names = sorted((key for key in tensors if key.startswith(start)), key=lambda key: int(key[len(start) :]))
    return [tensors[name] for name in names]


def _gives(tensors: Mapping[str, Array], side: str, outputs: Sequence[Array] | None) -> bool:
    saved = _in_order(tensors, f"{side}_output.")
    if outputs is None or len(outputs) != len(saved) or not saved:
        return False
    return all(
        ours.shape == theirs.shape and (difference(ours, theirs).max_rel <= CONFIRMED or ours.size == 0)
        for ours, theirs in zip(outputs, saved, strict=True)
    )


def _recipe(model: Adapter, path: str) -> tuple[dict[str, Any], dict[str, Array]] | None:
    path = "" if path == ROOT else path
    return model.blueprint(path) if path in model.layers() else None


def write(report: Path, number: int, destination: Path, pair: str | None = None) -> Path:
    """Write the script and its .safetensors file.

    Args:
        report: a JSON file of `Report.to_json` or `parity check --json`, with its tensors beside it.
        number: of the finding, counted from 1 as the report prints them.
        destination: the script; the tensors go beside it.
        pair: which result of a report on several pairs.

    Returns:
        The path of the tensors.

    Raises:
        UsageError: the report, the finding or its tensors are not there.
    """
    from safetensors.numpy import load_file, save_file

    values = _chosen(_read(report), pair, report)
    findings = values["findings"]
    if not 1 <= number <= len(findings):
        raise UsageError(
            f"--finding must be between 1 and {len(findings)}; got {number}. {report} has no such finding."
        )
    finding = findings[number - 1]
    source = report.parent / values.get("tensors_file", "")
    if not finding.get("tensors") or not source.is_file():
        why = finding.get("tensors_left_out") or values.get("tensors_left_out")
        with_them = [i for i, item in enumerate(findings, 1) if item.get("tensors")]
        raise UsageError(
            f"a finding must have tensors to be reproduced; got finding {number} ({finding['kind']}) "
            f"{f'whose tensors were left out: {why}' if why else 'without any'}"
            f"{'' if source.is_file() or not with_them else f', and no {source}'}. "
            f"Findings with tensors: {', '.join(map(str, with_them)) or 'none'}."
        )
    prefix = f"{number}."
    tensors = {
        key.removeprefix(prefix): np.array(value)
        for key, value in load_file(source).items()
        if key.startswith(prefix)
    }
    data = destination.with_suffix(".safetensors")
    if data.resolve() == source.resolve():
        raise UsageError(
            f"the script's tensors must not replace the report's; got -o {destination}. Rename it."
        )
    text = script(finding, tensors, values.get("environment", {}), f"{report.name}, finding {number}")
    destination.parent.mkdir(parents=True, exist_ok=True)
    save_file(tensors, data)
    destination.write_text(text, encoding="utf-8")
    return data


def _read(path: Path) -> list[dict[str, Any]]:
    """The results in a report's JSON; a single report is a list of one."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UsageError(f"a report must be a JSON file; got {path}: {error}.") from error
    values = values if isinstance(values, list) else [values]
    if not values or not all(isinstance(item, dict) and "findings" in item for item in values):
        raise UsageError(
            f"a report must come from Report.to_json or parity check --json; got {path} without findings."
        )
    return values


def _chosen(results: list[dict[str, Any]], pair: str | None, path: Path) -> dict[str, Any]:
    """The result of that name; without a name, the only one that has findings."""
    candidates = [item for item in results if (item.get("name") == pair if pair else item["findings"])]
    if len(candidates) != 1:
        names = ", ".join(str(item.get("name", "comparison")) for item in results if item["findings"])
        raise UsageError(
            f"one pair must be meant; got --pair {pair or '(none)'} for {path}. Pairs with findings: {names or 'none'}."
        )
    return candidates[0]
