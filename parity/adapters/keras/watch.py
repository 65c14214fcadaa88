"""Shows the calls of Keras layers to an observer, and lets it replace what goes in and what comes out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import keras

from parity.adapters.keras.layers import WITH_ACTIVATION
from parity.adapters.keras.tensors import arrays, replaced
from parity.adapters.keras.weights import to_numpy
from parity.adapters.patching import restored
from parity.core.adapter import Observer
from parity.core.types import Array

L = keras.layers


@contextmanager
def watched(layers: Mapping[str, Any], observer: Observer) -> Iterator[None]:
    """Wrap `Layer.__call__`, so that any model is seen, however it was put together.

    Args:
        layers: the layers to show, by path.
        observer: sees them.
    """
    by_id = {id(layer): path for path, layer in layers.items()}
    counts: dict[str, int] = {}
    original = L.Layer.__call__

    def call(layer: Any, *args: Any, **kwargs: Any) -> Any:
        path = by_id.get(id(layer))
        if path is None:
            return original(layer, *args, **kwargs)
        index = counts.get(path, 0)
        counts[path] = index + 1
        values = arrays((args, kwargs))
        replacement = observer.before(path, index, values)
        if replacement is not None:
            args, kwargs = replaced((args, kwargs), replacement)
        with _before_activation(layer) as linear:
            outputs = original(layer, *args, **kwargs)
        replacement = observer.after(path, index, values, arrays(outputs), linear[-1:] or None)
        return outputs if replacement is None else replaced(outputs, replacement)

    with restored(L.Layer, "__call__", call):
        yield


@contextmanager
def _before_activation(layer: Any) -> Iterator[list[Array]]:
    """Collect what a convolution or dense layer gives before its built-in activation.

    torch keeps the two separate: `Conv2D(activation="relu")` corresponds to a Conv2d followed by a ReLU.
    """
    values: list[Array] = []
    activation = getattr(layer, "activation", None)
    if activation is None or activation is keras.activations.linear or not isinstance(layer, WITH_ACTIVATION):
        yield values
        return

    def record(tensor: Any, *args: Any, **kwargs: Any) -> Any:
        values.append(to_numpy(tensor))
        return activation(tensor, *args, **kwargs)

    with restored(layer, "activation", record):
        yield values
