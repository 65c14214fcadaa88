"""Pairs two models by their dataflow, with names and equal weights as further evidence."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from parity.core.adapter import Adapter
from parity.core.trace import Trace
from parity.core.types import LayerInfo, TensorInfo
from parity.pairing.attention import attention_slots
from parity.pairing.by_name import Matcher, Pairing
from parity.pairing.dataflow.graph import Graph, Unit, graph_of
from parity.pairing.dataflow.isomorphism import Match, isomorphism
from parity.pairing.dataflow.propagation import Ambiguity, propagate
from parity.pairing.dataflow.steps import aligned_steps
from parity.pairing.folding import fold_biases
from parity.pairing.problems import Problem, ProblemKind
from parity.pairing.slots import Slot, Slots, counterpart, raw_slots, tensor_at

SYSTEMATIC = 0.8
"""Share of the layers with mirrored names from which on the names are taken for meant."""
SHOWN = 5
"""Names listed in one message."""


class Structure:
    """Two traced models."""

    def __init__(self, keras: Adapter, torch: Adapter, traces: tuple[Trace, Trace]) -> None:
        self.keras, self.torch, self.traces = keras, torch, traces
        self.layers = keras.layers(), torch.layers()
        names = [sorted(name for name, _ in trace.outputs) for trace in traces]
        self.graphs: tuple[Graph, Graph] = (
            graph_of(traces[0], self.layers[0], names[0] == names[1]),
            graph_of(traces[1], self.layers[1], names[0] == names[1]),
        )
        self._slots: dict[tuple[Unit, Unit], Slots] = {}

    def decide(self, named: Matcher, fresh: Matcher) -> Pairing:
        """Complete a pairing by names, or make one where names are not systematic.

        Args:
            named: after mapping, sequences and paths.
            fresh: after mapping and sequences alone.
        """
        fold_biases(named, self.traces)
        if named.complete:
            return self._by_names(named)
        if named.share() >= SYSTEMATIC:
            matcher, known = named, self._units_of(named)
            match, ambiguities = propagate(*self.graphs, self._compatible, self._prefer, known)
        else:
            matcher, known = fresh, self._units_of(fresh)
            found = isomorphism(*self.graphs, self._prefer, known)
            match, ambiguities = (
                (found, [])
                if found is not None and all(self._compatible(*item) for item in found.units.items())
                else propagate(*self.graphs, self._compatible, self._prefer, known)
            )
        self._apply(matcher, match)
        near = sum("neighbours" in evidence for evidence in match.evidence.values())
        if near:
            matcher.pairing.notes.append(
                f"the two dataflows are not the same: {near} layers were paired by their neighbours and their place"
            )
        matcher.by_path()
        matcher.by_signature()
        self._report(matcher, ambiguities)
        fold_biases(matcher, self.traces)
        return self._finished(matcher, match)

    def _by_names(self, named: Matcher) -> Pairing:
        """Every tensor is paired by name; say so where the dataflow would pair otherwise."""
        known = self._units_of(named)
        found = isomorphism(*self.graphs, self._prefer, {})
        if found is not None:
            apart = [unit for unit, mate in found.units.items() if known.get(unit, mate) != mate]
            if apart:
                shown = ", ".join(f"{unit.path} with {found.units[unit].path}" for unit in apart[:SHOWN])
                more = " ..." if len(apart) > SHOWN else ""
                named.pairing.notes.append(
                    f"paired by name, while the dataflow would pair {shown}{more}; pass mapping= if that is meant"
                )
        agreed = found is not None and not apart
        named.pairing.level = found.level if found is not None and agreed else None
        return self._finished(named, Match(units=known))

    def _finished(self, matcher: Matcher, match: Match) -> Pairing:
        if match.level is not None:
            matcher.pairing.level = match.level
        pairing = matcher.result(self.keras, self.torch)
        units = match.units | self._units_of(matcher)
        vertices = self._vertices(units)
        pairing.ops = aligned_steps(*self.traces, vertices)
        for side, trace in zip(("Keras", "torch"), self.traces, strict=True):
            if not trace.complete:
                pairing.notes.append(
                    f"where a tensor comes from was lost in the {side} trace: {trace.lost[0]}"
                )
        return pairing

    def _vertices(self, units: Mapping[Unit, Unit]) -> list[tuple[int, int]]:
        """(Keras node, torch node) of the calls of paired units, the n-th with the n-th."""
        found = []
        for unit, mate in units.items():
            uses = self.graphs[0].units.get(unit, []), self.graphs[1].units.get(mate, [])
            for use, other in zip(*uses, strict=False):
                found.append((self.graphs[0].vertices[use].node, self.graphs[1].vertices[other].node))
        return found

    # --- units and tensors ---------------------------------------------------------------------------

    def _units_of(self, matcher: Matcher) -> dict[Unit, Unit]:
        """Units of the layers that are paired already."""
        by_path: tuple[dict[tuple[str, str], Unit], ...] = tuple(
            {(unit.path, unit.part): unit for unit in graph.units} for graph in self.graphs
        )
        found: dict[Unit, Unit] = {}
        for item in matcher.pairing.pairs:
            parts = ("depthwise", "pointwise") if len(item.torch) == 2 else ("",)
            for part, path in zip(parts, item.torch, strict=False):
                unit, mate = by_path[0].get((item.keras, part)), by_path[1].get((path, ""))
                if unit is not None and mate is not None:
                    found[unit] = mate
        return found

    def _compatible(self, unit: Unit, mate: Unit) -> bool:
        slots = self._unit_slots(unit, mate)
        return bool(slots.found) and not slots.problems

    def _unit_slots(self, unit: Unit, mate: Unit) -> Slots:
        """Which tensors of two units correspond."""
        if (unit, mate) not in self._slots:
            self._slots[unit, mate] = self._find_slots(unit, mate)
        return self._slots[unit, mate]

    def _find_slots(self, unit: Unit, mate: Unit) -> Slots:
        if not unit.part and not mate.part and (attention := attention_slots(unit, mate, *self.layers)):
            return attention
        if not unit.part and not mate.part:
            matcher = Matcher(*self.layers, self.traces[0].flattened)
            slots = matcher.slots(unit.path, (mate.path,))
            if slots.found and not (slots.left_keras and slots.left_torch):
                return slots
        ours = [self._tensor(0, path) for path in unit.tensors]
        theirs = [self._tensor(1, path) for path in mate.tensors]
        if unit.part in {"depthwise", "pointwise"}:
            theirs = [(layer, tensor) for layer, tensor in theirs if tensor.name == "weight"]
        family = {"depthwise": "depthwise", "pointwise": "conv"}.get(unit.part)
        slots = Slots()
        for layer, tensor in theirs:
            free = {
                item.path: (owner, item)
                for owner, item in ours
                if item.path not in {s.keras for s in slots.found}
            }
            fitting = [
                (owner, item)
                for owner, item in free.values()
                if raw_slots((owner, item), (layer, tensor), family).complete
            ]
            named = counterpart(tensor.name, [item for _, item in fitting])
            chosen = [(owner, item) for owner, item in fitting if named is None or item is named]
            if len(chosen) == 1:
                slots.found += raw_slots(chosen[0], (layer, tensor), family).found
        used = {slot.keras for slot in slots.found}
        slots.left_keras = [item.path for _, item in ours if item.path not in used]
        return slots

    def _tensor(self, side: int, path: str) -> tuple[LayerInfo, TensorInfo]:
        layer, tensor = tensor_at(self.layers[side], path)
        assert layer is not None
        assert tensor is not None
        return layer, tensor

    # --- evidence ------------------------------------------------------------------------------------

    def _prefer(self, unit: Unit, candidates: Sequence[Unit]) -> Unit | None:
        """The one candidate whose weights are equal, else the one of the same name."""
        fitting = [mate for mate in candidates if self._compatible(unit, mate)]
        equal = [mate for mate in fitting if self._equal(unit, mate)]
        if len(equal) == 1:
            return equal[0]
        names = self._names(0, unit)
        named = [mate for mate in fitting if names & self._names(1, mate)]
        return named[0] if len(named) == 1 else None

    def _equal(self, unit: Unit, mate: Unit) -> bool:
        slots = self._unit_slots(unit, mate).found
        return bool(slots) and all(self._same(slot) for slot in slots)

    def _same(self, slot: Slot) -> bool:
        ours, theirs = self.keras.read(slot.keras), slot.layout.to_keras(self.torch.read(slot.torch))
        return bool(np.array_equal(ours, theirs))

    def _names(self, side: int, unit: Unit) -> set[str]:
        layer = self.layers[side][unit.path]
        part = f".{unit.part}" if unit.part else ""
        return {_loose(f"{name}{part}") for name in (layer.path, *layer.aliases)}

    # --- what was found ------------------------------------------------------------------------------

    def _apply(self, matcher: Matcher, match: Match) -> None:
        """Take the pairs of a match into the matcher: whole layers, both parts of a separable one, or tensors."""
        parts: dict[str, dict[str, Unit]] = {}
        for unit, mate in match.units.items():
            evidence = match.evidence.get(unit, "dataflow")
            if evidence == "known":
                continue
            if unit.part in {"depthwise", "pointwise"} and not mate.part:
                parts.setdefault(unit.path, {})[unit.part] = mate
            elif not unit.part and not mate.part:
                if self._composite(unit, mate):
                    self._take_tensors(matcher, unit, mate, evidence)
                elif unit.path in matcher.free_keras and mate.path in matcher.free_torch:
                    matcher.take(unit.path, (mate.path,), evidence)
                    self._take_tensors(matcher, unit, mate, evidence)
            else:
                self._take_tensors(matcher, unit, mate, evidence)
        for path, found in parts.items():
            if len(found) == 2 and path in matcher.free_keras:
                matcher.take(path, (found["depthwise"].path, found["pointwise"].path), "dataflow")
        self._note_names(matcher, match)

    def _composite(self, unit: Unit, mate: Unit) -> bool:
        return not (self.layers[0][unit.path].leaf and self.layers[1][mate.path].leaf)

    def _take_tensors(self, matcher: Matcher, unit: Unit, mate: Unit, evidence: str) -> None:
        done = {slot.keras for item in matcher.pairing.pairs for slot in item.slots}
        done |= {slot.keras for slot, _ in matcher.tensor_slots}
        for slot in self._unit_slots(unit, mate).found:
            if slot.keras not in done:
                matcher.tensor_slots.append((slot, evidence))

    def _note_names(self, matcher: Matcher, match: Match) -> None:
        theirs = {_loose(path): path for path in self.layers[1]}
        apart = [
            f"{unit.path} with {mate.path}"
            for unit, mate in match.units.items()
            if _loose(unit.path) in theirs
            and not unit.part
            and _loose(unit.path) != _loose(mate.path)
            and match.evidence.get(unit) != "known"
        ]
        if apart:
            more = " ..." if len(apart) > SHOWN else ""
            matcher.pairing.notes.append(
                f"the dataflow pairs {', '.join(apart[:SHOWN])}{more}, against their names"
            )

    def _report(self, matcher: Matcher, ambiguities: Iterable[Ambiguity]) -> None:
        """A unit that could go to several is a problem that lists them."""
        for item in ambiguities:
            free = [mate for mate in item.candidates if set(mate.tensors) & _free(matcher, "torch")]
            if not set(item.unit.tensors) & _free(matcher, "keras") or len(free) < 2:
                continue
            several = Problem(
                ProblemKind.SEVERAL, item.unit.path, None, candidates=tuple(mate.path for mate in free)
            )
            matcher.pairing.problems.append(several)
            matcher.ambiguous.update(item.unit.tensors)
            for mate in free:
                matcher.ambiguous.update(mate.tensors)


def _free(matcher: Matcher, side: str) -> set[str]:
    """Paths of the tensors of layers that are not paired."""
    layers, free = (
        (matcher.keras, matcher.free_keras) if side == "keras" else (matcher.torch, matcher.free_torch)
    )
    return {tensor.path for path in free for tensor in layers[path].tensors}


def _loose(path: str) -> str:
    return re.sub(r"[^0-9a-zA-Z]+", "_", path)
