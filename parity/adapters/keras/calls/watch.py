"""Shows the calls of Keras layers to an observer, and lets it replace what goes in and what comes out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import partial, wraps
from typing import Any

import keras

from parity.adapters.keras.calls.composite import inputs_of, outputs_of, with_inputs, with_outputs
from parity.adapters.keras.layers import WITH_ACTIVATION
from parity.adapters.keras.recurrent.lowered import lowered
from parity.adapters.keras.recurrent.part import cells_of
from parity.adapters.keras.recurrent.valid import shown_steps, steps_from
from parity.adapters.keras.tensors import arrays
from parity.adapters.keras.weights import to_numpy
from parity.adapters.patching import restored
from parity.core.adapter import Observer
from parity.core.types import Array

L = keras.layers


@contextmanager
def watched(layers: Mapping[str, Any], observer: Observer, recurrent: Sequence[Any] = ()) -> Iterator[None]:
    """Wrap `Layer.__call__`, so that any model is seen, however it was put together; `call` itself likewise.

    Args:
        layers: the layers to show, by path.
        observer: sees them.
        recurrent: layers that run their cells along a sequence: the pass of a cell among `layers` is its call.
    """
    passing = [layer for layer in recurrent if any(cell in layers.values() for cell in cells_of(layer))]
    cells = {id(cell): cell for layer in passing for cell in cells_of(layer)}
    every = {id(layer): path for path, layer in layers.items()}
    by_id = {key: path for key, path in every.items() if key not in cells}
    counts: dict[str, int] = {}
    announced: set[int] = set()
    original = L.Layer.__call__

    def passed(cell: Any, mask: Any, run: Callable[..., Any]) -> Callable[..., Any]:
        if id(cell) not in every:
            return run
        return partial(_pass, every[id(cell)], observer, counts, mask, run)

    def shown(run: Callable[..., Any], layer: Any, args: Any, kwargs: Any) -> Any:
        path = by_id[id(layer)]
        index = counts.get(path, 0)
        counts[path] = index + 1
        values = inputs_of(layer, args, kwargs)
        replacement = observer.before(path, index, values)
        if replacement is not None:
            args, kwargs = with_inputs(layer, args, kwargs, replacement)
        with _before_activation(layer) as linear:
            outputs = run(*args, **kwargs)
        replacement = observer.after(path, index, values, outputs_of(layer, outputs), linear[-1:] or None)
        return outputs if replacement is None else with_outputs(layer, outputs, replacement)

    def call(layer: Any, *args: Any, **kwargs: Any) -> Any:
        if id(layer) not in by_id:
            return original(layer, *args, **kwargs)

        def run(*args: Any, **kwargs: Any) -> Any:
            announced.add(id(layer))
            try:
                return original(layer, *args, **kwargs)
            finally:
                announced.discard(id(layer))

        return shown(run, layer, args, kwargs)

    def seen(layer: Any) -> AbstractContextManager[None]:
        plain = layer.call

        @wraps(plain)
        def run(*args: Any, **kwargs: Any) -> Any:
            if id(layer) in announced:
                announced.discard(id(layer))
                return plain(*args, **kwargs)
            return shown(plain, layer, args, kwargs)

        return _called(layer, run)

    with ExitStack() as stack:
        stack.enter_context(restored(L.Layer, "__call__", call))
        stack.enter_context(lowered(passing, passed))
        for layer in [layer for layer in layers.values() if id(layer) in by_id]:
            stack.enter_context(seen(layer))
        yield


def _pass(
    path: str, observer: Observer, counts: dict[str, int], mask: Any, run: Callable[..., Any], *given: Any
) -> Any:
    """One pass of a cell along a sequence, shown: its valid steps, and its states."""
    index = counts.get(path, 0)
    counts[path] = index + 1
    valid = None if mask is None else to_numpy(mask).astype(bool)
    values = shown_steps(arrays(list(given)), valid)
    replacement = observer.before(path, index, values)
    if replacement is not None:
        given = tuple(steps_from(replacement, given, valid))
    outputs = run(*given)
    replacement = observer.after(path, index, values, shown_steps(arrays(list(outputs)), valid), None)
    return outputs if replacement is None else tuple(steps_from(replacement, outputs, valid))


@contextmanager
def _called(layer: Any, run: Any) -> Iterator[None]:
    """While this is open, `layer.call` is this function."""
    own = vars(layer).get("call")
    vars(layer)["call"] = run
    try:
        yield
    finally:
        if own is None:
            del vars(layer)["call"]
        else:
            vars(layer)["call"] = own


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
