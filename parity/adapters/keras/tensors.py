"""Structures of Keras tensors: which leaves are tensors, what they are called, and others in their place."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import tree

from parity.adapters import structure
from parity.adapters.keras.weights import to_numpy
from parity.core.types import Array


def is_floating(tensor: Any) -> bool:
    """Whether a tensor holds floating-point numbers."""
    return bool(keras.backend.is_float_dtype(str(keras.backend.standardize_dtype(tensor.dtype))))


def named_leaves(outputs: Any) -> list[tuple[str, Any]]:
    """The tensors of a structure of outputs, and its arrays and numbers as arrays, each with its name."""
    return structure.named_leaves(outputs, _is_tensor)


def named_tensors(outputs: Any) -> list[tuple[str, Any]]:
    """The tensors alone."""
    return [(name, leaf) for name, leaf in named_leaves(outputs) if _is_tensor(leaf)]


def named_arrays(outputs: Any) -> list[tuple[str, Array]]:
    """All of them with copies of the values."""
    return [(name, as_array(leaf)) for name, leaf in named_leaves(outputs)]


def as_array(leaf: Any) -> Array:
    """A copy of a tensor's values, or of an array."""
    return to_numpy(leaf) if _is_tensor(leaf) else np.array(leaf)


def arrays(nested: Any) -> list[Array]:
    """The tensors and arrays of a structure, in order, as arrays."""
    return [
        to_numpy(leaf) if keras.ops.is_tensor(leaf) else leaf
        for leaf in tree.flatten(nested)
        if _holds_values(leaf)
    ]


def replaced(nested: Any, values: Sequence[Array]) -> Any:
    """The same structure with its tensors and arrays replaced, in order; dtypes stay."""
    remaining = iter(values)

    def fresh(leaf: Any) -> Any:
        if not _holds_values(leaf):
            return leaf
        return keras.ops.convert_to_tensor(next(remaining), dtype=leaf.dtype)

    return tree.map_structure(fresh, nested)


def _is_tensor(value: Any) -> bool:
    return isinstance(value, keras.Variable) or bool(keras.ops.is_tensor(value))


def _holds_values(value: Any) -> bool:
    return keras.ops.is_tensor(value) or isinstance(value, np.ndarray)
