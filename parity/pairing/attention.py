"""Multi-head attention: Keras holds query, key and value apart and by heads, torch in the rows of one matrix."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod

from parity.core.layout import Layout
from parity.core.types import LayerInfo
from parity.pairing.dataflow.graph import Unit
from parity.pairing.slots import Slot, Slots

PARTS = ("query", "key", "value")


def attention_slots(
    unit: Unit, mate: Unit, keras: Mapping[str, LayerInfo], torch: Mapping[str, LayerInfo]
) -> Slots | None:
    """The tensors of a Keras MultiHeadAttention and of a torch MultiheadAttention; None where the two are not these."""
    if keras[unit.path].kind != "MultiHeadAttention" or torch[mate.path].kind != "MultiheadAttention":
        return None
    ours = {path.removeprefix(f"{unit.path}.").replace("_dense.", "."): path for path in unit.tensors}
    theirs = {path.removeprefix(f"{mate.path}." if mate.path else ""): path for path in mate.tensors}
    shapes = {
        tensor.path: tensor.shape
        for layers in (keras, torch)
        for layer in layers.values()
        for tensor in layer.tensors
    }
    slots = Slots()
    for i, part in enumerate(PARTS):
        for name, packed in (("kernel", "in_proj_weight"), ("bias", "in_proj_bias")):
            own, other = ours.get(f"{part}.{name}"), theirs.get(packed)
            if own is not None and other is not None:
                _add(slots, own, other, shapes, i)
            apart = theirs.get(f"{part[0]}_proj_weight")
            if own is not None and other is None and name == "kernel" and apart is not None:
                _add(slots, own, apart, shapes, None)
    for name in ("kernel", "bias"):
        own, other = (
            ours.get(f"attention_output.{name}", ours.get(f"output.{name}")),
            theirs.get("out_proj.weight" if name == "kernel" else "out_proj.bias"),
        )
        if own is not None and other is not None:
            _add(slots, own, other, shapes, None)
    slots.left_keras = [path for path in unit.tensors if path not in {slot.keras for slot in slots.found}]
    slots.left_torch = [path for path in mate.tensors if path not in {slot.torch for slot in slots.found}]
    return slots


def _add(
    slots: Slots, own: str, other: str, shapes: Mapping[str, tuple[int, ...]], third: int | None
) -> None:
    """One slot, where the sizes fit: rows of the torch tensor, transposed, by heads."""
    whole, shape = shapes[other], shapes[own]
    size = whole[0] // 3 if third is not None else whole[0]
    rows = None if third is None else (third * size, (third + 1) * size)
    part = (size, *whole[1:])
    if prod(shape) == prod(part):
        slots.found.append(
            Slot(own, other, Layout(whole, part, tuple(reversed(range(len(part)))), shape, rows))
        )
