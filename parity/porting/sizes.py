"""Inputs of further sizes that a model takes, so that sizes and constants can be told apart, and ports be proved on them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from parity.core.adapter import Adapter
from parity.core.types import Array

MORE = ((11, 14, 5), (32, 64, 32), (64, 32, 64))
"""Pixels that are added to the axes in turn: odd and even ones, then multiples of what networks halve."""


def further_inputs(model: Adapter, values: Sequence[Array]) -> list[Array] | None:
    """The same inputs with another batch and other sizes, drawn anew; with another batch alone where no sizes are taken.

    Args:
        model: the source, by whose framework the axes of images stand.
        values: the inputs as the model takes them.

    Returns:
        None where the model takes no other batch either.
    """
    for sizes in _further(values, channels=1 if model.side == "torch" else -1):
        rng = np.random.default_rng(1)
        drawn = [_drawn(rng, value, size) for value, size in zip(values, sizes, strict=True)]
        try:
            model.forward(drawn)
        except Exception:  # the model's own code raises what it likes: these sizes are not for it
            continue
        return drawn
    return None


def _further(values: Sequence[Array], channels: int) -> Iterator[list[tuple[int, ...]]]:
    """Sizes of all inputs to try in turn."""
    for more in MORE:
        for fixed in dict.fromkeys([channels, -1, 1]):
            yield [_grown(value, more, fixed) for value in values]
    for number in (1, 2):  # another batch alone
        yield [(value.shape[0] + number, *value.shape[1:]) for value in values]


def _grown(value: Array, more: Sequence[int], channels: int) -> tuple[int, ...]:
    """A batch of one more, and every axis but the one with the channels longer; vectors keep their length."""
    if value.ndim < 2 or (value.ndim == 2 and value.dtype.kind == "f"):
        return (value.shape[0] + 1, *value.shape[1:]) if value.ndim else ()
    kept = channels % value.ndim if value.ndim > 2 else None
    axes = [axis for axis in range(1, value.ndim) if axis != kept]
    sizes = [value.shape[0] + 1, *value.shape[1:]]
    for axis, pixels in zip(axes, more, strict=False):
        sizes[axis] += pixels
    return tuple(sizes)


def _drawn(rng: np.random.Generator, value: Array, sizes: tuple[int, ...]) -> Array:
    """Values like the given ones: whole numbers within their range."""
    if value.dtype.kind in "iub":
        return rng.choice(np.unique(value), sizes).astype(value.dtype)
    return rng.standard_normal(sizes).astype(value.dtype)
