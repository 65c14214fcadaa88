"""One traced pass of a side, with what the operations do with weights whose layers' classes are not known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from parity.core.adapter import Adapter
from parity.core.layout import convolution
from parity.core.trace import Look, Trace
from parity.core.types import Array, LayerInfo
from parity.pairing.pair import Pairing
from parity.pairing.problems.problem import Problem, ProblemKind, held
from parity.pairing.slots import Slot, tensor_at
from parity.pairing.uses.read import unknown, uses_of
from parity.pairing.uses.tables import RowsRead

PLACEHOLDERS = (1e6, -1e6, 0.0, float("nan"))
"""What tensors hold for a moment of which no step is seen to read them."""


def traced(model: Adapter, values: list[Array]) -> Trace:
    """The graph of a forward pass; further ones of the same pass look inside layers of unknown classes and attention.

    Args:
        model: the side.
        values: inputs in its own layout.
    """
    layers = model.layers()
    composite = any(layer.whole for layer in layers.values())
    kept_whole = any(layer.family is None and layer.tensors and not layer.whole for layer in layers.values())
    looked_into = composite or any(map(unknown, layers.values()))
    rows, rows_inside = (RowsRead(layers, model.peek) for _ in range(2))
    # The pass that looks into most comes first: the others are put around it, and see each layer whole.
    looks = [Look(rows_inside, inside=True)] * looked_into + [Look(attention=True)] * (
        composite and kept_whole
    )
    *more, trace = model.traces(values, [*looks, Look(rows)])[1]
    trace.walks = rows.walks(trace)
    if composite and kept_whole:
        trace.expanded = more[-1]
    if looked_into:
        inner = more[0]
        trace.uses, trace.walks = uses_of(inner, layers), rows_inside.walks(inner)
        if composite and not kept_whole:  # it looked into attention layers alone
            trace.expanded = inner
        trace.unread = _unread(model, inner, layers, values)
    return trace


def _unread(
    model: Adapter, inner: Trace, layers: Mapping[str, LayerInfo], values: list[Array]
) -> frozenset[str]:
    """Tensors that no step reads, of layers that the pass looked into: a head that nobody calls.

    A tensor may be read as a number (`item`, `tolist`), which is no step: with other values in all of them the outputs
    must stay the same bits. What training never changes is left out: a copy that was made before the pass may compute.
    """
    read = {node.path for node in inner.nodes if node.sort == "parameter" and node.path is not None}
    called = {node.path for node in inner.nodes if node.sort == "layer"}
    ran = {node.scope for node in inner.nodes if node.sort == "op"}
    left = [
        tensor.path
        for path, layer in layers.items()
        if unknown(layer) and layer.leaf and path in ran and path not in called
        for tensor in layer.tensors
        if tensor.path not in read and not tensor.fixed
    ]
    if not left or not inner.complete:
        return frozenset()
    known = {tensor.path for layer in layers.values() for tensor in layer.tensors}
    tied = {model.storage(path) for path in known - set(left)}
    found = frozenset(path for path in left if model.storage(path) not in tied)
    return found if found and _idle(model, found, values) else frozenset()


def _idle(model: Adapter, paths: frozenset[str], values: list[Array]) -> bool:
    """Whether the outputs stay the same bits whatever these tensors hold: great, small, nothing, no number."""
    kept = {path: model.read(path) for path in paths}
    plain = model.forward(values)
    try:
        for value in PLACEHOLDERS:
            for path, tensor in kept.items():
                whole = tensor.dtype.kind != "f"
                model.write(path, np.full_like(tensor, int(value != 0.0) if whole else value))
            found = model.forward(values)
            pairs = zip(plain, found, strict=True)
            if not all(np.array_equal(a, b, equal_nan=True) for (_, a), (_, b) in pairs):
                return False
    except Exception:  # any model, any error: then they matter
        return False
    finally:
        for path, tensor in kept.items():
            model.write(path, tensor)
    return True


def unrun_tried(pairing: Pairing, inputs: Mapping[Adapter, list[Array]]) -> Pairing:
    """The pairing, its layers that never run held to that: whatever their tensors hold, the outputs stay the same bits.

    Args:
        pairing: of both sides.
        inputs: of each side, in its own layout.
    """
    problems = list(pairing.problems)
    for model, values in inputs.items():
        own = [p for p in problems if p.unrun and p.held[0].side == model.side]
        paths = frozenset(tensor.path for problem in own for tensor in problem.held)
        if paths and not _idle(model, paths, values):
            problems = [replace(p, unrun=False) if p in own else p for p in problems]
    return replace(pairing, problems=problems)


def open_kernels(pairing: Pairing, keras: Adapter, torch: Adapter) -> list[Slot]:
    """Paired kernels of layers of unknown classes, of which only the operation says which axis is which."""
    open_ = [
        {
            tensor.path
            for layer in side.layers().values()
            for tensor in layer.tensors
            if unknown(layer) and sum(size != 1 for size in tensor.shape) > 1
        }
        for side in (keras, torch)
    ]
    return [
        slot
        for item in pairing.pairs
        for slot in item.slots
        if slot.keras in open_[0] or slot.torch in open_[1]
    ]


def orientations(pairing: Pairing, keras: Adapter, torch: Adapter) -> list[Problem]:
    """A problem for each kernel of an unknown class whose lengths fit in either order, where nothing was traced."""
    found = []
    for slot in open_kernels(pairing, keras, torch):
        shape = slot.layout.torch_shape
        if shape == slot.layout.keras_shape == convolution(shape).keras_shape:
            pair = tensor_at(keras.layers(), slot.keras), tensor_at(torch.layers(), slot.torch)
            (first, variable), (second, tensor) = pair
            if first is not None and variable is not None and second is not None and tensor is not None:
                both = held("keras", first, variable), held("torch", second, tensor)
                found.append(Problem(ProblemKind.ORIENTATION, first.path, second.path, both))
    return found
