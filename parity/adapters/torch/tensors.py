"""Structures of torch tensors: which leaves are tensors, what they are called, and others in their place."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch.utils import _pytree as pytree

from parity.adapters import structure
from parity.adapters.torch.weights import to_numpy
from parity.core.types import Array


def named_leaves(outputs: Any) -> list[tuple[str, Any]]:
    """The tensors of a structure of outputs, and its arrays and numbers as arrays, each with its name."""
    return structure.named_leaves(outputs, lambda value: isinstance(value, torch.Tensor))


def named_tensors(outputs: Any) -> list[tuple[str, torch.Tensor]]:
    """The tensors alone."""
    return [(name, leaf) for name, leaf in named_leaves(outputs) if isinstance(leaf, torch.Tensor)]


def named_arrays(outputs: Any) -> list[tuple[str, Array]]:
    """All of them with copies of the values."""
    return [(name, as_array(leaf)) for name, leaf in named_leaves(outputs)]


def as_array(leaf: Any) -> Array:
    """A copy of a tensor's values, or of an array."""
    return to_numpy(leaf) if isinstance(leaf, torch.Tensor) else np.array(leaf)


def leaves_of(nested: Any) -> list[Any]:
    """The leaves of a structure in the order in which `replaced` takes them: those of a dict by its keys."""
    found: list[Any] = []
    return found if _plainly(nested, found) else _flat(nested)[1]


def arrays(nested: Any) -> list[Array]:
    """The tensors of a structure, in order (of a dict by its keys, as Keras has them), as arrays."""
    return [to_numpy(leaf) for leaf in leaves_of(nested) if isinstance(leaf, torch.Tensor)]


def replaced(nested: Any, values: Sequence[Array]) -> Any:
    """The same structure with its tensors replaced, in order; dtypes and devices stay."""
    if isinstance(nested, torch.Tensor):  # as most steps give it
        return _like(nested, values[0])
    order, leaves, spec = _flat(nested)
    remaining = iter(values)
    fresh = [_like(leaf, next(remaining)) if isinstance(leaf, torch.Tensor) else leaf for leaf in leaves]
    return pytree.tree_unflatten([fresh[place] for place in np.argsort(order)], spec)


def _like(leaf: torch.Tensor, value: Array) -> torch.Tensor:
    return torch.from_numpy(np.array(value, order="C")).to(leaf.device, leaf.dtype)


def _plainly(nested: Any, found: list[Any]) -> bool:
    """Add the leaves of plain tuples, lists and dicts, as most calls have them; whether there was nothing else."""
    kind = type(nested)
    if kind is tuple or kind is list:
        return all(_plainly(item, found) for item in nested)
    if kind is dict:
        return all(_plainly(nested[key], found) for key in sorted(nested, key=str))
    if isinstance(nested, torch.Tensor | int | float | str | type(None) | torch.dtype):
        found.append(nested)
        return True
    return False


def _flat(nested: Any) -> tuple[list[int], list[Any], Any]:
    """The leaves of a structure, those of a dict by its keys; their places in torch's own order; and the rest."""
    found, spec = pytree.tree_flatten_with_path(nested)

    def place(number: int) -> list[tuple[int, str]]:
        return [
            (0, str(key.key)) if isinstance(key, pytree.MappingKey) else (getattr(key, "idx", 0), "")
            for key in found[number][0]
        ]

    order = sorted(range(len(found)), key=place)
    return order, [found[number][1] for number in order], spec
