"""Bilinear resizing to any size, by the one rule that both packages share."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from keras import ops

from tf_impl._functional import Tensor


def resize_to(images: Tensor, size: Sequence[int]) -> Tensor:
    """Resize bilinearly: centres of pixels at half numbers, the border repeated, no antialiasing.

    Shapes: (N, H, W, C) -> (N, *size, C).

    Args:
        images: floating, of any range.
        size: height and width wanted, in pixels.

    Returns:
        The resized images, in the same dtype.

    Source: PyTorch, torch.nn.functional.interpolate with align_corners=False. (keras.ops.image.resize computes
    in float32 on TensorFlow for every dtype.)
    """
    for axis, target in zip((1, 2), size, strict=True):
        images = _resize_axis(images, axis, target)
    return images


def _resize_axis(x: Tensor, axis: int, target: int) -> Tensor:
    """Resize along one axis: between the two neighbours of each new pixel's centre."""
    length = ops.shape(x)[axis]
    if isinstance(length, int) and isinstance(target, int):
        if length == target:
            return x
        place = np.clip((np.arange(target) + 0.5) * (length / target) - 0.5, 0, length - 1)
        low = place.astype("int32")
        high, share = np.minimum(low + 1, length - 1), place - low
    else:  # a graph for any size
        count, wanted = ops.cast(length, "float32"), ops.cast(target, "float32")
        place = (ops.cast(ops.arange(target), "float32") + 0.5) * (count / wanted) - 0.5
        place = ops.clip(place, 0, count - 1)
        low = ops.cast(ops.floor(place), "int32")
        high, share = ops.minimum(low + 1, length - 1), place - ops.floor(place)
    share = ops.reshape(ops.cast(share, x.dtype), (-1, 1, 1) if axis == 1 else (-1, 1))
    return ops.take(x, low, axis=axis) * (1 - share) + ops.take(x, high, axis=axis) * share
