"""Two models side by side in training: inputs and targets in both layouts, and one pass of either side."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from parity.adapters import trainer_of
from parity.adapters.probe import to_torch_inputs
from parity.core.adapter import Adapter
from parity.core.finding import Finding
from parity.core.layout import aligned, as_torch
from parity.core.tolerance import difference
from parity.core.trainer import Evaluation, Trainer, WatchedCall
from parity.core.types import RECURRENT, Array, Both, Side
from parity.pairing.evidence import Evidence
from parity.pairing.pair import LayerPair, Pairing
from parity.pairing.slots import Slot
from parity.report.proof import Unproven
from parity.training.rounding import DRAWS, Spread, absolute_sums, laid, limit_of, shaken, widen
from parity.training.ties import Tie, add_up


@dataclass
class TrainingResult:
    """What a comparison in training found.

    Attributes:
        findings: every difference.
        notes: what is worth knowing and is no difference.
        figures: greatest relative differences, the losses of both sides by step, and what was used.
        noisy: the sides that are not repeatable in training mode.
        unproven: what the comparison does not rest on.
    """

    findings: list[Finding] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    figures: dict[str, Any] = field(default_factory=dict)
    noisy: set[Side] = field(default_factory=set)
    unproven: list[Unproven] = field(default_factory=list)


class Bench:
    """Two models side by side, with inputs and targets in both layouts.

    Attributes:
        adapters: the two sides.
        trainers: the same, in training.
        layers: their layers by path.
        pairing: which layer is which.
        inputs: model inputs of each side, in float64.
        own_loss: whether the caller gave a loss.
        given: the targets that the caller gave, in a tuple; empty where there are none.
        result: what was found so far.
        fixes: what holds frozen normalisations frozen on both sides, until the comparison ends.
        inference: the same for those that train in inference mode, until training mode is looked at.
        ties: tensors of one side that are one tensor on the other.
        untrained: Keras paths of parameters that one side alone trains.
        watched: torch path of each Keras layer whose calls can be compared.
        extras: losses that the Keras model's own layers add, and what adds them.
        target_scale: by what random targets are multiplied.
        look: a context in which the branches of the models' own code are watched.
    """

    def __init__(
        self,
        adapters: Both[Adapter],
        pairing: Pairing,
        inputs: Sequence[Array],
        loss: tuple[Any, ...] | str | None,
        look: Callable[[], AbstractContextManager[object]] = nullcontext,
    ) -> None:
        self.target_scale, self.look = 1.0, look
        loss = (loss, loss) if isinstance(loss, str) else loss
        losses = loss[:2] if loss else (None, None)
        self.adapters = adapters
        self.trainers = Both[Trainer](*map(trainer_of, adapters, losses))
        self.layers = Both(adapters.keras.layers(), adapters.torch.layers())
        self.pairing, self.given = pairing, loss[2:] if loss else ()
        self.own_loss = loss is not None
        values = [v.astype("float64") if v.dtype.kind == "f" else v for v in inputs]
        self.inputs = Both(values, self.to_torch(values))
        self.result = TrainingResult()
        self.fixes, self.inference = ExitStack(), ExitStack()
        self.ties: list[Tie] = []
        self.untrained: set[str] = set()
        self.watched = {
            pair.keras: pair.torch[-1]
            for pair in pairing.pairs
            if self.layers.keras[pair.keras].leaf
            and self.layers.torch[pair.torch[-1]].leaf
            and self.layers.keras[pair.keras].family not in RECURRENT  # a pass of a cell is no call of it
            and pair.evidence is not Evidence.WRITTEN
        }
        self.extras: list[tuple[str, float]] = []
        self._shapes: list[tuple[int, ...]] = []
        self._readings: list[tuple[int, str]] = []

    def to_torch(self, inputs: Sequence[Array]) -> list[Array]:
        """Inputs in the Keras layout, as the torch side takes them."""
        return to_torch_inputs(inputs, self.adapters.keras)

    # --- pieces -----------------------------------------------------------------------------------------

    @contextmanager
    def unchanged(self) -> Iterator[None]:
        """Weights and statistics as they were before."""
        states = self.states()
        try:
            yield
        finally:
            self.load(states)

    def states(self) -> Both[dict[str, Array]]:
        """Weights and statistics of both sides by path."""
        return Both(self.trainers.keras.state(), self.trainers.torch.state())

    def load(self, states: Both[dict[str, Array]]) -> None:
        """Set weights and statistics of both sides."""
        for trainer, state in zip(self.trainers, states, strict=True):
            trainer.load(state)

    def slots(self) -> list[tuple[LayerPair, Slot]]:
        """Pairs of parameters that both sides train."""
        trained = self._trained()
        return [
            (pair, slot)
            for pair in self.pairing.pairs
            for slot in pair.slots
            if slot.keras in trained.keras
            and slot.torch in trained.torch
            and slot.keras not in self.untrained
        ]

    def statistics(self) -> list[tuple[LayerPair, Slot]]:
        """Pairs of tensors that training changes by other means than a gradient."""
        trained = self._trained()
        return [
            (pair, slot)
            for pair in self.pairing.pairs
            for slot in pair.slots
            if slot.keras not in trained.keras and slot.torch not in trained.torch
        ]

    def _trained(self) -> Both[set[str]]:
        return Both(self.trainers.keras.trainable(), self.trainers.torch.trainable())

    def watched_paths(self) -> Both[list[str]]:
        """Paths of the layers whose calls can be compared, each once."""
        return Both(list(self.watched), list(dict.fromkeys(self.watched.values())))

    def targets(self, seed: int) -> Both[list[Array]]:
        """Targets for both sides: those given, else random ones of the outputs' shapes."""
        if self.given:
            given = self.given[0] if isinstance(self.given[0], list) else [self.given[0]]
            keras = [np.asarray(value) for value in given]
            keras = [v.astype("float64") if v.dtype.kind == "f" else v for v in keras]
        else:
            rng = np.random.default_rng(seed)
            keras = [self.target_scale * _target(rng, shape, self.own_loss) for shape in self._shapes]
        return Both(keras, self.laid(keras))

    def laid(self, values: Sequence[Array]) -> list[Array]:
        """Outputs or targets in the Keras layout and order, as torch has them."""
        torch: list[Array] = [values[0]] * len(values)
        for value, shape, (place, how) in zip(values, self._shapes, self._readings, strict=True):
            torch[place] = as_torch(value, how) if value.ndim == len(shape) else value
        return torch

    def batch(self) -> tuple[Any, ...]:
        """The inputs, and what is known of their outputs."""
        return self.inputs, self._shapes, self._readings

    def take(self, batch: tuple[Any, ...]) -> None:
        """Take the inputs that `batch` gave."""
        self.inputs, self._shapes, self._readings = batch

    # --- passes -----------------------------------------------------------------------------------------

    def evaluate(
        self, training: bool, targets: Both[list[Array]] | None, watch: bool = False
    ) -> Both[Evaluation]:
        """Both sides, from the state that they are in."""
        sides: tuple[Side, ...] = ("keras", "torch")
        found = Both(
            *(
                self.trainers.of(side).evaluate(
                    self.inputs.of(side),
                    targets.of(side) if targets else None,
                    training=training,
                    watch=self.watched_paths().of(side) if watch else [],
                )
                for side in sides
            )
        )
        add_up(self.ties, "keras", found.keras.parameters)
        add_up(self.ties, "torch", found.torch.parameters)
        for call in found.keras.calls:
            self._in_torch_order(call)
        return found

    def _in_torch_order(self, call: WatchedCall) -> None:
        """What was flattened from H, W, C, as torch flattens it: from C, H, W."""
        image, change = self.pairing.flattened.get(call.path), self.pairing.regrouped.get(call.path)
        if change is not None:
            for name in ("output", "gradient"):
                value = getattr(call, name)
                if value is not None and value.ndim == 2 and not change.merged:
                    setattr(call, name, change.to_torch(value))
        if image is None or self.layers.keras[call.path].family == "dense":
            return
        for name in ("output", "gradient"):
            value = getattr(call, name)
            if value is not None and value.ndim == 2 and value.shape[1] == int(np.prod(image)):
                setattr(call, name, np.moveaxis(value.reshape(-1, *image), -1, 1).reshape(value.shape))

    def agree(self, found: Both[Evaluation], training: bool) -> tuple[bool, float]:
        """Whether the outputs agree within rounding, and the greatest relative difference; learns their layouts.

        Every element is judged by its own rounding, then by torch's spread, then by that of Keras too.
        """
        keras, torch = found.keras.outputs, found.torch.outputs
        if len(keras) != len(torch) or not torch:
            return False, float("inf")
        self._shapes = [value.shape for _, value in keras]
        self._readings, greatest = [], 0.0
        pairs: list[tuple[Array, Array, str]] = []
        for (_, value), place in zip(keras, places_of(keras, torch), strict=True):
            fit = aligned(value, torch[place][1])
            if fit is None:
                return False, float("inf")
            self._readings.append((place, fit[1]))
            pairs.append((value, *fit))
            greatest = max(greatest, difference(value, fit[0]).max_rel)
        spreads: Both[Spread] = Both({}, {})
        sides: tuple[Side, ...] = ("torch", "keras")
        for side in sides:
            for draw in range(DRAWS):
                if self._outputs_within(pairs, spreads) or not np.isfinite(greatest):
                    break
                if draw == 0 and not self._repeatable(side, training):
                    break
                with self.unchanged():
                    moved = self.nudged(side, training, None, draw=draw).outputs
                plain = found.of(side).outputs
                widen(spreads.of(side), _by_place(plain), _by_place(moved))
        return self._outputs_within(pairs, spreads), greatest

    def _outputs_within(self, pairs: Sequence[tuple[Array, Array, str]], spreads: Both[Spread]) -> bool:
        """Whether every element of every output is within its limit."""
        for i, (a, b, how) in enumerate(pairs):
            measured = [
                spreads.keras.get(str(i)),
                laid(spreads.torch.get(str(self._readings[i][0])), a.shape, how),
            ]
            known = [value for value in measured if value is not None]
            spread = np.max(np.stack(known), axis=0) if known else None
            same = (a == b) | (np.isnan(a) & np.isnan(b))
            with np.errstate(invalid="ignore"):
                if not np.all(same | (np.abs(a - b) <= limit_of(a, b, spread))):
                    return False
        return True

    def _repeatable(self, side: Side, training: bool) -> bool:
        """Whether a side gives the same twice: of noise no spread is measured."""
        runs = []
        for _ in range(2):
            with self.unchanged():
                runs.append(
                    self.trainers.of(side).evaluate(self.inputs.of(side), None, training=training).outputs
                )
        pairs = zip(*runs, strict=True)
        return all(np.array_equal(a, b, equal_nan=True) for (_, a), (_, b) in pairs)

    def nudged(
        self,
        side: Side,
        training: bool,
        targets: Both[list[Array]] | None,
        watch: Sequence[str] = (),
        draw: int = 0,
    ) -> Evaluation:
        """One side with weights, inputs, targets and results moved by one unit in the last place; the state comes back."""
        rng, trainer = np.random.default_rng((0, draw)), self.trainers.of(side)
        before = trainer.state()
        trainer.load({path: shaken(rng, value) for path, value in before.items()})
        inputs = [shaken(rng, value) for value in self.inputs.of(side)]
        wanted = [shaken(rng, value) for value in targets.of(side)] if targets else None
        found = trainer.evaluate(inputs, wanted, training=training, watch=watch, shake=rng)
        add_up(self.ties, side, found.parameters)
        trainer.load(before)
        return found

    def summed(self, paths: Sequence[str]) -> dict[str, Array]:
        """The absolute terms of which each bias' gradient is the sum, added up, by the bias' Keras path.

        A bias in front of a batch normalisation has a gradient of zero: what is left is the rounding of the sum,
        which a framework may make with a bias of its own. Measured in training mode, at the present weights.
        """
        trainer, watch = self.trainers.keras, [path for path in paths if path in self.watched]
        with self.unchanged():
            found = trainer.evaluate(self.inputs.keras, self.targets(0).keras, training=True, watch=watch)
        return absolute_sums(found.calls, [slot for pair in self.pairing.pairs for slot in pair.slots])


def places_of(keras: Sequence[tuple[str, Array]], torch: Sequence[tuple[str, Array]]) -> list[int]:
    """For each of Keras' outputs the place of torch's: by name where both have the same names, else in order."""
    names = [name for name, _ in torch]
    by_name = {name for name, _ in keras} == set(names)
    return [names.index(name) if by_name else place for place, (name, _) in enumerate(keras)]


def _by_place(outputs: Sequence[tuple[str, Array]]) -> dict[str, Array | None]:
    return {str(i): value for i, (_, value) in enumerate(outputs)}


def _target(rng: np.random.Generator, shape: tuple[int, ...], own_loss: bool) -> Array:
    """Random numbers; for a loss that was given, probabilities along the channels, which any loss takes."""
    if not own_loss:
        return rng.standard_normal(shape)
    if len(shape) < 2 or shape[-1] == 1:
        return rng.uniform(0.05, 0.95, shape)
    value = np.exp(rng.standard_normal(shape))
    return value / value.sum(-1, keepdims=True)
