"""The tensors of two units of which one is a part of a fused layer: some rows of its weight, and of its bias."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from math import prod
from typing import NamedTuple

from parity.core.layout import Layout, Rows
from parity.core.types import AxisPart, LayerInfo, Side, TensorInfo, WeightUse
from parity.pairing.dataflow.units import Unit
from parity.pairing.slots import Slot, Slots, tensor_at
from parity.pairing.uses.axes import layout_between, sizes
from parity.pairing.uses.parts import kernel_use

LayersByPath = Mapping[str, LayerInfo]


class _Held(NamedTuple):
    """A kernel or a vector of a unit: the tensor, how the part of it is used, its shape, and which part it is."""

    tensor: TensorInfo
    use: WeightUse
    shape: tuple[int, ...]
    rows: Rows | None


def part_slots(keras: Unit, torch: Unit, keras_layers: LayersByPath, torch_layers: LayersByPath) -> Slots:
    """The kernels and the biases of two units, of which one at least is a part of a layer.

    Args:
        keras: the Keras unit.
        torch: the torch unit.
        keras_layers: the Keras layers by path.
        torch_layers: likewise.
    """
    sides = _held("keras", keras, keras_layers), _held("torch", torch, torch_layers)
    slots = Slots()
    if sides[0] is None or sides[1] is None:
        return slots
    for of_keras, of_torch in zip(sides[0], sides[1], strict=True):
        if of_keras is None or of_torch is None:
            slots.left_keras += [] if of_keras is None else [of_keras.tensor.path]
            slots.left_torch += [] if of_torch is None else [of_torch.tensor.path]
            continue
        layout = _between(of_keras, of_torch)
        if layout is None:
            return Slots()
        slots.found.append(Slot(of_keras.tensor.path, of_torch.tensor.path, layout))
    return slots


def _between(keras: _Held, torch: _Held) -> Layout | None:
    found = layout_between(keras.use, torch.use, keras.shape, torch.shape)
    return found and replace(found, keras_rows=keras.rows, torch_rows=torch.rows)


def _held(side: Side, unit: Unit, layers: LayersByPath) -> tuple[_Held, _Held | None] | None:
    """The kernel and the bias of a unit; None where it is anything else."""
    owned = [(layer, tensor) for path in unit.tensors for layer, tensor in [tensor_at(layers, path)]]
    kernels = [
        (tensor, use)
        for layer, tensor in owned
        if layer is not None and tensor is not None and (use := kernel_use(side, layer, tensor)) is not None
    ]
    if len(kernels) != 1:
        return None
    kernel, use = kernels[0]
    vectors = [tensor for _, tensor in owned if tensor is not None and tensor is not kernel]
    index = unit.bias_rows or unit.rows
    outputs = len(index) or prod(sizes(use, "out"))
    if len(vectors) > 1 or any(not index and prod(vector.shape) != outputs for vector in vectors):
        return None
    held = _part_of(kernel, use, unit.rows)
    return None if held is None else (held, _vector(vectors[0] if vectors else None, index))


def _part_of(kernel: TensorInfo, use: WeightUse, index: tuple[int, ...]) -> _Held | None:
    if not index:
        return _Held(kernel, use, kernel.shape, None)
    space = list(sizes(use, "space"))
    rest = [prod(sizes(use, "in")), *space]
    names = ["out", "in", *(f"space {i}" for i in range(len(space)))]
    counts = (prod(sizes(use, "out")), *rest)
    laid = layout_between(_plain(use.family, names, counts), use, counts, kernel.shape)
    if laid is None:
        return None
    shape = (len(index), *rest)
    return _Held(kernel, _plain(use.family, names, shape), shape, Rows(laid.split, laid.order, counts, index))


def _vector(tensor: TensorInfo | None, index: tuple[int, ...]) -> _Held | None:
    if tensor is None:
        return None
    count = len(index) or prod(tensor.shape)
    use = WeightUse("offset", ((AxisPart("at", 0, count),) if count != 1 else (),))
    order = tuple(range(len(tensor.shape)))
    rows = Rows(tensor.shape, order, (prod(tensor.shape),), index) if index else None
    return _Held(tensor, use, (count,) if index else tensor.shape, rows)


def _plain(family: str, names: list[str], counts: tuple[int, ...]) -> WeightUse:
    """The use of a kernel with one part to an axis."""
    found = []
    for name, count in zip(names, counts, strict=True):
        role, _, place = name.partition(" ")
        found.append((AxisPart(role, int(place or 0), count),) if count != 1 else ())
    return WeightUse(family, tuple(found))
