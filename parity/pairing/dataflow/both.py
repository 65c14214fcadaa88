"""Both traces reduced to their weighted steps, each with a look at the other."""

from __future__ import annotations

from collections.abc import Mapping

from parity.core.trace import Trace
from parity.core.types import LayerInfo
from parity.pairing.dataflow.graph import Graph, graph_of


def graphs_of(
    traces: tuple[Trace, Trace], layers: tuple[Mapping[str, LayerInfo], Mapping[str, LayerInfo]]
) -> tuple[Graph, Graph]:
    """Reduce both traces; steps whose tensors training never changes are seen through where one side alone has them.

    Args:
        traces: of a forward pass of each side.
        layers: the layers of each by path.
    """
    names = [sorted(name for name, _ in trace.outputs) for trace in traces]
    by_name = names[0] == names[1]
    graphs = graph_of(traces[0], layers[0], by_name), graph_of(traces[1], layers[1], by_name)
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
    return (
        graph_of(traces[0], layers[0], by_name, lone[0]),
        graph_of(traces[1], layers[1], by_name, lone[1]),
    )
