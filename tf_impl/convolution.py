"""Correlation and transposed convolution of one channel of one image, and dilated kernels.

Everything here works on one channel of one image, in floating point. float64 stays float64. An integer tensor takes
the floating dtype of the other tensor, or keras.config.floatx() if there is none. Two different floating dtypes are an
error. (JAX has no float64 unless jax_enable_x64 is set.)
"""

from __future__ import annotations

from typing import Any, Literal

import keras
from keras import ops

from tf_impl._shared.arguments import IntPair, Pair
from tf_impl._shared.convolution import conv_output_size, conv_transpose_output_size, pairs

Tensor = Any  # a tensor of whichever backend Keras runs on


def size_of(X: Tensor) -> Pair:
    """Height and width of a matrix."""
    return int(X.shape[0]), int(X.shape[1])


def as_matrices(**values: Tensor) -> list[Tensor]:
    """Return the arguments as non-empty tensors of rank 2 and of one floating dtype."""
    tensors = {name: ops.convert_to_tensor(value) for name, value in values.items()}
    dtypes = {name: keras.backend.standardize_dtype(tensor.dtype) for name, tensor in tensors.items()}
    for name, tensor in tensors.items():
        if len(tensor.shape) != 2 or 0 in tensor.shape or dtypes[name].startswith("complex"):
            raise ValueError(
                f"{name} must be a real, non-empty tensor of rank 2; got {name} of shape "
                f"{tuple(tensor.shape)} and dtype {dtypes[name]}. Pass one channel of one image."
            )
    floating = {dtype for dtype in dtypes.values() if keras.backend.is_float_dtype(dtype)}
    if len(floating) > 1:
        raise ValueError(
            f"{' and '.join(tensors)} must have one floating dtype; got "
            f"{', '.join(f'{name}={dtype}' for name, dtype in dtypes.items())}. Convert one of them."
        )
    dtype = floating.pop() if floating else keras.config.floatx()
    return [ops.cast(tensor, dtype) for tensor in tensors.values()]


def _interleave(X: Tensor, step: Pair) -> Tensor:
    """Follow every entry with step-1 zeros along each axis: (H, W) -> (H*step, W*step)."""
    height, width = size_of(X)
    spread = ops.pad(X[:, None, :, None], ((0, 0), (0, step[0] - 1), (0, 0), (0, step[1] - 1)))
    return ops.reshape(spread, (height * step[0], width * step[1]))  # from (H, step, W, step)


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
    K = dilate_kernel(K, dilations)  # Keras refuses a stride together with a dilation
    padded = ops.pad(X, [(p, p) for p in paddings])[None, :, :, None]  # (1, H, W, 1)
    kernel = K[:, :, None, None]  # (kH, kW, 1, 1)
    return ops.conv(padded, kernel, strides, padding="valid", data_format="channels_last")[0, :, :, 0]


def _correlate_spread(
    X: Tensor, K: Tensor, stride: Pair, padding: Pair, output_padding: Pair, dilation: Pair
) -> Tensor:
    """Transposed convolution as a correlation: zeros between and around the pixels, the kernel turned."""
    X = dilate_kernel(X, stride)
    before = [d * (k - 1) - p for k, p, d in zip(size_of(K), padding, dilation, strict=True)]
    after = [n + extra for n, extra in zip(before, output_padding, strict=True)]
    X = ops.pad(X, [(max(n, 0), max(m, 0)) for n, m in zip(before, after, strict=True)])
    (height, width), (top, left) = size_of(X), (max(-n, 0) for n in before)  # a negative pad takes rows off
    X = X[top : height - max(-after[0], 0), left : width - max(-after[1], 0)]
    return corr2d(X, ops.flip(K, axis=(0, 1)), dilation=dilation)


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
        return _correlate_spread(X, K, strides, paddings, extras, dilations)
    if method != "loop":
        raise ValueError(f"method must be 'fast' or 'loop'; got method={method!r}. Choose one of them.")
    K = dilate_kernel(K, dilations)
    h, w = size_of(K)
    [(height, width)] = pairs(size=size)
    Y = ops.zeros((height + 2 * paddings[0], width + 2 * paddings[1]), K.dtype)  # the padding comes off last
    for i in range(X.shape[0]):
        for j in range(X.shape[1]):
            top, left = i * strides[0], j * strides[1]
            below, beside = Y.shape[0] - top - h, Y.shape[1] - left - w
            Y = Y + ops.pad(X[i, j] * K, ((top, below), (left, beside)))  # slice_update has no gradient
    return Y[paddings[0] : paddings[0] + height, paddings[1] : paddings[1] + width]
