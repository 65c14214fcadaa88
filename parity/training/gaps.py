"""How far the paired tensors of two sides are from one another, and how much of it rounding explains.

What may differ. Two frameworks sum in different orders, so that gradients differ by rounding. Relative to a
tensor's own scale that is nothing, unless the tensor's gradient is zero except for rounding: a convolution's bias
in front of a batch normalisation in training. So the rounding is measured: every weight and input of the torch
side is moved by one unit roundoff, and what that does to a gradient, times a factor, is allowed on top of the
bound for the structure. A sum whose terms cancel shows there how much its terms round.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from parity.core.tolerance import PRECISION_FACTOR, STRUCTURE, difference
from parity.core.types import Array
from parity.pairing.pair import LayerPair
from parity.pairing.slots import Slot
from parity.training.rounding import UNIT

Tensors = Mapping[str, Array | None]
PairedSlots = Sequence[tuple[LayerPair, Slot]]


@dataclass(frozen=True)
class Gap:
    """How far one tensor is from its counterpart, both as Keras lays it out.

    Attributes:
        pair: the layers that own it.
        slot: the tensor on either side.
        keras: the Keras value.
        torch: torch's value.
        greatest: greatest absolute difference.
        scale: greatest magnitude on either side.
        allowed: what rounding explains.
    """

    pair: LayerPair
    slot: Slot
    keras: Array
    torch: Array
    greatest: float
    scale: float
    allowed: float

    @property
    def beyond(self) -> bool:
        """Whether rounding does not explain the difference (NaN is never explained)."""
        return not self.greatest <= self.allowed

    @property
    def relative(self) -> float:
        """The difference relative to the scale."""
        return self.greatest / self.scale if self.scale > 0.0 else 0.0

    def __str__(self) -> str:
        """The figures."""
        name = self.slot.keras.rpartition(".")[2]
        if self.beyond and not (np.any(self.keras) and np.any(self.torch)):
            side, value = ("Keras", self.torch) if not np.any(self.keras) else ("torch", self.keras)
            return f"{name}: zero in {side}, up to {np.abs(value).max():.3g} on the other side"
        return f"{name}: {difference(self.keras, self.torch)}"


def gaps(
    slots: PairedSlots, keras: Tensors, torch: Tensors, rounding: Mapping[str, float], floor: float = 0.0
) -> list[Gap]:
    """Every paired tensor of two sets; a value that is None counts as zeros.

    Args:
        slots: pairs of tensors.
        keras: Keras values by path.
        torch: torch values by path.
        rounding: what one unit roundoff does to the torch value, by torch path.
        floor: difference that is allowed everywhere.
    """
    found = []
    for pair, slot in slots:
        a, b = _without_bias(slot, keras, torch)
        if a is None and b is None:
            continue
        a = np.zeros(slot.layout.keras_shape) if a is None else a
        b = np.zeros(slot.layout.keras_shape) if b is None else slot.layout.to_keras(b)
        with np.errstate(invalid="ignore"):
            scale = float(max(np.abs(a).max(initial=0.0), np.abs(b).max(initial=0.0)))
            greatest = float(np.abs(a - b).max(initial=0.0))
        allowed = STRUCTURE * scale + PRECISION_FACTOR * rounding.get(slot.torch, 0.0) + floor
        found.append(Gap(pair, slot, a, b, greatest, scale, allowed))
    return found


def _without_bias(slot: Slot, keras: Tensors, torch: Tensors) -> tuple[Array | None, Array | None]:
    """Both values, less the bias of the convolution in front where it is part of one of them (a running mean)."""
    a, b = keras.get(slot.keras), torch.get(slot.torch)
    if slot.bias is None:
        return a, b
    side, path = slot.bias
    bias = (keras if side == "keras" else torch).get(path)
    if bias is None:
        return a, b
    if side == "keras":
        return (None if a is None else a - bias), b
    return a, (None if b is None else b - bias)


def floor_of(values: Tensors) -> float:
    """What a zero may be off by: one roundoff of the greatest value anywhere, with the usual factor."""
    greatest = max((float(np.abs(v).max(initial=0.0)) for v in values.values() if v is not None), default=0.0)
    return PRECISION_FACTOR * UNIT * greatest
