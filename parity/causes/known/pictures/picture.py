"""What a picture holds, and the inputs and operations that pictures are made with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from parity.core.types import Array

Made = Callable[[], "SmallExample"]


@dataclass(frozen=True)
class SmallExample:
    """Both sides of one small example.

    Attributes:
        keras: what Keras computes, rows by columns.
        torch: what torch computes; of other sizes where the cause changes these.
        rows: what the rows are.
        columns: what the columns are; "" where cells are read row by row.
    """

    keras: Array
    torch: Array
    rows: str = "height"
    columns: str = "width"

    @property
    def difference(self) -> Array | None:
        """The absolute difference; None where the sizes differ."""
        return np.abs(self.keras - self.torch) if self.keras.shape == self.torch.shape else None


def drawn(*shape: int, seed: int = 0) -> Array:
    """Normal numbers, the same in each call."""
    return np.random.default_rng(seed).standard_normal(shape)


IMAGE = drawn(6, 10)
KERNEL = np.array([[1.0, 3.0, 1.0], [0.0, 2.0, 0.0], [-1.0, -1.0, -2.0]])
CHANNELS = drawn(6, 10, seed=1)


def channels(keras: Array, torch: Array, columns: str = "position") -> SmallExample:
    """A picture whose rows are channels."""
    return SmallExample(keras, torch, "channel", columns)


def correlated(
    image: Array,
    kernel: Array,
    stride: int = 1,
    pad: tuple[int, int] = (1, 1),
    dilation: int = 1,
    mode: str = "constant",
) -> Array:
    """The correlation of an image with a kernel.

    Args:
        image: (H, W).
        kernel: (h, w).
        stride: in both directions.
        pad: rows in front and behind, and as many columns.
        dilation: in both directions.
        mode: of numpy.pad.
    """
    padded = np.pad(image, (pad, pad), mode=mode)  # type: ignore[call-overload]
    height, width = (dilation * (size - 1) + 1 for size in kernel.shape)
    rows = range(0, padded.shape[0] - height + 1, stride)
    columns = range(0, padded.shape[1] - width + 1, stride)
    return np.array([
        [np.sum(padded[i : i + height : dilation, j : j + width : dilation] * kernel) for j in columns]
        for i in rows
    ])  # fmt: skip


def transposed(image: Array, kernel: Array, stride: int = 2, dilation: int = 1) -> Array:
    """The transposed convolution, nothing cropped: tap i of position p lands on stride * p + dilation * i."""
    sizes = [
        stride * (n - 1) + dilation * (k - 1) + 1 for n, k in zip(image.shape, kernel.shape, strict=True)
    ]
    result = np.zeros(sizes)
    for i, row in enumerate(image):
        for j, value in enumerate(row):
            for a, taps in enumerate(kernel):
                for b, tap in enumerate(taps):
                    result[stride * i + dilation * a, stride * j + dilation * b] += tap * value
    return result


def softmax(scores: Array, axis: int = -1) -> Array:
    """The softmax along an axis."""
    shares = np.exp(scores - scores.max(axis, keepdims=True))
    return shares / shares.sum(axis, keepdims=True)
