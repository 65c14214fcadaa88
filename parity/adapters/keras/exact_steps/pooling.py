"""Pooling in three dimensions, which TensorFlow's CPU refuses in float64: over two axes, then over the third.

The greatest value, and the mean of means over windows of equal sizes, are the same in two turns. At a border a mean
leaves the padding out in each turn, as TensorFlow does in one. Of equal greatest values the first gets the gradient
either way.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

Pool = Callable[..., Any]


def in_two_turns(
    pool: Pool, images: Any, window: Any, strides: Any, padding: Any, channels_first: bool = False
) -> Any:
    """Pool images (N, D, H, W, C), or (N, C, D, H, W), by a function that pools (N, H, W, C).

    Args:
        pool: TensorFlow's `max_pool` or `avg_pool`.
        images: a float64 tensor.
        window: one size, or one for each of D, H and W, with or without the other two axes.
        strides: likewise.
        padding: "VALID" or "SAME".
        channels_first: whether C is axis 1.
    """
    import tensorflow as tf

    if channels_first:
        images = tf.transpose(images, [0, 2, 3, 4, 1])
    sizes, steps = _three(window, channels_first), _three(strides, channels_first)
    shape = tf.shape(images)
    flat = pool(tf.reshape(images, tf.concat([[-1], shape[2:]], 0)), sizes[1:], steps[1:], padding)
    height, width = tf.shape(flat)[1], tf.shape(flat)[2]
    columns = tf.reshape(flat, tf.stack([shape[0], shape[1], height * width, shape[4]]))
    made = pool(columns, (sizes[0], 1), (steps[0], 1), padding)
    made = tf.reshape(made, tf.stack([shape[0], tf.shape(made)[1], height, width, shape[4]]))
    return tf.transpose(made, [0, 4, 1, 2, 3]) if channels_first else made


def _three(sizes: Any, channels_first: bool) -> tuple[int, ...]:
    """The sizes of the three axes, from what TensorFlow takes: one, three or five numbers."""
    if isinstance(sizes, int):
        return (sizes,) * 3
    found: Sequence[int] = [int(size) for size in sizes]
    if len(found) == 1:
        return (found[0],) * 3
    if len(found) == 5:
        found = found[2:] if channels_first else found[1:4]
    return tuple(found)
