"""What the layers compute, in keras.ops alone, so that every backend gives the same pixels; channels last."""

from __future__ import annotations

import math
from typing import Any, TypeAlias

from keras import ops

from tf_impl._shared.arguments import Pair

Tensor: TypeAlias = Any  # each backend has its own

UNCUT = ((0, 0), (0, 0))


def crop(x: Tensor, crops: tuple[Pair, Pair]) -> Tensor:
    """Cut pixels off the start and the end of both spatial axes; add zeros where a number is negative."""
    pads = tuple((max(-start, 0), max(-end, 0)) for start, end in crops)
    if any(map(any, pads)):
        x = ops.pad(x, ((0, 0), *pads, (0, 0)))
    if all(max(cuts) <= 0 for cuts in crops):
        return x  # a slice of everything would still cost time in the backward pass
    rows, columns = (slice(max(start, 0), -end if end > 0 else None) for start, end in crops)
    return x[:, rows, columns]


def interleave(x: Tensor, factor: Pair, crops: tuple[Pair, Pair] = UNCUT) -> Tensor:
    """Put factor - 1 zeros between neighbours, then `crop`: (N, H, W, C) -> (N, (H - 1)*factor + 1 - cut, ..., C)."""
    down, right = factor
    (top, bottom), (left, after) = crops
    if factor != (1, 1):
        _, height, width, channels = ops.shape(x)
        x = ops.reshape(x, (-1, 1, width, 1, channels))  # five axes: LiteRT pads no more
        x = ops.pad(x, ((0, 0), (0, down - 1), (0, 0), (0, right - 1), (0, 0)))
        x = ops.reshape(x, (-1, height * down, width * right, channels))
    return crop(x, ((top, bottom + down - 1), (left, after + right - 1)))


def spread(
    x: Tensor,
    kernel: Tensor,
    stride: Pair,
    dilation: Pair,
    crops: tuple[Pair, Pair] = UNCUT,
    groups: int = 1,
) -> Tensor:
    """Transposed convolution, then `crop`: (N, H, W, I) -> (N, (H - 1)*stride + kernel extent - cut, ..., O).

    A factor that stride and dilation share is taken out: the input's pixels and the kernel's taps meet on a
    grid of that step alone, so the rest runs at low resolution and zeros are put between its results. What
    remains is Keras' own transposed convolution where that can do it (no dilation), else `correlate`.
    What can be cut before the zeros come is; Keras' "same" never computes it.
    Groups run one after the other: TensorFlow compiles a grouped convolution again at each call on a CPU.
    """
    if groups > 1:
        parts = zip(ops.split(x, groups, axis=-1), ops.split(kernel, groups, axis=-1), strict=True)
        return ops.concatenate([spread(*part, stride, dilation, crops) for part in parts], axis=-1)
    common = (math.gcd(stride[0], dilation[0]), math.gcd(stride[1], dilation[1]))
    stride = (stride[0] // common[0], stride[1] // common[1])
    dilation = (dilation[0] // common[0], dilation[1] // common[1])
    within, after = zip(*map(_split, crops, common, dilation, kernel.shape[:2]), strict=True)
    if dilation == (1, 1):
        surplus = [size - step for size, step in zip(kernel.shape[:2], stride, strict=True)]
        same = all(extra == 2 * a == 2 * b for extra, (a, b) in zip(surplus, within, strict=True))
        y = ops.conv_transpose(
            x,
            kernel,
            stride,
            padding="same" if same else "valid",
            output_padding=None if same else (0, 0),
            data_format="channels_last",
        )
        y = y if same else crop(y, within)
    else:
        y = crop(correlate(x, kernel, stride, dilation), within)
    return interleave(y, common, after)


def _split(cuts: Pair, step: int, dilation: int, taps: int) -> tuple[Pair, Pair]:
    """Say what to cut off an axis before step - 1 zeros are put between its pixels, and what after it."""
    start, end = (max(-(-cut // step), 0) for cut in cuts)
    if start + end > dilation * (taps - 1):  # of a single input pixel nothing would be left
        start = end = 0
    return (start, end), (cuts[0] - step * start, cuts[1] - step * end)


def correlate(x: Tensor, kernel: Tensor, stride: Pair, dilation: Pair) -> Tensor:
    """Do what `spread` does in the lecture's way, which works for every stride with every dilation.

    Zeros between the input's pixels, N = dilation*(kernel_size - 1) zeros around them (the layer cuts its
    `padding` off later), and a correlation with the kernel turned by 180 degrees, in and out exchanged.
    """
    rim = [(d * (k - 1),) * 2 for d, k in zip(dilation, kernel.shape[:2], strict=True)]
    x = ops.pad(interleave(x, stride), ((0, 0), *rim, (0, 0)))
    turned = ops.transpose(ops.flip(kernel, axis=(0, 1)), (0, 1, 3, 2))  # (kH, kW, I, O)
    return ops.conv(x, turned, 1, padding="valid", data_format="channels_last", dilation_rate=dilation)


def bilinear(x: Tensor, factor: int, axis: int) -> Tensor:
    """Enlarge one spatial axis (1 or 2) by interpolation at half-pixel centres, repeating the border.

    keras.ops.image.resize computes in float32 on TensorFlow for every input dtype; this does not.
    """

    def part(start: int, stop: int | None) -> Tensor:
        return padded[:, start:stop] if axis == 1 else padded[:, :, start:stop]

    padded = x
    padded = ops.concatenate((part(0, 1), x, part(-1, None)), axis=axis)
    before, here, after = part(0, -2), part(1, -1), part(2, None)
    phases = []
    for phase in range(factor):
        offset = (phase + 0.5) / factor - 0.5  # of the new pixel's centre from the old one's, in old pixels
        neighbour = after if offset > 0 else before
        phases.append(here * (1 - abs(offset)) + neighbour * abs(offset))
    _, height, width, channels = ops.shape(x)
    size = (height * factor, width) if axis == 1 else (height, width * factor)
    return ops.reshape(ops.stack(phases, axis=axis + 1), (-1, *size, channels))
