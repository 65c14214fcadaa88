"""Pairs layers by an explicit mapping, by mirrored paths, or where kinds and shapes leave one choice."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from parity.core.adapter import Adapter
from parity.core.errors import UsageError
from parity.core.types import LayerInfo, Side
from parity.pairing.problems import Problem, ProblemKind, unknown_path, without_counterpart
from parity.pairing.slots import Constant, Slot, Slots, layout_of, slots_of, tensor_at

MappingLike = Mapping[str, str | Sequence[str]] | Sequence[tuple[str, str | Sequence[str]]]

COMPATIBLE = ({"conv", "depthwise"}, {"conv", "dense"})
"""Kinds under different names that may do the same: a dense layer is a convolution with a kernel of one."""


@dataclass(frozen=True)
class LayerPair:
    """One Keras layer and the torch module, or modules, that do its work."""

    keras: str
    torch: tuple[str, ...]
    slots: tuple[Slot, ...]
    how: str
    constants: tuple[Constant, ...] = ()


@dataclass
class Pairing:
    """Every pair, and every tensor that found none.

    Attributes:
        pairs: in the Keras model's definition order.
        problems: what found no counterpart, or several.
        unmatched_keras: paths of tensors without a counterpart.
        unmatched_torch: likewise.
        ops: (Keras node, torch node) of the steps of the two traces that correspond, weighted or not.
        notes: what is worth knowing of how the layers were paired.
        level: how far the two dataflows are the same ("marks", "order", "edges"); None where they are not, or
            were not looked at.
        unrun: why the dataflow was not looked at where names left something open; None where it was.
        flattened: (H, W, C) of the image that was flattened in front of a Keras layer, by its path.
    """

    pairs: list[LayerPair] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    ops: list[tuple[int, int]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    level: str | None = None
    unrun: str | None = None
    flattened: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    unmatched_keras: list[str] = field(default_factory=list)
    unmatched_torch: list[str] = field(default_factory=list)

    @property
    def complete(self) -> bool:
        """Whether each tensor has its counterpart."""
        return not self.problems


class Matcher:
    """The state of one pairing: what is still free on each side."""

    def __init__(
        self,
        keras: dict[str, LayerInfo],
        torch: dict[str, LayerInfo],
        flattened: dict[str, tuple[int, ...]],
    ) -> None:
        self.keras, self.torch, self.flattened = keras, torch, flattened
        self.free_keras = {path for path, layer in keras.items() if layer.tensors}
        self.free_torch = {path for path, layer in torch.items() if layer.tensors}
        self.pairing = Pairing(flattened=flattened)
        self.tensor_slots: list[tuple[Slot, str]] = []
        self.ambiguous: set[str] = set()

    @property
    def complete(self) -> bool:
        """Whether each layer has its counterpart, and each tensor within them."""
        pairing = self.pairing
        left = pairing.problems or pairing.unmatched_keras or pairing.unmatched_torch
        return not (self.free_keras or self.free_torch or left)

    def share(self) -> float:
        """Share of the layers with weights, of the side that has fewer, that are paired."""
        paired = len(self.pairing.pairs)
        return paired / max(paired + min(len(self.free_keras), len(self.free_torch)), 1)

    # --- the ways to pair, the surest first ---------------------------------------------------------

    def by_mapping(self, mapping: MappingLike | None) -> None:
        """The caller's word, on layers, containers or tensors; a path that does not exist is a problem."""
        for keras_path, torch_paths in _entries(mapping):
            if self._map_container(keras_path, torch_paths):
                continue
            if keras_path in self.keras and all(path in self.torch for path in torch_paths):
                self.take(keras_path, torch_paths, "mapping")
            elif not self._map_tensor(keras_path, torch_paths):
                self._unknown(keras_path, torch_paths)

    def by_sequence(self) -> None:
        """In two mirrored Sequentials the n-th layers with weights correspond, whatever their numbers.

        A Keras layer has its activation built in, torch adds one more module: the numbers differ.
        """
        for path in list(self.keras):
            layer = self.keras[path]
            if layer.family != "sequence":
                continue
            mate = next((name for name in (path, *layer.aliases) if name in self.torch), None)
            if mate is None or self.torch[mate].family != "sequence":
                continue
            ours, theirs = _weighty_children(path, self.keras), _weighty_children(mate, self.torch)
            if len(ours) == len(theirs):
                for mine, other in zip(ours, theirs, strict=True):
                    self._rename(mine, other)

    def by_path(self) -> None:
        """The same path, else the same path but for punctuation, where exactly one layer has it."""
        forms: tuple[Callable[[str], str], ...] = (str, lambda path: re.sub(r"[^0-9a-zA-Z]+", "_", path))
        for form in forms:
            index: dict[str, set[str]] = {}
            for path in self.free_torch:
                for name in (path, *self.torch[path].aliases):
                    index.setdefault(form(name), set()).add(path)
            for path in [path for path in self.keras if path in self.free_keras]:
                layer = self.keras[path]
                if self._split_in_two(path):
                    continue
                found = {mate for name in (path, *layer.aliases) for mate in index.get(form(name), ())}
                found &= self.free_torch
                found = {name for name in found if form(name) == form(path)} or found
                if len(found) == 1 and _compatible(layer, self.torch[next(iter(found))]):
                    self.take(path, (found.pop(),), "path")

    def by_signature(self) -> None:
        """Layers left over whose kind and tensor shapes occur once on each side."""
        while True:
            candidates = {
                path: [
                    name
                    for name in self.torch
                    if name in self.free_torch and self._same_signature(path, name)
                ]
                for path in self.keras
                if path in self.free_keras
            }
            claims = [name for names in candidates.values() for name in names]
            unique = [
                (path, names[0])
                for path, names in candidates.items()
                if len(names) == 1 == claims.count(names[0])
            ]
            if not unique:
                return
            for path, name in unique:
                self.take(path, (name,), "shape")

    # --- pieces -----------------------------------------------------------------------------------

    def slots(self, keras_path: str, torch_paths: tuple[str, ...]) -> Slots:
        """The tensors of a Keras layer and of the torch layers that do its work."""
        torch = tuple(self.torch[path] for path in torch_paths)
        return slots_of(self.keras[keras_path], torch, self.flattened.get(keras_path))

    def _same_signature(self, keras_path: str, torch_path: str) -> bool:
        keras, torch = self.keras[keras_path], self.torch[torch_path]
        known = keras.family is not None and torch.family is not None
        return known and _compatible(keras, torch) and self.slots(keras_path, (torch_path,)).complete

    def take(self, keras_path: str, torch_paths: tuple[str, ...], how: str) -> None:
        """Pair two layers, on what grounds; a layer that is paired already is a problem."""
        taken = [keras_path] if self.keras[keras_path].tensors and keras_path not in self.free_keras else []
        taken += [path for path in torch_paths if self.torch[path].tensors and path not in self.free_torch]
        if taken:
            twice = Problem(ProblemKind.MAPPING_TWICE, keras_path, torch_paths[0], paths=tuple(taken))
            self.pairing.problems.append(twice)
            return
        slots = self.slots(keras_path, torch_paths)
        self.pairing.pairs.append(
            LayerPair(keras_path, torch_paths, tuple(slots.found), how, tuple(slots.constants))
        )
        self.pairing.problems += slots.problems
        self.pairing.unmatched_keras += slots.left_keras
        self.pairing.unmatched_torch += slots.left_torch
        self.free_keras.discard(keras_path)
        self.free_torch.difference_update(torch_paths)

    def _split_in_two(self, path: str) -> bool:
        """A separable convolution whose mirror image is a module with a depthwise and a pointwise one."""
        layer = self.keras[path]
        if layer.family != "separable":
            return False
        mate = next((name for name in (path, *layer.aliases) if name in self.torch), None)
        parts = _weighty_children(mate, self.torch) if mate is not None else []
        if len(parts) != 2 or not set(parts) <= self.free_torch:
            return False
        self.take(path, tuple(parts), "path")
        return True

    def _rename(self, keras_path: str, torch_path: str) -> None:
        """Let a Keras layer, and all below it, go by the names of its torch mate too, and by those alone."""
        for path, layer in self.keras.items():
            if path == keras_path or path.startswith(f"{keras_path}."):
                name = f"{torch_path}{path.removeprefix(keras_path)}".removeprefix(".")
                numbers = [alias for alias in layer.aliases if not alias.rpartition(".")[2].isdigit()]
                self.keras[path] = replace(
                    layer, aliases=(name, *(numbers if path == keras_path else layer.aliases))
                )

    def _map_container(self, keras_path: str, torch_paths: tuple[str, ...]) -> bool:
        """A mapping of one container to another renames the stem of every path below it."""
        keras, torch = self.keras.get(keras_path), self.torch.get(torch_paths[0])
        if (
            keras is None
            or torch is None
            or keras.leaf
            or torch.leaf
            or len(torch_paths) != 1
            or not keras_path
        ):
            return False
        self._rename(keras_path, torch.path)
        if keras.tensors or torch.tensors:
            self.take(keras_path, torch_paths, "mapping")
        return True

    def _map_tensor(self, keras_path: str, torch_paths: tuple[str, ...]) -> bool:
        """A mapping of one tensor to one tensor: identity, or the one permutation that the kinds imply."""
        keras, mate = tensor_at(self.keras, keras_path)
        torch, tensor = tensor_at(self.torch, torch_paths[0])
        if not (keras and mate and torch and tensor) or len(torch_paths) != 1:
            return False
        families = (keras.family, torch.family)
        slots = Slots()
        layout = layout_of(families, tensor, mate, self.flattened.get(keras.path))
        slots.add((keras, mate), (torch, tensor), layout, families)
        self.pairing.problems += slots.problems
        self.tensor_slots += [(slot, "mapping") for slot in slots.found]
        return True

    def _unknown(self, keras_path: str, torch_paths: tuple[str, ...]) -> None:
        """An entry with paths that do not exist, or that goes from a layer to a tensor."""
        unknown: list[Problem] = []
        named: list[tuple[Side, str]] = [("keras", keras_path), *(("torch", path) for path in torch_paths)]
        for side, path in named:
            layers = self.keras if side == "keras" else self.torch
            if path not in layers and not tensor_at(layers, path)[1]:
                unknown.append(unknown_path(side, path, layers))
        mixed = Problem(ProblemKind.MAPPING_MIXED, paths=(keras_path, *torch_paths))
        self.pairing.problems += unknown or [mixed]

    def result(self, keras: Adapter, torch: Adapter) -> Pairing:
        """Sort, and turn whatever is left into problems."""
        pairing = self.pairing
        taken = {slot.keras for item in pairing.pairs for slot in item.slots}
        for slot, how in self.tensor_slots:
            if slot.keras not in taken:
                keras_path, torch_path = slot.keras.rpartition(".")[0], slot.torch.rpartition(".")[0]
                pairing.pairs.append(LayerPair(keras_path, (torch_path,), (slot,), how))
        slots = [slot for item in pairing.pairs for slot in item.slots]
        partners: dict[Side, dict[str, tuple[str, ...]]] = {
            "keras": {item.keras: item.torch for item in pairing.pairs},
            "torch": {path: (item.keras,) for item in pairing.pairs for path in item.torch},
        }
        for unmatched, free, layers, adapter, done in (
            (pairing.unmatched_keras, self.free_keras, self.keras, keras, {slot.keras for slot in slots}),
            (pairing.unmatched_torch, self.free_torch, self.torch, torch, {slot.torch for slot in slots}),
        ):
            unmatched += [tensor.path for path in layers if path in free for tensor in layers[path].tensors]
            # A tensor that is tied to a paired one has its counterpart already.
            settled = done | _tied(adapter, unmatched, done)
            unmatched[:] = [path for path in unmatched if path not in settled]
            for path in unmatched:
                layer, tensor = tensor_at(layers, path)
                if layer is not None and tensor is not None and path not in self.ambiguous:
                    partner = partners[adapter.side].get(layer.path, ())
                    pairing.problems.append(without_counterpart(adapter.side, layer, tensor, partner))
        order = {path: i for i, path in enumerate(self.keras)}
        pairing.pairs.sort(key=lambda item: order[item.keras])
        return pairing


def _entries(mapping: MappingLike | None) -> Iterator[tuple[str, tuple[str, ...]]]:
    """(Keras path, torch paths) of a mapping, in its order."""
    items = list(mapping.items()) if isinstance(mapping, Mapping) else list(mapping or ())
    for item in items:
        keras_path, target = item if isinstance(item, list | tuple) and len(item) == 2 else (None, None)
        paths = (
            (target,)
            if isinstance(target, str)
            else tuple(target)
            if isinstance(target, list | tuple)
            else ()
        )
        if not isinstance(keras_path, str) or not paths or not all(isinstance(path, str) for path in paths):
            raise UsageError(
                f"a mapping must go from Keras paths to torch paths or tuples of them; got {item!r}. "
                "For example {'head': 'classifier.4'}."
            )
        yield keras_path.replace("/", "."), paths


def _compatible(keras: LayerInfo, torch: LayerInfo) -> bool:
    families = {keras.family, torch.family}
    return len(families) == 1 or None in families or any(families <= group for group in COMPATIBLE)


def _weighty_children(path: str, layers: Mapping[str, LayerInfo]) -> list[str]:
    """Direct children that hold weights, themselves or below, in order."""
    stem = f"{path}." if path else ""
    found: dict[str, None] = {}
    inside = [name for name in layers if name.startswith(stem) and name != path]
    children = [name for name in inside if not any(name.startswith(f"{other}.") for other in inside)]
    for child in children:
        if any(layers[name].tensors for name in inside if name == child or name.startswith(f"{child}.")):
            found[child] = None
    return list(found)


def _tied(adapter: Adapter, paths: Sequence[str], done: set[str]) -> set[str]:
    """Those of the paths whose tensor is the same memory as one that is paired."""
    if not paths:
        return set()
    paired = {adapter.storage(path) for path in done}
    return {path for path in paths if adapter.storage(path) in paired}
