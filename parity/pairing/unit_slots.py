"""Which tensors of two units of the dataflow correspond: layers, parts of layers, or tensors used on their own."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import replace

from parity.core.layout import Layout
from parity.core.types import LayerInfo, Side, TensorInfo
from parity.pairing.dataflow.units import Unit
from parity.pairing.fused.attention import attention_slots
from parity.pairing.fused.parts import part_slots
from parity.pairing.slots import Slots, counterpart, raw_slots, slots_of, tensor_at

SEPARABLE = ("depthwise", "pointwise")
"""The parts of a separable convolution, which are two modules in torch."""


class UnitSlots:
    """The slots of every two units, each found once."""

    def __init__(
        self,
        keras: Mapping[str, LayerInfo],
        torch: Mapping[str, LayerInfo],
        flattened: Mapping[str, tuple[int, ...]],
    ) -> None:
        self.keras, self.torch, self.flattened = keras, torch, flattened
        self._found: dict[tuple[Unit, Unit], Slots] = {}
        self._fit: dict[tuple[Hashable, Hashable], bool] = {}
        self._places: dict[tuple[Hashable, Hashable], list[tuple[int, int, Layout]] | None] = {}
        self._kinds: dict[tuple[Side, Unit], Hashable] = {}

    def fit(self, keras: Unit, torch: Unit) -> bool:
        """Whether the two could be one: some tensors correspond, and none is misshapen; asked once for like units."""
        kinds = self._kind("keras", keras), self._kind("torch", torch)
        if kinds not in self._fit:
            slots = self.of(keras, torch)
            self._fit[kinds] = bool(slots.found) and not slots.problems
        return self._fit[kinds]

    def _kind(self, side: Side, unit: Unit) -> Hashable:
        """All that decides which units fit this one; the unit itself where that is more than its own tensors."""
        if (side, unit) not in self._kinds:
            layers = self.keras if side == "keras" else self.torch
            layer = layers.get(unit.path)
            image = self.flattened.get(unit.path) if side == "keras" else None
            owned = [_tensor(layers, path) for path in unit.tensors]
            kind: Hashable = (
                unit.part, layer and (layer.kind, layer.family, str(layer.settings), _nameless(layer.tensors)), image,
                tuple((owner.family, *_nameless([tensor])) for owner, tensor in owned),
            )  # fmt: skip
            own = unit.partial or layer is None or layer.whole
            self._kinds[side, unit] = unit if own else kind
        return self._kinds[side, unit]

    def tensors(self, keras: Unit, torch: Unit) -> list[tuple[str, str, Layout]]:
        """(Keras path, torch path, layout) of the tensors that correspond; looked for once for like units."""
        kinds = self._kind("keras", keras), self._kind("torch", torch)
        if kinds not in self._places:
            slots = self.of(keras, torch).found
            inside = all(slot.keras in keras.tensors and slot.torch in torch.tensors for slot in slots)
            self._places[kinds] = (
                [(keras.tensors.index(slot.keras), torch.tensors.index(slot.torch), slot.layout) for slot in slots]
                if inside else None
            )  # fmt: skip
        places = self._places[kinds]
        if places is None:
            return [(slot.keras, slot.torch, slot.layout) for slot in self.of(keras, torch).found]
        return [(keras.tensors[i], torch.tensors[j], layout) for i, j, layout in places]

    def of(self, keras: Unit, torch: Unit) -> Slots:
        """Which tensors of two units correspond."""
        if (keras, torch) not in self._found:
            self._found[keras, torch] = (
                part_slots(keras, torch, self.keras, self.torch)
                if keras.partial or torch.partial
                else self._whole(keras, torch) or self._single(keras, torch)
            )
        return self._found[keras, torch]

    def _whole(self, keras: Unit, torch: Unit) -> Slots | None:
        """The slots of two whole layers; None where they are not that, or where both have tensors left over."""
        if keras.part or torch.part:
            return None
        attention = attention_slots(keras, torch, self.keras, self.torch)
        if attention is not None:
            return attention
        layers = self.keras[keras.path], (self.torch[torch.path],)
        slots = slots_of(*layers, self.flattened.get(keras.path))
        return slots if slots.found and not (slots.left_keras and slots.left_torch) else None

    def _single(self, keras: Unit, torch: Unit) -> Slots:
        """Tensor by tensor: each torch tensor with the one Keras variable that fits, by name where several do."""
        variables = [_tensor(self.keras, path) for path in keras.tensors]
        tensors = [_tensor(self.torch, path) for path in torch.tensors]
        if keras.part in SEPARABLE:
            tensors = [(module, tensor) for module, tensor in tensors if tensor.name == "weight"]
        family = {"depthwise": "depthwise", "pointwise": "conv"}.get(keras.part)
        slots = Slots()
        for owned in tensors:
            used = {slot.keras for slot in slots.found}
            free = [item for item in variables if item[1].path not in used]
            fitting = [item for item in free if raw_slots(item, owned, family).complete]
            named = counterpart(owned[1].name, [variable for _, variable in fitting])
            chosen = [item for item in fitting if named is None or item[1] is named]
            if len(chosen) == 1:
                slots.found += raw_slots(chosen[0], owned, family).found
        used = {slot.keras for slot in slots.found}
        slots.left_keras = [variable.path for _, variable in variables if variable.path not in used]
        return slots


def _nameless(tensors: Iterable[TensorInfo]) -> tuple[Hashable, ...]:
    return tuple(replace(tensor, path="") for tensor in tensors)


def _tensor(layers: Mapping[str, LayerInfo], path: str) -> tuple[LayerInfo, TensorInfo]:
    layer, tensor = tensor_at(layers, path)
    assert layer is not None
    assert tensor is not None
    return layer, tensor
