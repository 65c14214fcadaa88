"""The valid steps of sequences of unlike lengths: first in each sequence, with zeros behind, as torch packs them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from parity.adapters.keras.weights import to_numpy
from parity.core.types import Array


def shown_steps(values: Sequence[Array], valid: Array | None) -> list[Array]:
    """A pass's sequence and states, with the steps of the sequence that count first and zeros behind.

    Args:
        values: the sequence, (N, T, ...), and the states.
        valid: which steps count, (N, T); None for all.
    """
    if valid is None or valid.all():
        return list(values)
    steps = np.zeros_like(values[0])
    for row, kept in enumerate(valid):
        steps[row, : kept.sum()] = values[0][row, kept]
    return [steps, *values[1:]]


def steps_from(values: Sequence[Array], like: Sequence[Any], valid: Array | None) -> list[Any]:
    """Tensors with other values: those of `shown_steps` where steps count, and the old ones elsewhere."""
    first = values[0]
    if valid is not None and not valid.all():
        first = np.array(to_numpy(like[0]))
        for row, kept in enumerate(valid):
            first[row, kept] = values[0][row, : kept.sum()]
    return [
        keras.ops.convert_to_tensor(value, dtype=tensor.dtype)
        for value, tensor in zip([first, *values[1:]], like, strict=True)
    ]
