"""What stands in the place of dropout on both sides: the same examples are halved, or the same elements dropped."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from itertools import permutations
from math import prod

import numpy as np

from parity.core.trainer import Drops
from parity.core.types import Array

Sizes = tuple[int, ...]
LONGEST = 5
"""Axes of a tensor, at most, whose orders are all tried."""


HALF = 0.5
"""What is left of every second example: of zeros alone a norm is no number."""


class Examples(Drops):
    """Every second example is dropped by half, by every random layer, whatever the order of the axes and the layers.

    Args:
        batch: its size, which one axis alone has.
        off: numbers of random layers that drop nothing, in execution order.
    """

    def __init__(self, batch: int, off: Collection[int] = ()) -> None:
        super().__init__()
        self.batch, self.off = batch, off

    def factor(self, shape: Sizes, rate: float, kind: str) -> Array | None:
        """Half for every second example, along the axis of the batch's size."""
        super().factor(shape, rate, kind)
        if len(self.taken) - 1 in self.off:
            return None
        kept = np.where(np.arange(self.batch) % 2, HALF, 1.0) * _scale(rate)
        size = [self.batch if length == self.batch else 1 for length in shape]
        return kept.reshape(size)


class Elements(Drops):
    """Single elements are dropped, the same on both sides.

    Args:
        shapes: of what each of the Keras side's random layers takes, in execution order; (N,) where it has one number
            for each example.
        places: for each random layer of this side, in execution order, the number of the Keras side's, and the Keras
            axis of each of its own axes that is longer than one; None where it drops nothing.
        images: (H, W, C) of images that are flattened, which torch flattens from (C, H, W); empty on the Keras side.
    """

    def __init__(
        self,
        shapes: Sequence[Sizes],
        places: Sequence[tuple[int, Sizes] | None],
        images: Collection[Sizes] = (),
    ) -> None:
        super().__init__()
        self.shapes, self.places, self.images = shapes, places, images

    def factor(self, shape: Sizes, rate: float, kind: str) -> Array | None:
        """Zero for the elements, channels or examples that are drawn, in this side's own order of axes."""
        place = self.places[len(self.taken)]
        super().factor(shape, rate, kind)
        if place is None:
            return None
        number, order = place
        whole = _squeezed(self.shapes[number])
        drawn = [
            length if kind != "channel" or axis in {0, len(whole) - 1} else 1
            for axis, length in enumerate(whole)
        ]  # fmt: skip
        kept = np.random.default_rng(number).random(drawn) >= rate
        factor = np.broadcast_to(kept * _scale(rate), whole)
        if kind == "example":
            return factor.reshape([length if length == len(factor) else 1 for length in shape])
        image = next((each for each in self.images if len(whole) == 2 and prod(each) == whole[1]), None)
        if image is not None:
            return np.moveaxis(factor.reshape(-1, *image), -1, 1).reshape(shape)
        return factor.transpose(order).reshape(shape)


def order_of(keras: Sizes, torch: Sizes) -> Sizes | None:
    """The Keras axis of each of torch's axes, those of length one left out; None where no order fits, or several do.

    Images have their channels first in torch, and what has three axes or fewer mostly is as it is in Keras.
    """
    keras, torch = _squeezed(keras), _squeezed(torch)
    if sorted(keras) != sorted(torch) or len(keras) > LONGEST:
        return None
    last = len(keras) - 1
    usual = (0, last, *range(1, last)) if last > 2 else tuple(range(last + 1))
    fitting = [
        order
        for order in permutations(range(last + 1))
        if all(keras[axis] == length for axis, length in zip(order, torch, strict=True))
    ]
    return usual if usual in fitting else fitting[0] if len(fitting) == 1 else None


def _scale(rate: float) -> float:
    """What is kept is multiplied by; at a rate of one nothing is kept."""
    return 1.0 / (1.0 - rate) if rate < 1.0 else 0.0


def _squeezed(shape: Sizes) -> Sizes:
    return tuple(length for length in shape if length != 1)
