"""Pairs the weighted steps of two graphs that are not the same: outwards from what is sure, never by guessing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from operator import itemgetter

from parity.pairing.dataflow.distance import Positions
from parity.pairing.dataflow.graph import Graph, Unit
from parity.pairing.dataflow.isomorphism import Match, Prefer, own_colours
from parity.pairing.dataflow.marks import Marks
from parity.pairing.evidence import Evidence

Compatible = Callable[[Unit, Unit], bool]
MARGIN = 1e-9
DISTANCE = 0.25
"""What one step more or less before or after takes off the share of the neighbours that are paired."""
STEP = 0.1
"""How far below the best the pairs may be that are taken together with it."""


@dataclass
class Ambiguity:
    """A Keras unit with several torch units that would do as well."""

    unit: Unit
    candidates: list[Unit] = field(default_factory=list)


def propagate(
    ours: Graph, theirs: Graph, compatible: Compatible, prefer: Prefer, known: Mapping[Unit, Unit]
) -> tuple[Match, list[Ambiguity]]:
    """Pair what a unique kind, paired neighbours, names or equal weights make sure.

    Returns:
        The pairs with their evidence, and the Keras units that could go to several torch units.
    """
    state = _Propagation(ours, theirs, compatible, prefer)
    for unit, mate in known.items():
        state.take(unit, mate, None)
    state.unique_kinds()
    state.grow()
    state.in_order()
    match = Match(units=state.units, evidence=state.evidence)
    return match, state.ambiguous()


class _Side:
    """Units, their labels, and what feeds and follows each."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.labels = {unit: graph.vertices[uses[0]].label for unit, uses in graph.units.items()}
        self.coarse = {unit: graph.vertices[uses[0]].coarse for unit, uses in graph.units.items()}
        colours = own_colours(graph)
        self.colours = {
            unit: tuple(sorted(colours[use] for use in uses)) for unit, uses in graph.units.items()
        }
        self.near: dict[Hashable, dict[tuple[str, Hashable], set[Marks]]] = {}
        for start, end, marks in sorted(graph.edges, key=itemgetter(0, 1)):  # a set's own order is chance
            first, second = self._key(start), self._key(end)
            self.near.setdefault(first, {}).setdefault(("to", second), set()).add(marks)
            self.near.setdefault(second, {}).setdefault(("from", first), set()).add(marks)

    def _key(self, vertex: int) -> Hashable:
        found = self.graph.vertices[vertex]
        return found.unit if found.unit is not None else found.label

    def after(self, unit: Unit) -> set[Hashable]:
        """Everything that the unit feeds, at any distance."""
        found: set[Hashable] = set()
        waiting: list[Hashable] = [unit]
        while waiting:
            for way, other in self.near.get(waiting.pop(), {}):
                if way == "to" and other not in found:
                    found.add(other)
                    waiting.append(other)
        return found


class _Propagation:
    def __init__(self, ours: Graph, theirs: Graph, compatible: Compatible, prefer: Prefer) -> None:
        self.ours, self.theirs = _Side(ours), _Side(theirs)
        self.compatible, self.prefer = compatible, prefer
        self.units: dict[Unit, Unit] = {}
        self.evidence: dict[Unit, Evidence | None] = {}
        self.taken: set[Unit] = set()
        self.points: dict[Unit, dict[Unit, float]] = {}
        self._fits: dict[tuple[Unit, Unit], bool] = {}
        self._positions = Positions(ours, theirs)
        self._distances: dict[tuple[Unit, Unit], float] = {}
        self._near: dict[Unit, list[Unit]] = {}
        self._alike = _groups(self.theirs.coarse)
        ends = {vertex.label for vertex in ours.vertices if vertex.unit is None}
        for label in ends & {vertex.label for vertex in theirs.vertices if vertex.unit is None}:
            self._reward(label, label)

    def fits(self, unit: Unit, mate: Unit) -> bool:
        """Whether the two could be one, by kind and shapes."""
        if (unit, mate) not in self._fits:
            alike = self.ours.coarse[unit] == self.theirs.coarse[mate]
            self._fits[unit, mate] = alike and self.compatible(unit, mate)
        return self._fits[unit, mate]

    def take(self, unit: Unit, mate: Unit, evidence: Evidence | None) -> None:
        """Pair two units, and let that speak for their neighbours."""
        if unit in self.units or mate in self.taken:
            return
        self.units[unit] = mate
        self.taken.add(mate)
        self.evidence[unit] = evidence
        self._reward(unit, mate)

    def _reward(self, key: Hashable, mate_key: Hashable) -> None:
        theirs = self.theirs.near.get(mate_key, {})
        for (way, unit), marks in self.ours.near.get(key, {}).items():
            if not isinstance(unit, Unit) or unit in self.units:
                continue
            for (other_way, mate), other_marks in theirs.items():
                if (
                    way == other_way
                    and isinstance(mate, Unit)
                    and mate not in self.taken
                    and self.fits(unit, mate)
                ):
                    points = self.points.setdefault(unit, {})
                    points[mate] = points.get(mate, 0.0) + (2.0 if marks & other_marks else 1.0)

    def unique_kinds(self) -> None:
        """Units whose kind and shapes occur once on each side."""
        ours, theirs = _groups(self.ours.labels), _groups(self.theirs.labels)
        for label, units in ours.items():
            mates = theirs.get(label, [])
            if len(units) == len(mates) == 1 and self.fits(units[0], mates[0]):
                self.take(units[0], mates[0], Evidence.ONLY_ONE)

    def grow(self) -> None:
        """The unit and mate that share most of their neighbours and stand where the other stands, while that is unique."""
        while True:
            best = self._best()
            if not best:
                return
            for unit, mate, evidence in best:
                self.take(unit, mate, evidence)

    def _scores(self) -> dict[Unit, dict[Unit, float]]:
        """For each free unit, what speaks for each free mate."""
        scores: dict[Unit, dict[Unit, float]] = {}
        for unit in self.ours.labels:
            if unit not in self.units:
                points = self.points.get(unit, {})
                near = [mate for mate in self._nearest(unit) if self._apart(unit, mate) == 0.0]
                scores[unit] = {
                    mate: self._share(unit, mate, points.get(mate, 0.0)) - DISTANCE * self._apart(unit, mate)
                    for mate in dict.fromkeys([*points, *near])
                    if mate not in self.taken
                }
        return scores

    def _nearest(self, unit: Unit) -> list[Unit]:
        """Mates that stand where the unit stands."""
        if unit not in self._near:
            mates = [mate for mate in self._alike.get(self.ours.coarse[unit], []) if self.fits(unit, mate)]
            self._near[unit] = [mate for mate in mates if self._apart(unit, mate) == 0.0]
        return self._near[unit]

    def _apart(self, unit: Unit, mate: Unit) -> float:
        if (unit, mate) not in self._distances:
            self._distances[unit, mate] = self._positions.apart(unit, mate)
        return self._distances[unit, mate]

    def _best(self) -> list[tuple[Unit, Unit, Evidence]]:
        """Pairs that are each other's one best choice, the best of them; else one that other evidence decides."""
        scores = self._scores()
        rivals: dict[Unit, list[float]] = {}
        for found in scores.values():
            for mate, score in found.items():
                rivals.setdefault(mate, []).append(score)
        sure, tied = [], []
        for unit, found in scores.items():
            top = max(found.values(), default=0.0)
            near = [mate for mate, score in found.items() if score > top - MARGIN]
            for mate in near:
                others = [score for score in rivals[mate] if score > top - MARGIN]
                if len(near) == 1 and len(others) == 1:
                    sure.append((top, unit, mate))
                elif max(others) <= top + MARGIN:
                    tied.append((top, unit, mate, near))
        if sure:
            top = max(score for score, _, _ in sure)
            return [(unit, mate, Evidence.NEIGHBOURS) for score, unit, mate in sure if score > top - STEP]
        for _, unit, mate, near in tied:
            if len(near) > 1 and self.prefer(unit, near) == mate:
                return [(unit, mate, Evidence.NEIGHBOURS_AND_NAMES)]
        turns = self._turns() if tied else {}
        tied.sort(key=lambda item: (-item[0], abs(turns[0, item[1]] - turns[1, item[2]])))
        for _, unit, mate, near in tied:
            if self._same_for(near, unit, mate, scores):
                return [(unit, mate, Evidence.NEIGHBOURS_EITHER)]
        return []

    def _same_for(
        self, near: list[Unit], unit: Unit, mate: Unit, scores: Mapping[Unit, Mapping[Unit, float]]
    ) -> bool:
        """Whether the torch units among which to choose, or the Keras units that would be chosen, may change places."""
        best = scores[unit][mate]
        rivals = [other for other, found in scores.items() if found.get(mate, 0.0) > best - MARGIN]
        if any(found.get(mate, 0.0) > best + MARGIN for found in scores.values()):
            return False
        return (
            len({self.theirs.colours[name] for name in near}) == 1
            or len({self.ours.colours[name] for name in rivals}) == 1
        )

    def _turns(self) -> dict[tuple[int, Unit], int]:
        """The place of each free unit, by side, among the free ones of its kind in execution order."""
        found: dict[tuple[int, Unit], int] = {}
        for number, (side, done) in enumerate(((self.ours, self.units), (self.theirs, self.taken))):
            counts: Counter[Marks] = Counter()
            for unit, kind in side.coarse.items():
                if unit not in done:
                    found[number, unit] = counts[kind]
                    counts[kind] += 1
        return found

    def _share(self, unit: Unit, mate: Unit, points: float) -> float:
        total = len(self.ours.near.get(unit, {})) + len(self.theirs.near.get(mate, {}))
        return points / max(total, 1)

    def in_order(self) -> None:
        """As many alike on both sides, each set in a chain: the first feeds the second, and so on."""
        for label, units in _groups(self.ours.coarse).items():
            free = [unit for unit in units if unit not in self.units]
            mates = [mate for mate in _groups(self.theirs.coarse).get(label, []) if mate not in self.taken]
            if not free or len(free) != len(mates):
                continue
            ours, theirs = _chain(free, self.ours), _chain(mates, self.theirs)
            if ours and theirs and all(map(self.fits, ours, theirs)):
                for unit, mate in zip(ours, theirs, strict=True):
                    self.take(unit, mate, Evidence.ORDER)

    def ambiguous(self) -> list[Ambiguity]:
        """What is left, with the units that it could go to."""
        found = []
        for unit in self.ours.labels:
            if unit not in self.units:
                mates = [
                    mate for mate in self.theirs.labels if mate not in self.taken and self.fits(unit, mate)
                ]
                best = self.prefer(unit, mates) if mates else None
                if best is not None:
                    self.take(unit, best, Evidence.NAMES)
                elif mates:
                    found.append(Ambiguity(unit, mates))
        return found


def _groups(labels: Mapping[Unit, Marks]) -> dict[Marks, list[Unit]]:
    groups: dict[Marks, list[Unit]] = {}
    for unit, label in labels.items():
        groups.setdefault(label, []).append(unit)
    return groups


def _chain(units: Iterable[Unit], side: _Side) -> list[Unit] | None:
    """The units in the order in which they feed one another; None where that is no one order."""
    chosen = list(units)
    after = {unit: side.after(unit) & set(chosen) for unit in chosen}
    ordered = sorted(chosen, key=lambda unit: -len(after[unit]))
    total = all(len(after[unit]) == len(ordered) - 1 - i for i, unit in enumerate(ordered))
    return ordered if total and all(unit not in after[unit] for unit in ordered) else None
