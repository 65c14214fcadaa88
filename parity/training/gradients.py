"""Gradients of two sides held against each other, and the first layer in backward order at which they part.

What may differ. Two frameworks sum in different orders, so that gradients differ by rounding. Relative to a
tensor's own scale that is nothing, unless the tensor's gradient is zero but for rounding: a convolution's bias in
front of a batch normalisation in training. So the rounding is measured: every weight and input of the torch side
is moved by one unit roundoff, and what that does to a gradient, times a factor, is allowed on top of the bound
for the structure. A sum whose terms cancel shows there how much its terms round.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from parity.core.finding import Finding, Kind
from parity.core.layout import activation_to_torch, aligned
from parity.core.tolerance import PRECISION_FACTOR, STRUCTURE, UNIT_ROUNDOFF, difference
from parity.core.trainer import Evaluation, WatchedCall
from parity.core.types import Array
from parity.pairing.pair import LayerPair
from parity.pairing.slots import Slot

UNIT = UNIT_ROUNDOFF["float64"]
LIMIT = 12
"""Faults that are looked for in one backward pass."""

Tensors = Mapping[str, Array | None]
PairedSlots = Sequence[tuple[LayerPair, Slot]]


@dataclass(frozen=True)
class Gap:
    """How far one tensor is from its counterpart, both as Keras lays it out.

    Attributes:
        pair: the layers that own it.
        slot: the tensor on either side.
        ours: the Keras value.
        theirs: torch's.
        greatest: greatest absolute difference.
        scale: greatest magnitude on either side.
        allowed: what rounding explains.
    """

    pair: LayerPair
    slot: Slot
    ours: Array
    theirs: Array
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
        if self.beyond and not (np.any(self.ours) and np.any(self.theirs)):
            side, value = ("Keras", self.theirs) if not np.any(self.ours) else ("torch", self.ours)
            return f"{self.slot.keras.rpartition('.')[2]}: zero in {side}, up to {np.abs(value).max():.3g} on the other side"
        return f"{self.slot.keras.rpartition('.')[2]}: {difference(self.ours, self.theirs)}"


def gaps(
    slots: PairedSlots, ours: Tensors, theirs: Tensors, rounding: Mapping[str, float], floor: float = 0.0
) -> list[Gap]:
    """Every paired tensor of two sets; a value that is None counts as zeros.

    Args:
        slots: pairs of tensors.
        ours: Keras values by path.
        theirs: torch values by path.
        rounding: what one unit roundoff does to the torch value, by torch path.
        floor: difference that is allowed everywhere.
    """
    found = []
    for pair, slot in slots:
        a, b = without_bias(slot, ours.get(slot.keras), theirs.get(slot.torch), ours, theirs)
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


def without_bias(
    slot: Slot, mine: Array | None, other: Array | None, ours: Tensors, theirs: Tensors
) -> tuple[Array | None, Array | None]:
    """Both values, less the bias of the convolution in front where that is part of the one (a running mean)."""
    bias = (ours if slot.bias[0] == "keras" else theirs).get(slot.bias[1]) if slot.bias is not None else None
    if bias is None or slot.bias is None:
        return mine, other
    if slot.bias[0] == "keras":
        return (None if mine is None else mine - bias), other
    return mine, (None if other is None else other - bias)


def moved(before: Tensors, after: Tensors) -> dict[str, float]:
    """Greatest change of each tensor."""
    found = {}
    for path, value in before.items():
        other = after.get(path)
        if value is not None and other is not None:
            found[path] = float(np.abs(value - other).max(initial=0.0))
    return found


def floor_of(values: Tensors) -> float:
    """What a zero may be off by: one roundoff of the greatest value anywhere, with the usual factor."""
    greatest = max((float(np.abs(v).max(initial=0.0)) for v in values.values() if v is not None), default=0.0)
    return PRECISION_FACTOR * UNIT * greatest


@dataclass
class Backward:
    """One backward pass on both sides, and how to repeat the torch side's with gradients replaced.

    Attributes:
        slots: pairs of parameters.
        pairs: torch path of each watched Keras layer.
        ours: the Keras pass.
        theirs: torch's.
        rounding: what one roundoff does to each torch gradient, by path.
        call_rounding: the same for the gradients of watched outputs, by (path, index).
        again: the torch pass with the gradients of watched outputs replaced.
    """

    slots: PairedSlots
    pairs: Mapping[str, str]
    ours: Evaluation
    theirs: Evaluation
    rounding: dict[str, float]
    call_rounding: Mapping[tuple[str, int], float]
    again: Callable[[Mapping[tuple[str, int], Array]], Evaluation]

    def gaps(self) -> list[Gap]:
        """Parameters' gradients."""
        floor = floor_of(self.ours.parameters)
        return gaps(self.slots, self.ours.parameters, self.theirs.parameters, self.rounding, floor)

    def input_gaps(self) -> list[str]:
        """What differs in the inputs' gradients, in words."""
        texts = []
        for i, (mine, other) in enumerate(zip(self.ours.inputs, self.theirs.inputs, strict=True)):
            if mine is None and other is None:
                continue
            a, b = _both(mine, other)
            allowed = STRUCTURE * float(np.abs(a).max(initial=0.0)) + PRECISION_FACTOR * self.rounding.get(
                f"input {i}", 0.0
            )
            if b is None or not float(np.abs(a - b).max(initial=0.0)) <= allowed + floor_of({"": a}):
                texts.append(f"input {i}: {difference(a, b) if b is not None else 'another shape'}")
        return texts

    def locate(self) -> list[Finding]:
        """Every place at which the backward passes part, in backward order.

        A place is proven by substitution: with the Keras gradient put in its place, what comes before changes.
        What a layer that is wrong in itself hands on is put right too, and is no finding of its own.
        """
        found: list[tuple[int, Finding]] = []
        forced: dict[tuple[str, int], Array] = {}
        explained: set[str] = set()
        pending: list[int] = []
        for _ in range(LIMIT):
            bad = [gap for gap in self.gaps() if gap.beyond and gap.pair.keras not in explained]
            if not bad:
                break
            place, layer = self._first_call(forced), self._first_layer(bad)
            if place is not None and (layer is None or place[0] <= layer[0]):
                finding, go_on = self._force(place[1], forced)
                handed_on = next((p for p in pending if p < place[0]), None)
                if handed_on is not None:
                    pending.remove(handed_on)
                elif finding is not None:
                    found.append((place[0], finding))
                if not go_on:
                    break
                continue
            gap = layer[1] if layer else bad[0]
            explained.add(gap.pair.keras)
            calls = [i for i, call in enumerate(self._order()) if call.path == gap.pair.keras]
            for position in calls:
                consequence = next(
                    (item for item in sorted(found, key=lambda f: f[0]) if item[0] > position), None
                )
                if consequence:
                    found.remove(consequence)
                else:
                    pending.append(position)
            text = "; ".join(str(g) for g in bad if g.pair.keras == gap.pair.keras)
            evidence = f"the gradient of the layer's own tensors differs, and not for what arrives at its output: {text}"
            finding = Finding(gap.pair.keras, ", ".join(gap.pair.torch), Kind.GRADIENT, None, evidence)
            found.append((calls[0] if calls else len(self.ours.calls), finding))
        return [finding for _, finding in sorted(found, key=lambda item: item[0])]

    def _order(self) -> list[WatchedCall]:
        return list(reversed(self.ours.calls))

    def _first_layer(self, bad: Sequence[Gap]) -> tuple[int, Gap] | None:
        """The layer with a differing parameter that comes first in backward order, when all its calls are done."""
        places = {call.path: i for i, call in enumerate(self._order())}
        ranked = [(places[gap.pair.keras], gap) for gap in bad if gap.pair.keras in places]
        return min(ranked, key=lambda item: item[0]) if ranked else None

    def _first_call(self, forced: Mapping[tuple[str, int], Array]) -> tuple[int, WatchedCall] | None:
        """The first call in backward order at whose output another gradient arrives."""
        theirs = {(call.path, call.index): call for call in self.theirs.calls}
        for i, call in enumerate(self._order()):
            key = (self.pairs[call.path], call.index)
            other = theirs.get(key)
            if other is None or key in forced or not _comparable(call, other):
                continue
            if call.gradient is None and other.gradient is None:
                continue
            a, b = _both(call.gradient, other.gradient)
            allowed = STRUCTURE * float(
                np.abs(a).max(initial=0.0)
            ) + PRECISION_FACTOR * self.call_rounding.get(key, 0.0)
            if b is not None and not float(np.abs(a - b).max(initial=0.0)) <= allowed:
                return i, call
        return None

    def _force(self, call: WatchedCall, forced: dict[tuple[str, int], Array]) -> tuple[Finding | None, bool]:
        """Put the Keras gradient in place; a finding where that changes what comes before, and whether to go on."""
        path = self.pairs[call.path]
        key = (path, call.index)
        other = next(c for c in self.theirs.calls if (c.path, c.index) == key)
        again = f" (call {call.index + 1})" if call.index else ""
        if other.gradient is None:
            scale = float(np.abs(call.gradient).max()) if call.gradient is not None else 0.0
            text = (
                f"no gradient reaches its output in torch{again}; in Keras up to {scale:.3g}. Is it detached?"
            )
            return Finding(call.path, path, Kind.GRADIENT, None, text), False
        a, b = _both(call.gradient, other.gradient)
        before = {g.slot.torch: g.greatest for g in self.gaps()}
        images = aligned(call.output, other.output)
        first = images is not None and images[1] == "channels first" and call.gradient is not None
        forced[key] = activation_to_torch(a) if first else a
        self.theirs = self.again(forced)
        if before == {g.slot.torch: g.greatest for g in self.gaps()}:
            return None, True
        if not np.any(a):
            scale = float(np.abs(other.gradient).max())
            text = (
                f"no gradient reaches its output in Keras{again}; in torch up to {scale:.3g}. Is it stopped?"
            )
        else:
            text = f"the gradient that arrives at its output differs{again}: {difference(a, b) if b is not None else ''}"
        return Finding(call.path, path, Kind.GRADIENT, None, text), True


def _both(ours: Array | None, theirs: Array | None) -> tuple[Array, Array | None]:
    """Both gradients as Keras lays them out; None counts as zeros."""
    if ours is None:
        assert theirs is not None
        return np.zeros_like(theirs), theirs
    if theirs is None:
        return ours, np.zeros_like(ours)
    fit = aligned(ours, theirs)
    if fit is None and ours.size == theirs.size and not np.any(ours):
        return np.zeros_like(theirs), theirs
    return ours, fit[0] if fit else None


def _comparable(ours: WatchedCall, theirs: WatchedCall) -> bool:
    """Whether both outputs are one tensor (a Keras layer may have its activation built in)."""
    fit = aligned(ours.output, theirs.output)
    return fit is not None and difference(ours.output, fit[0]).within(1e-9)
