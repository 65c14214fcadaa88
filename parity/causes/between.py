"""What was done between two layers: the steps of both graphs behind the last tensors that agree.

Both passes are recorded step by step, the torch one with every paired layer giving the Keras values. From a tensor
that differs, both graphs are followed back to tensors that agree; the steps in between hold the fault. Steps are
matched by their values, not by their names.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod

import numpy as np

from parity.causes.case import Explanation
from parity.causes.steps.identify import identify, same
from parity.causes.wiring import Tensor, explain_arrival
from parity.core.adapter import Adapter, Observer
from parity.core.layout import activation_to_torch, aligned
from parity.core.store import Store
from parity.core.trace import Node, NodeObserver, Source, Trace, Values
from parity.core.types import Array
from parity.replay.record import Kept

REACH = 24
"""Steps that are followed back on either side."""


class _StoredSteps(NodeObserver):
    """Keeps what every step gives."""

    def __init__(self, store: Store, side: str) -> None:
        self.values: dict[int, Kept] = {}
        self._store, self._side = store, side

    def after(self, node: Node, outputs: Values) -> None:
        """Keep one step's results."""
        self.values[node.id] = Kept(self._store, (self._side, node.id), outputs())


@dataclass(frozen=True)
class _Place:
    """One output of one step."""

    node: int
    output: int


class Between:
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
        self._kept = {"keras": _StoredSteps(store, "keras"), "torch": _StoredSteps(store, "torch")}
        self._inputs = {"keras": list(inputs["keras"]), "torch": list(inputs["torch"])}
        self.traces: dict[str, Trace] = {"keras": keras.trace(inputs["keras"], self._kept["keras"])[1]}
        observer, paths = replay()
        with torch.watched(observer, paths):
            self.traces["torch"] = torch.trace(inputs["torch"], self._kept["torch"])[1]
        self._marks = {side: self._marked(side) for side in ("keras", "torch")}
        self._linear = [(_mark(value), value) for value in map(self._as_torch, linear)]
        self._twins: dict[tuple[str, _Place], Array | None] = {}

    def _marked(self, side: str) -> dict[_Place, tuple[int, float, float]]:
        places = [_Place(node.id, i) for node in self.traces[side].nodes for i in range(len(node.shapes))]
        values = {place: self.value(side, place) for place in places}
        return {place: _mark(value) for place, value in values.items() if value is not None}

    # --- values --------------------------------------------------------------------------------------

    def value(self, side: str, place: _Place) -> Array | None:
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

    def twin(self, side: str, place: _Place) -> Array | None:
        """The same tensor as the other side holds it; None where it does not."""
        key = (side, place)
        if key not in self._twins:
            value = self.value(side, place)
            self._twins[key] = (
                None if value is None else self._held("torch" if side == "keras" else "keras", value)
            )
        return self._twins[key]

    def _held(self, side: str, value: Array) -> Array | None:
        mark = _mark(value)
        for linear_mark, found in self._linear if side == "keras" else ():
            if _alike(mark, linear_mark) and _equal(found, value):
                return found
        for place, known in self._marks[side].items():
            if _alike(mark, known):
                held = self.value(side, place)
                if held is not None and _equal(held, value):
                    return held
        return None

    # --- explaining ----------------------------------------------------------------------------------

    def explain(self, keras: Source, torch: Source, place: tuple[str, str]) -> list[Explanation]:
        """The cause of the difference of two tensors, from the steps that lead to them.

        Args:
            keras: the Keras tensor; torch: torch's.
            place: what to call the place on either side.
        """
        # A tensor that the other side has too is at least not the one that belongs here.
        keras_places = self._behind("keras", keras) or [_Place(keras.node, keras.output)]
        torch_places = self._behind("torch", torch) or [_Place(torch.node, torch.output)]
        for keras_place, torch_place in _earliest_first(keras_places, torch_places):
            found = self._of_steps(keras_place, torch_place, place)
            if found:
                return found
        return []

    def _behind(self, side: str, source: Source) -> list[_Place]:
        """Tensors on the way to this one that the other side has not, the earliest first."""
        trace, queue = self.traces[side], [_Place(source.node, source.output)]
        found: list[_Place] = []
        seen: set[_Place] = set()
        while queue and len(found) < REACH:
            place = queue.pop(0)
            value = self.value(side, place)
            if place in seen or value is None:
                continue
            seen.add(place)
            if self.twin(side, place) is not None:
                continue
            found.append(place)
            queue += [_Place(item.node, item.output) for item in trace.nodes[place.node].inputs]
        return sorted(found, key=lambda place: place.node)

    def _taken(self, side: str, place: _Place) -> list[_Place]:
        """The tensors that a step took."""
        places = [_Place(item.node, item.output) for item in self.traces[side].nodes[place.node].inputs]
        return [item for item in places if self.value(side, item) is not None]

    def _roots(self, side: str, place: _Place) -> list[Tensor]:
        """The tensors that both sides have, from which the steps of one side come to this one."""
        found, queue, seen = [], [place], set()
        while queue:
            for item in self._taken(side, queue.pop(0)):
                twin = self.twin(side, item)
                if item not in seen and twin is not None:
                    value = self.value(side, item) if side == "keras" else twin
                    node = self.traces[side].nodes[item.node]
                    if value is not None:
                        found.append(Tensor(f"the output of {node.label}", value, node.sort == "input"))
                elif item not in seen:
                    queue.append(item)
                seen.add(item)
        return found

    def _of_steps(self, keras: _Place, torch: _Place, place: tuple[str, str]) -> list[Explanation]:
        """The cause that one step of each side shows."""
        values = self.value("keras", keras), self.value("torch", torch)
        if values[0] is None or values[1] is None:
            return []
        nodes = self.traces["keras"].nodes[keras.node], self.traces["torch"].nodes[torch.node]
        text = f" (step {nodes[0].label} in Keras, {nodes[1].label} in torch)"
        unlike = self._of_unlike_operands(keras, torch, values[0], values[1], place)
        if unlike is not None:
            return [_with(item, text, None) for item in unlike]
        sources = self._roots("torch", torch) if self.twin("torch", torch) is None else [
            Tensor(f"the output of {nodes[1].label}", values[1], nodes[1].sort == "input")
        ]  # fmt: skip
        layers = (nodes[0].path, nodes[1].path) if nodes[0].sort == nodes[1].sort == "layer" else None
        found = explain_arrival(values[0], values[1], sources, place) if sources else []
        return [_with(item, text, layers) for item in found]

    def _of_unlike_operands(
        self, keras: _Place, torch: _Place, keras_value: Array, torch_value: Array, place: tuple[str, str]
    ) -> list[Explanation] | None:
        """What tells the operands apart where both sides take one step, of unlike tensors; None where they do not."""
        operands = self._taken("keras", keras), self._taken("torch", torch)
        if len(operands[0]) != 1 or len(operands[1]) != 1:
            return None
        x, z = self.value("keras", operands[0][0]), self.value("torch", operands[1][0])
        if x is None or z is None or _equal(x, z):
            return None
        steps = identify(x, keras_value), identify(z, torch_value)
        if steps[0] is None or steps[0] != steps[1] or steps[0].kind == "identity":
            return None
        twins = self.twin("keras", operands[0][0]), self.twin("torch", operands[1][0])
        certain = any(twin is not None for twin in twins)
        roots = [*self._roots("keras", keras), *self._roots("torch", torch)]
        found = explain_arrival(x, z, roots, place, certain)
        return [applied_twice(item, steps[0].kind) for item in found]


def _earliest_first(keras: Sequence[_Place], torch: Sequence[_Place]) -> Iterator[tuple[_Place, _Place]]:
    """Each place with each, the earliest with the earliest first."""
    pairs = [(i + j, a, b) for i, a in enumerate(keras) for j, b in enumerate(torch)]
    for _, a, b in sorted(pairs, key=lambda item: item[0]):
        yield a, b


def applied_twice(item: Explanation, kind: str) -> Explanation:
    """A softmax that one side lacks in front of a softmax is one that the other side applies twice."""
    if kind == item.lone == "softmax" and item.cause == "activation-missing":
        return replace(item, cause="double-softmax", fix="leave the second softmax out")
    return item


def _with(item: Explanation, text: str, layers: tuple[str | None, str | None] | None) -> Explanation:
    return replace(item, evidence=item.evidence + text, layers=layers)


def _mark(value: Array) -> tuple[int, float, float]:
    flat = np.asarray(value, dtype=np.float64).reshape(-1)
    return value.size, float(flat.sum()), float(flat @ flat)


def _alike(a: tuple[int, float, float], b: tuple[int, float, float]) -> bool:
    if a[0] != b[0]:
        return False
    spread = np.sqrt(max(a[2], 1e-300) * max(a[0], 1))
    return bool(abs(a[2] - b[2]) <= 1e-9 * max(a[2], 1e-300) and abs(a[1] - b[1]) <= 1e-9 * spread)


def _equal(a: Array, b: Array) -> bool:
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
