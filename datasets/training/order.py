"""Which images are in which batch: a function of the seed alone, not of what ran before."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from datasets.errors import SettingsError
from datasets.training.recipe import Recipe

Indices = NDArray[np.int64]


class Batch(NamedTuple):
    """One step's place in the run, counted from 1, and the images that it sees."""

    step: int
    epoch: int
    number: int
    indices: Indices
    is_last: bool  # of its epoch, or of the run


@dataclass(frozen=True, eq=False)
class Order:
    """The batches of a run, and the sections between its checks.

    Args:
        count: number of training images, those kept for the checks among them.
        recipe: gives the seed, the batch size, the epochs, the steps and the checks.
        held: the images that are kept for the checks; None keeps the recipe's share.
    """

    count: int
    recipe: Recipe
    held: Indices | None = None

    @cached_property
    def kept(self) -> Indices:
        """The images that are kept for the checks, in their own order."""
        if self.held is not None:
            return self.held
        number = round(self.count * self.recipe.validation)
        if self.recipe.validation and not 0 < number < self.count:
            raise SettingsError(
                f"validation must leave images on both sides; got validation={self.recipe.validation} of "
                f"{self.count} images. Give another share."
            )
        return np.sort(np.random.default_rng([self.recipe.seed, 0]).permutation(self.count)[:number])

    @cached_property
    def trained(self) -> Indices:
        """The images that are trained on."""
        return np.setdiff1d(np.arange(self.count), self.kept) if len(self.kept) else np.arange(self.count)

    @property
    def total(self) -> int:
        """The number of steps of the whole run."""
        return self.recipe.total_steps(len(self.trained))

    @property
    def steps_per_epoch(self) -> int:
        """The number of batches that the images make."""
        return self.recipe.steps_per_epoch(len(self.trained))

    @cached_property
    def sections(self) -> list[range]:
        """The steps, counted from 0, from each check to the next. No section cuts an update in two."""
        every, whole = self.recipe.check_every, self.recipe.accumulate
        length = every or self.steps_per_epoch
        ends = {min(-(-end // whole) * whole, self.total) for end in range(length, self.total, length)}
        bounds = [0, *sorted(ends | {self.total})]
        return [range(start, end) for start, end in pairwise(bounds)]

    def batch(self, step: int) -> Batch:
        """The batch of one step, counted from 0."""
        epoch, number = divmod(step, self.steps_per_epoch)
        size = self.recipe.batch_size
        indices = self.trained[self._permutation(epoch + 1)[number * size : (number + 1) * size]]
        is_last = number + 1 == self.steps_per_epoch or step + 1 == self.total
        return Batch(step + 1, epoch + 1, number + 1, indices, is_last)

    def left_out(self, world: int) -> int:
        """How many images of an epoch's last batch are left out where `world` processes share every batch equally.

        Raises:
            SettingsError: a batch that cannot be shared.
        """
        size, last = self.recipe.batch_size, len(self.trained) % self.recipe.batch_size
        if size % world or 0 < last < world:
            raise SettingsError(
                f"a batch must be shared equally by {world} processes or devices, with an image for each; got "
                f"batch_size={size}, and {last} images in the last batch of an epoch. Give another --batch-size."
            )
        return last % world

    def check_kept(self, world: int) -> None:
        """Refuse images kept that `world` processes cannot share equally, batch by batch.

        Raises:
            SettingsError: their number is no multiple of the processes, or a batch is not.
        """
        if len(self.kept) % world or self.recipe.batch_size % world:
            raise SettingsError(
                f"the images kept must be shared equally by {world} processes; got {len(self.kept)} images in batches "
                f"of {self.recipe.batch_size}. Give another --validation or --batch-size."
            )

    def _permutation(self, epoch: int) -> Indices:
        drawn = self._drawn.get(epoch)  # several threads may ask
        if drawn is None:
            # Seeded by epoch, not drawn in sequence: epoch 5's order does not depend on having run epoch 4.
            drawn = np.random.default_rng([self.recipe.seed, epoch]).permutation(len(self.trained))
            for old in [key for key in list(self._drawn) if key < epoch - 1]:
                self._drawn.pop(old, None)  # the run goes on from one epoch to the next
            self._drawn[epoch] = drawn
        return drawn

    @cached_property
    def _drawn(self) -> dict[int, Indices]:
        return {}


def batches(count: int, recipe: Recipe) -> Iterator[Batch]:
    """Every batch of a run on `count` images, in order; the last one of an epoch holds the images left over."""
    order = Order(count, recipe)
    return (order.batch(step) for step in range(order.total))


def share_of(indices: Indices, rank: int, world: int) -> Indices:
    """One process's part of a batch. The parts are equal, so that the mean of their losses is the batch's loss.

    Images beyond a multiple of `world`, which only an epoch's last batch can have, are left out.
    """
    size = len(indices) // world
    return indices[rank * size : (rank + 1) * size]
