"""Takes a model's outputs apart: every tensor, array and number in them by name, and nothing left out in silence."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np

from parity.core.errors import UsageError

Number = bool | int | float | complex | np.generic


def named_leaves(outputs: Any, is_tensor: Callable[[Any], bool]) -> list[tuple[str, Any]]:
    """The tensors, arrays and numbers of a structure, each with the keys, fields and positions that lead to it.

    Dictionaries and other mappings, lists, tuples, named tuples and dataclasses are taken apart, one in the other.
    A list of numbers is one array, and so is a list of such lists of one length. None holds nothing, and an empty list
    within is an empty array.

    Args:
        outputs: what a model gave.
        is_tensor: whether a value is a tensor of the framework.

    Returns:
        (name, tensor or NumPy array) in the structure's own order; the name of a lone tensor is empty.

    Raises:
        UsageError: something in the structure is none of these, and could not be compared.
    """
    return list(_leaves(outputs, is_tensor, ""))


def _leaves(value: Any, is_tensor: Callable[[Any], bool], name: str) -> Iterator[tuple[str, Any]]:
    if value is None:
        return
    if is_tensor(value):
        yield name, value
        return
    numbers = _numbers(value)
    if numbers is not None:
        yield name, numbers
        return
    parts = _parts(value)
    if parts is None:
        at = f" at output {name}" if name else ""
        raise UsageError(
            "a model's outputs must be tensors, arrays or numbers, or dicts, lists, tuples and dataclasses of them; "
            f"got {type(value).__name__}{at}. Wrap the model so that it returns what is to be compared."
        )
    if not parts and name:
        yield name, np.zeros(0)  # a part that is empty on one side alone is a difference
    for key, part in parts:
        yield from _leaves(part, is_tensor, f"{name}.{key}" if name else key)


def _numbers(value: Any) -> np.ndarray | None:
    """A number, an array, or a list of numbers, as an array; None where it is none of these."""
    if isinstance(value, np.ndarray):
        return value if value.dtype.kind in "biufc" else None
    if isinstance(value, Number):
        return np.asarray(value) if np.asarray(value).dtype.kind in "biufc" else None
    if type(value) in (list, tuple) and value and _is_table(value):
        return np.asarray(value)
    return None


def _is_table(value: Any) -> bool:
    """Whether a list holds numbers alone, or lists of numbers that are of one length."""
    if isinstance(value[0], list | tuple):
        length = len(value[0])
        return length > 0 and all(
            type(row) in (list, tuple) and len(row) == length and _is_table(row) for row in value
        )
    return all(isinstance(item, Number) for item in value)


def _parts(value: Any) -> list[tuple[str, Any]] | None:
    """The parts of a structure by name; None where it is no structure."""
    if isinstance(value, dict):  # what it holds, whatever a class of its own shows of it
        return [(str(key), item) for key, item in dict.items(value)]
    if isinstance(value, Mapping):
        return [(str(key), item) for key, item in value.items()]
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return list(zip(map(str, value._fields), tuple.__iter__(value), strict=True))
    if is_dataclass(value) and not isinstance(value, type):
        return [(item.name, getattr(value, item.name)) for item in fields(value)]
    if isinstance(value, list):
        return [(str(i), item) for i, item in enumerate(list.__iter__(value))]
    if isinstance(value, tuple):
        return [(str(i), item) for i, item in enumerate(tuple.__iter__(value))]
    return None
