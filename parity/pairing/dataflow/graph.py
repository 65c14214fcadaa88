"""A trace reduced to its weighted steps: which of them feeds which, and through what.

Steps without weights become marks on the edges, under parity's names, so that the two frameworks' ways of
writing them fall together: a concatenation marks its operands with their offset, a slice with its window,
an operation whose operands may not be swapped with their number, an activation or pooling with its name;
additions, reshapes, paddings and dropout leave no mark.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from math import prod

from parity.core.trace import Node, Source, Trace
from parity.core.types import RECURRENT, LayerInfo
from parity.pairing.dataflow.labels import family_of, labels, labels_of
from parity.pairing.dataflow.marks import COMMUTATIVE, SILENT, Marks, extended, mark_of, window
from parity.pairing.dataflow.units import Graph, Unit, Vertex
from parity.pairing.uses.attended import FUNCTIONS, OperandRoles
from parity.pairing.uses.axes import LINEAR
from parity.pairing.uses.parts import Parts

Reach = frozenset[tuple[int, Marks]]

WIDEST = 3000
"""Edges into one step beyond which their marks are dropped."""
SUMMED = 64
"""Edges into one sum beyond which the sum is a vertex of its own."""
SUM = "sum"
"""First word of the label of such a vertex."""


def graph_of(
    trace: Trace,
    layers: Mapping[str, LayerInfo],
    by_name: bool = False,
    through: frozenset[str] = frozenset(),
    parts: Parts | None = None,
    roles: OperandRoles | None = None,
    shapes: Mapping[str, tuple[int, ...]] | None = None,
) -> Graph:
    """Reduce a trace.

    Args:
        trace: of a forward pass.
        layers: the model's layers by path.
        by_name: outputs are known by their names, not by their order.
        through: paths of tensors whose steps are seen through, as those without weights are.
        parts: fused layers that are to be taken apart.
        roles: the operands of attention, which then leave no other mark than what they are.
        shapes: of tensors of which only that part counts, by path.
    """
    reduction = _Reduction(trace, layers, through, parts or Parts(), roles or {})
    reduction.shapes.update(shapes or {})
    return reduction.run(by_name)


class _Reduction:
    """The state of one reduction: what reaches each tensor, and from which raw parameters it is made."""

    def __init__(
        self,
        trace: Trace,
        layers: Mapping[str, LayerInfo],
        through: frozenset[str],
        parts: Parts,
        roles: OperandRoles,
    ) -> None:
        self.trace, self.layers, self.through = trace, layers, through
        self.parts, self.roles = parts, roles
        self.number: dict[int, tuple[int, int]] = {}
        """(step, number of the part) of the vertices of fused layers."""
        self.graph = Graph(trace=trace)
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
        if node.kind == "pack_sequence" or node.label == "index_select":
            data = data[:1]  # lengths and places are no data
        raws = frozenset[str]().union(*(self.raw.get(source.node, frozenset()) for source in node.inputs))
        units = self._units(node, raws)
        if not data and not (units and node.sort == "layer"):
            if raws:
                self.raw[node.id] = raws  # made of parameters alone, so far
            return
        added: Reach = frozenset()
        if units and self._in_scores(node, data):
            added, units = self._beside(node, units), []
        if units:
            if not self._bias_of_its_own(node, data, units[0][0]):
                self._weighted(node, data, units)
            return
        if node.kind == "slice" and self._taken_from_stack(node, data):
            return
        for output in range(len(node.shapes)):
            found = {
                (origin, marked)
                for source in data
                for origin, marked in self._passed(node, source, output, data)
            }
            if len(found) > WIDEST:
                found = {(origin, ()) for origin, _ in found}
            found |= added
            self.reach[node.id, output] = self._joined(node, frozenset(found))

    def _in_scores(self, node: Node, data: Sequence[Source]) -> bool:
        """Whether weights that the step takes are added to the scores of an attention."""
        adds = node.kind == "add" or node.label in FUNCTIONS
        return node.sort == "op" and adds and any((node.id, item.position) in self.roles for item in data)

    def _beside(self, node: Node, units: Sequence[tuple[Unit, Marks, Marks]]) -> Reach:
        """Weights that an attention adds to its scores: one more operand, as a layer that gives them would be."""
        found = set()
        for unit, label, coarse in units:
            vertex = self._vertex(label, coarse, unit, node.id)
            self.graph.units.setdefault(unit, []).append(vertex)
            found.add((vertex, ()))
        return frozenset(found)

    def _passed(
        self, node: Node, source: Source, output: int, data: Sequence[Source]
    ) -> Iterator[tuple[int, Marks]]:
        """What a step without weights hands on of an operand, with the mark that it leaves."""
        known = self.parts.passed.get((node.id, output))
        if known is not None:
            for origin, marks in self._reaching(source):
                step, number = self.number.get(origin, (-1, 0))
                if step != known[0] or number in known[1]:
                    yield origin, marks
        elif (node.id, source.position) in self.roles:
            role = self.roles[node.id, source.position]
            for origin, marks in self._reaching(source):
                yield origin, marks if role is None else (("attention", role),)
        else:
            mark = mark_of(self.trace, node, source, output, data)
            for origin, marks in self._reaching(source):
                yield origin, extended(marks, mark)

    def _taken_from_stack(self, node: Node, data: Sequence[Source]) -> bool:
        """Whether the step takes one of several tensors that were stacked, or a step of a sequence that a cell gave."""
        front = self.trace.nodes[data[0].node]
        shape, result = front.shapes[data[0].output], node.shapes[0]
        if front.kind in RECURRENT and data[0].output == 0 and len(result) == len(shape) - 1:
            self.reach[node.id, 0] = self._reaching(data[0])
            return True
        if front.kind != "stack" or len(front.inputs) != shape[0] or shape[1:] != result:
            return False
        found = [window(node, shape, output) for output in range(len(node.shapes))]
        starts = [
            mark[0][0] if mark and isinstance(mark[0], tuple) else output for output, mark in enumerate(found)
        ]
        for output, start in enumerate(starts):
            place = start if len(starts) == 1 else output
            self.reach[node.id, output] = self._reaching(front.inputs[place])
        return True

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
        before = {vertex: self.graph.vertices[vertex] for vertex, _ in reach}
        front = self._alone_in_front(node, data[0])
        for vertex, marks in reach:
            at = before[vertex]
            if marks or at.unit is None or at.unit.part == "" or at.label[0] != "linear" or at.node != front:
                return False
            if len(self.graph.units[at.unit]) > 1:
                return False
        if len(reach) > 1 and not all(vertex in self.number for vertex in before):
            return False
        if not self._is_bias(unit.tensors[0], sum(at.label[-1] for at in before.values())):
            return False
        for vertex, at in before.items():
            assert at.unit is not None
            names = f"{at.unit.part},{unit.part}"
            merged = replace(at.unit, part=names, tensors=(*at.unit.tensors, *unit.tensors))
            self.graph.vertices[vertex] = Vertex(at.label, at.coarse, merged, at.node)
            self.graph.units[merged] = self.graph.units.pop(at.unit)
        self.reach[node.id, 0] = reach
        return True

    def _is_bias(self, path: str, outputs: int) -> bool:
        """Whether a tensor is one vector, or holds one value for each output, by heads."""
        size = prod(self.shapes[path])
        by_heads = any(use.family == "offset" for use in self.uses[path]) and outputs == size
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
        if node.id in self.parts.rows and len(units) == 1 and units[0][1][0] == "linear":
            self._taken_apart(node, arriving, *units[0])
            return
        for unit, label, coarse in units:
            vertex = self._vertex(label, coarse, unit, node.id)
            self.graph.units.setdefault(unit, []).append(vertex)
            self.graph.edges.update((origin, vertex, marks) for origin, marks in arriving)
            arriving = {(vertex, ())}
        activation = node.settings.get("activation")
        first = (activation,) if isinstance(activation, str) and activation not in SILENT | {"linear"} else ()
        for output in range(len(node.shapes)):
            several = output and node.kind not in RECURRENT  # a last state is the last step's result as well
            marks = (*first, ("output", output)) if several else first
            self.reach[node.id, output] = frozenset({(vertex, marks)})

    def _taken_apart(
        self, node: Node, arriving: set[tuple[int, Marks]], unit: Unit, label: Marks, coarse: Marks
    ) -> None:
        """One vertex for each part of a fused layer."""
        found = set()
        for number, rows in enumerate(self.parts.rows[node.id]):
            kind, window, whole, outputs = label
            size = whole * len(rows) // outputs
            part = replace(unit, rows=rows, bias_rows=rows if unit.bias_rows else ())
            vertex = self._vertex((kind, window, size, len(rows)), (kind, window, size), part, node.id)
            self.graph.units.setdefault(part, []).append(vertex)
            self.graph.edges.update((origin, vertex, marks) for origin, marks in arriving)
            self.number[vertex] = node.id, number
            found.add((vertex, ()))
        self.reach[node.id, 0] = frozenset(found)

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
        unit = Unit(sorted(owners)[0], names, paths, bias_rows=self.parts.vectors.get(node.id, ()))
        return [(unit, *self._labels(family_of(node), paths))]

    def _weights(self, paths: Sequence[str]) -> tuple[str, ...]:
        """The tensors that make a unit: its weights, or what it has where training changes none of it."""
        weights = tuple(path for path in paths if path not in self.fixed)
        return weights or tuple(path for path in paths if path not in self.through)

    def _labels(self, family: str | None, paths: Sequence[str]) -> tuple[Marks, Marks]:
        """The labels of a unit: by what operations do with its weights, where its class does not say it."""
        shapes = [self.shapes[path] for path in paths]
        if family in RECURRENT:
            kernels_of = [path for path in paths if not path.rpartition(".")[2].startswith("bias")]
            whole = (family, *sorted(prod(self.shapes[path]) for path in kernels_of))
            return whole, whole
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
