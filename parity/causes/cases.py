"""One difference at a layer as a case: the tensors of the call, and the weights as torch's own layer would hold them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from parity.causes.case import Case
from parity.causes.cells.explain import ADDED
from parity.core.adapter import Adapter
from parity.core.types import Array, LayerInfo
from parity.pairing.slots import Slot, Standing
from parity.replay.located import Apart


def case_of(
    apart: Apart,
    sides: tuple[Adapter, Adapter],
    layers: tuple[LayerInfo, LayerInfo],
    torch_paths: tuple[str, ...],
    slots: Sequence[Slot],
    images: Sequence[tuple[int, ...]],
) -> Case:
    """The case of a difference.

    Args:
        apart: the difference.
        sides: (keras, torch).
        layers: the Keras layer, and the torch module that gives its result.
        torch_paths: the modules that do the layer's work.
        slots: its tensors.
        images: (C, *space) of images that may have been flattened in front.
    """
    path, (keras, torch) = apart.call.path, sides
    weights: tuple[dict[str, Array], dict[str, Array]] = {}, {}
    standings: dict[str, tuple[str, Standing]] = {}
    families = layers[0].family, layers[1].family
    summed: list[tuple[str, str]] = []
    names = {tensor.path: tensor.name for tensor in layers[1].tensors}
    for slot in slots:
        own = names.get(slot.torch, slot.torch.rpartition(".")[2])
        name = own if len(torch_paths) == 1 else slot.torch
        values = slot.layout.to_torch(keras.read(slot.keras)), torch.read(slot.torch)
        if slot.standing is not None and len(torch_paths) == 1 and not slot.layout.partial:
            name = slot.standing.name
            standings[name] = own, slot.standing
            values = slot.standing.layout.to_keras(values[0]), slot.standing.layout.to_keras(values[1])
            families = families[0] or slot.standing.family, families[1] or slot.standing.family
        if (
            slot.bias is not None and slot.summed and slot.bias[1] in names
        ):  # the first bias holds the sum, and the second nothing
            second = names[slot.bias[1]]
            added = torch.read(slot.bias[1])
            values = values[0], values[1] + added
            weights[0][second] = weights[1][second] = np.zeros_like(added)
            weights[1][ADDED] = added
            summed.append((name, second))
        weights[0][name], weights[1][name] = values

    def rerun(values: Mapping[str, Array], settings: Mapping[str, Any]) -> Array | None:
        if len(torch_paths) != 1:
            return None
        values = {**values, **{second: weights[0][second] for first, second in summed if first in values}}
        outputs = torch.trial(torch_paths[0], apart.inputs, _as_stored(values, standings), settings)
        return outputs[0] if outputs else None

    return Case(
        path, ", ".join(torch_paths), families, (layers[0].settings, layers[1].settings),
        list(apart.call.inputs), apart.keras_result[0], list(apart.inputs), apart.outputs[0], weights,
        images, rerun, apart.within,
    )  # fmt: skip


def _as_stored(
    values: Mapping[str, Array], standings: Mapping[str, tuple[str, Standing]]
) -> dict[str, Array]:
    """Values under torch's own names and in its own layouts, as the layer of an unknown class holds them."""
    return {
        standings[name][0] if name in standings else name: standings[name][1].layout.to_torch(value)
        if name in standings
        else value
        for name, value in values.items()
    }
