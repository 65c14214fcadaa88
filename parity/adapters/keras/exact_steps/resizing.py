"""Bilinear and bicubic resizing in float64: each axis by a matrix, as TensorFlow's own functions weigh the pixels."""

from __future__ import annotations

from typing import Any

import numpy as np

from parity.core.types import Array

TABLE = 1024
"""Places between two pixels at which TensorFlow's bicubic knows its weights; it takes the nearest of them."""
KEYS = -0.5
"""The slope of the cubic at distance one, in TensorFlow since half-pixel centres. PyTorch has -0.75."""


def resized(images: Any, size: Any, method: str, antialias: bool) -> Any:
    """Images (N, H, W, C) of another size.

    Args:
        images: a float64 tensor.
        size: the new height and width.
        method: "bilinear" or "bicubic".
        antialias: whether frequencies are kept out that the new size cannot hold.
    """
    weights = _triangle if method == "bilinear" else _cubic
    for axis in (1, 2):
        images = _along(images, weights(int(images.shape[axis]), int(size[axis - 1]), antialias), axis)
    return images


def _along(images: Any, weights: Array, axis: int) -> Any:
    import tensorflow as tf

    moved = tf.tensordot(tf.constant(weights, tf.float64), images, [[1], [axis]])
    return tf.transpose(moved, [*range(1, axis + 1), 0, *range(axis + 1, len(images.shape))])


def _triangle(length: int, size: int, antialias: bool) -> Array:
    """A triangle around each new pixel's centre; pixel centres lie at half pixels.

    The triangle is one old pixel wide to each side, or, to keep high frequencies out where the image shrinks, one
    new pixel.
    """
    scale = length / size
    centres = (np.arange(size) + 0.5) * scale
    if not antialias:
        centres = np.clip(centres, 0.5, length - 0.5)
    reach = max(scale, 1.0) if antialias else 1.0
    weights = np.maximum(0.0, 1.0 - np.abs(np.arange(length) + 0.5 - centres[:, None]) / reach)
    return np.asarray(weights / weights.sum(axis=1, keepdims=True))


def _cubic(length: int, size: int, antialias: bool) -> Array:
    """Keys' cubic around each new pixel's centre; what falls outside the image is left out of the sum."""
    scale = length / size
    centres = (np.arange(size) + 0.5) * scale - 0.5
    reach = max(scale, 1.0) if antialias else 1.0
    if not antialias:
        whole = np.floor(centres)
        centres = whole + np.rint((centres - whole) * TABLE) / TABLE
    weights = _keys(np.abs(np.arange(length) - centres[:, None]) / reach)
    if not antialias:  # the four pixels around the place before it was rounded
        near = np.arange(length) - np.floor((np.arange(size) + 0.5) * scale - 0.5)[:, None]
        weights = np.where((near >= -1) & (near <= 2), weights, 0.0)
    return np.asarray(weights / weights.sum(axis=1, keepdims=True))


def _keys(distance: Array) -> Array:
    inner = ((KEYS + 2.0) * distance - (KEYS + 3.0)) * distance**2 + 1.0
    outer = ((KEYS * distance - 5.0 * KEYS) * distance + 8.0 * KEYS) * distance - 4.0 * KEYS
    return np.where(distance <= 1.0, inner, np.where(distance < 2.0, outer, 0.0))
