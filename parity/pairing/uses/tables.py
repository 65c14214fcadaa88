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
        self._values = {path: read(path) for path in self._tables}  # first: reading is no step of the pass
        self._found: dict[str, dict[int, RowRun | None]] = {path: {} for path in self._tables}

    def after(self, node: Node, outputs: Values) -> list[Array] | None:
        """Look at what may be rows of a table."""
        for path in self._read_by(node):
            shape = outputs.shapes()[0]
            if (
                len(shape) > 1
                and shape[-1] == self._tables[path][1]
                and 1 < shape[-2] <= self._tables[path][0]
            ):
                walk = self._walk(path, outputs()[0])
                if walk is not None or node.sort == "layer":
                    self._found[path][node.id] = walk
        return None

    def _read_by(self, node: Node) -> list[str]:
        if node.sort == "layer" and node.path is not None:
            own = [tensor.path for tensor in self._layers[node.path].tensors]
            return own if len(own) == 1 and own[0] in self._tables else []
        return list(self._tables) if node.label in READS else []

    def _walk(self, path: str, rows: Array) -> RowRun | None:
        """The one place of the table at which these rows lie one behind the other."""
        table, first = self._values[path], rows.reshape(-1, *rows.shape[-2:])[0]
        starts = np.flatnonzero((table[: len(table) - len(first) + 1] == first[0]).all(axis=1))
        fitting = [int(start) for start in starts if np.array_equal(table[start : start + len(first)], first)]
        alike = len(fitting) == 1 and np.array_equal(np.broadcast_to(first, rows.shape), rows)
        return RowRun(fitting[0], len(first)) if alike else None

    def walks(self, trace: Trace) -> Walks:
        """The tables that are read in no other way in the traced pass, each with its first row and the most rows."""
        users = trace.users()
        found = {}
        for path, calls in self._found.items():
            raw = [node.id for node in trace.nodes if node.sort == "parameter" and node.path == path]
            steps = {user for number in raw for user in users[number]} | set(calls)
            walks = [calls.get(step) for step in steps]
            known = [walk for walk in walks if walk is not None]
            if known and len(known) == len(walks) and len({walk.first for walk in known}) == 1:
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
