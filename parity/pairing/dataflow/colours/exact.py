"""Which steps of one trace may truly change places: every setting, shape and operand counts.

The reduced graph leaves out what the two frameworks write in different ways (reshapes, transposes, paddings, sums), so
that it can be held against the other side's. Within one model nothing needs to be left out.
"""

from __future__ import annotations

from collections.abc import Hashable

from parity.core.trace import Node, Trace
from parity.core.types import FAMILIES
from parity.pairing.dataflow.colours.refinement import Refinement
from parity.pairing.dataflow.marks import COMMUTATIVE

PLAIN = (
    "relu relu6 silu hard_silu hard_sigmoid sigmoid tanh gelu add mul maximum minimum concat dropout identity"
)
KNOWN = frozenset(FAMILIES) | frozenset(PLAIN.split()) | {"max_pool", "average_pool"}
"""Kinds of layers of which the settings in a trace say all."""
IDLE = frozenset({"name", "seed", "dtype"})
"""Settings that say nothing of what a step computes here."""


def exact_colours(trace: Trace) -> list[int]:
    """A colour for each step: two steps of one colour may change places, and the model computes the same."""
    near: list[list[tuple[int, int, int]]] = [[] for _ in trace.nodes]
    marks: dict[Hashable, int] = {}
    for node in trace.nodes:
        swappable = node.kind in COMMUTATIVE
        for source in node.inputs:
            place = 0 if swappable else source.position
            mark = marks.setdefault((place, source.output), len(marks))
            near[node.id].append((0, mark, source.node))
            near[source.node].append((1, mark, node.id))
    for calls in trace.calls_by_path().values():
        for call in calls:
            near[call.id] += [(2, 0, again.id) for again in calls]
    given: dict[int, list[Hashable]] = {}
    for i, number in enumerate(trace.inputs):
        given.setdefault(number, []).append(("input", i))
    for i, (_, source) in enumerate(trace.outputs):
        given.setdefault(source.node, []).append(("output", i, source.output))
    start = ((_label(node), tuple(given.get(node.id, ()))) for node in trace.nodes)
    return Refinement(start, near).colour


def _label(node: Node) -> Hashable:
    """What a step does. A tensor of unknown values, and a layer of an unknown kind, is like itself alone."""
    if node.sort == "constant":
        return "constant", node.id
    unknown = node.path if node.sort == "layer" and node.kind not in KNOWN else None
    settings = sorted((name, repr(value)) for name, value in node.settings.items() if name not in IDLE)
    return node.sort, node.kind, unknown, node.shapes, tuple(settings)
