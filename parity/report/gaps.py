"""Where the tensors of a finding differ most."""

from __future__ import annotations

import numpy as np

from parity.core.layout import aligned
from parity.core.types import Array


def worst_element(tensors: dict[str, Array]) -> int | None:
    """The batch element with the greatest difference; None where the tensors have no common batch axis."""
    activations = [value for key, value in tensors.items() if "weight" not in key]
    batch = {value.shape[0] if value.ndim else 0 for value in activations}
    if len(batch) != 1 or batch == {0}:
        return None
    gap = gap_of(tensors)
    if gap is None:
        return 0
    return int(np.argmax(gap.reshape(gap.shape[0], -1).max(axis=1, initial=0.0)))


def gap_of(tensors: dict[str, Array]) -> Array | None:
    """|difference| of the outputs, or of what arrived where there are no outputs; None where shapes cannot agree.

    Where one side alone is NaN or infinite, the difference is infinite.
    """
    pair = compared(tensors)
    if pair is None:
        return None
    keras, torch = pair
    with np.errstate(invalid="ignore"):
        gap = np.abs(np.asarray(keras, np.float64) - np.asarray(torch, np.float64))
    same = (keras == torch) | (np.isnan(keras) & np.isnan(torch))
    return np.where(same, 0.0, np.where(np.isnan(gap), np.inf, gap))


def compared(tensors: dict[str, Array]) -> tuple[Array, Array] | None:
    """The first two outputs that differ, or inputs where there are no outputs; the torch one in the Keras layout."""
    what = "output" if "keras_output.0" in tensors and "torch_output.0" in tensors else "input"
    first = None
    for i in range(len(tensors)):
        keras, torch = tensors.get(f"keras_{what}.{i}"), tensors.get(f"torch_{what}.{i}")
        if keras is None or torch is None:
            break
        fit = aligned(keras, torch)
        if fit is not None and not np.array_equal(keras, fit[0], equal_nan=True):
            return keras, fit[0]
        first = first or (fit and (keras, fit[0]))
    return first
