"""Which rows of a table one pass reads, where it reads one behind the other: positions, from whichever row they start."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np

from parity.core.layout import Layout, Rows
from parity.core.trace import Node, NodeObserver, Trace, Values
from parity.core.types import Array, LayerInfo, RowRun, TensorInfo
from parity.pairing.uses.operations import TABLES

READS = TABLES | {"slice", "StridedSlice", "narrow"}
"""Steps that may read rows of a table."""
Walks = Mapping[str, RowRun]


class RowsRead(NodeObserver):
    """Finds the rows by their values, so that it does not matter how a layer computes their numbers.

    Args:
        layers: the model's layers by path.
        read: gives a tensor's values by its path.
    """

    def __init__(self, layers: Mapping[str, LayerInfo], read: Callable[[str], Array]) -> None:
        self._layers = layers
        self._tables = {
            tensor.path: tensor.shape
            for layer in layers.values()
            if layer.family in {None, "embedding"} and not layer.whole
            for tensor in layer.tensors
            if len(tensor.shape) == 2 and min(tensor.shape) > 1 and not tensor.fixed
        }
        self._widths = {shape[1] for shape in self._tables.values()}
        self._places: dict[bytes, list[tuple[str, int]]] = {}
        self._values = {path: read(path) for path in self._tables}  # first: reading is no step of the pass
        for path, table in self._values.items():
            for place, row in enumerate(table):
                self._places.setdefault(row.tobytes(), []).append((path, place))
        self._found: dict[str, dict[int, RowRun | None]] = {}

    def after(self, node: Node, outputs: Values) -> list[Array] | None:
        """Look at what may be rows of a table."""
        own = self._owned(node)
        if own is None and node.label not in READS:
            return None
        shape = outputs.shapes()[0]
        if len(shape) < 2 or shape[-1] not in self._widths or shape[-2] < 2 or 0 in shape:
            return None
        for path, run in self._runs(outputs()[0]).items():
            if own in {None, path}:
                self._found.setdefault(path, {})[node.id] = run
        if own is not None:
            self._found.setdefault(own, {}).setdefault(node.id, None)
        return None

    def _owned(self, node: Node) -> str | None:
        """The one table of a layer that is called."""
        if node.sort != "layer" or node.path is None:
            return None
        own = [tensor.path for tensor in self._layers[node.path].tensors]
        return own[0] if len(own) == 1 and own[0] in self._tables else None

    def _runs(self, rows: Array) -> dict[str, RowRun]:
        """The tables that have these rows one behind the other, at one place each."""
        first = rows.reshape(-1, *rows.shape[-2:])[0]
        if not np.array_equal(np.broadcast_to(first, rows.shape), rows):
            return {}
        found: dict[str, list[RowRun]] = {}
        for path, place in self._places.get(np.ascontiguousarray(first[0]).tobytes(), ()):
            if np.array_equal(self._values[path][place : place + len(first)], first):
                found.setdefault(path, []).append(RowRun(place, len(first)))
        return {path: runs[0] for path, runs in found.items() if len(runs) == 1}

    def walks(self, trace: Trace) -> Walks:
        """The tables that are read in no other way in the traced pass, each with its first row and the most rows."""
        users = trace.users()
        raw: dict[str | None, set[int]] = {}
        for node in trace.nodes:
            if node.sort == "parameter":
                raw.setdefault(node.path, set()).update(users[node.id])
        found = {}
        for path, calls in self._found.items():
            runs = [calls.get(step) for step in raw.get(path, set()) | set(calls)]
            known = [run for run in runs if run is not None]
            if known and len(known) == len(runs) and len({run.first for run in known}) == 1:
                found[path] = max(known)
        return found


def with_walks(layers: Mapping[str, LayerInfo], walks: Walks) -> dict[str, LayerInfo]:
    """The layers with the rows of their tables that were read."""
    return {
        path: replace(
            layer, tensors=tuple(replace(t, walk=walks.get(t.path)) for t in layer.tensors)
        )
        if any(tensor.path in walks for tensor in layer.tensors)
        else layer
        for path, layer in layers.items()
    }  # fmt: skip


def walked_layout(keras: TensorInfo, torch: TensorInfo) -> Layout | None:
    """The rule between two tables that are read from different rows on, of which one has all that the other has.

    None for all others: tables that are read from the same row on must have the same rows.
    """
    walks, shapes = (keras.walk, torch.walk), (keras.shape, torch.shape)
    if walks[0] is None or walks[1] is None or walks[0].length != walks[1].length:
        return None
    offset = walks[1].first - walks[0].first
    greater, less = (shapes[1], shapes[0]) if offset > 0 else (shapes[0], shapes[1])
    start = abs(offset)
    if not offset or greater[1:] != less[1:] or start + less[0] > greater[0]:
        return None
    rows = replace(Rows.between(start, start + less[0], greater), rest_unread=True)
    of_keras, of_torch = (None, rows) if offset > 0 else (rows, None)
    return Layout(less, less, tuple(range(len(less))), less, of_torch, of_keras)


def shapes_read(
    layers: tuple[Mapping[str, LayerInfo], Mapping[str, LayerInfo]],
) -> tuple[dict[str, tuple[int, ...]], dict[str, tuple[int, ...]]]:
    """The shapes of the parts that are read of each side's tables, by path, where the whole tables' shapes differ."""
    walked = [
        [(t, t.walk) for layer in side.values() for t in layer.tensors if t.walk is not None]
        for side in layers
    ]
    if sorted(t.shape for t, _ in walked[0]) == sorted(t.shape for t, _ in walked[1]):
        return {}, {}
    keras, torch = ({t.path: (walk.length, *t.shape[1:]) for t, walk in side} for side in walked)
    return keras, torch
