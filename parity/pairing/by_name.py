"""Pairs layers by an explicit mapping, by mirrored paths, or where kinds and shapes leave one choice."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches

from parity.core.adapter import Adapter
from parity.core.layout import Rows
from parity.core.types import LayerInfo, Side
from parity.pairing.alike import Alike, compatible
from parity.pairing.evidence import Evidence
from parity.pairing.leftover.listing import listed
from parity.pairing.mapping import MappingLike, entries, known, may_be_made_up, of_this_build
from parity.pairing.names import Names, below, stems
from parity.pairing.pairs import LayerPair, Pairing
from parity.pairing.problems.problem import Problem, ProblemKind, without_counterpart
from parity.pairing.recurrent.cells import cell_within
from parity.pairing.slots import Slot, Slots, layout_of, slots_of, tensor_at


class Matcher:
    """The state of one pairing: what is still free on each side."""

    def __init__(
        self,
        keras: dict[str, LayerInfo],
        torch: dict[str, LayerInfo],
        flattened: dict[str, tuple[int, ...]],
    ) -> None:
        self.keras, self.torch, self.flattened = keras, torch, flattened
        self.names = Names(keras, torch)
        self.free_keras = {path for path, layer in keras.items() if layer.tensors}
        self.free_torch = {path for path, layer in torch.items() if layer.tensors}
        self.pairing = Pairing(flattened=flattened)
        self.tensor_slots: list[tuple[Slot, Evidence]] = []
        self.ambiguous: set[str] = set()
        self._held_in_parts: set[str] = set()
        self._tensors_taken: set[tuple[str, Rows | None]] = set()
        self._below = below(keras), below(torch)

    @property
    def complete(self) -> bool:
        """Whether each layer has its counterpart, and each tensor within them."""
        pairing = self.pairing
        left = pairing.problems or pairing.unmatched_keras or pairing.unmatched_torch
        free = [self.keras[path] for path in self.free_keras] + [self.torch[path] for path in self.free_torch]
        return not (left or any(not tensor.fixed for layer in free for tensor in layer.tensors))

    def share(self) -> float:
        """Share of the layers with weights, of the side that has fewer, that are paired."""
        paired = len(self.pairing.pairs)
        return paired / max(paired + min(len(self.free_keras), len(self.free_torch)), 1)

    # --- the ways to pair, the surest first ---------------------------------------------------------

    def by_mapping(self, mapping: MappingLike | None) -> None:
        """The caller's word, on layers, containers or tensors; a path that does not exist is a problem."""
        found, notes = of_this_build(entries(mapping), self.keras)
        self.pairing.notes += notes
        for keras, torch in found:
            keras = cell_within(self.keras, keras, self.torch.get(torch[0])) or keras
            if self._map_container(keras, torch):
                continue
            if keras in self.keras and all(path in self.torch for path in torch):
                self.take(keras, torch, Evidence.MAPPING)
            elif not self._map_tensor(keras, torch):
                self._wrong_entry(keras, torch)

    def by_sequence(self) -> None:
        """In two mirrored Sequentials the n-th layers with weights correspond, whatever their numbers.

        A Keras layer has its activation built in, torch adds one more module: the numbers differ.
        """
        for keras, layer in self.keras.items():
            torch = self.names.mirror(keras) if layer.family == "sequence" else None
            if torch is None or self.torch[torch].family != "sequence":
                continue
            inside = (
                _weighty_children(keras, self.keras, self._below[0]),
                _weighty_children(torch, self.torch, self._below[1]),
            )
            if len(inside[0]) == len(inside[1]):
                for keras_child, torch_child in zip(*inside, strict=True):
                    self.names.rename(keras_child, torch_child, own=True)

    def by_path(self) -> None:
        """The same path, else the same path with other punctuation, where exactly one layer has it."""
        forms: tuple[Callable[[str], str], ...] = (str, loose)
        for form in forms:
            index: dict[str, set[str]] = {}
            for torch in self._open(self.torch, self.free_torch):
                for name in (torch, *self.torch[torch].aliases):
                    index.setdefault(form(name), set()).add(torch)
            for keras in self._open(self.keras, self.free_keras):
                if self._split_in_two(keras):
                    continue
                names = self.names.of(keras)
                found = {torch for name in names for torch in index.get(form(name), ())} & self.free_torch
                found = {torch for torch in found if form(torch) == form(names[0])} or found
                if len(found) == 1 and compatible(self.keras[keras], self.torch[next(iter(found))]):
                    self.take(keras, (found.pop(),), Evidence.PATH)

    def by_signature(self) -> None:
        """Layers left over whose kind and tensor shapes occur once on each side."""
        alike = Alike(self.flattened)
        while unique := alike.unique(
            [self.keras[path] for path in self._open(self.keras, self.free_keras)],
            [self.torch[path] for path in self._open(self.torch, self.free_torch)],
        ):
            for keras, torch in unique:
                self.take(keras, (torch,), Evidence.SHAPE)

    def _open(self, layers: Mapping[str, LayerInfo], free: set[str]) -> list[str]:
        """Free layers none of whose tensors is a part of a fused one, or is one in parts."""
        return [
            path
            for path, layer in layers.items()
            if path in free and not any(tensor.path in self._held_in_parts for tensor in layer.tensors)
        ]

    # --- pieces -----------------------------------------------------------------------------------

    def slots(self, keras: str, torch: tuple[str, ...]) -> Slots:
        """The tensors of a Keras layer and of the torch modules that do its work."""
        modules = tuple(self.torch[path] for path in torch)
        return slots_of(self.keras[keras], modules, self.flattened.get(keras))

    def take(self, keras: str, torch: tuple[str, ...], evidence: Evidence) -> None:
        """Pair a layer with the modules that do its work; one that is paired already is a problem."""
        taken = [keras] if self.keras[keras].tensors and keras not in self.free_keras else []
        taken += [path for path in torch if self.torch[path].tensors and path not in self.free_torch]
        if taken:
            twice = Problem(ProblemKind.MAPPING_TWICE, keras, torch[0], paths=tuple(taken))
            self.pairing.problems.append(twice)
            return
        slots = self.slots(keras, torch)
        self.pairing.pairs.append(
            LayerPair(keras, torch, tuple(slots.found), evidence, tuple(slots.constants))
        )
        self._tensors_taken.update((slot.keras, None) for slot in slots.found)
        self.pairing.problems += slots.problems
        self.pairing.unmatched_keras += slots.left_keras
        self.pairing.unmatched_torch += slots.left_torch
        self.free_keras.discard(keras)
        self.free_torch.difference_update(torch)

    def take_tensors(self, slots: Sequence[Slot], evidence: Evidence) -> None:
        """Pair tensors, except the Keras ones that are paired already."""
        free = [
            slot
            for slot in slots
            if not {(slot.keras, None), (slot.keras, slot.layout.keras_rows)} & self._tensors_taken
        ]
        self.tensor_slots += [(slot, evidence) for slot in free]
        self._tensors_taken.update((slot.keras, slot.layout.keras_rows) for slot in free)
        for slot in free:
            if slot.layout.partial:  # its layers are no others' counterparts
                self._held_in_parts.update((slot.keras, slot.torch))

    def _split_in_two(self, keras: str) -> bool:
        """A separable convolution whose mirror image is a module with a depthwise and a pointwise one."""
        torch = self.names.mirror(keras) if self.keras[keras].family == "separable" else None
        parts = _weighty_children(torch, self.torch, self._below[1]) if torch is not None else []
        if len(parts) != 2 or not set(parts) <= self.free_torch:
            return False
        self.take(keras, tuple(parts), Evidence.PATH)
        return True

    def _map_container(self, keras: str, torch: tuple[str, ...]) -> bool:
        """A mapping of one container to another renames the stem of every path below it."""
        layer, module = self.keras.get(keras), self.torch.get(torch[0])
        if layer is None or module is None or layer.leaf or module.leaf or len(torch) != 1 or not keras:
            return False
        self.names.rename(keras, module.path, own=False)
        if layer.tensors or module.tensors:
            self.take(keras, torch, Evidence.MAPPING)
        return True

    def _map_tensor(self, keras: str, torch: tuple[str, ...]) -> bool:
        """A mapping of one tensor to one tensor: identity, or the one permutation that the kinds imply."""
        layer, variable = tensor_at(self.keras, keras)
        module, tensor = tensor_at(self.torch, torch[0])
        if not (layer and variable and module and tensor) or len(torch) != 1:
            return False
        families = (layer.family, module.family)
        slots = Slots()
        layout = layout_of(families, variable, tensor, self.flattened.get(layer.path))
        slots.add((layer, variable), (module, tensor), layout, families)
        self.pairing.problems += slots.problems
        self.tensor_slots += [(slot, Evidence.MAPPING) for slot in slots.found]
        self._tensors_taken.update((slot.keras, None) for slot in slots.found)
        return True

    def _wrong_entry(self, keras: str, torch: tuple[str, ...]) -> None:
        """An entry with paths that do not exist, or that goes from a layer to a tensor."""
        wrong = [] if known(keras, self.keras) else [_unknown("keras", keras, self.keras)]
        wrong += [_unknown("torch", path, self.torch) for path in torch if not known(path, self.torch)]
        self.pairing.problems += wrong or [Problem(ProblemKind.MAPPING_MIXED, paths=(keras, *torch))]

    def result(self, keras: Adapter, torch: Adapter) -> Pairing:
        """Sort, and turn whatever is left into problems."""
        pairing = self.pairing
        taken = {slot.keras for item in pairing.pairs for slot in item.slots}
        for slot, evidence in self.tensor_slots:
            if slot.keras not in taken:
                owners = slot.keras.rpartition(".")[0], slot.torch.rpartition(".")[0]
                pairing.pairs.append(LayerPair(owners[0], (owners[1],), (slot,), evidence))
        slots = _covered([slot for item in pairing.pairs for slot in item.slots])
        sides: tuple[tuple[Adapter, Mapping[str, LayerInfo], set[str], list[str]], ...] = (
            (keras, self.keras, self.free_keras, pairing.unmatched_keras),
            (torch, self.torch, self.free_torch, pairing.unmatched_torch),
        )
        partners: dict[Side, dict[str, tuple[str, ...]]] = {
            "keras": {item.keras: item.torch for item in pairing.pairs},
            "torch": {path: (item.keras,) for item in pairing.pairs for path in item.torch},
        }
        for adapter, layers, free, unmatched in sides:
            paired = {slot.keras if adapter is keras else slot.torch for slot in slots}
            unmatched += [
                t.path for path in layers if path in free for t in layers[path].tensors if not t.fixed
            ]
            unmatched[:] = _not_tied(adapter, unmatched, paired)
            self._leave(adapter.side, unmatched, layers, partners[adapter.side])
            alone = [
                t.path for layer in layers.values() for t in layer.tensors if t.fixed and t.path not in paired
            ]
            self._keep(adapter.side, _not_tied(adapter, alone, paired))
        order = {path: i for i, path in enumerate(self.keras)}
        pairing.pairs.sort(key=lambda item: order[item.keras])
        return pairing

    def _keep(self, side: Side, alone: list[str]) -> None:
        """Tensors that training never changes, or no step reads, which one side alone has, stay as they are."""
        self.pairing.constants += tuple((side, path) for path in alone)
        layers = self.keras if side == "keras" else self.torch
        unread = {t.path for layer in layers.values() for t in layer.tensors if t.unread}
        name = "Keras" if side == "keras" else "torch"
        for paths, why in (
            (
                [path for path in alone if path not in unread],
                "training never changes: not copied, and judged by what comes out",
            ),
            (
                [path for path in alone if path in unread],
                "no step reads: not copied, and no part of what is compared",
            ),
        ):
            if paths:
                self.pairing.notes.append(f"{name} alone has {listed(paths)}, which {why}")

    def _leave(
        self,
        side: Side,
        unmatched: Sequence[str],
        layers: Mapping[str, LayerInfo],
        partners: Mapping[str, tuple[str, ...]],
    ) -> None:
        """A problem for each tensor of one side that is left, unless one that lists the candidates is there."""
        for path in unmatched:
            layer, tensor = tensor_at(layers, path)
            if layer is not None and tensor is not None and path not in self.ambiguous:
                problem = without_counterpart(side, layer, tensor, partners.get(layer.path, ()))
                self.pairing.problems.append(problem)


def _covered(slots: Sequence[Slot]) -> list[Slot]:
    """The slots but those of tensors of which some part has no counterpart."""
    held: dict[tuple[Side, str], set[int]] = {}
    sides: tuple[Side, Side] = ("keras", "torch")
    for side in sides:
        for slot in slots:
            rows = slot.layout.rows(side)
            if rows is not None:
                held.setdefault((side, getattr(slot, side)), set()).update(rows.index)
    return [
        slot
        for slot in slots
        if all(
            rows is None or rows.rest_unread or len(held[side, getattr(slot, side)]) == rows.shape[0]
            for side in sides
            for rows in [slot.layout.rows(side)]
        )
    ]


def loose(path: str) -> str:
    """A path without its punctuation."""
    return re.sub(r"[^0-9a-zA-Z]+", "_", path)


def _unknown(side: Side, path: str, layers: Mapping[str, LayerInfo]) -> Problem:
    """A path of a mapping that is no layer and no tensor of the model, with those of similar names."""
    weighty = [name for name, layer in layers.items() if layer.tensors]
    tensors = [tensor.path for name in weighty for tensor in layers[name].tensors]
    near = get_close_matches(path, [*layers, *tensors], n=3)
    return Problem(
        ProblemKind.MAPPING_UNKNOWN, candidates=tuple(near), known=tuple(weighty), paths=(path,), side=side,
        made_up=side == "keras" and may_be_made_up(path, layers),
    )  # fmt: skip


def _weighty_children(
    path: str, layers: Mapping[str, LayerInfo], inside: Mapping[str, Sequence[str]]
) -> list[str]:
    """Direct children that hold weights, themselves or below, in order."""
    names = inside.get(path, ())
    known = set(names)
    children = [name for name in names if not any(stem in known for stem in stems(name))]
    weighty = {stem for name in names if layers[name].tensors for stem in (name, *stems(name))}
    return [child for child in children if child in weighty]


def _not_tied(adapter: Adapter, paths: Sequence[str], done: set[str]) -> list[str]:
    """Those of the paths whose tensor is no memory of one that is paired, and that has its counterpart already."""
    if not paths:
        return []
    paired = {adapter.storage(path) for path in done}
    return [path for path in paths if path not in done and adapter.storage(path) not in paired]
