"""How far one rounding everywhere moves what arrives at each layer, and what each layer makes of identical inputs.

The replay is run again with every value that it puts in, every weight and every step's result moved by one unit in the
last place (parity.replay.spread). As each layer gets what was recorded, nothing but its own rounding and that of
the steps in front of it shows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from parity.core.adapter import Adapter, Observer
from parity.core.trace import NodeObserver
from parity.core.types import Array
from parity.replay.located import Call
from parity.replay.spread import DRAWS, Shaker, movement, shaken, weights_shaken

CallKey = tuple[str, int]
"""Path of a layer in its own framework, and the number of its call."""


@dataclass
class Spreads:
    """One side's spreads, in its own layout, in the shapes of the tensors.

    Attributes:
        arrived: of the inputs of each call.
        results: of its results; linear: of what they were before a built-in activation.
        outputs: of the model's outputs.
    """

    arrived: dict[CallKey, list[Array]] = field(default_factory=dict)
    results: dict[CallKey, list[Array]] = field(default_factory=dict)
    linear: dict[CallKey, list[Array]] = field(default_factory=dict)
    outputs: list[Array] = field(default_factory=list)


class KerasValues(Observer):
    """Gives every layer of the Keras side what was recorded of it."""

    def __init__(self, calls: Sequence[Call]) -> None:
        self._calls = {(call.path, call.index): call for call in calls}

    def before(self, path: str, index: int, inputs: list[Array]) -> list[Array] | None:
        """The recorded inputs."""
        call = self._calls.get((path, index))
        return None if call is None else list(call.inputs)

    def after(
        self, path: str, index: int, inputs: list[Array], outputs: list[Array], linear: list[Array] | None
    ) -> list[Array] | None:
        """The recorded results."""
        call = self._calls.get((path, index))
        return None if call is None else list(call.outputs)


class _Recorded(Observer):
    """Shakes what an observer puts in, and keeps what was there."""

    def __init__(self, giver: Observer, rng: np.random.Generator | None, carrying: set[str]) -> None:
        self._giver, self._rng, self._carrying = giver, rng, carrying
        self.seen = Spreads()

    def _moved(self, values: list[Array] | None) -> list[Array] | None:
        return values if values is None or self._rng is None else [shaken(self._rng, v) for v in values]

    def _carried(self, path: str, inputs: list[Array], outputs: list[Array]) -> list[Array]:
        """What a layer gave; an activation may subtract values as great as its operand within, as gelu does."""
        if self._rng is None or path not in self._carrying or len(inputs) != 1 or len(outputs) != 1:
            return outputs
        if inputs[0].shape != outputs[0].shape or inputs[0].dtype.kind != "f":
            return outputs
        with np.errstate(invalid="ignore"):
            rounding = shaken(self._rng, inputs[0]) - inputs[0]
        return [outputs[0] + np.where(np.isfinite(rounding), rounding, 0.0)]

    def before(self, path: str, index: int, inputs: list[Array]) -> list[Array] | None:
        """Keep what arrives."""
        self.seen.arrived[path, index] = inputs
        return self._moved(self._giver.before(path, index, inputs))

    def after(
        self, path: str, index: int, inputs: list[Array], outputs: list[Array], linear: list[Array] | None
    ) -> list[Array] | None:
        """Keep what the layer gives."""
        self.seen.results[path, index] = self._carried(path, inputs, outputs)
        if linear is not None:
            self.seen.linear[path, index] = linear
        return self._moved(self._giver.after(path, index, inputs, outputs, linear))


def forced_spreads(
    model: Adapter, inputs: Sequence[Array], giver: Callable[[], Observer], paths: set[str]
) -> Spreads:
    """The spreads of one side, each layer given what was recorded.

    Args:
        model: the side, held in float64.
        inputs: model inputs in its own layout.
        giver: makes an observer that puts the recorded values in, anew for each run.
        paths: of the layers that it watches.

    Returns:
        The greatest movement of every element over some runs, as far as the model comes before it raises.
    """
    found = Spreads()
    plain = _run(model, inputs, giver(), paths, None)
    for draw in range(DRAWS):
        rng = np.random.default_rng((7, draw))
        with weights_shaken(model, rng):
            _widen(found, plain, _run(model, inputs, giver(), paths, rng))
    return found


def _run(
    model: Adapter,
    inputs: Sequence[Array],
    giver: Observer,
    paths: set[str],
    rng: np.random.Generator | None,
) -> Spreads:
    carrying = {path for path, layer in model.layers().items() if layer.leaf and not layer.tensors}
    observer = _Recorded(giver, rng, carrying)
    try:
        with model.watched(observer, paths):
            if rng is None:
                outputs = model.trace(inputs, NodeObserver())[0]
            else:
                outputs = model.trace([shaken(rng, value) for value in inputs], Shaker(rng))[0]
        observer.seen.outputs = [value for _, value in outputs]
    except Exception:  # any model, any error: what it did before is known all the same
        return observer.seen
    return observer.seen


def _widen(found: Spreads, plain: Spreads, moved: Spreads) -> None:
    """Take the greater movement of each element."""
    for name in ("arrived", "results", "linear"):
        known = getattr(found, name)
        for key, values in getattr(moved, name).items():
            gaps = _gaps(getattr(plain, name).get(key, []), values)
            if gaps is not None:
                known[key] = (
                    gaps
                    if key not in known
                    else [np.maximum(a, b) for a, b in zip(known[key], gaps, strict=True)]
                )
    gaps = _gaps(plain.outputs, moved.outputs)
    if gaps is not None:
        found.outputs = (
            [np.maximum(a, b) for a, b in zip(found.outputs, gaps, strict=True)] if found.outputs else gaps
        )


def _gaps(plain: Sequence[Array], moved: Sequence[Array]) -> list[Array] | None:
    if len(plain) != len(moved) or any(a.shape != b.shape for a, b in zip(plain, moved, strict=True)):
        return None
    return [movement(a, b) for a, b in zip(plain, moved, strict=True)]
