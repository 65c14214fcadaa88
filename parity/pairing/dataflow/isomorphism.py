"""Which weighted step of one graph is which of the other: by colour refinement, else outwards from what is sure.

Colour refinement gives every vertex of both graphs a colour, its kind at first, and then again and again
the colours of what feeds it and of what it feeds. Vertices of different colour cannot correspond. Where the
graphs are the same, the colours that are left over belong to vertices that may change places.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from parity.pairing.dataflow.colours.exact import exact_colours
from parity.pairing.dataflow.colours.refinement import Refinement
from parity.pairing.dataflow.marks import Marks, loosened
from parity.pairing.dataflow.units import Graph, Unit, Vertex
from parity.pairing.evidence import Evidence

LEVELS = ("marks", "order", "edges")
"""How much the edges say: everything; the order of operands, slices and offsets alone; nothing."""
TURNED = {level: f"{level}, turned" for level in LEVELS[:2]}
"""What says all but which operand of a product is rows, and the like: one side may compute it transposed, or negated."""
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
        preferred: Keras units that other evidence gave one of several units which do not do the same.
        guessed: Keras units of which nothing says which of several units that do not do the same they are.
        turned: whether the order of operands alone tells some units apart, of a product or a difference.
    """

    units: dict[Unit, Unit] = field(default_factory=dict)
    vertices: dict[int, int] = field(default_factory=dict)
    level: str | None = None
    free: set[Unit] = field(default_factory=set)
    evidence: dict[Unit, Evidence | None] = field(default_factory=dict)
    preferred: set[Unit] = field(default_factory=set)
    guessed: set[Unit] = field(default_factory=set)
    turned: bool = False

    @property
    def doubtful(self) -> bool:
        """Whether a run of both sides has to show that it is right."""
        return self.turned or bool(self.preferred) or bool(self.guessed)


def isomorphism(
    keras: Graph, torch: Graph, prefer: Prefer, known: Mapping[Unit, Unit], turn: int | None = None
) -> Match | None:
    """A pairing under which the two graphs are the same, at the strictest level at which there is one.

    Args:
        keras: the Keras side's graph.
        torch: likewise.
        prefer: other evidence.
        known: units that are paired already.
        turn: which way to go where nothing says which of several units that do not do the same is which; the caller
            tries each. None goes no such way. From 1 on, other evidence does not count there, nor does the order of
            operands that one side may have turned.
    """
    for level in LEVELS:
        for said in (TURNED[level], level) if turn and level in TURNED else (level,):
            for coarse in (False, True):
                joint = _Joint(keras, torch, said, coarse, known)
                match = joint.solve(prefer, turn)
                if match is not None:
                    match.level, match.turned = level, _turned(joint, keras, torch, coarse, known)
                    return match
    return None


def _turned(joint: _Joint, keras: Graph, torch: Graph, coarse: bool, known: Mapping[Unit, Unit]) -> bool:
    """Whether units are told apart by the order of operands alone that one side may have turned."""
    level = TURNED.get(joint.level)
    marks = {marks for graph in (keras, torch) for _, _, marks in graph.edges}
    if level is None or not any(projected(one, level) != projected(one, joint.level) for one in marks):
        return False
    loose = _Joint(keras, torch, level, coarse, known)
    return any(len({joint.colours[use] for use in uses}) > 1 for item in loose.several() for uses in item)


def projected(marks: Marks, level: str) -> Marks:
    """The marks of an edge, as far as they count at a level."""
    if level in TURNED.values():
        marks = tuple(map(loosened, marks))
    if level.startswith(LEVELS[0]):
        return marks
    return tuple(mark for mark in marks if isinstance(mark, tuple)) if level.startswith(LEVELS[1]) else ()


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
        marks = TURNED[LEVELS[0]] if self.level in TURNED.values() else LEVELS[0]
        return surroundings(self.graphs[0], marks), surroundings(self.graphs[1], marks)

    @cached_property
    def colours(self) -> list[int]:
        """Of every vertex, before anything is chosen."""
        return list(Refinement(self.start, self.near).colour)

    def several(self) -> list[tuple[list[int], list[int]]]:
        """The sets of vertices, of Keras and of torch, among which nothing in the graphs chooses."""
        return [item for item in self._classes(self.colours) if len(item[0]) > 1]

    def solve(self, prefer: Prefer, turn: int | None = None) -> Match | None:
        """Refine, choose where there is a choice, and check the result edge by edge."""
        refinement = Refinement(self.start, self.near)
        match = Match()
        self._turn, self._kinds = turn, dict[Hashable, int]()
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
            alike = self._interchangeable(keras, 0) or self._interchangeable(torch, 1)
            if self._turn and not alike:
                continue
            for use in keras:
                best = self._preferred(use, torch, prefer)
                if best is not None:
                    if not alike:
                        match.preferred.update(self._units(keras))
                    return use, best
        for keras, torch in several:
            near = [self._surroundings(uses) for uses in (keras, torch)]
            for key, uses in near[0].items():
                if len(uses) == len(near[1].get(key, ())) == 1 and len(keras) > 1:
                    return uses[0], near[1][key][0]
        for keras, torch in several:
            if self._interchangeable(keras, 0) or self._interchangeable(torch, 1):
                match.free.update(self._units(keras))
                return keras[0], torch[0]
        return self._guess(several, match)

    def _preferred(self, use: int, torch: Sequence[int], prefer: Prefer) -> int | None:
        """The one of several uses that other evidence gives."""
        unit = self.vertices[use].unit
        units = {at: found for at in torch if (found := self.vertices[at].unit) is not None}
        best = prefer(unit, list(dict.fromkeys(units.values()))) if unit is not None else None
        return None if best is None else next(at for at, found in units.items() if found == best)

    def _units(self, uses: Sequence[int]) -> set[Unit]:
        return {unit for use in uses if (unit := self.vertices[use].unit) is not None}

    def _guess(self, several: Sequence[tuple[list[int], list[int]]], match: Match) -> tuple[int, int] | None:
        """One way of several, the same for all of a kind; what makes the graphs differ may tell these apart, though."""
        if self._turn is None:
            return None
        keras, torch = several[0]
        kind = self._kinds.setdefault(self.start[keras[0]][0], len(self._kinds))
        back = self._turn > 0 and (self._turn - 1) >> kind & 1
        match.guessed.update(self._units(keras))
        return keras[0], torch[-1 if back else 0]

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
            match.evidence[unit] = _evidence(match, unit)
        return match if len(set(match.units.values())) == len(match.units) else None

    def _classes(self, colour: Sequence[int]) -> list[tuple[list[int], list[int]]]:
        classes: dict[int, tuple[list[int], list[int]]] = {}
        for i, value in enumerate(colour):
            classes.setdefault(value, ([], []))[i >= self.split].append(i)
        return list(classes.values())


def _evidence(match: Match, unit: Unit) -> Evidence:
    if unit in match.guessed:
        return Evidence.DATAFLOW_RUN
    if unit in match.preferred:
        return Evidence.DATAFLOW_AND_NAMES
    return Evidence.DATAFLOW_EITHER if unit in match.free else Evidence.DATAFLOW


def own_colours(graph: Graph) -> list[int]:
    """Colours of one graph alone, all marks and the whole trace considered: vertices of one may change places."""
    uses = {use: tuple(others) for others in graph.units.values() for use in others}
    near: list[list[tuple[int, int, int]]] = [[] for _ in graph.vertices]
    names: dict[Hashable, int] = {}
    for start, end, marks in graph.edges:
        mark = names.setdefault(marks, len(names))
        near[start].append((0, mark, end))
        near[end].append((1, mark, start))
    for use, others in uses.items():
        near[use] += [(2, 0, again) for again in others]
    exact = exact_colours(graph.trace) if graph.trace is not None else None
    start_colours = (
        (
            vertex.label,
            len(uses.get(i, ())),
            exact[vertex.node] if exact and vertex.node >= 0 else -1,
            vertex.unit.rows if vertex.unit else (),
        )
        for i, vertex in enumerate(graph.vertices)
    )
    return Refinement(start_colours, near).colour


def surroundings(graph: Graph, level: str) -> list[Hashable]:
    """For each vertex, the kinds of its neighbours and the marks between: comparable across graphs."""
    near: list[list[Hashable]] = [[] for _ in graph.vertices]
    for start, end, marks in graph.edges:
        text = repr(projected(marks, level))
        near[start].append((0, text, graph.vertices[end].label))
        near[end].append((1, text, graph.vertices[start].label))
    return [tuple(sorted(found, key=repr)) for found in near]
