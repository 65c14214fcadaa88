"""Structures of torch tensors: which leaves are tensors, what they are called, and others in their place."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch.utils import _pytree as pytree

from parity.adapters.torch.weights import to_numpy
from parity.core.types import Array


def named_tensors(outputs: Any) -> list[tuple[str, torch.Tensor]]:
    """The tensors of a structure of outputs, each with the keys and positions that lead to it."""
    if isinstance(outputs, dict):
        items = [(str(key), item) for key, item in outputs.items()]
    elif isinstance(outputs, list | tuple):
        items = [(str(i), item) for i, item in enumerate(outputs)]
    else:
        return [("", outputs)] if isinstance(outputs, torch.Tensor) else []
    return [
        (f"{key}.{name}" if name else key, value)
        for key, item in items
        for name, value in named_tensors(item)
    ]


def named_arrays(outputs: Any) -> list[tuple[str, Array]]:
    """The same with copies of the values."""
    return [(name, to_numpy(tensor)) for name, tensor in named_tensors(outputs)]


def arrays(structure: Any) -> list[Array]:
    """The tensors of a structure, in order, as arrays."""
    return [to_numpy(leaf) for leaf in pytree.tree_leaves(structure) if isinstance(leaf, torch.Tensor)]


def replaced(structure: Any, values: Sequence[Array]) -> Any:
    """The same structure with its tensors replaced, in order; dtypes and devices stay."""
    leaves, spec = pytree.tree_flatten(structure)
    remaining = iter(values)
    fresh = [
        torch.from_numpy(np.array(next(remaining), order="C")).to(leaf.device, leaf.dtype)
        if isinstance(leaf, torch.Tensor)
        else leaf
        for leaf in leaves
    ]
    return pytree.tree_unflatten(fresh, spec)
