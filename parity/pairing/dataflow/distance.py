"""Where in its graph a weighted step stands: how many steps of each kind come before it and after it."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np

from parity.core.types import Array
from parity.pairing.dataflow.units import Graph, Unit


class Positions:
    """How far the units of two graphs stand from each other.

    One fault, a missing or an added layer or connection, leaves either what comes before a step or what
    comes after it as it was. So the smaller of the two differences counts most.
    """

    def __init__(self, keras: Graph, torch: Graph) -> None:
        kinds: dict[Hashable, int] = {}
        for graph in (keras, torch):
            for vertex in graph.vertices:
                kinds.setdefault(vertex.coarse, len(kinds))
        self._counts = tuple(_counts(graph, kinds) for graph in (keras, torch))

    def distance(self, keras: Unit, torch: Unit) -> float:
        """0.0 where as many steps of each kind come before, and after, both."""
        before, after = (
            float(np.abs(keras_count - torch_count).sum())
            for keras_count, torch_count in zip(self._counts[0][keras], self._counts[1][torch], strict=True)
        )
        return min(before, after) + 0.5 * (before + after)

    def of_keras(self, unit: Unit) -> Hashable:
        """The place of a Keras unit: that of a torch unit is the same where the distance is 0.0."""
        return tuple(count.tobytes() for count in self._counts[0][unit])

    def of_torch(self, unit: Unit) -> Hashable:
        """The place of a torch unit."""
        return tuple(count.tobytes() for count in self._counts[1][unit])


def _counts(graph: Graph, kinds: dict[Hashable, int]) -> dict[Unit, tuple[Array, Array]]:
    """For each unit, the steps before and after it by kind, summed over its uses."""
    size = len(graph.vertices)
    masks = [0] * len(kinds)
    for i, vertex in enumerate(graph.vertices):
        masks[kinds[vertex.coarse]] |= 1 << i
    before, after = [0] * size, [0] * size
    ordered = sorted({(start, end) for start, end, _ in graph.edges}, key=lambda edge: edge[1])
    for start, end in ordered:  # execution order: whatever feeds a step has a smaller number
        before[end] |= before[start] | 1 << start
    for start, end in sorted(ordered, key=lambda edge: -edge[0]):
        after[start] |= after[end] | 1 << end
    return {
        unit: (_by_kind(before, uses, masks), _by_kind(after, uses, masks))
        for unit, uses in graph.units.items()
    }


def _by_kind(reached: Sequence[int], uses: Sequence[int], masks: Sequence[int]) -> Array:
    return np.array([sum((reached[use] & mask).bit_count() for use in uses) for mask in masks])
