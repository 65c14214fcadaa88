"""Pairs the weighted steps of two graphs that are not the same: outwards from what is sure, never by guessing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from operator import itemgetter

from parity.pairing.dataflow.distance import Positions
from parity.pairing.dataflow.frontier import MARGIN, Frontier
from parity.pairing.dataflow.graph import SUM
from parity.pairing.dataflow.isomorphism import Match, Prefer, own_colours
from parity.pairing.dataflow.marks import Marks
from parity.pairing.dataflow.units import Graph, Unit
from parity.pairing.evidence import Evidence

Compatible = Callable[[Unit, Unit], bool]
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
    keras: Graph, torch: Graph, compatible: Compatible, prefer: Prefer, known: Mapping[Unit, Unit]
) -> tuple[Match, list[Ambiguity]]:
    """Pair what a unique kind, paired neighbours, names or equal weights make sure.

    Returns:
        The pairs with their evidence, and the Keras units that could go to several torch units.
    """
    state = _Propagation(keras, torch, compatible, prefer)
    for keras_unit, torch_unit in known.items():
        state.take(keras_unit, torch_unit, None)
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
        if found.unit is None and found.label[0] == SUM:
            return SUM, vertex  # sums of one size are not one and the same
        return found.unit if found.unit is not None else found.label

    def after(self, units: Sequence[Unit]) -> dict[Unit, int]:
        """Which of these units each of them feeds, at any distance, as bits."""
        bits = {unit: 1 << i for i, unit in enumerate(units)}
        found: dict[Hashable, int] = {}
        changed = True
        while changed:  # the keys come nearly in execution order, so that a few rounds do
            changed = False
            for place in reversed(self.near):
                reached = found.get(place, 0)
                for way, neighbour in self.near[place]:
                    if way == "to":
                        reached |= found.get(neighbour, 0) | bits.get(neighbour, 0)  # type: ignore[call-overload]
                changed |= reached != found.get(place, 0)
                found[place] = reached
        return {unit: found.get(unit, 0) for unit in units}


class _Propagation:
    def __init__(self, keras: Graph, torch: Graph, compatible: Compatible, prefer: Prefer) -> None:
        self.keras, self.torch = _Side(keras), _Side(torch)
        self.compatible, self.prefer = compatible, prefer
        self.units: dict[Unit, Unit] = {}
        self.evidence: dict[Unit, Evidence | None] = {}
        self.taken: set[Unit] = set()
        self.points: dict[Unit, dict[Unit, float]] = {}
        self._fits: dict[tuple[Unit, Unit], bool] = {}
        self._positions = Positions(keras, torch)
        self._distances: dict[tuple[Unit, Unit], float] = {}
        self._standing: dict[Hashable, list[Unit]] = {}
        for unit, kind in self.torch.coarse.items():
            self._standing.setdefault((kind, self._positions.of_torch(unit)), []).append(unit)
        self.frontier = Frontier(list(self.keras.labels), self._scores)
        ends = [{vertex.label for vertex in graph.vertices if vertex.unit is None and vertex.label[0] != SUM}
                for graph in (keras, torch)]  # fmt: skip
        for label in ends[0] & ends[1]:
            self._reward(label, label)

    def fits(self, keras: Unit, torch: Unit) -> bool:
        """Whether the two could be one, by kind and shapes."""
        if (keras, torch) not in self._fits:
            alike = self.keras.coarse[keras] == self.torch.coarse[torch]
            self._fits[keras, torch] = alike and self.compatible(keras, torch)
        return self._fits[keras, torch]

    def take(self, keras: Unit, torch: Unit, evidence: Evidence | None) -> None:
        """Pair two units, and let that speak for their neighbours."""
        if keras in self.units or torch in self.taken:
            return
        self.units[keras] = torch
        self.taken.add(torch)
        self.evidence[keras] = evidence
        self.frontier.taken(keras, torch)
        self._reward(keras, torch)

    def _reward(self, keras_key: Hashable, torch_key: Hashable) -> None:
        """Give points to the neighbours of two that correspond: more where the marks between are the same."""
        torch_near = self.torch.near.get(torch_key, {})
        for (way, keras), marks in self.keras.near.get(keras_key, {}).items():
            if not isinstance(keras, Unit) or keras in self.units:
                continue
            for (torch_way, torch), torch_marks in torch_near.items():
                free = isinstance(torch, Unit) and torch not in self.taken
                if way == torch_way and free and isinstance(torch, Unit) and self.fits(keras, torch):
                    points = self.points.setdefault(keras, {})
                    points[torch] = points.get(torch, 0.0) + (2.0 if marks & torch_marks else 1.0)
                    self.frontier.touched(keras)

    def unique_kinds(self) -> None:
        """Units whose kind and shapes occur once on each side."""
        torch_units = _groups(self.torch.labels)
        for label, units in _groups(self.keras.labels).items():
            candidates = torch_units.get(label, [])
            if len(units) == len(candidates) == 1 and self.fits(units[0], candidates[0]):
                self.take(units[0], candidates[0], Evidence.ONLY_ONE)

    def grow(self) -> None:
        """The two units that share most of their neighbours and stand where the other stands, while that is unique."""
        while True:
            best = self._best()
            if not best:
                return
            for keras, torch, evidence in best:
                self.take(keras, torch, evidence)

    def _scores(self, keras: Unit) -> dict[Unit, float]:
        """What speaks for each free torch unit that has paired neighbours, or stands where the Keras unit stands."""
        points = self.points.get(keras, {})
        place = self.keras.coarse[keras], self._positions.of_keras(keras)
        near = [torch for torch in self._standing.get(place, []) if self.fits(keras, torch)]
        return {
            torch: self._share(keras, torch, points.get(torch, 0.0)) - DISTANCE * self._distance(keras, torch)
            for torch in dict.fromkeys([*points, *near])
            if torch not in self.taken
        }

    def _distance(self, keras: Unit, torch: Unit) -> float:
        if (keras, torch) not in self._distances:
            self._distances[keras, torch] = self._positions.distance(keras, torch)
        return self._distances[keras, torch]

    def _best(self) -> list[tuple[Unit, Unit, Evidence]]:
        """Pairs that are each other's one best choice, the best of them; else one that other evidence decides."""
        sure = self.frontier.sure()
        if sure:
            top = max(score for score, *_ in sure)
            return [
                (keras, torch, Evidence.NEIGHBOURS) for score, keras, torch, _ in sure if score > top - STEP
            ]
        scores, tied = self.frontier.scores, self.frontier.tied()
        for _, keras, torch, near in tied:
            if len(near) > 1 and self.prefer(keras, near) == torch:
                return [(keras, torch, Evidence.NEIGHBOURS_AND_NAMES)]
        turns = self._turns() if tied else {}
        tied.sort(key=lambda item: (-item[0], abs(turns[0, item[1]] - turns[1, item[2]])))
        for _, keras, torch, near in tied:
            if self._same_for(near, keras, torch, scores):
                return [(keras, torch, Evidence.NEIGHBOURS_EITHER)]
        return []

    def _same_for(
        self, near: list[Unit], keras: Unit, torch: Unit, scores: Mapping[Unit, Mapping[Unit, float]]
    ) -> bool:
        """Whether the torch units among which to choose, or the Keras units that would be chosen, may change places."""
        best = scores[keras][torch]
        rivals = [rival for rival, found in scores.items() if found.get(torch, 0.0) > best - MARGIN]
        if any(found.get(torch, 0.0) > best + MARGIN for found in scores.values()):
            return False
        return (
            len({self.torch.colours[name] for name in near}) == 1
            or len({self.keras.colours[name] for name in rivals}) == 1
        )

    def _turns(self) -> dict[tuple[int, Unit], int]:
        """The place of each free unit, by side, among the free ones of its kind in execution order."""
        found: dict[tuple[int, Unit], int] = {}
        for number, (side, done) in enumerate(((self.keras, self.units), (self.torch, self.taken))):
            counts: Counter[Marks] = Counter()
            for unit, kind in side.coarse.items():
                if unit not in done:
                    found[number, unit] = counts[kind]
                    counts[kind] += 1
        return found

    def _share(self, keras: Unit, torch: Unit, points: float) -> float:
        total = len(self.keras.near.get(keras, {})) + len(self.torch.near.get(torch, {}))
        return points / max(total, 1)

    def in_order(self) -> None:
        """As many alike on both sides, each set in a chain: the first feeds the second, and so on."""
        torch_units = _groups(self.torch.coarse)
        for label, units in _groups(self.keras.coarse).items():
            free = [unit for unit in units if unit not in self.units]
            candidates = [unit for unit in torch_units.get(label, []) if unit not in self.taken]
            if not free or len(free) != len(candidates):
                continue
            keras_chain, torch_chain = _chain(free, self.keras), _chain(candidates, self.torch)
            if keras_chain and torch_chain and all(map(self.fits, keras_chain, torch_chain)):
                for keras, torch in zip(keras_chain, torch_chain, strict=True):
                    self.take(keras, torch, Evidence.ORDER)

    def ambiguous(self) -> list[Ambiguity]:
        """What is left, with the units that it could go to."""
        found, alike = [], _groups(self.torch.coarse)
        for keras in self.keras.labels:
            if keras not in self.units:
                candidates = [
                    torch
                    for torch in alike.get(self.keras.coarse[keras], [])
                    if torch not in self.taken and self.fits(keras, torch)
                ]
                best = self.prefer(keras, candidates) if candidates else None
                if best is not None:
                    self.take(keras, best, Evidence.NAMES)
                elif candidates:
                    found.append(Ambiguity(keras, candidates))
        return found


def _groups(labels: Mapping[Unit, Marks]) -> dict[Marks, list[Unit]]:
    groups: dict[Marks, list[Unit]] = {}
    for unit, label in labels.items():
        groups.setdefault(label, []).append(unit)
    return groups


def _chain(units: Iterable[Unit], side: _Side) -> list[Unit] | None:
    """The units in the order in which they feed one another; None where that is no one order."""
    chosen = list(units)
    after = side.after(chosen)
    ordered = sorted(chosen, key=lambda unit: -after[unit].bit_count())
    total = all(after[unit].bit_count() == len(ordered) - 1 - i for i, unit in enumerate(ordered))
    return ordered if total and not any(after[unit] >> i & 1 for i, unit in enumerate(chosen)) else None
