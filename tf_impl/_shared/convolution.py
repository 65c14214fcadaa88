"""Convolution arithmetic in plain numbers: sizes of outputs, and where the entries of a convolution's matrix stand."""

from __future__ import annotations

import numpy as np

from .arguments import IntPair, Pair, check_output_padding, pair


def pairs(**values: IntPair) -> list[Pair]:
    """Return every geometry argument as (height, width), checked against the least value it may have."""
    return [pair(name, value, 0 if name.endswith("padding") else 1) for name, value in values.items()]


def like_arguments(size: Pair, *arguments: IntPair) -> int | Pair:
    """Return one integer where every argument was one (both axes are then the same), else the pair."""
    return size[0] if all(isinstance(argument, int) for argument in arguments) else size


def conv_output_size(
    size: IntPair, kernel_size: IntPair, stride: IntPair = 1, padding: IntPair = 0, dilation: IntPair = 1
) -> int | Pair:
    """Size of a convolution's output: `floor((size + 2*padding - dilation*(kernel_size-1) - 1) / stride) + 1`.

    Args:
        size: height and width of the input in pixels (>= 1), an integer where they are equal, or a pair.
        kernel_size, stride, dilation: as in the convolution (>= 1), an integer or a pair.
        padding: zeros added on either side (>= 0), an integer or a pair.

    Returns:
        An integer where every argument is one, else a pair (height, width).

    Raises:
        ValueError: an argument is out of range, or the dilated kernel does not fit in the padded input.

    Source: Dumoulin & Visin, "A guide to convolution arithmetic for deep learning" (2018), relationships 6
    and 15.
    """
    sizes, kernels, strides, paddings, dilations = pairs(
        size=size, kernel_size=kernel_size, stride=stride, padding=padding, dilation=dilation
    )
    room = [
        n + 2 * p - d * (k - 1) - 1 for n, k, p, d in zip(sizes, kernels, paddings, dilations, strict=True)
    ]
    if min(room) < 0:
        raise ValueError(
            f"the dilated kernel must fit in the padded input; got size={sizes}, kernel_size={kernels}, "
            f"padding={paddings}, dilation={dilations}. Use a larger input, more padding or a smaller kernel."
        )
    out = (room[0] // strides[0] + 1, room[1] // strides[1] + 1)
    return like_arguments(out, size, kernel_size, stride, padding, dilation)


def conv_transpose_output_size(
    size: IntPair,
    kernel_size: IntPair,
    stride: IntPair = 1,
    padding: IntPair = 0,
    output_padding: IntPair = 0,
    dilation: IntPair = 1,
) -> int | Pair:
    """Size of a transposed convolution's output, in PyTorch's meaning of the arguments.

    `(size - 1)*stride - 2*padding + dilation*(kernel_size-1) + output_padding + 1`.

    Args:
        size: height and width of the input in pixels (>= 1), an integer where they are equal, or a pair.
        kernel_size, stride, dilation: as in the transposed convolution (>= 1), an integer or a pair.
        padding: rows and columns taken off either side of the output (>= 0), an integer or a pair.
        output_padding: rows and columns added at the bottom and right, below stride or below dilation.

    Returns:
        An integer where every argument is one, else a pair (height, width).

    Raises:
        ValueError: an argument is out of range, or the padding leaves no output.

    Source: lecture (Kak & Bouman, 2025), slides 53, 54, 56 and 61.
    """
    sizes, kernels, strides, paddings, extras, dilations = pairs(
        size=size,
        kernel_size=kernel_size,
        stride=stride,
        padding=padding,
        output_padding=output_padding,
        dilation=dilation,
    )
    check_output_padding(extras, strides, dilations)
    out = [
        (n - 1) * s - 2 * p + d * (k - 1) + extra + 1
        for n, k, s, p, extra, d in zip(sizes, kernels, strides, paddings, extras, dilations, strict=True)
    ]
    if min(out) < 1:
        raise ValueError(
            f"the output must have at least one pixel on each axis; got output size {tuple(out)} from "
            f"size={sizes}, kernel_size={kernels}, stride={strides}, padding={paddings}, "
            f"output_padding={extras}, dilation={dilations}. Use less padding or a larger kernel."
        )
    return like_arguments((out[0], out[1]), size, kernel_size, stride, padding, output_padding, dilation)


def transposed_input_padding(kernel_size: IntPair, padding: IntPair = 0, dilation: IntPair = 1) -> int | Pair:
    """Zeros put on either side of the zero-interleaved input: N = dilation*(kernel_size-1) - padding.

    A transposed convolution is the correlation of that padded input with the kernel turned by 180 degrees.

    Args:
        kernel_size, dilation: as in the transposed convolution (>= 1), an integer or a pair.
        padding: as in the transposed convolution (>= 0), an integer or a pair.

    Returns:
        N, an integer where every argument is one, else a pair; where N is negative, -N rows are taken off.

    Raises:
        ValueError: an argument is out of range.

    Source: lecture (Kak & Bouman, 2025), slides 51-52.
    """
    kernels, paddings, dilations = pairs(kernel_size=kernel_size, padding=padding, dilation=dilation)
    amounts = [d * (k - 1) - p for k, p, d in zip(kernels, paddings, dilations, strict=True)]
    return like_arguments((amounts[0], amounts[1]), kernel_size, padding, dilation)


def matrix_entries(
    kernel_size: IntPair, input_size: IntPair, stride: IntPair, padding: IntPair, dilation: IntPair
) -> tuple[np.ndarray, np.ndarray, Pair]:
    """Where each stored entry of a convolution's matrix stands, and which kernel entry it is.

    Returns (output pixel, input pixel) of every entry, row by row, as a 2 x N array; its index into the
    flattened kernel; and the shape of the matrix. Entries that fall into the padding are left out.
    """
    kernels, sizes, strides, paddings, dilations = pairs(
        kernel_size=kernel_size, input_size=input_size, stride=stride, padding=padding, dilation=dilation
    )
    [out] = pairs(size=conv_output_size(sizes, kernels, strides, paddings, dilations))
    axes = []
    for m, k, n, s, p, d in zip(out, kernels, sizes, strides, paddings, dilations, strict=True):
        place = np.arange(m)[:, None] * s - p + np.arange(k) * d  # (output row, kernel row) -> input row
        axes.append((place, (place >= 0) & (place < n)))
    (y, in_y), (x, in_x) = axes
    i, j, u, v = np.nonzero(in_y[:, None, :, None] & in_x[None, :, None, :])  # (oH, oW, kH, kW)
    places = np.stack([i * out[1] + j, y[i, u] * sizes[1] + x[j, v]])
    return places, u * kernels[1] + v, (out[0] * out[1], sizes[0] * sizes[1])


def kept_rows(output_size: IntPair, stride: IntPair) -> np.ndarray:
    """Rows of a stride-1 matrix that a stride keeps, one truth value per output pixel, row by row."""
    (height, width), (down, right) = pairs(output_size=output_size, stride=stride)
    kept: np.ndarray = (np.arange(height)[:, None] % down == 0) & (np.arange(width) % right == 0)
    return kept.reshape(-1)
