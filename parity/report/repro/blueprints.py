"""How a script builds a finding's two layers again: blueprints, each tried before it is kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import prod
from typing import Any

import numpy as np

from parity.core.adapter import Adapter
from parity.core.finding import ROOT, Finding, Kind
from parity.core.tolerance import difference
from parity.core.types import Array

CONFIRMED = 1e-12
"""The most that a layer's own result may differ from the saved one, relative to its scale."""


def with_blueprints(
    findings: Sequence[Finding],
    keras: Adapter,
    torch: Adapter,
    flattened: Mapping[str, tuple[int, ...]] | None = None,
) -> list[Finding]:
    """Add blueprints of the layers, and the layers' weights, to the findings that can have them.

    A side gets a blueprint only where its layer alone, run on the saved input, gives the saved output.

    Args:
        findings: in any order; those without tensors, or of another kind than "layer" and "shape", stay.
        keras: the Keras side, with the weights and dtypes that the model has.
        torch: the torch side.
        flattened: (H, W, C) of the image that was flattened in front of a Keras layer, by its path.
    """
    made = [_with_blueprint(finding, keras, torch, flattened or {}) for finding in findings]
    if not any(finding.blueprint for finding in made):
        return made
    with keras.precision("float64"), torch.precision("float64"):
        return [_confirmed(finding, keras, torch) if finding.blueprint else finding for finding in made]


def _with_blueprint(
    finding: Finding, keras: Adapter, torch: Adapter, flattened: Mapping[str, tuple[int, ...]]
) -> Finding:
    """One finding with the blueprint of each side that has one; the saved tensors stand for the other."""
    if not finding.tensors or finding.kind not in {Kind.LAYER, Kind.SHAPE}:
        return finding
    blueprint: dict[str, Any] = {"keras": None, "torch": None}
    tensors = dict(finding.tensors)
    image = flattened.get(finding.keras or "")
    if image is not None and "keras_input.0" in tensors:
        tensors["keras_input.0"] = _channels_last(tensors["keras_input.0"], image)
    if finding.keras is not None:
        made = _blueprint(keras, finding.keras)
        if made is not None:
            blueprint["keras"] = made[0]
            tensors |= {f"keras_weight.{name}": value for name, value in made[1].items()}
    parts = [_blueprint(torch, path) for path in _paths(finding)]
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
        made.shape == held.shape and (difference(made, held).max_rel <= CONFIRMED or made.size == 0)
        for made, held in zip(outputs, saved, strict=True)
    )


def _blueprint(model: Adapter, path: str) -> tuple[dict[str, Any], dict[str, Array]] | None:
    path = "" if path == ROOT else path
    return model.blueprint(path) if path in model.layers() else None
