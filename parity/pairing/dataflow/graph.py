"""A trace reduced to its weighted steps: which of them feeds which, and through what.

Steps without weights become marks on the edges, under parity's names, so that the two frameworks' ways of
writing them fall together: a concatenation marks its operands with their offset, a slice with its window,
an operation whose operands may not be swapped with their number, an activation or pooling with its name;
additions, reshapes, paddings and dropout leave no mark.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any

from parity.core.trace import Node, Source, Trace
from parity.core.types import LayerInfo
from parity.pairing.dataflow.labels import family_of, labels, labels_of
from parity.pairing.dataflow.marks import COMMUTATIVE, SILENT, Marks, extended, mark_of
from parity.pairing.uses.axes import LINEAR

Reach = frozenset[tuple[int, Marks]]

WIDEST = 3000
"""Edges into one step beyond which their marks are dropped."""
SUMMED = 64
"""Edges into one sum beyond which the sum is a vertex of its own."""
SUM = "sum"
"""First word of the label of such a vertex."""


@dataclass(frozen=True)
class Unit:
    """What is paired: a layer, a part of a layer, or tensors that are used outside a leaf layer."""

    path: str
    part: str = ""
    tensors: tuple[str, ...] = ()


@dataclass(frozen=True)
class Vertex:
    """One use of a unit, or a model input, a model output or a great sum (then `unit` is None)."""

    label: tuple[Any, ...]
    coarse: tuple[Any, ...]
    unit: Unit | None
    node: int


@dataclass
class Graph:
    """Weighted steps and what connects them: (from, to, marks), by index."""

    vertices: list[Vertex] = field(default_factory=list)
    edges: set[tuple[int, int, Marks]] = field(default_factory=set)
    units: dict[Unit, list[int]] = field(default_factory=dict)


def graph_of(
    trace: Trace,
    layers: Mapping[str, LayerInfo],
    by_name: bool = False,
    through: frozenset[str] = frozenset(),
) -> Graph:
    """Reduce a trace.

    Args:
        trace: of a forward pass.
        layers: the model's layers by path.
        by_name: outputs are known by their names, not by their order.
        through: paths of tensors whose steps are seen through, as those without weights are.
    """
    return _Reduction(trace, layers, through).run(by_name)


class _Reduction:
    """The state of one reduction: what reaches each tensor, and from which raw parameters it is made."""

    def __init__(self, trace: Trace, layers: Mapping[str, LayerInfo], through: frozenset[str]) -> None:
        self.trace, self.layers, self.through = trace, layers, through
        self.graph = Graph()
        self.reach: dict[tuple[int, int], Reach] = {}
        self.raw: dict[int, frozenset[str]] = {}
        self.users = trace.users()
        self.owner = {
            tensor.path: layer
            for layer in layers.values()
            for tensor in layer.tensors
            if tensor.dtype.startswith(("float", "bfloat")) and tensor.path not in through
        }
        self.shapes = {tensor.path: tensor.shape for layer in layers.values() for tensor in layer.tensors}
        self.uses = {tensor.path: tensor.uses for layer in layers.values() for tensor in layer.tensors}
        self.fixed = {tensor.path for layer in layers.values() for tensor in layer.tensors if tensor.fixed}

    def run(self, by_name: bool) -> Graph:
        for i, number in enumerate(self.trace.inputs):
            vertex = self._vertex(("input", i), ("input", i), None, number)
            self.reach[number, 0] = frozenset({(vertex, ())})
        for node in self.trace.nodes:
            if node.sort == "parameter":
                if node.path in self.owner:
                    self.raw[node.id] = frozenset({node.path})
            elif node.sort in {"layer", "op"}:
                self._step(node)
        outputs = sorted(self.trace.outputs) if by_name else self.trace.outputs
        for i, (_, source) in enumerate(outputs):
            vertex = self._vertex(("output", i), ("output", i), None, -1)
            for origin, marks in self._reaching(source):
                self.graph.edges.add((origin, vertex, marks))
        return self.graph

    def _step(self, node: Node) -> None:
        data = [source for source in node.inputs if self._reaching(source)]
        raws = frozenset[str]().union(*(self.raw.get(source.node, frozenset()) for source in node.inputs))
        units = self._units(node, raws)
        if not data and not (units and node.sort == "layer"):
            if raws:
                self.raw[node.id] = raws  # made of parameters alone, so far
            return
        if units:
            if not self._bias_of_its_own(node, data, units[0][0]):
                self._weighted(node, data, units)
            return
        for output in range(len(node.shapes)):
            found = {
                (origin, extended(marks, mark))
                for source in data
                for mark in [mark_of(self.trace, node, source, output, len(data))]
                for origin, marks in self._reaching(source)
            }
            if len(found) > WIDEST:
                found = {(origin, ()) for origin, _ in found}
            self.reach[node.id, output] = self._joined(node, frozenset(found))

    def _joined(self, node: Node, found: Reach) -> Reach:
        """What reaches a sum of many: one vertex stands for them, so that a stream of n sums has n edges, not n * n."""
        if node.kind != "add" or len(found) <= SUMMED:
            return found
        label = (SUM, len(found))
        vertex = self._vertex(label, label, None, node.id)
        self.graph.edges.update((origin, vertex, marks) for origin, marks in found)
        return frozenset({(vertex, ())})

    def _bias_of_its_own(self, node: Node, data: Sequence[Source], unit: Unit) -> bool:
        """An addition of a raw vector to what a raw convolution or product gave, and nobody else takes: one unit."""
        if node.sort != "op" or node.kind != "add" or len(data) != 1 or len(unit.tensors) != 1:
            return False
        reach = self._reaching(data[0])
        vertex, marks = next(iter(reach))
        before = self.graph.vertices[vertex]
        raw = before.unit is not None and before.unit.part != "" and before.label[0] == "linear"
        if len(reach) > 1 or marks or before.unit is None or not raw:
            return False
        alone = self._alone_in_front(node, data[0]) == before.node
        if not alone or len(self.graph.units[before.unit]) > 1 or not self._is_bias(unit.tensors[0], before):
            return False
        names = f"{before.unit.part},{unit.part}"
        merged = Unit(before.unit.path, names, (*before.unit.tensors, *unit.tensors))
        self.graph.vertices[vertex] = Vertex(before.label, before.coarse, merged, before.node)
        self.graph.units[merged] = self.graph.units.pop(before.unit)
        self.reach[node.id, 0] = frozenset({(vertex, ())})
        return True

    def _is_bias(self, path: str, before: Vertex) -> bool:
        """Whether a tensor is one vector, or holds one value for each output, by heads."""
        size = prod(self.shapes[path])
        by_heads = any(use.family == "offset" for use in self.uses[path]) and before.label[-1] == size
        return max(self.shapes[path], default=1) == size or by_heads

    def _alone_in_front(self, node: Node, source: Source) -> int:
        """The step in front, seen through those that only change the shape; -1 where another step takes it too."""
        user = node.id
        while self.users[source.node] == [user]:
            front = self.trace.nodes[source.node]
            if front.kind not in {"reshape", "identity"} or len(front.inputs) != 1:
                return front.id
            user, source = front.id, front.inputs[0]
        return -1

    def _weighted(
        self, node: Node, data: Sequence[Source], units: Sequence[tuple[Unit, Marks, Marks]]
    ) -> None:
        """One vertex for each unit of the step, in a chain."""
        swappable = node.sort == "op" and node.kind in COMMUTATIVE
        composite = (
            units[0][1][0] == "composite"
        )  # attention: the query, then keys and values in either order
        arriving = {
            (
                origin,
                extended(
                    marks,
                    ("operand", min(i, 1) if composite else i) if len(data) > 1 and not swappable else None,
                ),
            )
            for i, source in enumerate(data)
            for origin, marks in self._reaching(source)
        }
        for unit, label, coarse in units:
            vertex = self._vertex(label, coarse, unit, node.id)
            self.graph.units.setdefault(unit, []).append(vertex)
            self.graph.edges.update((origin, vertex, marks) for origin, marks in arriving)
            arriving = {(vertex, ())}
        activation = node.settings.get("activation")
        first = (activation,) if isinstance(activation, str) and activation not in SILENT | {"linear"} else ()
        for output in range(len(node.shapes)):
            marks = (*first, ("output", output)) if output else first
            self.reach[node.id, output] = frozenset({(vertex, marks)})

    def _units(self, node: Node, raws: frozenset[str]) -> list[tuple[Unit, Marks, Marks]]:
        """The units of a step, with their labels; none where it has no weights."""
        if node.sort == "layer" and node.path is not None:
            layer = self.layers[node.path]
            inside = [] if layer.leaf else [
                tensor.path
                for path, parts in self.layers.items()
                if path.startswith(f"{node.path}.")
                for tensor in parts.tensors
            ]  # fmt: skip
            own = self._weights([tensor.path for tensor in layer.tensors] + inside)
            if not own:
                return []
            if layer.family == "separable":
                return [
                    (Unit(node.path, name, (path,)), *labels(kind, [self.shapes[path]], "keras"))
                    for name, kind in (("depthwise", "depthwise"), ("pointwise", "conv"))
                    for path in own
                    if path.endswith(f"{name}_kernel")
                ]
            if inside:
                size = ("composite", sum(prod(self.shapes[path]) for path in own))
                return [(Unit(node.path, "", own), size, size)]
            family = layer.family if layer.family not in {None, "sequence"} else None
            return [
                (
                    Unit(node.path, "", own),
                    *self._labels(family, own),
                )
            ]
        if not raws:
            return []
        paths = tuple(sorted(raws))
        owners = {self.owner[path].path for path in paths}
        if len(owners) == 1:
            layer = self.owner[paths[0]]
            own = self._weights([tensor.path for tensor in layer.tensors])
            if layer.leaf and set(paths) == set(own):
                return [(Unit(layer.path, "", own), *self._labels(layer.family or family_of(node), own))]
        names = ",".join(path.rpartition(".")[2] for path in paths)
        return [(Unit(sorted(owners)[0], names, paths), *self._labels(family_of(node), paths))]

    def _weights(self, paths: Sequence[str]) -> tuple[str, ...]:
        """The tensors that make a unit: its weights, or what it has where training changes none of it."""
        weights = tuple(path for path in paths if path not in self.fixed)
        return weights or tuple(path for path in paths if path not in self.through)

    def _labels(self, family: str | None, paths: Sequence[str]) -> tuple[Marks, Marks]:
        """The labels of a unit: by what operations do with its weights, where its class does not say it."""
        shapes = [self.shapes[path] for path in paths]
        kernels = [use for path in paths for use in self.uses[path] if use.family in LINEAR]
        if kernels:
            kernel = max(kernels, key=lambda use: prod(part.size for axis in use.axes for part in axis))
            return labels_of(kernel)
        return labels(family, shapes, self.trace.side)

    def _reaching(self, source: Source) -> Reach:
        return self.reach.get((source.node, source.output), frozenset())

    def _vertex(self, label: Marks, coarse: Marks, unit: Unit | None, node: int) -> int:
        self.graph.vertices.append(Vertex(label, coarse, unit, node))
        return len(self.graph.vertices) - 1
