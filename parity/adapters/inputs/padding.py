"""Sequences of tokens with padding: where a model masks the number zero, zeros stand at one end."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from parity.core.types import Array, LayerInfo


def masks_zero(layers: Mapping[str, LayerInfo]) -> bool:
    """Whether the model takes the token 0 for padding."""
    return any(layer.settings.get("mask_zero") for layer in layers.values())


def padded_like(value: Array, like: Array | None = None) -> Array:
    """The same tokens with the zeros of each sequence at its end, and one token at least in each.

    A zero in the middle is no padding: a packed sequence ends there, and a masked one goes on behind it.

    Args:
        value: tokens, (N, T). Anything else comes back as it is.
        like: tokens that were given. Where their zeros stand in front, or in the middle, so do these.
    """
    if value.dtype.kind not in "iu" or value.ndim != 2 or not value.size:
        return value
    front = False
    if like is not None and like.ndim == 2 and not _at_end(like):
        if not _at_end(like[:, ::-1]):
            return value
        front = True
    value = value.copy()
    value[:, 0] = np.where(value.any(1), value[:, 0], max(int(value.max()), 1))
    order = np.argsort(value == 0, axis=1, kind="stable")
    if front:
        order = np.argsort(value != 0, axis=1, kind="stable")
    return np.take_along_axis(value, order, 1)


def _at_end(value: Array) -> bool:
    """Whether no sequence has a token behind a zero."""
    zero = value == 0
    return bool((np.maximum.accumulate(zero, 1) == zero).all())
