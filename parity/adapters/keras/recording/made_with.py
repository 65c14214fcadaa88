"""What each layer of a Keras model is made with: noted while the model is built."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import keras

from parity.adapters.patching import restored

NOTE = "_parity_made_with"


def has_own_classes(model: Any) -> bool:
    """Whether a layer of the model is of a class that is not Keras' own."""
    return any(not type(layer).__module__.startswith("keras.") for layer in model._flatten_layers())


@contextmanager
def noted_arguments() -> Iterator[None]:
    """While this is entered, layers and models that are made know their constructor's arguments."""
    with ExitStack() as stack:
        for cls in (keras.Operation, keras.Model):
            stack.enter_context(restored(cls, "__new__", staticmethod(_noting(cls.__new__))))
        yield


def _noting(before: Any) -> Any:
    def make(cls: type, *args: Any, **kwargs: Any) -> Any:
        made = before(cls, *args, **kwargs)
        try:
            bound = inspect.signature(type(made).__init__).bind(made, *args, **kwargs)
        except TypeError:  # the class says by itself what it takes
            return made
        if args or kwargs or NOTE not in vars(made):
            bound.apply_defaults()
            object.__setattr__(made, NOTE, dict(list(bound.arguments.items())[1:]))
        return made

    return make


def made_with(layer: Any) -> dict[str, Any] | None:
    """The arguments by name, with their defaults; None where they were not noted."""
    found = vars(layer).get(NOTE)
    return dict(found) if found is not None else None
