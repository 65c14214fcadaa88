"""Whether two tensors hold the same values: each is read once, however many it is held against."""

from __future__ import annotations

from hashlib import blake2b

import numpy as np

from parity.core.adapter import Adapter
from parity.core.layout import Layout
from parity.core.types import Array


class EqualValues:
    """Equality of the tensors of two models.

    Args:
        keras: the Keras side.
        torch: the torch side.
    """

    def __init__(self, keras: Adapter, torch: Adapter) -> None:
        self._keras, self._torch = keras, torch
        self._marks: dict[tuple[str, str, Layout], object] = {}

    def same(self, keras: str, torch: str, layout: Layout) -> bool:
        """Whether every element is equal, in the Keras layout; a tensor with NaN equals none."""
        sides = ("keras", keras, layout), ("torch", torch, layout)
        if sides[0] not in self._marks:
            self._marks[sides[0]] = _mark(layout.part("keras", self._keras.peek(keras)))
        if sides[1] not in self._marks:
            self._marks[sides[1]] = _mark(layout.to_keras(self._torch.peek(torch)))
        return self._marks[sides[0]] == self._marks[sides[1]]


def _mark(value: Array) -> object:
    """Equal for equal values, whatever their dtype; of a tensor with NaN equal to nothing."""
    wide = np.ascontiguousarray(value, np.complex128 if value.dtype.kind == "c" else np.float64)
    if np.isnan(wide).any():
        return object()
    return value.shape, blake2b((wide + 0.0).tobytes(), digest_size=16).digest()  # -0.0 and 0.0 are equal
