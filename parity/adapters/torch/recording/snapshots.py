"""What is kept of a value of a torch run: tensors as `SeenTensor`, containers as copies."""

from __future__ import annotations

from typing import Any

import torch

from parity.adapters.recording.records import SeenTensor

MOST_ITEMS = 100_000
"""Longer lists are kept as they are: no model's structure is in them."""


class Snapshots:
    """Knows each tensor of the run by its identity."""

    def __init__(self) -> None:
        self._known: dict[int, SeenTensor] = {}

    def tensor(self, tensor: torch.Tensor) -> SeenTensor:
        """The record of a tensor, the same one each time."""
        known = self._known.get(id(tensor))
        if known is None:  # the record holds the tensor, so that its id stays its own
            shape, dtype = tuple(int(size) for size in tensor.shape), str(tensor.dtype).removeprefix("torch.")
            known = SeenTensor(len(self._known), shape, dtype, owner=tensor)
            self._known[id(tensor)] = known
        return known

    def __call__(self, value: Any) -> Any:
        """What is kept of a value at this moment."""
        if isinstance(value, torch.Tensor):
            return self.tensor(value)
        if isinstance(value, torch.Size):
            return tuple(int(size) for size in value)
        if isinstance(value, list | tuple | dict) and len(value) <= MOST_ITEMS:
            if isinstance(value, dict):
                return {key: self(item) for key, item in value.items()}
            items = [self(item) for item in value]
            if isinstance(value, list):
                return items
            return type(value)(*items) if hasattr(value, "_fields") else tuple(items)
        return value
