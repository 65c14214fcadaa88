"""Where one image lies in the other, where one side pads in front of a layer and the other within it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from math import prod

import numpy as np

from parity.core.tolerance import difference
from parity.core.types import Array

LARGEST_PADDING = 16
"""Rows or columns of an image: what differs by more is no padding."""
PLACES = (LARGEST_PADDING + 1) ** 2
"""Where a small image may lie in a large one, at most: a sequence may be padded by as much as a wide dilation asks."""


@dataclass(frozen=True)
class Framed:
    """The Keras image as the torch side has it: without its border, or with that of torch's.

    Attributes:
        offset: where torch's image begins in the Keras one, in rows and columns; negative where it is the other way.
        image: the Keras values, (N, C, *spatial) of torch's size.
        alike: whether torch's image holds the same, to rounding.
    """

    offset: tuple[int, ...]
    image: Array
    alike: bool


def framed(keras: Array, torch: Array) -> Framed | None:
    """Fit the Keras image to torch's size, where the larger of the two has a border of zeros or of minus infinity.

    An image of torch's own size stays as it is.

    Shapes: both (N, C, *spatial).
    Returns: None where neither has the other's size and such a border.
    """
    if keras.ndim != torch.ndim or keras.ndim < 3 or keras.shape[:2] != torch.shape[:2]:
        return None
    sign, large, small = (1, keras, torch) if keras.size > torch.size else (-1, torch, keras)
    first: Framed | None = None
    for start in starts(large.shape, small.shape):
        window = tuple(slice(a, a + size) for a, size in zip(start, small.shape[2:], strict=True))
        rest = np.ones(large.shape[2:], dtype=bool)
        rest[window] = False
        border = large[:, :, rest]
        if not (np.all(border == 0) or np.all(np.isneginf(border))):
            continue
        inside = (slice(None), slice(None), *window)
        if sign > 0:
            image = keras[inside]
        else:
            image = torch.copy()
            image[inside] = keras
        found = Framed(tuple(sign * place for place in start), image, difference(image, torch).within())
        if found.alike:
            return found
        first = first or found
    return first


def starts(large: tuple[int, ...], small: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
    """Where a small image may begin in a large one; none where it is no such pair, or the border is too wide.

    Shapes: both (N, C, *spatial).
    """
    if len(large) != len(small) or len(large) < 3 or large[:2] != small[:2]:
        return
    room = [a - b for a, b in zip(large[2:], small[2:], strict=True)]
    if min(room) >= 0 and prod(size + 1 for size in room) <= PLACES:
        yield from product(*(range(size + 1) for size in room))
