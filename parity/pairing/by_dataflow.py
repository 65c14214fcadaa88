"""Pairs two models by their dataflow, with names and equal weights as further evidence."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from parity.core.adapter import Adapter
from parity.core.trace import Trace
from parity.pairing.added_rows import fold_added
from parity.pairing.alike import compatible
from parity.pairing.by_name import Matcher, loose
from parity.pairing.dataflow.both import graphs_of
from parity.pairing.dataflow.isomorphism import LEVELS, Match, isomorphism
from parity.pairing.dataflow.propagation import Ambiguity, propagate
from parity.pairing.dataflow.steps import aligned_steps
from parity.pairing.dataflow.units import Graph, Unit
from parity.pairing.dataflow.values import EqualValues
from parity.pairing.evidence import Evidence
from parity.pairing.folding import drop_biases, fold_biases
from parity.pairing.fused.graphs import pieces_of, unlike, whole_of
from parity.pairing.leftover.listing import listed
from parity.pairing.leftover.renaming import learnt, renamed
from parity.pairing.leftover.unread import unread
from parity.pairing.leftover.unrun import for_nothing, never_run, said_of
from parity.pairing.pairs import Pairing
from parity.pairing.problems.problem import Problem, ProblemKind
from parity.pairing.unit_slots import SEPARABLE, UnitSlots

SYSTEMATIC = 0.8
"""Share of the layers with mirrored names from which on the names are taken for meant."""
SHOWN = 5
"""Names listed in one note."""


class Structure:
    """Two traced models.

    Args:
        keras: the Keras side.
        torch: the torch side.
        traces: of one forward pass of each, (keras, torch).
        named: the pairing after mapping, sequences and paths.
        fresh: the pairing after mapping and sequences alone.
        turn: which way to go where a run of both sides has to decide (`parity.pairing.dataflow.isomorphism`).
    """

    def __init__(
        self,
        keras: Adapter,
        torch: Adapter,
        traces: tuple[Trace, Trace],
        named: Matcher,
        fresh: Matcher,
        turn: int | None = 0,
    ) -> None:
        self.keras, self.torch, self.traces, self.turn = keras, torch, traces, turn
        self.named, self.fresh = named, fresh
        self.layers = named.keras, named.torch
        self.graphs: tuple[Graph, Graph] = graphs_of(traces, self.layers)
        self.apart = False
        self.slots = UnitSlots(*self.layers, traces[0].flattened)
        self._values = EqualValues(keras, torch)

    def decide(self) -> Pairing:
        """Complete the pairing by names, or make one where names are not systematic."""
        self._fold(self.named)
        if self.named.complete:
            return self._by_names(self.named)
        matcher = self.named if self.named.share() >= SYSTEMATIC else self.fresh
        match, ambiguities = self._match(matcher)
        self._apply(matcher, match)
        near = sum(evidence is not None and evidence.of_neighbours for evidence in match.evidence.values())
        if near:
            matcher.pairing.notes.append(
                f"the two dataflows are not the same: {near} layers were paired by their neighbours and their place"
            )
        matcher.by_path()
        self._rename(matcher)
        matcher.by_signature()
        self._report(matcher, ambiguities)
        self._fold(matcher)
        return self._finished(matcher, match)

    def _fold(self, matcher: Matcher) -> None:
        """What one side alone adds is part of what both have."""
        fold_biases(matcher, self.traces)
        drop_biases(matcher, self.traces)
        fold_added(matcher, (self.keras, self.torch), self.traces)

    def _rename(self, matcher: Matcher) -> None:
        """Layers that never run on either side go by the renaming that the pairs follow which do run."""
        idle = [never_run(trace, layers) for trace, layers in zip(self.traces, self.layers, strict=True)]
        free = matcher.free_keras & idle[0], matcher.free_torch & idle[1]
        if not all(free):
            return
        renaming = learnt(
            (matcher.names.of(item.keras)[0], item.torch[0])
            for item in matcher.pairing.pairs
            if len(item.torch) == 1 and item.keras not in idle[0] and not item.evidence.of_chance
        )
        found = [
            (keras, torch)
            for keras, torch in renamed(
                renaming,
                {path: matcher.names.of(path) for path in self.layers[0] if path in free[0]},
                {path: self.layers[1][path].aliases for path in self.layers[1] if path in free[1]},
            )
            if compatible(self.layers[0][keras], self.layers[1][torch])
            and matcher.slots(keras, (torch,)).complete
        ]
        for keras, torch in found:
            matcher.take(keras, (torch,), Evidence.RENAMED)
        if found:
            first = listed([f"{keras} with {torch}" for keras, torch in found], 2)
            matcher.pairing.notes.append(
                f"layers that never run are paired as the others are named ({renaming}): {first}"
            )

    def _match(self, matcher: Matcher) -> tuple[Match, list[Ambiguity]]:
        """Which unit is which: as the layers are, else with attention and fused layers taken apart."""
        plain, found = self.graphs, []
        apart = graphs_of(self.traces, self.layers, apart=True)
        turns = (None, 0) if self.turn == 0 else (self.turn,)
        for graphs, turn in [(graphs, turn) for turn in turns for graphs in (plain, apart)]:
            self.graphs, self.apart = graphs, graphs is apart
            known = self._units_of(matcher)
            match = None if matcher is self.named else isomorphism(*graphs, self._prefer, known, turn)
            if match is not None and all(self.slots.fit(*item) for item in match.units.items()):
                if match.level != LEVELS[-1]:
                    return match, []
                found.append((graphs, match))
        if found:
            self.graphs, self.apart = found[0][0], found[0][0] is apart
            return found[0][1], []
        self.apart = unlike(*apart) <= unlike(*plain)
        self.graphs = apart if self.apart else plain
        return propagate(*self.graphs, self.slots.fit, self._prefer, self._units_of(matcher))

    def _by_names(self, named: Matcher) -> Pairing:
        """Every tensor is paired by name; say so where the dataflow would pair otherwise."""
        known = self._units_of(named)
        found = isomorphism(*self.graphs, self._prefer, {})
        if found is not None:
            otherwise = {k: t for k, t in found.units.items() if known.get(k, t) != t}
            if otherwise:
                named.pairing.notes.append(
                    f"paired by name, while the dataflow would pair {_shown(otherwise)}; pass mapping= if that is meant"
                )
            else:
                named.pairing.level = found.level
        return self._finished(named, Match(units=known))

    def _finished(self, matcher: Matcher, match: Match) -> Pairing:
        if match.level is not None:
            matcher.pairing.level = match.level
        matcher.pairing.doubt = match.doubtful
        matcher.pairing.guessed = bool(match.guessed)
        pairing = matcher.result(self.keras, self.torch)
        pairing.notes += [text for _, _, text in unread(pairing)]
        idle = [never_run(trace, layers) for trace, layers in zip(self.traces, self.layers, strict=True)]
        vain = [for_nothing(trace, layers) for trace, layers in zip(self.traces, self.layers, strict=True)]
        pairing.problems = said_of(
            pairing.problems, {"keras": idle[0], "torch": idle[1]}, {"keras": vain[0], "torch": vain[1]}
        )
        units = match.units | self._units_of(matcher)
        traces = [trace.expanded or trace for trace in self.traces] if self.apart else self.traces
        pairing.ops = aligned_steps(traces[0], traces[1], self._calls(units))
        for side, trace in zip(("Keras", "torch"), self.traces, strict=True):
            if not trace.complete:
                pairing.notes.append(
                    f"where a tensor comes from was lost in the {side} trace: {trace.lost[0]}"
                )
        return pairing

    def _calls(self, units: Mapping[Unit, Unit]) -> list[tuple[int, int]]:
        """(Keras node, torch node) of the calls of paired units, the n-th with the n-th."""
        found = []
        for keras, torch in units.items():
            uses = self.graphs[0].units.get(keras, []), self.graphs[1].units.get(torch, [])
            for keras_use, torch_use in zip(*uses, strict=False):
                nodes = self.graphs[0].vertices[keras_use].node, self.graphs[1].vertices[torch_use].node
                found.append(nodes)
        return found

    def _units_of(self, matcher: Matcher) -> dict[Unit, Unit]:
        """Units of the layers that are paired already."""
        by_path: tuple[dict[tuple[str, str], Unit], ...] = tuple(
            {(unit.path, unit.part): unit for unit in graph.units if not unit.partial}
            for graph in self.graphs
        )
        apart = [pieces_of(graph) for graph in self.graphs]
        found: dict[Unit, Unit] = {}
        for item in matcher.pairing.pairs:
            parts = SEPARABLE if len(item.torch) == 2 else ("",)
            for part, path in zip(parts, item.torch, strict=False):
                keras, torch = by_path[0].get((item.keras, part)), by_path[1].get((path, ""))
                if keras is not None and torch is not None:
                    found[keras] = torch
                pieces = apart[0].get(item.keras, []), apart[1].get(path, [])
                if [unit.rows for unit in pieces[0]] == [unit.rows for unit in pieces[1]]:
                    found.update(zip(*pieces, strict=True))
        return found

    # --- evidence ------------------------------------------------------------------------------------

    def _prefer(self, keras: Unit, candidates: Sequence[Unit]) -> Unit | None:
        """The one candidate whose weights are equal, else the one of the same name."""
        fitting = [torch for torch in candidates if self.slots.fit(keras, torch)]
        equal = [torch for torch in fitting if self._equal(keras, torch)]
        if len(equal) == 1:
            return equal[0]
        names = _with_part(self.named.names.of(keras.path), keras)
        named = []
        for torch in fitting:
            aliases = self.layers[1][torch.path].aliases
            if names & _with_part((torch.path, *aliases), torch):
                named.append(torch)
        return named[0] if len(named) == 1 else None

    def _equal(self, keras: Unit, torch: Unit) -> bool:
        tensors = self.slots.tensors(keras, torch)
        return bool(tensors) and all(self._values.same(*item) for item in tensors)

    # --- what was found ------------------------------------------------------------------------------

    def _apply(self, matcher: Matcher, match: Match) -> None:
        """Take the pairs of a match into the matcher: whole layers, both parts of a separable one, or tensors."""
        parts: dict[str, dict[str, Unit]] = {}
        for keras, torch in self._put_together(match.units).items():
            evidence = match.evidence.get(keras, Evidence.DATAFLOW)
            if evidence is None:
                continue
            whole = not keras.part and not torch.part
            if keras.part in SEPARABLE and not torch.part:
                parts.setdefault(keras.path, {})[keras.part] = torch
            elif not whole or keras.partial or torch.partial or self._composite(keras, torch):
                self._take_tensors(matcher, keras, torch, evidence)
            elif keras.path in matcher.free_keras and torch.path in matcher.free_torch:
                matcher.take(keras.path, (torch.path,), evidence)
                self._take_tensors(matcher, keras, torch, evidence)
        for path, found in parts.items():
            if len(found) == len(SEPARABLE) and path in matcher.free_keras:
                matcher.take(path, tuple(found[part].path for part in SEPARABLE), Evidence.DATAFLOW)
        self._note_names(matcher, match)

    def _put_together(self, units: Mapping[Unit, Unit]) -> dict[Unit, Unit]:
        """The pairs, with two layers that were taken apart alike as the one pair that they are."""
        found: dict[Unit, Unit] = {}
        together: dict[tuple[Unit, Unit], list[Unit]] = {}
        for keras, torch in units.items():
            if keras.rows and keras.rows == torch.rows:
                together.setdefault((whole_of(keras), whole_of(torch)), []).append(keras)
            else:
                found[keras] = torch
        for (keras, torch), pieces in together.items():
            every = [unit for unit in self.graphs[0].units if whole_of(unit) == keras]
            if len(pieces) == len(every):
                found[keras] = torch
            else:
                found.update((unit, units[unit]) for unit in pieces)
        return found

    def _composite(self, keras: Unit, torch: Unit) -> bool:
        return not (self.layers[0][keras.path].leaf and self.layers[1][torch.path].leaf)

    def _take_tensors(self, matcher: Matcher, keras: Unit, torch: Unit, evidence: Evidence) -> None:
        matcher.take_tensors(self.slots.of(keras, torch).found, evidence)

    def _note_names(self, matcher: Matcher, match: Match) -> None:
        """A note on layers that the dataflow pairs although the other side has one of the same name."""
        torch_names = {loose(path) for path in self.layers[1]}
        against: dict[Unit, Unit] = {}
        for keras, torch in match.units.items():
            name = loose(matcher.names.of(keras.path)[0])
            found = match.evidence.get(keras, Evidence.DATAFLOW) is not None and not keras.part + torch.part
            if found and name and name in torch_names and name != loose(torch.path):
                against[keras] = torch
        if against:
            matcher.pairing.notes.append(f"the dataflow pairs {_shown(against)}, against their names")

    def _report(self, matcher: Matcher, ambiguities: Iterable[Ambiguity]) -> None:
        """A unit that could go to several is a problem that lists them."""
        for item in ambiguities:
            free = _free_tensors(matcher)
            candidates = [torch for torch in item.candidates if set(torch.tensors) & free[1]]
            if not set(item.unit.tensors) & free[0] or len(candidates) < 2:
                continue
            paths = tuple(torch.path for torch in candidates)
            matcher.pairing.problems.append(Problem(ProblemKind.SEVERAL, item.unit.path, candidates=paths))
            matcher.ambiguous.update(item.unit.tensors)
            for torch in candidates:
                matcher.ambiguous.update(torch.tensors)


def _shown(units: Mapping[Unit, Unit]) -> str:
    """The first of many pairs: "a with b"."""
    first = [f"{keras.path} with {torch.path}" for keras, torch in list(units.items())[:SHOWN]]
    return ", ".join(first) + (" ..." if len(units) > SHOWN else "")


def _with_part(names: Iterable[str], unit: Unit) -> set[str]:
    """The names of a unit's layer, each with the part that the unit is."""
    part = f".{unit.part}" if unit.part else ""
    return {loose(f"{name}{part}") for name in names}


def _free_tensors(matcher: Matcher) -> tuple[set[str], set[str]]:
    """Paths of the tensors that are not paired, of Keras and of torch."""
    keras = {tensor.path for path in matcher.free_keras for tensor in matcher.keras[path].tensors}
    torch = {tensor.path for path in matcher.free_torch for tensor in matcher.torch[path].tensors}
    paired = [slot for slot, _ in matcher.tensor_slots]
    return keras - {slot.keras for slot in paired}, torch - {slot.torch for slot in paired}
