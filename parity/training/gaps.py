"""How far the paired tensors of two sides are from one another, and which elements rounding does not explain.

Every element is judged by itself: by its own rounding, and by how far runs from shaken weights, inputs and targets
move it (`parity.training.rounding`). A convolution's bias in front of a batch normalisation has a gradient of zero
except for rounding: there the spread is all that may differ.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from parity.core.tolerance import difference
from parity.core.types import Array, Both
from parity.pairing.pair import LayerPair
from parity.pairing.slots import Slot
from parity.training.rounding import RARE, Spread, limit_of, remembered

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
        limit: how far rounding explains, for each element.
    """

    pair: LayerPair
    slot: Slot
    keras: Array
    torch: Array
    greatest: float
    scale: float
    limit: Array

    @property
    def beyond(self) -> bool:
        """Whether rounding does not explain the difference of some element (NaN is never explained)."""
        with np.errstate(invalid="ignore"):
            return not bool(np.all(np.abs(self.keras - self.torch) <= self.limit))

    @property
    def by_chance(self) -> bool:
        """Whether so few elements are beyond their limits that more runs may explain them: one, or a small share."""
        with np.errstate(invalid="ignore"):
            beyond = ~(np.abs(self.keras - self.torch) <= self.limit)
        return int(np.count_nonzero(beyond)) <= max(1, RARE * beyond.size)

    @property
    def allowed(self) -> float:
        """The greatest limit of any element."""
        return float(self.limit.max(initial=0.0))

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
        return f"{name}: {difference(self.keras, self.torch, limit=self.limit)}"


def gaps(
    slots: PairedSlots,
    keras: Tensors,
    torch: Tensors,
    spreads: Both[Spread],
    history: dict[str, Array] | None = None,
    values: bool = True,
) -> list[Gap]:
    """Every paired tensor of two sets; a value that is None counts as zeros.

    Args:
        slots: pairs of tensors.
        keras: Keras values by path.
        torch: torch values by path.
        spreads: what was measured on either side, by its own paths.
        history: the greatest magnitudes so far of values that add up over the steps; this call's are taken in.
        values: whether these are the tensors' values, or their gradients: a sum's gradient is that of each term.
    """
    found = []
    for pair, slot in slots:
        a, b = (
            _without_bias(slot, keras, torch)
            if values or not slot.summed
            else (keras.get(slot.keras), torch.get(slot.torch))
        )
        if a is None and b is None:
            continue
        a = np.zeros(slot.layout.keras_shape) if a is None else slot.layout.part("keras", a)
        b = np.zeros(slot.layout.keras_shape) if b is None else slot.layout.to_keras(b)
        with np.errstate(invalid="ignore"):
            scale = float(max(np.abs(a).max(initial=0.0), np.abs(b).max(initial=0.0)))
            greatest = float(np.abs(a - b).max(initial=0.0))
        name = f"{slot.keras} {slot.layout.keras_rows}"
        value = a if history is None else remembered(history, name, a, b)
        limit = limit_of(value, b, spread_of(slot, spreads)) + _limit_of_bias(slot, keras, torch, spreads)
        found.append(Gap(pair, slot, a, b, greatest, scale, limit))
    return found


def spread_of(slot: Slot, spreads: Both[Spread]) -> Array | None:
    """The greater of both sides' spreads, as Keras lays the tensor out; None where neither was measured."""
    keras, torch = spreads.keras.get(slot.keras), spreads.torch.get(slot.torch)
    torch = None if torch is None else slot.layout.to_keras(torch)
    keras = None if keras is None else slot.layout.part("keras", keras)
    if keras is None or torch is None:
        return torch if keras is None else keras
    return np.maximum(keras, torch)


def _limit_of_bias(slot: Slot, keras: Tensors, torch: Tensors, spreads: Both[Spread]) -> Array | float:
    """What the bias rounds that is part of one side's value."""
    if slot.bias is None:
        return 0.0
    side, path = slot.bias
    bias = (keras if side == "keras" else torch).get(path)
    return 0.0 if bias is None else limit_of(bias, bias, spreads.of(side).get(path))


def _without_bias(slot: Slot, keras: Tensors, torch: Tensors) -> tuple[Array | None, Array | None]:
    """Both values, less the bias of the convolution in front where it is part of one (a running mean); or sums of two."""
    a, b = keras.get(slot.keras), torch.get(slot.torch)
    if slot.bias is None:
        return a, b
    side, path = slot.bias
    bias = (keras if side == "keras" else torch).get(path)
    if bias is None:
        return a, b
    if side == "keras":
        return (None if a is None else a + bias if slot.summed else a - bias), b
    return a, (None if b is None else b + bias if slot.summed else b - bias)
