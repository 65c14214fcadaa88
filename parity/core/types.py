"""What the rooms hand one another: arrays, sides, layers and their tensors."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Generic, Literal, NamedTuple, TypeVar

import numpy as np

Side = Literal["keras", "torch"]
Array = np.ndarray[Any, Any]
T = TypeVar("T")


class Both(NamedTuple, Generic[T]):
    """What the Keras side has, and what the torch side has for it."""

    keras: T
    torch: T

    def of(self, side: Side) -> T:
        """What this side has."""
        return self.keras if side == "keras" else self.torch


@dataclass(frozen=True)
class TensorInfo:
    """One weight or buffer: where it is, its shape and dtype, and its further names."""

    path: str
    name: str
    shape: tuple[int, ...]
    dtype: str
    aliases: tuple[str, ...] = ()


@dataclass(frozen=True)
class LayerInfo:
    """One layer: its path from the model's root, its class, and the tensors that it owns itself.

    `family` is the kind of computation ("conv", "batchnorm", ...), None where the class is not known.
    `aliases` are further paths by which the mirror image may know the same layer.
    `settings` holds the attributes that decide what the layer computes.
    """

    path: str
    kind: str
    family: str | None
    tensors: tuple[TensorInfo, ...]
    leaf: bool
    aliases: tuple[str, ...] = ()
    settings: dict[str, Any] = field(default_factory=dict)
