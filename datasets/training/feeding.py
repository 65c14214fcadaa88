"""The pixels of each batch, as both packages read them. Memory holds only what a batch needs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from datasets.training.order import Indices, Order, share_of
from datasets.training.recipe import Recipe
from datasets.voc.folder import normalise

CONTRAST = 64  # grey levels of contrast that become 1: near ImageNet's deviation, 57

Bytes = NDArray[np.uint8]
Augment = Callable[[Bytes, Bytes, Indices, int], tuple[Bytes, Bytes]]


class Source(Protocol):
    """Images with their masks, read by index."""

    @property
    def labels(self) -> bool:
        """Whether each mask is one map of class indices, (N, 1, H, W), with 255 where a pixel has no class.

        Otherwise masks are raw values of independent masks, (N, C, H, W).
        """
        ...

    @property
    def held(self) -> Indices | None:
        """Images for the checks alone, never for training; None leaves the choice to the recipe."""
        ...

    def __len__(self) -> int: ...

    def take(self, indices: Indices, epoch: int | None) -> tuple[Bytes, Bytes]:
        """Images (n, H, W, 3) and masks as an epoch sees them, or with None as the checks do."""
        ...


@dataclass(frozen=True, eq=False)
class Arrays:
    """A source of arrays. Arrays that are mapped from a file are read when a batch needs them.

    Shapes: images (N, H, W, 3), masks (N, C, H, W).
    """

    images: Bytes
    masks: Bytes
    labels: bool = False
    held: Indices | None = None

    def __len__(self) -> int:
        return len(self.images)

    def take(self, indices: Indices, epoch: int | None) -> tuple[Bytes, Bytes]:
        """The same in every epoch."""
        return self.images[indices], self.masks[indices]


@dataclass(frozen=True, eq=False)
class Section:
    """The batches of one section of a run, indexed by their number in it.

    Shapes: an item is (images, masks) of one batch, or of this process's part of it.
    Args:
        source: the images and their masks.
        order: which images are in which batch.
        steps: those of the section, counted from 0.
        augment: changes a batch's images and masks alike.
        rank, world: this process, and how many share every batch.
    """

    source: Source
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
        images, masks = self.source.take(indices, batch.epoch)
        return self.augment(images, masks, indices, batch.epoch) if self.augment else (images, masks)


@dataclass(frozen=True, eq=False)
class Kept:
    """The images that are kept for the checks, batch by batch, unchanged and in their own order.

    Several processes have equal parts of every batch; `Order.check_kept` refuses what would leave images out.
    """

    source: Source
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
        return self.source.take(share_of(part, self.rank, self.world), None)


def network_inputs(images: Bytes, inputs: str, dtype: str) -> NDArray[Any]:
    """Images in the units that a network is trained on.

    Shapes: images (..., 3) with values 0..255; returns the same.
    Args:
        images: RGB.
        inputs: "raw" 0..255; "unit" 0..1; "contrast", raw less each image's own median of each channel, divided
            by 64: the colour of the background, where most of an image is background, becomes 0; "imagenet",
            unit less ImageNet's mean and divided by its deviation.
        dtype: of the result.
    """
    if inputs == "imagenet":
        return normalise(images, dtype)
    values = images.astype(dtype)
    if inputs == "contrast":
        middles = np.median(images, axis=(-3, -2), keepdims=True).astype(dtype)
        return (values - middles) / np.asarray(CONTRAST, dtype)
    return values / np.asarray(255, dtype) if inputs == "unit" else values


def network_targets(masks: Bytes, loss: str, dtype: str, labels: bool = False) -> NDArray[Any]:
    """Masks as a loss takes them: raw values (mse), 0 and 1 (bce-dice), class indices (cross-entropy, alone or with Dice).

    Shapes: masks (N, C, H, W), or (N, 1, H, W) of class indices with `labels`; returns the same, or for
        cross-entropy (N, H, W) with 0 for the background and c + 1 for class c.
    """
    if labels:
        return masks[:, 0].astype("int32")
    if loss == "mse":
        return masks.astype(dtype)
    if loss == "bce-dice":
        return (masks > 0).astype(dtype)
    present = np.concatenate([np.ones_like(masks[:, :1]), masks > 0], axis=1)
    return (len(present[0]) - 1 - present[:, ::-1].argmax(axis=1)).astype("int32")  # the last class on top


def network_batch(
    batches: Section | Kept, number: int, network: Any, recipe: Recipe, dtype: str
) -> tuple[NDArray[Any], NDArray[Any]]:
    """A batch's inputs and targets, as a network is trained on them.

    Shapes: returns (n, H, W, 3), with a rim where the network asks for one, and what `network_targets` gives.
    Args:
        batches: those of a section, or of the images kept.
        number: of the batch.
        network: may say by `input_size` that its outputs are smaller than its inputs.
        recipe: gives the inputs' units and the loss.
        dtype: of the arrays.
    """
    images, masks = batches[number]
    inputs = network_inputs(framed(images, network), recipe.inputs, dtype)
    return inputs, network_targets(masks, recipe.loss, dtype, batches.source.labels)


def surrounded(images: Bytes, size: tuple[int, int]) -> Bytes:
    """Enlarge images to a size by a rim in which they are mirrored, equally wide on opposite sides.

    Shapes: images (N, H, W, 3); returns (N, *size, 3).
    Source: Ronneberger, Fischer & Brox, "U-Net", figure 2.
    """
    rims = [(wanted - given) // 2 for wanted, given in zip(size, images.shape[1:3], strict=True)]
    room = [
        (rim, wanted - given - rim) for rim, wanted, given in zip(rims, size, images.shape[1:3], strict=True)
    ]
    return np.pad(images, [(0, 0), *room, (0, 0)], mode="reflect" if min(images.shape[1:3]) > 1 else "edge")


def framed(images: Bytes, network: Any) -> Bytes:
    """Surround images so that the outputs cover them, if the network asks for that by its `input_size`."""
    wanted = getattr(network, "input_size", None)
    return surrounded(images, wanted(*images.shape[1:3])) if wanted else images


def middle(given: Sequence[int], wanted: Sequence[int]) -> tuple[slice, ...]:
    """The rows and columns of an output that lie on an image surrounded so that the output covers it."""
    starts = [(have - want) // 2 for have, want in zip(given, wanted, strict=True)]
    return tuple(slice(start, start + want) for start, want in zip(starts, wanted, strict=True))
