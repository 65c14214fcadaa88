"""Multi-head attention: Keras holds query, key and value in weights of their own, by heads; torch in rows of one matrix."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod

from parity.core.layout import Layout, Rows
from parity.core.types import LayerInfo
from parity.pairing.dataflow.units import Unit
from parity.pairing.slots import Slot, Slots

PARTS = ("query", "key", "value")
Shapes = Mapping[str, tuple[int, ...]]


def attention_slots(
    keras: Unit, torch: Unit, keras_layers: Mapping[str, LayerInfo], torch_layers: Mapping[str, LayerInfo]
) -> Slots | None:
    """The tensors of a Keras MultiHeadAttention and of a torch MultiheadAttention; None where the two are not these."""
    kinds = keras_layers[keras.path].kind, torch_layers[torch.path].kind
    if kinds != ("MultiHeadAttention", "MultiheadAttention"):
        return None
    variables = {path.removeprefix(f"{keras.path}.").replace("_dense.", "."): path for path in keras.tensors}
    tensors = {path.removeprefix(f"{torch.path}." if torch.path else ""): path for path in torch.tensors}
    shapes = {
        tensor.path: tensor.shape
        for layers in (keras_layers, torch_layers)
        for layer in layers.values()
        for tensor in layer.tensors
    }
    slots = Slots()
    for i, part in enumerate(PARTS):
        kernel, bias = variables.get(f"{part}.kernel"), variables.get(f"{part}.bias")
        if "in_proj_weight" in tensors:
            slots.found += _slot(kernel, tensors["in_proj_weight"], shapes, i)
        else:
            slots.found += _slot(kernel, tensors.get(f"{part[0]}_proj_weight"), shapes)
        slots.found += _slot(bias, tensors.get("in_proj_bias"), shapes, i)
    for name, torch_name in (("kernel", "out_proj.weight"), ("bias", "out_proj.bias")):
        variable = variables.get(f"attention_output.{name}", variables.get(f"output.{name}"))
        slots.found += _slot(variable, tensors.get(torch_name), shapes)
    slots.left_keras = [path for path in keras.tensors if path not in {slot.keras for slot in slots.found}]
    slots.left_torch = [path for path in torch.tensors if path not in {slot.torch for slot in slots.found}]
    return slots


def _slot(keras: str | None, torch: str | None, shapes: Shapes, third: int | None = None) -> list[Slot]:
    """One slot, where both tensors are there and their sizes fit: rows of the torch tensor, transposed, by heads.

    Args:
        keras: path of the Keras variable.
        torch: path of the torch tensor.
        shapes: by path.
        third: which third of the torch tensor's rows it is; None for all of them.
    """
    if keras is None or torch is None:
        return []
    whole, shape = shapes[torch], shapes[keras]
    size = whole[0] if third is None else whole[0] // 3
    rows = None if third is None else Rows.between(third * size, (third + 1) * size, whole)
    part = (size, *whole[1:])
    if prod(shape) != prod(part):
        return []
    return [Slot(keras, torch, Layout(part, part, tuple(reversed(range(len(part)))), shape, rows))]
