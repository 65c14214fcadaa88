"""Why a recurrent cell that torch code writes out gives something else: its gates' order, its weights, its activations.

No step of such a cell is held against one of Keras' cell. So a cause is tried on the whole models: both sides must give
the same with it put right, on this input and with other weights.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from itertools import permutations

import numpy as np

from parity.core.adapter import Adapter
from parity.core.finding import Finding, Fix, Kind
from parity.core.types import Array, Side
from parity.pairing.evidence import Evidence
from parity.pairing.pair import LayerPair, Pairing
from parity.weights.confirmed import SAME, relative, runs
from parity.weights.copying import copy
from parity.weights.differences import tensor_differences

BothInputs = Mapping[Side, Sequence[Array]]
GATES = {4: "ifco", 3: "zrh"}
"""Keras' gates in its order, by their number."""
ORDER = "exchange the gates' blocks when the weights are copied (parity.transfer does)"


def with_causes_of_cells(
    findings: list[Finding], sides: tuple[Adapter, Adapter], pairing: Pairing, inputs: BothInputs
) -> list[Finding]:
    """The findings; in their place those at written cells, where these explain every difference.

    Args:
        findings: of outputs that differ.
        sides: both sides, Keras first, in float64 already. Their weights are changed for a moment.
        pairing: which layer is which.
        inputs: of both sides.
    """
    cells = [item for item in pairing.pairs if item.evidence is Evidence.WRITTEN]
    if not cells or pairing.open:
        return findings
    trial = _CellTrial(sides, pairing, inputs, cells)
    found = trial.weights() or trial.activations()
    layers = {item.keras for item in pairing.pairs if item.evidence is not Evidence.WRITTEN}
    # What a layer gives on identical inputs, and its weights, are differences that an output need not show.
    own = [one for one in findings if one.kind in {Kind.LAYER, Kind.WEIGHT} and one.keras in layers]
    return [*found, *own] if found else findings


class _CellTrial:
    """The two models with one thing put right."""

    def __init__(
        self, sides: tuple[Adapter, Adapter], pairing: Pairing, inputs: BothInputs, cells: Sequence[LayerPair]
    ) -> None:
        self.sides, self.pairing, self.inputs, self.cells = sides, pairing, inputs, cells
        self.differing = tensor_differences(pairing, *sides)

    def weights(self) -> list[Finding]:
        """The cells whose weights differ, where both sides agree with the Keras ones."""
        wrong = [
            item
            for item in self.cells
            if any(path.rpartition(".")[0] == item.keras for path in self.differing)
        ]
        if not wrong:
            return []
        with self._copied(wrong):
            gap = self._gap()
        verified = gap <= SAME and self._verified()
        return [self._of_weights(item, gap, verified) for item in wrong] if gap <= SAME else []

    def _of_weights(self, item: LayerPair, gap: float, verified: bool) -> Finding:
        torch = ", ".join(item.torch)
        shown = f"with the Keras values both sides agree to {gap:.1g}"
        order = self._order(item)
        if order is not None:
            gates = GATES.get(len(order), "h")
            placed = ", ".join(gates[place] for place in order)
            text = f"where {torch} has the gates {', '.join(gates)} of Keras, the values of {placed} stand; {shown}"
            return Finding(item.keras, torch, Kind.LAYER, "gate-order", text, ORDER, verified)
        names = [path.rpartition(".")[2] for path in self.differing if path.startswith(f"{item.keras}.")]
        text = f"{', '.join(names)} of {item.keras} are not those of {torch}; {shown}"
        fix = "copy the weights (parity.transfer), or take the same weight file on both sides"
        cause = "weight-not-copied" if any("kernel" in name for name in names) else None
        return Finding(item.keras, torch, Kind.LAYER, cause, text, fix, verified)

    def _order(self, item: LayerPair) -> tuple[int, ...] | None:
        """The order of blocks in which every tensor of the cell that differs is the Keras one; None where there is none."""
        values = [pair[1:] for path, pair in self.differing.items() if path.startswith(f"{item.keras}.")]
        count = _gates(item, self.sides[0])
        for order in permutations(range(count)):
            if all(
                np.allclose(_blocks(keras, order), torch, rtol=1e-6, atol=1e-9) for keras, torch in values
            ):
                return order
        return None

    @contextmanager
    def _copied(self, cells: Sequence[LayerPair]) -> Iterator[None]:
        """While this is open, torch has the Keras weights of some cells."""
        keras, torch = self.sides
        paths = {slot.torch for item in cells for slot in item.slots}
        paths |= {one.path for item in cells for one in item.constants if one.side == "torch"}
        before = {path: torch.read(path) for path in paths}
        try:
            copy(Pairing(pairs=list(cells)), keras, torch)
            yield
        finally:
            for path, value in before.items():
                torch.write(path, value)

    def activations(self) -> list[Finding]:
        """The activation with which the Keras cells give what torch gives."""
        from parity.adapters.keras.recurrent.exchanged import ACTIVATIONS, applied, exchanged

        objects = getattr(self.sides[0], "objects", {})
        keras = [objects[item.keras] for item in self.cells if item.keras in objects]
        for name in ("recurrent_activation", "activation"):
            now = {applied(cell, name) for cell in keras}
            for chosen in ACTIVATIONS if len(now) == 1 and now != {""} else ():
                with ExitStack() as stack:
                    stack.enter_context(exchanged(keras, name, chosen))
                    gap = self._gap()
                    if gap > SAME:
                        continue
                    verified = self._verified()
                (known,) = now
                return [_of_activation(item, name, known, chosen, gap, verified) for item in self.cells]
        return []

    def _verified(self) -> bool:
        """Whether both sides give the same with other weights."""
        with runs(*self.sides, self.inputs["keras"]) as gap:
            return gap(self.pairing) <= SAME

    def _gap(self) -> float:
        """How far apart the outputs are, of their scale; infinite where a side raises."""
        try:
            outputs = [side.forward(self.inputs[side.side]) for side in self.sides]
        except Exception:  # any model, any error: the trial says nothing
            return float("inf")
        gaps = [relative(a, b) for (_, a), (_, b) in zip(*outputs, strict=False)]
        return max(gaps, default=float("inf")) if len(outputs[0]) == len(outputs[1]) else float("inf")


def _of_activation(item: LayerPair, name: str, now: str, chosen: str, gap: float, verified: bool) -> Finding:
    torch = ", ".join(item.torch)
    cause = "hard-sigmoid-form" if "hard" in now and "hard" in chosen else "activation-kind"
    text = f"{name} is {now} in Keras and {chosen} in torch; with {chosen} on the Keras side both agree to {gap:.1g}"
    fix = Fix(f"{name}={chosen!r} on the Keras layer of {item.keras}", f"{now} behind {torch}")
    return Finding(item.keras, torch, Kind.LAYER, cause, text, fix, verified)


def _gates(item: LayerPair, keras: Adapter) -> int:
    """How many gates the paired cell has: blocks of as many rows as the state has values."""
    shape = next(
        keras.peek(slot.keras).shape for slot in item.slots if slot.keras.endswith("recurrent_kernel")
    )
    return int(shape[-1] // shape[-2])


def _blocks(value: Array, order: Sequence[int]) -> Array:
    """The blocks of the last axis in another order."""
    return np.concatenate([np.split(value, len(order), -1)[place] for place in order], -1)
