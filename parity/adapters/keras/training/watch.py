"""What a Keras model does in a pass: calls of watched layers, and random layers, which are switched off."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import keras
import numpy as np
from keras.src import backend

from parity.adapters.keras.adapter import KerasAdapter
from parity.adapters.keras.recording.dropping import noted
from parity.adapters.keras.weights import to_numpy
from parity.adapters.patching import restored
from parity.adapters.sites.running import called_at
from parity.core.trainer import Cuts, Dropped, Drops, WatchedCall
from parity.core.types import Array

L = keras.layers
RANDOM = ("rate", "stddev")
"""Attributes by which the random layers other than Dropout say how much they do."""


class KerasWatcher:
    """Sees the calls of watched layers, adds the probes to what they give, and switches random layers off."""

    def __init__(self, adapter: KerasAdapter, watch: Sequence[str], drops: Drops | None = None) -> None:
        self.adapter, self.drops = adapter, drops
        self._watched = {id(adapter.objects[path]): path for path in watch}
        self._paths = {id(layer): path for path, layer in adapter.objects.items()}
        self.restart({})

    def restart(self, probes: Mapping[tuple[str, int], Any]) -> None:
        """Forget what was seen."""
        self.probes = probes
        self.keys: list[tuple[str, int]] = []
        self.tensors: list[tuple[list[Any], Any]] = []
        self.dropped: list[Dropped] = []
        self._stack: list[Any] = []

    def finish(
        self, tensors: list[tuple[list[Any], Any]], gradients: Mapping[tuple[str, int], Array | None]
    ) -> list[WatchedCall]:
        """The calls, in NumPy: what went in and what came out of each, and the gradients at the probes."""
        return [
            WatchedCall(*key, [to_numpy(value) for value in inputs], to_numpy(output), gradients.get(key))
            for key, (inputs, output) in zip(self.keys, tensors, strict=True)
        ]

    @contextmanager
    def on(self) -> Iterator[None]:
        """Wrap `Layer.__call__` and the backend's dropout."""
        plain = L.Layer.__call__

        def call(layer: Any, *args: Any, **kwargs: Any) -> Any:
            self._stack.append(layer)
            try:
                outputs = plain(layer, *args, **kwargs)
            finally:
                self._stack.pop()
            path = self._watched.get(id(layer))
            if path is None or not keras.ops.is_tensor(outputs):
                return outputs
            key = (path, sum(known == path for known, _ in self.keys))
            inputs = [
                keras.ops.convert_to_tensor(a)
                for a in args
                if keras.ops.is_tensor(a) or isinstance(a, np.ndarray)
            ]
            outputs = outputs + self.probes[key] if key in self.probes else outputs
            self.keys.append(key)
            self.tensors.append((inputs, outputs))
            return outputs

        def dropout(inputs: Any, rate: float, noise_shape: Any = None, seed: Any = None) -> Any:
            kind = _dropped_together(inputs, noise_shape)
            self._note(self._stack[-1] if self._stack else None, rate, kind)
            return self._kept(inputs, rate, kind)

        with ExitStack() as stack:
            stack.enter_context(restored(L.Layer, "__call__", call))
            stack.enter_context(restored(backend.random, "dropout", dropout))
            for layer in self.adapter.objects.values():
                if isinstance(layer, L.GaussianDropout | L.GaussianNoise | L.AlphaDropout) or noted(layer):
                    stack.enter_context(_silent(layer, self._note, self._kept))
            yield

    def _kept(self, inputs: Any, rate: float, kind: str) -> Any:
        """What dropout makes of a tensor: the tensor itself, unless something stands in its place."""
        if self.drops is None or not rate or kind == "noise":  # which is added
            return inputs
        factor = self.drops.factor(tuple(inputs.shape), float(rate), kind)
        return inputs if factor is None else inputs * keras.ops.cast(factor, inputs.dtype)

    def _note(self, layer: Any, rate: float, kind: str) -> None:
        if rate:
            self.dropped.append(Dropped(self._paths.get(id(layer)), float(rate), kind))


def _dropped_together(inputs: Any, noise_shape: Any) -> str:
    """What one random number decides: one element, a whole channel, a whole example, or something else."""
    full = tuple(inputs.shape)
    noise = full if noise_shape is None else tuple(noise_shape)
    drawn = [size is None or int(size) == n for size, n in zip(noise, full, strict=True)]
    if all(drawn):
        return "example" if _one_for_each(inputs) else "element"
    if drawn[0] and not any(n > 1 and own for n, own in zip(full[1:], drawn[1:], strict=True)):
        return "example"
    if (
        drawn[0]
        and drawn[-1]
        and not any(n > 1 and own for n, own in zip(full[1:-1], drawn[1:-1], strict=True))
    ):
        return "channel"
    return f"block {tuple(-1 if own else 1 for own in drawn)}"


def _one_for_each(inputs: Any) -> bool:
    """Whether these are ones, one for each example, which are then multiplied into another tensor."""
    if len(inputs.shape) < 2 or any(size != 1 for size in inputs.shape[1:]):
        return False
    try:
        return bool(np.all(to_numpy(inputs) == 1))
    except (
        Exception
    ):  # values that are only traced have none yet, and each framework says so by another error
        return False


UNIT = 2.0**-52
"""One unit in the last place of a float64 between 1 and 2."""


@contextmanager
def shaking(rng: np.random.Generator | None) -> Iterator[None]:
    """While this is open, what every operation and layer gives is moved by one unit in the last place, up or down."""
    if rng is None:
        yield
        return
    plain = keras.Operation.__call__

    def moved(value: Any) -> Any:
        if not keras.ops.is_tensor(value) or keras.backend.standardize_dtype(value.dtype) != "float64":
            return value
        factors = 1.0 + UNIT * (2.0 * rng.integers(0, 2, tuple(value.shape), dtype=np.int8) - 1.0)
        return value * keras.ops.convert_to_tensor(np.asarray(factors, dtype="float64"))

    def call(operation: Any, *args: Any, **kwargs: Any) -> Any:
        return keras.tree.map_structure(moved, plain(operation, *args, **kwargs))

    with restored(keras.Operation, "__call__", call):
        yield


def _owner_of_stop_gradient() -> Any:
    """The module whose function the user's code and Keras' own call alike."""
    name = keras.config.backend()
    if name == "tensorflow":
        import tensorflow as tf

        return tf
    if name == "jax":
        import jax

        return jax.lax
    return backend.core


@contextmanager
def cutting(cuts: Cuts) -> Iterator[None]:
    """While this is open, places of the user's code at which no gradient passes are noted, and opened as asked."""
    cuts.restart()
    target = _owner_of_stop_gradient()
    plain = target.stop_gradient

    def stop_gradient(value: Any, *args: Any, **kwargs: Any) -> Any:
        place = called_at(1)
        return value if place is not None and cuts.passes(place) else plain(value, *args, **kwargs)

    with restored(target, "stop_gradient", stop_gradient):
        yield


@contextmanager
def _silent(
    layer: Any, note: Callable[[Any, float, str], None], kept: Callable[[Any, float, str], Any]
) -> Iterator[None]:
    """A random layer that gives back what it gets, noted where it would have been on; or what `kept` makes of it."""

    def call(inputs: Any, training: bool = False) -> Any:
        own = noted(layer)
        if not training:
            return inputs
        if own is not None:
            rate, kind = own.rate, "example" if own.examples else "element"
        else:
            rate = next(getattr(layer, name) for name in RANDOM if hasattr(layer, name))
            kinds = {L.AlphaDropout: "alpha", L.GaussianDropout: "gaussian", L.GaussianNoise: "noise"}
            kind = next(kind for cls, kind in kinds.items() if isinstance(layer, cls))
        note(layer, rate, kind)
        return kept(inputs, rate, kind)

    vars(layer)["call"] = call
    try:
        yield
    finally:
        del vars(layer)["call"]
