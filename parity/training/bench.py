"""Two models side by side in training: inputs and targets in both layouts, and one pass of either side."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from parity.adapters import trainer_of
from parity.adapters.probe import to_torch_inputs
from parity.core.adapter import Adapter
from parity.core.finding import Finding
from parity.core.layout import activation_to_torch, aligned
from parity.core.tolerance import PRECISION_FACTOR, STRUCTURE, UNIT_ROUNDOFF, difference
from parity.core.trainer import Evaluation, Trainer, WatchedCall
from parity.core.types import Array, Side
from parity.pairing.pair import LayerPair, Pairing
from parity.pairing.slots import Slot
from parity.training.ties import Tie, tied

UNIT = UNIT_ROUNDOFF["float64"]


@dataclass
class TrainingResult:
    """What a comparison in training found.

    Attributes:
        findings: every difference.
        notes: what is worth knowing and no difference.
        figures: greatest relative differences, losses of either side by step, and what was used.
        noisy: the sides that are not repeatable in training mode.
    """

    findings: list[Finding] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    figures: dict[str, Any] = field(default_factory=dict)
    noisy: set[Side] = field(default_factory=set)


class Bench:
    """Two models side by side, with inputs and targets in both layouts."""

    def __init__(
        self,
        keras: Adapter,
        torch: Adapter,
        pairing: Pairing,
        inputs: Sequence[Array],
        loss: tuple[Any, ...] | None,
    ) -> None:
        self.keras: Trainer = trainer_of(keras, loss[0] if loss else None)
        self.torch: Trainer = trainer_of(torch, loss[1] if loss else None)
        self.layers = keras.layers(), torch.layers()
        self.pairing, self.given = pairing, loss[2:] if loss else ()
        self.own_loss = loss is not None
        values = [v.astype("float64") if v.dtype.kind == "f" else v for v in inputs]
        self._to_torch = lambda values: to_torch_inputs(values, keras)
        self.inputs = values, self._to_torch(values)
        self.result = TrainingResult()
        self.fixes, self.inference = ExitStack(), ExitStack()
        self.readings: list[tuple[int, bool]] = []
        self.ties: list[Tie] = []
        self.untrained: set[str] = set()
        self.watched = {
            pair.keras: pair.torch[-1]
            for pair in pairing.pairs
            if self.layers[0][pair.keras].leaf and self.layers[1][pair.torch[-1]].leaf
        }

    # --- pieces -----------------------------------------------------------------------------------------

    @contextmanager
    def unchanged(self) -> Iterator[None]:
        """Weights and statistics as they were before."""
        states = self.keras.state(), self.torch.state()
        try:
            yield
        finally:
            self.keras.load(states[0])
            self.torch.load(states[1])

    def slots(self) -> list[tuple[LayerPair, Slot]]:
        """Pairs of parameters that both sides train."""
        ours, theirs = self.keras.trainable(), self.torch.trainable()
        return [
            (pair, slot)
            for pair in self.pairing.pairs
            for slot in pair.slots
            if slot.keras in ours and slot.torch in theirs and slot.keras not in self.untrained
        ]

    def statistics(self) -> list[tuple[LayerPair, Slot]]:
        """Pairs of tensors that training changes by other means than a gradient."""
        ours, theirs = self.keras.trainable(), self.torch.trainable()
        return [
            (pair, slot)
            for pair in self.pairing.pairs
            for slot in pair.slots
            if slot.keras not in ours and slot.torch not in theirs
        ]

    def targets(self, seed: int) -> tuple[list[Array], list[Array]]:
        """Targets for both sides: those given, else random ones of the outputs' shapes."""
        if self.given:
            ours = [
                np.asarray(v) for v in (self.given[0] if isinstance(self.given[0], list) else [self.given[0]])
            ]
            ours = [v.astype("float64") if v.dtype.kind == "f" else v for v in ours]
        else:
            rng = np.random.default_rng(seed)
            ours = [_target(rng, shape, self.own_loss) for shape in self.shapes]
        theirs: list[Array] = [ours[0]] * len(ours)
        for value, shape, (place, first) in zip(ours, self.shapes, self.readings, strict=True):
            theirs[place] = activation_to_torch(value) if first and value.ndim == len(shape) else value
        return ours, theirs

    def evaluate(
        self, training: bool, targets: tuple[list[Array], list[Array]] | None, watch: bool = False
    ) -> tuple[Evaluation, Evaluation]:
        """Both sides, from the state that they are in."""
        mine, other = targets if targets else (None, None)
        paths = list(self.watched) if watch else []
        ours = self.keras.evaluate(self.inputs[0], mine, training=training, watch=paths)
        mates = list(dict.fromkeys(self.watched.values())) if watch else []
        theirs = self.torch.evaluate(self.inputs[1], other, training=training, watch=mates)
        tied(self.ties, ours.parameters, theirs.parameters)
        for call in ours.calls:
            self._in_torch_order(call)
        return ours, theirs

    def _in_torch_order(self, call: WatchedCall) -> None:
        """What was flattened from H, W, C, as torch flattens it: from C, H, W."""
        image = self.pairing.flattened.get(call.path)
        if image is None or self.layers[0][call.path].family == "dense":
            return
        for name in ("output", "gradient"):
            value = getattr(call, name)
            if value is not None and value.ndim == 2 and value.shape[1] == int(np.prod(image)):
                setattr(call, name, np.moveaxis(value.reshape(-1, *image), -1, 1).reshape(value.shape))

    def agree(self, ours: Evaluation, theirs: Evaluation) -> tuple[bool, float]:
        """Whether the outputs agree, and the greatest relative difference; learns the outputs' layouts."""
        names = [name for name, _ in theirs.outputs]
        if len(ours.outputs) != len(names) or not names:
            return False, float("inf")
        by_name = {name for name, _ in ours.outputs} == set(names)
        self.shapes = [value.shape for _, value in ours.outputs]
        self.readings, greatest = [], 0.0
        for i, (name, value) in enumerate(ours.outputs):
            place = names.index(name) if by_name else i
            fit = aligned(value, theirs.outputs[place][1])
            if fit is None:
                return False, float("inf")
            self.readings.append((place, fit[1] == "channels first"))
            greatest = max(greatest, difference(value, fit[0]).max_rel)
        return greatest <= STRUCTURE, greatest

    def nudged(
        self, trainer: Trainer, training: bool, targets: list[Array] | None, watch: Sequence[str]
    ) -> Evaluation:
        """One side with every weight and input moved by one unit roundoff; the state comes back."""
        rng = np.random.default_rng(0)
        before = trainer.state()
        trainer.load({path: nudge(rng, value) for path, value in before.items()})
        side = 0 if trainer.side == "keras" else 1
        inputs = [nudge(rng, value) for value in self.inputs[side]]
        result = trainer.evaluate(inputs, targets, training=training, watch=watch)
        tied(self.ties, *((result.parameters, {}) if side == 0 else ({}, result.parameters)))
        trainer.load(before)
        return result

    def summed(self, paths: Sequence[str]) -> dict[str, float]:
        """What rounding excuses in each bias' gradient, from the absolute terms of which it is the sum, by torch path.

        A bias in front of a batch normalisation has a gradient of zero: what is left is the rounding of the sum,
        which a framework may make with a bias of its own. Measured in training mode, at the present weights.
        """
        with self.unchanged():
            watch = [path for path in paths if path in self.watched]
            calls = self.keras.evaluate(self.inputs[0], self.targets(0)[0], training=True, watch=watch).calls
        totals: dict[str, float] = {}
        for call in calls:
            if call.gradient is not None and call.gradient.ndim > 1:
                axes = tuple(range(call.gradient.ndim - 1))
                total = float(np.abs(call.gradient).sum(axes).max(initial=0.0))
                totals[call.path] = totals.get(call.path, 0.0) + STRUCTURE / PRECISION_FACTOR * total
        slots = [slot for pair in self.pairing.pairs for slot in pair.slots]
        owner = {
            slot.torch: slot.keras.rpartition(".")[0] for slot in slots if len(slot.layout.keras_shape) == 1
        }
        return {theirs: totals[path] for theirs, path in owner.items() if path in totals}

    def in_torch_names(self, rounding: dict[str, float]) -> dict[str, float]:
        """What was measured on the Keras side, under torch's paths."""
        pairs = [(slot.keras, slot.torch) for pair in self.pairing.pairs for slot in pair.slots]
        return {theirs: rounding[ours] for ours, theirs in pairs if ours in rounding}


def greater(first: dict[str, float], second: dict[str, float]) -> dict[str, float]:
    """The greater of two measurements of each tensor."""
    return {path: max(first.get(path, 0.0), second.get(path, 0.0)) for path in {**first, **second}}


def nudge(rng: np.random.Generator, value: Array) -> Array:
    """Each floating element moved by up to one unit roundoff."""
    return value * (1.0 + UNIT * rng.uniform(-1.0, 1.0, value.shape)) if value.dtype.kind == "f" else value


def _target(rng: np.random.Generator, shape: tuple[int, ...], own_loss: bool) -> Array:
    """Random numbers; for a loss that was given, probabilities along the channels, which any loss takes."""
    if not own_loss:
        return rng.standard_normal(shape)
    if len(shape) < 2 or shape[-1] == 1:
        return rng.uniform(0.05, 0.95, shape)
    value = np.exp(rng.standard_normal(shape))
    return value / value.sum(-1, keepdims=True)
