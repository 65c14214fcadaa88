"""Correlation and transposed convolution of one channel of one image, and dilated kernels.

Everything here works on one channel of one image, in floating point. float64 stays float64. An integer tensor takes
the floating dtype of the other tensor, or PyTorch's default dtype if there is none. Two different floating dtypes are an
error.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from torch_impl._shared.arguments import IntPair, Pair
from torch_impl._shared.convolution import conv_output_size, conv_transpose_output_size, pairs


def size_of(X: Tensor) -> Pair:
    """Height and width of a matrix."""
    return int(X.shape[0]), int(X.shape[1])


def as_matrices(**values: Tensor) -> list[Tensor]:
    """Return the arguments as non-empty tensors of rank 2 and of one floating dtype."""
    tensors = {name: torch.as_tensor(value) for name, value in values.items()}
    for name, tensor in tensors.items():
        if tensor.ndim != 2 or 0 in tensor.shape or tensor.is_complex():
            raise ValueError(
                f"{name} must be a real, non-empty tensor of rank 2; got {name} of shape "
                f"{tuple(tensor.shape)} and dtype {tensor.dtype}. Pass one channel of one image."
            )
    floating = {tensor.dtype for tensor in tensors.values() if tensor.is_floating_point()}
    if len(floating) > 1:
        raise ValueError(
            f"{' and '.join(tensors)} must have one floating dtype; got "
            f"{', '.join(f'{name}={tensor.dtype}' for name, tensor in tensors.items())}. Convert one of them."
        )
    dtype = floating.pop() if floating else torch.get_default_dtype()
    return [tensor.to(dtype) for tensor in tensors.values()]


def _interleave(X: Tensor, step: Pair) -> Tensor:
    """Follow every entry with step-1 zeros along each axis: (H, W) -> (H*step, W*step)."""
    height, width = size_of(X)
    spread = F.pad(X[:, None, :, None], (0, step[1] - 1, 0, 0, 0, step[0] - 1))  # (H, step, W, step)
    return spread.reshape(height * step[0], width * step[1])


def dilate_kernel(K: Tensor, dilation: IntPair = 1, *, trailing: bool = False) -> Tensor:
    """Put dilation-1 zeros between the entries of a kernel, as a dilated (atrous) convolution does.

    Shapes: K (kH, kW) -> ((kH-1)*dilation+1, (kW-1)*dilation+1), or (kH*dilation, kW*dilation) with trailing.

    Args:
        K: the kernel.
        dilation: distance between neighbouring entries in pixels (>= 1), an integer or a pair.
        trailing: keep the zeros after the last row and column. The lecture prints a 3x3 kernel at dilation 2
            that way, as 6x6, and speaks of 2k x 2k; the frameworks use the (k-1)*dilation+1 form, here 5x5,
            and so give one more row and column of output.

    Returns:
        The dilated kernel; the gradient flows back to K.

    Raises:
        ValueError: K is not a matrix, or the dilation is out of range.

    Source: lecture (Kak & Bouman, 2025), slides 13 and 43.
    """
    [K], [step] = as_matrices(K=K), pairs(dilation=dilation)
    dilated = _interleave(K, step)
    rows, columns = size_of(dilated)
    return dilated if trailing else dilated[: rows - step[0] + 1, : columns - step[1] + 1]


def corr2d(X: Tensor, K: Tensor, stride: IntPair = 1, padding: IntPair = 0, dilation: IntPair = 1) -> Tensor:
    """Cross-correlate an image with a kernel, which is what the frameworks call convolution.

    Shapes: X (H, W), K (kH, kW) -> (oH, oW) as conv_output_size says.

    Args:
        X: the image.
        K: the kernel.
        stride, padding, dilation: as in conv_output_size.

    Returns:
        The sums of products at every place of the kernel; the gradient flows back to X and to K.

    Raises:
        ValueError: X or K is not a matrix, their dtypes differ, or K does not fit in X.

    Source: Dive into Deep Learning, convolutions for images and transposed convolution.
    """
    X, K = as_matrices(X=X, K=K)
    conv_output_size(size_of(X), size_of(K), stride, padding, dilation)  # raises where there is no output
    strides, paddings, dilations = pairs(stride=stride, padding=padding, dilation=dilation)
    return F.conv2d(X[None, None], K[None, None], None, strides, paddings, dilations)[0, 0]


def trans_conv(
    X: Tensor,
    K: Tensor,
    stride: IntPair = 1,
    padding: IntPair = 0,
    output_padding: IntPair = 0,
    dilation: IntPair = 1,
    *,
    method: Literal["fast", "loop"] = "fast",
) -> Tensor:
    """Transposed convolution: every pixel of X puts down a copy of K, scaled by its value.

    Shapes: X (H, W), K (kH, kW) -> (oH, oW) as conv_transpose_output_size says.

    Args:
        X: the image.
        K: the kernel, not flipped.
        stride, padding, output_padding, dilation: as in conv_transpose_output_size.
        method: "loop" visits one pixel after another and defines the result; "fast" has no Python loop.

    Returns:
        The enlarged image; the gradient flows back to X and to K.

    Raises:
        ValueError: X or K is not a matrix, their dtypes differ, or no output is left.

    Source: Dive into Deep Learning, transposed convolution.
    """
    X, K = as_matrices(X=X, K=K)
    size = conv_transpose_output_size(size_of(X), size_of(K), stride, padding, output_padding, dilation)
    strides, paddings, extras, dilations = pairs(
        stride=stride, padding=padding, output_padding=output_padding, dilation=dilation
    )
    if method == "fast":
        X, K = X[None, None], K[None, None]
        return F.conv_transpose2d(X, K, None, strides, paddings, extras, 1, dilations)[0, 0]
    if method != "loop":
        raise ValueError(f"method must be 'fast' or 'loop'; got method={method!r}. Choose one of them.")
    K = dilate_kernel(K, dilations)
    h, w = size_of(K)
    [(height, width)] = pairs(size=size)
    Y = X.new_zeros(height + 2 * paddings[0], width + 2 * paddings[1])  # the padding comes off at the end
    for i in range(X.shape[0]):
        for j in range(X.shape[1]):
            top, left = i * strides[0], j * strides[1]
            Y[top : top + h, left : left + w] += X[i, j] * K
    return Y[paddings[0] : paddings[0] + height, paddings[1] : paddings[1] + width]
