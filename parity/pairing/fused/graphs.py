"""What two graphs have in common, and the parts of what was taken apart."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from parity.pairing.dataflow.units import Graph, Unit


def unlike(keras: Graph, torch: Graph) -> int:
    """How many vertices of either graph have none of their kind in the other."""
    counts = [Counter(vertex.coarse for vertex in graph.vertices) for graph in (keras, torch)]
    return sum(((counts[0] - counts[1]) + (counts[1] - counts[0])).values())


def whole_of(unit: Unit) -> Unit:
    """The fused layer of which the unit is a part."""
    return replace(unit, rows=(), bias_rows=())


def pieces_of(graph: Graph) -> dict[str, list[Unit]]:
    """The parts of the layers that are taken apart."""
    found: dict[str, list[Unit]] = {}
    for unit in graph.units:
        if unit.rows:
            found.setdefault(unit.path, []).append(unit)
    return found
