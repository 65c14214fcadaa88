"""Layers with one value for each position on one side, and one for each channel, or one at all, on the other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from parity.core.types import Array, LayerInfo

FAMILIES = ("prelu",)
"""Layers whose one tensor is multiplied onto the input."""


@dataclass(frozen=True)
class PerPosition:
    """Two layers whose one tensor has a value for each position on one side alone.

    Attributes:
        keras, torch: paths of the two layers.
        tensors: paths of the two tensors, and the shape of the Keras one.
        evidence, fix: in words.
    """

    keras: str
    torch: str
    tensors: tuple[str, str, tuple[int, ...]]
    evidence: str
    fix: str

    def spread(self, value: Array) -> Array:
        """torch's values at every position, as the Keras tensor holds them."""
        shape = self.tensors[2]
        if value.size == shape[-1] or value.size == 1:
            return np.broadcast_to(value.reshape(-1), shape).copy()
        return np.broadcast_to(value.reshape(-1, *([1] * (len(shape) - 1))), shape).copy()


def per_position(
    keras: Mapping[str, LayerInfo], torch: Mapping[str, LayerInfo], unmatched: set[str]
) -> Iterator[PerPosition]:
    """The layers of both sides, one with one in order, whose tensors hold values for other axes.

    Args:
        keras: the Keras layers by path.
        torch: likewise.
        unmatched: paths of the layers of either side that have tensors without a counterpart.
    """
    sides = [
        [layer for path, layer in layers.items() if layer.family in FAMILIES and path in unmatched]
        for layers in (keras, torch)
    ]
    if len(sides[0]) != len(sides[1]):
        return
    for one, partner in zip(*sides, strict=True):
        if len(one.tensors) != 1 or len(partner.tensors) != 1:
            continue
        (held,), (wanted,) = one.tensors, partner.tensors
        size = wanted.shape[0] if len(wanted.shape) == 1 else 0
        free = _free(held.shape, size)
        if not size or free is None:
            continue
        axes = [axis + 1 for axis in range(len(held.shape)) if axis != free]
        per = "channel" if size > 1 else "layer"
        yield PerPosition(
            one.path, partner.path, (held.path, wanted.path, held.shape),
            f"Keras holds a slope for each position and channel, {held.name} {held.shape}; torch one for each {per}, "
            f"{wanted.name} {wanted.shape}",
            f"shared_axes={axes} on Keras layer {one.path}: its {held.name} has {size} "
            f"value{'s' if size > 1 else ''} then, as torch's",
        )  # fmt: skip


def _free(shape: tuple[int, ...], size: int) -> int | None:
    """The axis that stays of a shape with a value for each position; -1 where none does, None where nothing fits."""
    if sum(length > 1 for length in shape) < 2 and size > 1:
        return None
    if size == 1:
        return -1 if any(length > 1 for length in shape) else None
    return next((axis for axis in (len(shape) - 1, 0) if shape[axis] == size), None)
