"""Recurrent cells that torch code writes out: linear layers or convolutions whose calls feed one another step by step."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from parity.core.trace import Node, Source, Trace
from parity.core.types import LayerInfo

MULTIPLIES = frozenset({"conv", "dense"})
"""Families of the modules of which a written cell is made."""
MADE_LIKE = re.compile(r"^new_|_like$")
"""Steps that take no more than the shape of what they get: new_zeros, zeros_like."""


@dataclass(frozen=True)
class CellColumns:
    """The columns of a weight that multiply the input, or the state; `bias` is added to what they give."""

    weight: str
    shape: tuple[int, ...]
    first: int
    end: int
    bias: str | None

    @property
    def whole(self) -> bool:
        """Whether it is all of the weight."""
        return (self.first, self.end) == (0, self.shape[1])

    @property
    def keras_shape(self) -> tuple[int, ...]:
        """The shape of a Keras kernel that holds the same."""
        return (*self.shape[2:], self.end - self.first, self.shape[0])


@dataclass(frozen=True)
class Loop:
    """One written cell: its modules, what multiplies the input of a step, and what multiplies the state."""

    modules: tuple[str, ...]
    of_input: CellColumns
    of_state: CellColumns


def loops_of(trace: Trace, layers: Mapping[str, LayerInfo]) -> list[Loop]:
    """The written cells of a torch pass, in the order in which they first run.

    Args:
        trace: of a pass over two steps or more.
        layers: torch's layers by path.
    """
    reading = _LoopReading(trace, layers)
    found = [loop for path in reading.calls for loop in reading.loops(path)]
    return sorted(found, key=lambda loop: min(reading.calls[path][0].id for path in loop.modules))


def in_turn(trace: Trace, loops: Sequence[Loop]) -> bool:
    """Whether each cell takes what the one before gives."""
    calls = trace.calls_by_path()
    for before, loop in pairwise(loops):
        states = {node.id for node in calls[before.modules[-1]]}
        seen, ahead = set[int](), [calls[loop.modules[0]][0].id]
        while ahead:
            number = ahead.pop()
            if number not in seen:
                seen.add(number)
                ahead += [item.node for item in trace.nodes[number].inputs]
        if not states & seen:
            return False
    return True


class _LoopReading:
    """One trace, read for modules of which a call depends on the call before."""

    def __init__(self, trace: Trace, layers: Mapping[str, LayerInfo]) -> None:
        self.trace, self.layers = trace, layers
        self.calls = trace.calls_by_path()

    def loops(self, path: str) -> Iterator[Loop]:
        """The cell whose state a module multiplies; none where it is no such module."""
        layer, calls = self.layers[path], self.calls[path]
        if layer.family not in MULTIPLIES or len(calls) < 2 or len(calls[-1].inputs) != 1:
            return
        operand, columns = calls[-1].inputs[0], None
        joined = self.trace.nodes[operand.node]
        if joined.kind == "concat" and len(joined.inputs) == 2:
            recurrent = [calls[-2].id in self._weighted(source) for source in joined.inputs]
            if sum(recurrent) != 1:
                return
            place = recurrent.index(True)
            operand = joined.inputs[place]
            columns = self._columns(joined, place, layer)
        behind = self._weighted(operand)
        if calls[-2].id not in behind:
            return
        partners = {str(self.trace.nodes[number].path) for number in behind} - {path}
        if columns is not None and not partners:
            of_input, of_state = columns
            yield Loop((path,), _columns_of(layer, *of_input), _columns_of(layer, *of_state, bias=False))
        elif columns is None and len(partners) == 1:
            partner = self.layers[partners.pop()]
            if partner.family == layer.family and len(self.calls[partner.path]) in {1, len(calls)}:
                yield Loop((partner.path, path), _columns_of(partner), _columns_of(layer))

    def _columns(
        self, joined: Node, place: int, layer: LayerInfo
    ) -> tuple[tuple[int, int], tuple[int, int]] | None:
        """(first, end) of the weight's columns for the input and for the state, where both stand in one tensor."""
        sizes = []
        for source in joined.inputs:
            shape = self.trace.nodes[source.node].shapes[source.output]
            sizes.append(shape[1] if layer.family == "conv" else shape[-1])
        parts = (0, sizes[0]), (sizes[0], sum(sizes))
        return (parts[1 - place], parts[place]) if sum(sizes) == _weight(layer)[1] else None

    def _weighted(self, source: Source) -> frozenset[int]:
        """The calls of layers with weights that a tensor is made of, without other such calls in between."""
        found: set[int] = set()
        seen: set[int] = set()
        ahead = [source.node]
        while ahead:
            number = ahead.pop()
            if number in seen:
                continue
            seen.add(number)
            node = self.trace.nodes[number]
            if node.sort == "layer" and node.path is not None and self.layers[node.path].tensors:
                found.add(number)
            elif not MADE_LIKE.search(node.label):
                ahead += [item.node for item in node.inputs]
        return frozenset(found)


def _weight(layer: LayerInfo) -> tuple[int, ...]:
    return next((tensor.shape for tensor in layer.tensors if tensor.name == "weight"), (0, 0))


def _columns_of(layer: LayerInfo, first: int = 0, end: int | None = None, bias: bool = True) -> CellColumns:
    names = {tensor.name: tensor.path for tensor in layer.tensors}
    shape = _weight(layer)
    return CellColumns(
        names.get("weight", ""), shape, first, shape[1] if end is None else end,
        names.get("bias") if bias else None,
    )  # fmt: skip
