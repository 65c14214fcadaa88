"""One backward pass of both sides, and every place, in backward order, at which they differ."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from parity.core.finding import Finding, Kind
from parity.core.layout import aligned, as_torch
from parity.core.tolerance import difference
from parity.core.trainer import Evaluation, WatchedCall
from parity.core.types import Array, Both
from parity.training.gaps import Gap, PairedSlots, gaps
from parity.training.rounding import Spread, laid, limit_of

LIMIT = 12
"""Faults that are looked for in one backward pass."""

Key = tuple[str, int]
"""A layer's path, and the number of the call."""


@dataclass
class Backward:
    """One backward pass on both sides, and how to repeat the torch side's with gradients replaced.

    Attributes:
        slots: pairs of parameters.
        watched: torch path of each watched Keras layer.
        keras: the Keras pass.
        torch: torch's pass.
        spreads: how far rounding moves each side's gradients, by path, and "input 0" and so on.
        call_spreads: the same for the gradients of watched outputs, by torch path and number of the call.
        again: the torch pass with the gradients of watched outputs replaced.
    """

    slots: PairedSlots
    watched: Mapping[str, str]
    keras: Evaluation
    torch: Evaluation
    spreads: Both[Spread]
    call_spreads: Mapping[Key, Array]
    again: Callable[[Mapping[Key, Array]], Evaluation]

    def gaps(self) -> list[Gap]:
        """Parameters' gradients."""
        return gaps(self.slots, self.keras.parameters, self.torch.parameters, self.spreads, values=False)

    def input_gaps(self, least: float = 0.0) -> list[str]:
        """What differs in the inputs' gradients, in words.

        Args:
            least: share of a gradient's scale up to which nothing counts as a difference.
        """
        texts = []
        for i, (keras, torch) in enumerate(zip(self.keras.inputs, self.torch.inputs, strict=True)):
            if keras is None and torch is None:
                continue
            a, b, how = _in_keras_layout(keras, torch)
            spread = laid(self.spreads.torch.get(f"input {i}"), a.shape, how)
            own = self.spreads.keras.get(f"input {i}")
            if b is not None and difference(a, b).within(least):
                continue
            if not _within(a, b, _greater(spread, own)):
                texts.append(f"input {i}: {difference(a, b) if b is not None else 'another shape'}")
        return texts

    def locate(self) -> list[Finding]:
        """Every place at which the backward passes differ, in backward order.

        A place is proven by substitution: with the Keras gradient put in its place, what comes before changes.
        A wrong layer also hands on a wrong gradient. That is put right as well, and is not a second finding.
        """
        found: list[tuple[int, Finding]] = []
        forced: dict[Key, Array] = {}
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
                later = [item for item in sorted(found, key=lambda item: item[0]) if item[0] > position]
                if later:  # a consequence of this layer's own fault
                    found.remove(later[0])
                else:
                    pending.append(position)
            found.append((calls[0] if calls else len(self.keras.calls), _own_fault(gap, bad)))
        return [finding for _, finding in sorted(found, key=lambda item: item[0])]

    def _order(self) -> list[WatchedCall]:
        return list(reversed(self.keras.calls))

    def _first_layer(self, bad: Sequence[Gap]) -> tuple[int, Gap] | None:
        """The layer with a differing parameter that comes first in backward order, when all its calls are done."""
        places = {call.path: i for i, call in enumerate(self._order())}
        ranked = [(places[gap.pair.keras], gap) for gap in bad if gap.pair.keras in places]
        return min(ranked, key=lambda item: item[0]) if ranked else None

    def _first_call(self, forced: Mapping[Key, Array]) -> tuple[int, WatchedCall] | None:
        """The first call in backward order at whose output the two gradients differ."""
        partners = {(call.path, call.index): call for call in self.torch.calls}
        for i, call in enumerate(self._order()):
            key = (self.watched[call.path], call.index)
            partner = partners.get(key)
            if partner is None or key in forced or not _comparable(call, partner):
                continue
            if call.gradient is None and partner.gradient is None:
                continue
            a, b, how = _in_keras_layout(call.gradient, partner.gradient)
            if b is not None and not _within(a, b, laid(self.call_spreads.get(key), a.shape, how)):
                return i, call
        return None

    def _force(self, call: WatchedCall, forced: dict[Key, Array]) -> tuple[Finding | None, bool]:
        """Put the Keras gradient in place; a finding where that changes what comes before, and whether to go on."""
        path = self.watched[call.path]
        key = (path, call.index)
        partner = next(c for c in self.torch.calls if (c.path, c.index) == key)
        again = f" (call {call.index + 1})" if call.index else ""
        if partner.gradient is None:
            scale = float(np.abs(call.gradient).max()) if call.gradient is not None else 0.0
            text = (
                f"no gradient reaches its output in torch{again}; in Keras up to {scale:.3g}. Is it detached?"
            )
            return Finding(call.path, path, Kind.GRADIENT, None, text), False
        a, b, _ = _in_keras_layout(call.gradient, partner.gradient)
        before = {gap.slot.torch: gap.greatest for gap in self.gaps()}
        images = aligned(call.output, partner.output)
        known = images[1] if images is not None and call.gradient is not None else "as it is"
        forced[key] = as_torch(a, known)
        self.torch = self.again(forced)
        if before == {gap.slot.torch: gap.greatest for gap in self.gaps()}:
            return None, True
        if not np.any(a):
            scale = float(np.abs(partner.gradient).max())
            text = (
                f"no gradient reaches its output in Keras{again}; in torch up to {scale:.3g}. Is it stopped?"
            )
        else:
            text = f"the gradient that arrives at its output differs{again}: {difference(a, b) if b is not None else ''}"
        return Finding(call.path, path, Kind.GRADIENT, None, text), True


def _own_fault(gap: Gap, bad: Sequence[Gap]) -> Finding:
    """A layer whose own tensors have another gradient although the gradient at its output is the same."""
    text = "; ".join(str(g) for g in bad if g.pair.keras == gap.pair.keras)
    evidence = f"the gradient of the layer's own tensors differs, and not because of what arrives at its output: {text}"
    return Finding(gap.pair.keras, ", ".join(gap.pair.torch), Kind.GRADIENT, None, evidence)


def _within(a: Array, b: Array | None, spread: Array | None) -> bool:
    """Whether every element of two gradients differs by no more than rounding; another shape and NaN never do."""
    if b is None:
        return False
    with np.errstate(invalid="ignore"):
        return bool(np.all(np.abs(a - b) <= limit_of(a, b, spread)))


def _greater(a: Array | None, b: Array | None) -> Array | None:
    if a is None or b is None:
        return b if a is None else a
    return np.maximum(a, b)


def _in_keras_layout(keras: Array | None, torch: Array | None) -> tuple[Array, Array | None, str]:
    """Both gradients as Keras lays them out, and how torch's was read; None counts as zeros."""
    if keras is None:
        assert torch is not None
        return np.zeros_like(torch), torch, ""
    if torch is None:
        return keras, np.zeros_like(keras), ""
    fit = aligned(keras, torch)
    if fit is None and keras.size == torch.size and not np.any(keras):
        return np.zeros_like(torch), torch, ""
    return (keras, fit[0], fit[1]) if fit else (keras, None, "")


def _comparable(keras: WatchedCall, torch: WatchedCall) -> bool:
    """Whether both outputs are one tensor (a Keras layer may have its activation built in)."""
    fit = aligned(keras.output, torch.output)
    return fit is not None and difference(keras.output, fit[0]).within(1e-9)
