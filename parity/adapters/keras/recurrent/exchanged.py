"""Recurrent cells of Keras with another activation, for a moment."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import keras

from parity.adapters.patching import restored

ACTIVATIONS: Mapping[str, Callable[[Any], Any]] = {
    "sigmoid": keras.activations.sigmoid,
    "hard_sigmoid": keras.activations.hard_sigmoid,
    "hard sigmoid of 0.2 x + 0.5": lambda x: keras.ops.clip(0.2 * x + 0.5, 0.0, 1.0),
    "tanh": keras.activations.tanh,
    "relu": keras.activations.relu,
    "linear": keras.activations.linear,
    "softsign": keras.activations.softsign,
}
"""What a cell may apply to its gates and to its candidate, by name."""


def applied(cell: Any, name: str) -> str:
    """What a cell applies: `activation` or `recurrent_activation`; empty where it applies nothing there."""
    return getattr(getattr(cell, name, None), "__name__", "")


@contextmanager
def exchanged(cells: Iterable[Any], name: str, chosen: str) -> Iterator[None]:
    """While this is open, the cells apply something else.

    Args:
        cells: Keras' own objects.
        name: "activation" or "recurrent_activation".
        chosen: one of ACTIVATIONS.
    """
    with ExitStack() as stack:
        for cell in cells:
            stack.enter_context(restored(cell, name, ACTIVATIONS[chosen]))
        yield
