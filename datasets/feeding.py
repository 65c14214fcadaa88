"""The pixels of each batch, as both packages read them: nothing is in memory but what a batch needs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from datasets.order import Indices, Order, share_of

Bytes = NDArray[np.uint8]
Augment = Callable[[Bytes, Bytes, Indices, int], tuple[Bytes, Bytes]]


@dataclass(frozen=True, eq=False)
class Section:
    """The batches of one section of a run, by their number in it.

    Shapes: images (N, H, W, 3), masks (N, C, H, W); an item is (images, masks) of one batch, or of this
        process's part of it.
    Args:
        images: raw values 0..255; mapped from a file they are read as they are needed.
        masks: raw mask values.
        order: which images are in which batch.
        steps: those of the section, counted from 0.
        augment: changes a batch's images and masks alike.
        rank, world: this process, and how many share every batch.
    """

    images: Bytes
    masks: Bytes
    order: Order
    steps: range
    augment: Augment | None = None
    rank: int = 0
    world: int = 1

    def __len__(self) -> int:
        return len(self.steps)

    def __getitem__(self, number: int) -> tuple[Bytes, Bytes]:
        batch = self.order.batch(self.steps[number])
        indices = share_of(batch.indices, self.rank, self.world)
        images, masks = self.images[indices], self.masks[indices]
        return self.augment(images, masks, indices, batch.epoch) if self.augment else (images, masks)


@dataclass(frozen=True, eq=False)
class Kept:
    """The images that are kept for the checks, batch by batch, unchanged and in their own order.

    Of several processes each has an equal part of every batch; `Order.check_kept` sees that nothing is left out.
    """

    images: Bytes
    masks: Bytes
    indices: Indices
    batch_size: int
    rank: int = 0
    world: int = 1

    def __len__(self) -> int:
        return -(-len(self.indices) // self.batch_size)

    def __getitem__(self, number: int) -> tuple[Bytes, Bytes]:
        if not 0 <= number < len(self):
            raise IndexError(number)
        part = self.indices[number * self.batch_size : (number + 1) * self.batch_size]
        part = share_of(part, self.rank, self.world)
        return self.images[part], self.masks[part]


def network_inputs(images: Bytes, inputs: str, dtype: str) -> NDArray[Any]:
    """Images in the units that a network is trained on: "raw" 0..255, or "unit" 0..1."""
    values = images.astype(dtype)
    return values / np.asarray(255, dtype) if inputs == "unit" else values


def network_targets(masks: Bytes, loss: str, dtype: str) -> NDArray[Any]:
    """Masks as a loss takes them: raw values (mse), 0 and 1 (bce-dice), class indices (cross-entropy).

    Shapes: masks (N, C, H, W); returns the same, or (N, H, W) with 0 for the background and c + 1 for class c.
    """
    if loss == "mse":
        return masks.astype(dtype)
    if loss == "bce-dice":
        return (masks > 0).astype(dtype)
    present = np.concatenate([np.ones_like(masks[:, :1]), masks > 0], axis=1)
    return (len(present[0]) - 1 - present[:, ::-1].argmax(axis=1)).astype("int32")  # the last class on top
