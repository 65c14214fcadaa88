"""A Keras model saved with its configuration and loaded again, and each of its layers made from its configuration."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import keras


def saved_and_loaded(model: Any, path: Path) -> Any:
    """What `keras.models.load_model` gives of a model that was saved.

    Args:
        model: its classes must be registered.
        path: where it is saved; it ends in .keras.
    """
    with _unbuilt_parts():
        model.save(path)
        return keras.models.load_model(path)


def configured(model: Any) -> str:
    """What is wrong with the configuration of a layer of the model's own module; empty where each one makes its equal."""
    for layer in model._flatten_layers():
        if type(layer).__module__ != type(model).__module__:
            continue
        try:
            given = keras.saving.serialize_keras_object(layer)
            given.pop(
                "build_config", None
            )  # weights say nothing of the configuration, and building takes long
            with _unbuilt_parts():
                again = keras.saving.serialize_keras_object(keras.saving.deserialize_keras_object(given))
        except Exception as error:  # the layer's own code raises what it likes
            return f"{type(layer).__name__} cannot be made from its configuration: {error}"
        if given["config"] != again["config"]:
            return f"{type(layer).__name__} made from its configuration has another one"
    return ""


@contextmanager
def _unbuilt_parts() -> Iterator[None]:
    """Keras warns of layers that build their parts when they are called first, which the model's first call does."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*`build\\(\\)` was called on layer")
        yield
