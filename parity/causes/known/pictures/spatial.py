"""Pictures of convolutions, pooling and resizing."""

from __future__ import annotations

import numpy as np

from parity.causes.known.pictures.picture import (
    IMAGE,
    KERNEL,
    Made,
    SmallExample,
    channels,
    correlated,
    drawn,
    transposed,
)
from parity.core.types import Array

SMALL = IMAGE[:3, :5]
WIDE = drawn(8, 20, seed=2)


def _pooled(image: Array, counted: bool) -> Array:
    ones = np.ones((3, 3))
    number = 9.0 if counted else correlated(np.ones_like(image), ones)
    return correlated(image, ones) / number


def _resized(image: Array, size: int, aligned: bool = False, nearest: bool = False) -> Array:
    """The columns resized to another number of them, by linear interpolation or the nearest one."""
    width = image.shape[1]
    places = (
        np.arange(size) * (width - 1) / (size - 1)
        if aligned
        else (np.arange(size) + 0.5) * width / size - 0.5
    )
    places = np.clip(places, 0, width - 1)
    if nearest:
        return image[:, np.round(places).astype(int)]
    left = np.minimum(np.floor(places).astype(int), width - 2)
    share = places - left
    return image[:, left] * (1 - share) + image[:, left + 1] * share


def _smoothed(image: Array) -> Array:
    """Every second column, each the mean of its neighbours in the shares that antialiasing gives them."""
    padded = np.pad(image, ((0, 0), (1, 2)), mode="edge")
    return sum(
        share * padded[:, i : i + 10 : 2][:, :5] for i, share in enumerate((0.125, 0.375, 0.375, 0.125))
    )  # type: ignore[return-value]


def _cubic(image: Array, coefficient: float) -> Array:
    """Twice as many columns by cubic interpolation with Keys' coefficient."""
    a, size = coefficient, image.shape[1]
    places = (np.arange(2 * size) + 0.5) / 2 - 0.5
    result = np.zeros((image.shape[0], 2 * size))
    for j, place in enumerate(places):
        for tap in range(int(np.floor(place)) - 1, int(np.floor(place)) + 3):
            x = abs(place - tap)
            weight = (a + 2) * x**3 - (a + 3) * x**2 + 1 if x <= 1 else a * (x**3 - 5 * x**2 + 8 * x - 4)
            result[:, j] += weight * image[:, min(max(tap, 0), size - 1)]
    return result[:, :10]


def _binned(image: Array, adaptive: bool) -> Array:
    """Four windows of ten columns: those of adaptive pooling, or windows of one size."""
    edges = (
        [(i * 10 // 4, -(-(i + 1) * 10 // 4)) for i in range(4)]
        if adaptive
        else [(2 * i, 2 * i + 3) for i in range(4)]
    )
    return np.stack([image[:, a:b].mean(1) for a, b in edges], axis=1)


def _shuffled(blocks: Array, channels_first: bool) -> Array:
    """Depth to space of (3, 5, 4) by 2, the four channels being rows and columns of one channel, or of two pairs."""
    order = blocks.reshape(3, 5, 2, 2)
    order = order if channels_first else order.swapaxes(2, 3)
    return order.transpose(0, 2, 1, 3).reshape(6, 10)


PICTURES: dict[str, Made] = {
    "same-padding-asymmetry": lambda: SmallExample(
        correlated(WIDE, KERNEL, 2, (0, 1)), correlated(WIDE, KERNEL, 2, (1, 0))
    ),
    "padding-size": lambda: SmallExample(correlated(IMAGE, KERNEL), correlated(IMAGE, KERNEL, pad=(0, 0))),
    "stride-value": lambda: SmallExample(correlated(IMAGE, KERNEL), correlated(IMAGE, KERNEL, 2)),
    "dilation-value": lambda: SmallExample(
        correlated(IMAGE, KERNEL, pad=(2, 2), dilation=2), correlated(IMAGE, KERNEL)
    ),
    "stride-placement": lambda: SmallExample(
        correlated(WIDE[::2, ::2], KERNEL), correlated(WIDE, KERNEL)[::2, ::2]
    ),
    "transpose-crop-offset": lambda: SmallExample(
        transposed(SMALL, KERNEL)[:6, :10], transposed(SMALL, KERNEL)[1:, 1:]
    ),
    "output-padding": lambda: SmallExample(
        np.pad(transposed(SMALL, KERNEL), ((0, 1), (0, 1)))[1:7, 1:11], transposed(SMALL, KERNEL)[1:6, 1:10]
    ),
    "transpose-padding-is-crop": lambda: SmallExample(
        transposed(SMALL[:2, :3], KERNEL)[1:-1, 1:-1], transposed(np.pad(SMALL[:2, :3], 1), KERNEL)
    ),
    "dilation-stride-grid": lambda: SmallExample(
        transposed(SMALL, KERNEL, 2, 2)[:6, :10], transposed(SMALL, KERNEL, 2, 1)[:6, :10]
    ),
    "kernel-flip": lambda: SmallExample(correlated(IMAGE, KERNEL), correlated(IMAGE, KERNEL[::-1, ::-1])),
    "kernel-hw-swap": lambda: SmallExample(correlated(IMAGE, KERNEL), correlated(IMAGE, KERNEL.T)),
    "kernel-io-swap": lambda: channels(drawn(6, 6) @ IMAGE, drawn(6, 6).T @ IMAGE),
    "depthwise-multiplier-order": lambda: channels(
        IMAGE, IMAGE.reshape(3, 2, 10).swapaxes(0, 1).reshape(6, 10)
    ),
    "group-layout": lambda: channels(IMAGE, np.roll(IMAGE, 2, 0)),
    "pool-count-include-pad": lambda: SmallExample(
        _pooled(np.abs(IMAGE), False), _pooled(np.abs(IMAGE), True)
    ),
    "pool-ceil-mode": lambda: SmallExample(
        _pooled(WIDE[:7, :19], True)[:6:2, :18:2], _pooled(WIDE[:7, :19], True)[::2, ::2]
    ),
    "pool-kind": lambda: SmallExample(
        WIDE.reshape(4, 2, 10, 2).max((1, 3)), WIDE.reshape(4, 2, 10, 2).mean((1, 3))
    ),
    "pool-bins": lambda: SmallExample(_binned(IMAGE, True), _binned(IMAGE, False), columns="window"),
    "resize-align-corners": lambda: SmallExample(_resized(SMALL, 10), _resized(SMALL, 10, aligned=True)),
    "resize-antialias": lambda: SmallExample(_smoothed(IMAGE), _resized(IMAGE, 5)),
    "resize-mode": lambda: SmallExample(_resized(SMALL, 10, nearest=True), _resized(SMALL, 10)),
    "cubic-coefficient": lambda: SmallExample(_cubic(SMALL, -0.5), _cubic(SMALL, -0.75)),
    "depth-to-space-order": lambda: SmallExample(
        _shuffled(drawn(3, 5, 4), False), _shuffled(drawn(3, 5, 4), True)
    ),
    "padding-mode": lambda: SmallExample(
        correlated(IMAGE, KERNEL, mode="reflect"), correlated(IMAGE, KERNEL)
    ),
}
"""By the cause's name."""
