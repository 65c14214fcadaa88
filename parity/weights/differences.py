"""Paired tensors whose values are not the same on both sides."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from parity.adapters.reorder import same_values
from parity.core.adapter import Adapter
from parity.core.layout import identity
from parity.core.types import Array
from parity.pairing.pair import Pairing
from parity.pairing.slots import Slot
from parity.weights.copying import folded

COMPUTED = 64
"""Roundoffs of its greatest value by which a weight may miss what it was set to through a norm."""


def tensor_differences(
    pairing: Pairing, keras: Adapter, torch: Adapter
) -> Mapping[str, tuple[Slot, Array, Array]]:
    """Paired tensors whose values are not the same, by Keras path: (slot, Keras value, torch value as Keras lays it out).

    Where a bias is folded into a running mean, the mean less the bias counts, to the last digit that the
    tensor can hold. A tensor that one side does without is held against the value that it then has.
    """
    found = {}
    for item in pairing.pairs:
        for slot in item.slots:
            if slot.bias is None and _same(slot, keras, torch):
                continue
            values = values_of(slot, keras, torch)
            if slot.bias is None or not np.allclose(*values, rtol=0.0, atol=_rounding(keras, torch, slot)):
                found[slot.keras] = (slot, *values)
        for constant in item.constants:
            value = (keras if constant.side == "keras" else torch).read(constant.path)
            if constant.folded or np.all(value == constant.value):
                continue
            neutral = np.full_like(value, constant.value)
            if constant.side == "keras":
                slot = Slot(constant.path, f"{item.torch[0]} (absent)", identity(value.shape))
                found[slot.keras] = (slot, value, neutral)
            else:
                name = constant.path.rpartition(".")[2]
                slot = Slot(f"{item.keras}.{name} (absent)", constant.path, identity(value.shape))
                found[slot.keras] = (slot, neutral, value)
    return found


def _same(slot: Slot, keras: Adapter, torch: Adapter) -> bool:
    """Whether two paired tensors hold the same values; a transposed one is put in order first, which costs less."""
    return same_values(keras.peek(slot.keras), slot.layout.to_keras(torch.peek(slot.torch)))


def values_of(slot: Slot, keras: Adapter, torch: Adapter) -> tuple[Array, Array]:
    """The values of two paired tensors, both as Keras lays them out, less a bias that is folded in."""
    if slot.bias is None:
        value = slot.layout.part("keras", keras.read(slot.keras))
        return value, slot.layout.to_keras(torch.read(slot.torch))
    value = slot.layout.part("keras", folded(keras, slot.keras, slot))
    return value, slot.layout.to_keras(folded(torch, slot.torch, slot))


def exact_folds(pairing: Pairing, keras: Adapter, torch: Adapter) -> None:
    """While both sides are held in float64: let folded running means agree beyond what float32 could hold.

    A mean less a bias has no exact place in float32. Where the two agree to one rounding of it, the side
    without the bias gets the exact value, so that this rounding is not taken for a fault.
    """
    _exact_computed(pairing, keras, torch)
    for slot in [slot for item in pairing.pairs for slot in item.slots if slot.bias is not None]:
        keras_value, torch_value = values_of(slot, keras, torch)
        if np.allclose(keras_value, torch_value, rtol=0.0, atol=_rounding(keras, torch, slot)):
            if slot.bias is not None and slot.bias[0] == "torch":
                keras.write(slot.keras, slot.layout.put("keras", keras.read(slot.keras), torch_value))
            else:
                value = slot.layout.to_torch(keras_value)
                torch.write(slot.torch, slot.layout.put("torch", torch.read(slot.torch), value))


def _exact_computed(pairing: Pairing, keras: Adapter, torch: Adapter) -> None:
    """Let weights that torch computes agree beyond what their parametrization could hold in float32.

    A norm is a long sum: a weight that was set through it comes back with the rounding of that sum.
    """
    computed = torch.computed()
    for slot in [slot for item in pairing.pairs for slot in item.slots if slot.torch in computed]:
        if slot.layout.partial:
            continue
        wanted = slot.layout.to_torch(keras.read(slot.keras))
        value = torch.read(slot.torch)
        allowed = COMPUTED * float(np.finfo(np.float32).eps) * float(np.abs(wanted).max(initial=0.0))
        if wanted.shape == value.shape and np.allclose(value, wanted, rtol=0.0, atol=allowed):
            torch.write(slot.torch, wanted)


def _rounding(keras: Adapter, torch: Adapter, slot: Slot) -> float:
    """One rounding in float32 of the folded mean, and of the mean and the bias that it is made from."""
    assert slot.bias is not None
    bias = (keras if slot.bias[0] == "keras" else torch).read(slot.bias[1])
    values = [keras.read(slot.keras), torch.read(slot.torch), bias]
    return float(np.finfo(np.float32).eps) * max(float(np.abs(value).max(initial=0.0)) for value in values)
