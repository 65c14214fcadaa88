"""First values of Keras variables: their initialisers, drawn from again."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from parity.adapters.keras.adapter import KerasAdapter
from parity.adapters.keras.weights import to_numpy
from parity.core.types import Array


def first_value(adapter: KerasAdapter, path: str, draw: int) -> Array | None:
    """One draw of a variable's initialiser in the variable's shape; None where the layer holds no initialiser.

    The model is not touched: an initialiser of the same configuration and another seed is made.
    """
    owner, _, name = path.rpartition(".")
    layer = adapter.objects.get(owner)
    initialiser = next(
        (
            found
            for attribute in (f"{name}_initializer", f"{name.removesuffix('_kernel')}_initializer")
            if (found := getattr(layer, attribute, None)) is not None
        ),
        None,
    )
    if initialiser is None:
        return None
    variable = adapter.variables[path]
    value = _seeded(initialiser, draw)(tuple(variable.shape), dtype="float32")
    return to_numpy(value).astype(np.float64)


def _seeded(initialiser: Any, seed: int) -> Any:
    """The initialiser with a seed of its own; Keras gives the same values for one seed at every call."""
    if not isinstance(initialiser, keras.initializers.Initializer):
        return initialiser
    config = dict(initialiser.get_config())
    if "seed" not in config:
        return initialiser
    return type(initialiser).from_config({**config, "seed": seed})
