"""Which weighted step of one graph is which of the other: by colour refinement, else outwards from what is sure.

Colour refinement gives every vertex of both graphs a colour, its kind at first, and then again and again
the colours of what feeds it and of what it feeds. Vertices of different colour cannot correspond. Where the
graphs are the same, the colours that are left over belong to vertices that may change places.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from parity.pairing.dataflow.marks import Marks
from parity.pairing.dataflow.refinement import Refinement
from parity.pairing.dataflow.units import Graph, Unit, Vertex
from parity.pairing.evidence import Evidence

LEVELS = ("marks", "order", "edges")
"""How much the edges say: everything; the order of operands, slices and offsets alone; nothing."""
Prefer = Callable[[Unit, Sequence[Unit]], Unit | None]
"""Evidence other than the dataflow (names, equal weights) for one of several candidates."""


@dataclass
class Match:
    """What corresponds.

    Attributes:
        units: Keras unit -> torch unit.
        vertices: Keras vertex -> torch vertex.
        level: the one of LEVELS at which the whole graphs are the same; None where they are not.
        free: Keras units for which another choice would have done as well (y = a(x) + b(x)).
        evidence: Keras unit -> on what grounds it was paired; None where it was paired before.
    """

    units: dict[Unit, Unit] = field(default_factory=dict)
    vertices: dict[int, int] = field(default_factory=dict)
    level: str | None = None
    free: set[Unit] = field(default_factory=set)
    evidence: dict[Unit, Evidence | None] = field(default_factory=dict)


def isomorphism(keras: Graph, torch: Graph, prefer: Prefer, known: Mapping[Unit, Unit]) -> Match | None:
    """A pairing under which the two graphs are the same, at the strictest level at which there is one."""
    for level in LEVELS:
        for coarse in (False, True):
            joint = _Joint(keras, torch, level, coarse, known)
            match = joint.solve(prefer)
            if match is not None:
                return match
    return None


def projected(marks: Marks, level: str) -> Marks:
    """The marks of an edge, as far as they count at a level."""
    if level == "marks":
        return marks
    return tuple(mark for mark in marks if isinstance(mark, tuple)) if level == "order" else ()


class _Joint:
    """Both graphs under one numbering, torch's vertices after Keras' own."""

    def __init__(
        self, keras: Graph, torch: Graph, level: str, coarse: bool, known: Mapping[Unit, Unit]
    ) -> None:
        self.graphs, self.level = (keras, torch), level
        self.split = len(keras.vertices)
        self.vertices: list[Vertex] = [*keras.vertices, *torch.vertices]
        names: dict[Hashable, int] = {}
        self.near: list[list[tuple[int, int, int]]] = [[] for _ in self.vertices]
        self.edges: tuple[set[tuple[int, int, int]], set[tuple[int, int, int]]] = (set(), set())
        for side, (graph, shift) in enumerate(((keras, 0), (torch, self.split))):
            for start, end, marks in graph.edges:
                mark = names.setdefault(projected(marks, level), len(names))
                self.edges[side].add((start + shift, end + shift, mark))
            for start, end, mark in self.edges[side]:
                self.near[end].append((0, mark, start))
                self.near[start].append((1, mark, end))
        self.uses: dict[int, list[int]] = {}
        for graph, shift in ((keras, 0), (torch, self.split)):
            for uses in graph.units.values():
                for use in uses:
                    self.uses[use + shift] = [again + shift for again in uses]
                    self.near[use + shift] += [(2, 0, again + shift) for again in uses]
        paired = {unit: i for i, unit in enumerate(known)} | {
            unit: i for i, unit in enumerate(known.values()) if unit not in known
        }
        self.start = [
            (
                vertex.coarse if coarse else vertex.label,
                len(self.uses.get(i, ())),
                paired.get(vertex.unit, -1) if vertex.unit else -1,
            )
            for i, vertex in enumerate(self.vertices)
        ]

    @cached_property
    def _own(self) -> tuple[list[int], list[int]]:
        return own_colours(self.graphs[0]), own_colours(self.graphs[1])

    @cached_property
    def _near(self) -> tuple[list[Hashable], list[Hashable]]:
        return surroundings(self.graphs[0]), surroundings(self.graphs[1])

    def solve(self, prefer: Prefer) -> Match | None:
        """Refine, choose where there is a choice, and check the result edge by edge."""
        refinement = Refinement(self.start, self.near)
        match = Match(level=self.level)
        while True:
            classes = self._classes(refinement.colour)
            if any(len(keras) != len(torch) for keras, torch in classes):
                return None
            several = sorted(
                (item for item in classes if len(item[0]) > 1), key=lambda item: (len(item[0]), item)
            )
            if not several:
                break
            choice = self._choice(several, prefer, match)
            if choice is None:
                return None
            refinement.set_apart(choice)
        match.vertices = {keras[0]: torch[0] - self.split for keras, torch in classes}
        return self._checked(match)

    def _choice(
        self, several: Sequence[tuple[list[int], list[int]]], prefer: Prefer, match: Match
    ) -> tuple[int, int] | None:
        """A pair to tell apart from its like: by other evidence, else any where it makes no difference."""
        for keras, torch in several:
            for use in keras:
                unit = self.vertices[use].unit
                units = {at: found for at in torch if (found := self.vertices[at].unit) is not None}
                best = prefer(unit, list(dict.fromkeys(units.values()))) if unit is not None else None
                if best is not None:
                    return use, next(at for at, found in units.items() if found == best)
        for keras, torch in several:
            alike = [self._surroundings(uses) for uses in (keras, torch)]
            for key, uses in alike[0].items():
                if len(uses) == len(alike[1].get(key, ())) == 1 and len(keras) > 1:
                    return uses[0], alike[1][key][0]
        for keras, torch in several:
            if self._interchangeable(keras, 0) or self._interchangeable(torch, 1):
                match.free.update(unit for use in keras if (unit := self.vertices[use].unit) is not None)
                return keras[0], torch[0]
        return None  # what made the graphs differ may tell these apart: not for us to choose

    def _surroundings(self, uses: Sequence[int]) -> dict[Hashable, list[int]]:
        """Uses by what lies next to them, with all marks, which may count for nothing at this level."""
        found: dict[Hashable, list[int]] = {}
        for use in uses:
            side = int(use >= self.split)
            found.setdefault(self._near[side][use - side * self.split], []).append(use)
        return found

    def _interchangeable(self, uses: Sequence[int], side: int) -> bool:
        """Whether these may change places within their own graph, all marks considered."""
        return len({self._own[side][use - side * self.split] for use in uses}) == 1

    def _checked(self, match: Match) -> Match | None:
        mapped = {
            (match.vertices[start] + self.split, match.vertices[end] + self.split, mark)
            for start, end, mark in self.edges[0]
        }
        if mapped != self.edges[1]:
            return None
        for keras, torch in match.vertices.items():
            unit, torch_unit = self.vertices[keras].unit, self.vertices[torch + self.split].unit
            if unit is None or torch_unit is None:
                continue
            if match.units.setdefault(unit, torch_unit) != torch_unit:
                return None
            free = unit in match.free
            match.evidence[unit] = Evidence.DATAFLOW_EITHER if free else Evidence.DATAFLOW
        return match if len(set(match.units.values())) == len(match.units) else None

    def _classes(self, colour: Sequence[int]) -> list[tuple[list[int], list[int]]]:
        classes: dict[int, tuple[list[int], list[int]]] = {}
        for i, value in enumerate(colour):
            classes.setdefault(value, ([], []))[i >= self.split].append(i)
        return list(classes.values())


def own_colours(graph: Graph) -> list[int]:
    """Colours of one graph alone, all marks considered: vertices of one colour may change places."""
    uses = {use: tuple(others) for others in graph.units.values() for use in others}
    near: list[list[tuple[int, int, int]]] = [[] for _ in graph.vertices]
    names: dict[Hashable, int] = {}
    for start, end, marks in graph.edges:
        mark = names.setdefault(marks, len(names))
        near[start].append((0, mark, end))
        near[end].append((1, mark, start))
    for use, others in uses.items():
        near[use] += [(2, 0, again) for again in others]
    start_colours = ((vertex.label, len(uses.get(i, ()))) for i, vertex in enumerate(graph.vertices))
    return Refinement(start_colours, near).colour


def surroundings(graph: Graph) -> list[Hashable]:
    """For each vertex, the kinds of its neighbours and the marks between: comparable across graphs."""
    near: list[list[Hashable]] = [[] for _ in graph.vertices]
    for start, end, marks in graph.edges:
        near[start].append((0, repr(marks), graph.vertices[end].label))
        near[end].append((1, repr(marks), graph.vertices[start].label))
    return [tuple(sorted(found, key=repr)) for found in near]
