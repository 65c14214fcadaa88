"""Structures of Keras tensors: which leaves are tensors, what they are called, and others in their place."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import tree

from parity.adapters.keras.weights import to_numpy
from parity.core.types import Array


def is_floating(tensor: Any) -> bool:
    """Whether a tensor holds floating-point numbers."""
    return bool(keras.backend.is_float_dtype(str(keras.backend.standardize_dtype(tensor.dtype))))


def named_tensors(outputs: Any) -> list[tuple[str, Any]]:
    """The tensors of a structure of outputs, each with the keys and positions that lead to it."""
    if isinstance(outputs, dict):
        items = [(str(key), item) for key, item in outputs.items()]
    elif isinstance(outputs, list | tuple):
        items = [(str(i), item) for i, item in enumerate(outputs)]
    else:
        return [("", outputs)] if keras.ops.is_tensor(outputs) else []
    return [
        (f"{key}.{name}" if name else key, value)
        for key, item in items
        for name, value in named_tensors(item)
    ]


def named_arrays(outputs: Any) -> list[tuple[str, Array]]:
    """The same with copies of the values."""
    return [(name, to_numpy(tensor)) for name, tensor in named_tensors(outputs)]


def arrays(structure: Any) -> list[Array]:
    """The tensors and arrays of a structure, in order, as arrays."""
    return [
        to_numpy(leaf) if keras.ops.is_tensor(leaf) else leaf
        for leaf in tree.flatten(structure)
        if _holds_values(leaf)
    ]


def replaced(structure: Any, values: Sequence[Array]) -> Any:
    """The same structure with its tensors and arrays replaced, in order; dtypes stay."""
    remaining = iter(values)

    def fresh(leaf: Any) -> Any:
        if not _holds_values(leaf):
            return leaf
        return keras.ops.convert_to_tensor(next(remaining), dtype=leaf.dtype)

    return tree.map_structure(fresh, structure)


def _holds_values(value: Any) -> bool:
    return keras.ops.is_tensor(value) or isinstance(value, np.ndarray)
