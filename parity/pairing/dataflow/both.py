"""Both traces reduced to their weighted steps, each with a look at the other."""

from __future__ import annotations

from collections.abc import Mapping

from parity.core.trace import Trace
from parity.core.types import LayerInfo
from parity.pairing.dataflow.graph import graph_of
from parity.pairing.dataflow.units import Graph
from parity.pairing.uses.attended import attended
from parity.pairing.uses.parts import parts_of
from parity.pairing.uses.tables import shapes_read


def graphs_of(
    traces: tuple[Trace, Trace],
    layers: tuple[Mapping[str, LayerInfo], Mapping[str, LayerInfo]],
    apart: bool = False,
) -> tuple[Graph, Graph]:
    """Reduce both traces; steps whose tensors training never changes are seen through where one side alone has them.

    Args:
        traces: of a forward pass of each side.
        layers: the layers of each by path.
        apart: attention is what it consists of, and fused layers are their parts.
    """
    names = [sorted(name for name, _ in trace.outputs) for trace in traces]
    by_name = names[0] == names[1]
    used = tuple(trace.expanded or trace for trace in traces) if apart else traces
    read = shapes_read(layers)
    pieces = [
        (parts_of(*item), attended(*item)) if apart else (None, None)
        for item in zip(used, layers, strict=True)
    ]

    def reduced(i: int, through: frozenset[str] = frozenset()) -> Graph:
        parts, roles = pieces[i]
        return graph_of(used[i], layers[i], by_name, through, parts, roles, read[i])

    graphs = reduced(0), reduced(1)
    fixed = [{t.path for layer in side.values() for t in layer.tensors if t.fixed} for side in layers]
    still = [
        {
            unit: graph.vertices[uses[0]].coarse
            for unit, uses in graph.units.items()
            if fixed[i].issuperset(unit.tensors)
        }
        for i, graph in enumerate(graphs)
    ]
    lone = [
        frozenset(
            path
            for unit, kind in still[i].items()
            if kind not in still[1 - i].values()
            for path in unit.tensors
        )
        for i in (0, 1)
    ]
    if not any(lone):
        return graphs
    return reduced(0, lone[0]), reduced(1, lone[1])
