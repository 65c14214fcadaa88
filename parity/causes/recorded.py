"""The steps of both sides, recorded once: what each gave, which of it the other side has too, and what follows from it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from math import prod

import numpy as np

from parity.causes.case import Hypothesis
from parity.causes.steps.budget import spend
from parity.causes.steps.equality import same
from parity.core.adapter import Adapter, Observer
from parity.core.layout import activation_to_torch, aligned
from parity.core.store import Store
from parity.core.trace import Node, NodeObserver, Trace, Values
from parity.core.types import Array
from parity.replay.border import framed
from parity.replay.record import Kept

PER_STEP = 3
"""What running one step of a model again costs, in comparisons."""


class _StoredSteps(NodeObserver):
    """Keeps what every step gives."""

    def __init__(self, store: Store, side: str) -> None:
        self.values: dict[int, Kept] = {}
        self._store, self._side = store, side

    def after(self, node: Node, outputs: Values) -> None:
        """Keep one step's results."""
        self.values[node.id] = Kept(self._store, (self._side, node.id), outputs())


@dataclass(frozen=True)
class StepPlace:
    """One output of one step."""

    node: int
    output: int


class _Put(NodeObserver):
    """Puts a value in place of what one step gives, and keeps what another gives."""

    def __init__(self, place: StepPlace, value: Array, end: StepPlace) -> None:
        self._place, self._value, self._end = place, value, end
        self.arrived: Array | None = None

    def after(self, node: Node, outputs: Values) -> list[Array] | None:
        """Replace, or keep."""
        if node.id == self._end.node and node.id != self._place.node:
            self.arrived = outputs()[self._end.output]
        if node.id != self._place.node:
            return None
        values = outputs()
        values[self._place.output] = self._value
        return values


class RecordedSteps:
    """The steps of both sides, recorded once.

    Args:
        keras, torch: the sides.
        inputs: the model inputs of each.
        replay: an observer for the torch side that puts the Keras values in, and the paths that it watches.
        images: (C, *space) of images that are flattened.
        store: where the values lie.
        linear: what Keras layers gave before their built-in activations, which torch applies as steps of their own.
    """

    def __init__(
        self,
        keras: Adapter,
        torch: Adapter,
        inputs: Mapping[str, Sequence[Array]],
        replay: Callable[[], tuple[Observer, set[str]]],
        images: Sequence[tuple[int, ...]],
        store: Store,
        linear: Sequence[Array] = (),
    ) -> None:
        self.images = images
        self._torch, self._replay = torch, replay
        self._kept = {"keras": _StoredSteps(store, "keras"), "torch": _StoredSteps(store, "torch")}
        self._inputs = {"keras": list(inputs["keras"]), "torch": list(inputs["torch"])}
        self.traces: dict[str, Trace] = {"keras": keras.trace(inputs["keras"], self._kept["keras"])[1]}
        observer, paths = replay()
        with torch.watched(observer, paths):
            self.traces["torch"] = torch.trace(inputs["torch"], self._kept["torch"])[1]
        self._forcing = observer, paths
        self._marks = {side: self._marked(side) for side in ("keras", "torch")}
        self._linear = [(_mark(value), value) for value in map(self._as_torch, linear)]
        self._twins: dict[tuple[str, StepPlace], Array | None] = {}

    def forced(self, free: set[str]) -> AbstractContextManager[None]:
        """While this is open, torch's paired layers give the Keras values, those that are free aside."""
        observer, paths = self._forcing
        return self._torch.watched(observer, paths - free)

    def _marked(self, side: str) -> dict[StepPlace, tuple[int, float, float]]:
        places = [StepPlace(node.id, i) for node in self.traces[side].nodes for i in range(len(node.shapes))]
        values = {place: self.value(side, place) for place in places}
        return {place: _mark(value) for place, value in values.items() if value is not None}

    def value(self, side: str, place: StepPlace) -> Array | None:
        """What a step gave, as torch lays it out; None for weights and constants."""
        trace = self.traces[side]
        node = trace.nodes[place.node]
        if node.sort == "input":
            value = self._inputs[side][trace.inputs.index(node.id)]
        elif node.id in self._kept[side].values and place.output < len(self._kept[side].values[node.id]):
            value = self._kept[side].values[node.id][place.output]
        else:
            return None
        if value.dtype.kind != "f":
            return None
        return self._as_torch(value) if side == "keras" else np.asarray(value)

    def _as_torch(self, value: Array) -> Array:
        if value.ndim == 2:
            image = next((image for image in self.images if prod(image) == value.shape[1]), None)
            if image is not None:
                return np.moveaxis(value.reshape(len(value), *image[1:], image[0]), -1, 1).reshape(
                    value.shape
                )
        return activation_to_torch(value)

    def twin(self, side: str, place: StepPlace) -> Array | None:
        """The same tensor as the other side holds it; None where it does not."""
        key = (side, place)
        if key not in self._twins:
            value = self.value(side, place)
            self._twins[key] = (
                None if value is None else self._held("torch" if side == "keras" else "keras", value)
            )
        return self._twins[key]

    def has_twins(self, side: str, path: str) -> bool:
        """Whether the other side holds all that the calls of a layer give; also where the layer is no step."""
        return all(
            self.value(side, place) is None or self.twin(side, place) is not None
            for node in self.traces[side].calls(path)
            for place in (StepPlace(node.id, i) for i in range(len(node.shapes)))
        )

    def _held(self, side: str, value: Array) -> Array | None:
        mark = _mark(value)
        for linear_mark, found in self._linear if side == "keras" else ():
            if _alike(mark, linear_mark) and equal_tensors(found, value):
                return found
        for place, known in self._marks[side].items():
            if _alike(mark, known):
                held = self.value(side, place)
                if held is not None and equal_tensors(held, value):
                    return held
        return None

    def run_torch(self, observer: NodeObserver) -> None:
        """Run the torch model once more, the torch layers giving the Keras values, for another observer."""
        replay, paths = self._replay()
        with self._torch.watched(replay, paths):
            self._torch.trace(self._inputs["torch"], observer)

    # --- what follows from a step --------------------------------------------------------------------

    def settles(self, hypothesis: Hypothesis) -> bool:
        """Whether the same arrives on both sides, once the torch step gives what the Keras step gives."""
        assert hypothesis.steps is not None
        assert hypothesis.ends is not None
        (keras, torch), ends = hypothesis.steps, hypothesis.ends
        wanted = self.value("keras", ends[0])
        value = self._as_given(keras, torch)
        if wanted is None or value is None:
            return False
        spend(value.size, PER_STEP * len(self.traces["torch"].nodes))
        put = _Put(torch, value, ends[1])
        inputs, trace = list(self._inputs["torch"]), self.traces["torch"]
        if torch.node in trace.inputs:
            inputs[trace.inputs.index(torch.node)] = value
        observer, paths = self._replay()
        try:
            with self._torch.watched(observer, paths):
                self._torch.trace(inputs, put)
        except Exception:  # any model, any error: what follows cannot take the value
            return False
        arrived = value if ends[1] == torch else put.arrived
        if arrived is None or equal_tensors(wanted, arrived):
            return arrived is not None
        within = framed(wanted, arrived)  # a border that one side adds is a difference of its own
        return within is not None and within.alike

    def _as_given(self, keras: StepPlace, torch: StepPlace) -> Array | None:
        """What a Keras step gave, in the layout in which the torch step gives it."""
        value, given = self.value("keras", keras), self.value("torch", torch)
        if value is None or given is None or value.ndim != given.ndim:
            return value
        last = np.moveaxis(value, 1, -1) if value.ndim > 2 else value
        fit = aligned(last, given)
        return last if fit is not None and fit[1] == "as it is" else value


def _mark(value: Array) -> tuple[int, float, float]:
    flat = np.asarray(value, dtype=np.float64).reshape(-1)
    with np.errstate(over="ignore"):  # a mask's lowest values, squared
        return value.size, float(flat.sum()), float(flat @ flat)


def _alike(a: tuple[int, float, float], b: tuple[int, float, float]) -> bool:
    if a[0] != b[0]:
        return False
    spread = np.sqrt(max(a[2], 1e-300) * max(a[0], 1))
    return bool(abs(a[2] - b[2]) <= 1e-9 * max(a[2], 1e-300) and abs(a[1] - b[1]) <= 1e-9 * spread)


def equal_tensors(a: Array, b: Array) -> bool:
    """Equal, axes of length one aside."""
    if a.shape == b.shape:
        return same(a, b)
    if a.size != b.size:
        return False
    fit = aligned(np.moveaxis(a, 1, -1) if a.ndim > 2 else a, b)
    if fit is not None:
        return same(fit[0], np.moveaxis(a, 1, -1) if a.ndim > 2 else a)
    slim = np.squeeze(a), np.squeeze(b)
    return slim[0].shape == slim[1].shape and same(*slim)
