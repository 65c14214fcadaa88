"""Where one image lies in the other, where one side pads in front of a layer and the other within it."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np

from parity.core.tolerance import difference
from parity.core.types import Array

LARGEST_PADDING = 16
"""Rows or columns: what differs by more is no padding."""


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
    room = [a - b for a, b in zip(large.shape[2:], small.shape[2:], strict=True)]
    if min(room) < 0 or max(room) > LARGEST_PADDING:
        return None
    first: Framed | None = None
    for start in product(*(range(size + 1) for size in room)):
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
