"""Which tensors of two units of the dataflow correspond: layers, parts of layers, or tensors used on their own."""

from __future__ import annotations

from collections.abc import Mapping

from parity.core.types import LayerInfo, TensorInfo
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

    def fit(self, keras: Unit, torch: Unit) -> bool:
        """Whether the two could be one: some tensors correspond, and none is misshapen."""
        slots = self.of(keras, torch)
        return bool(slots.found) and not slots.problems

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


def _tensor(layers: Mapping[str, LayerInfo], path: str) -> tuple[LayerInfo, TensorInfo]:
    layer, tensor = tensor_at(layers, path)
    assert layer is not None
    assert tensor is not None
    return layer, tensor
