"""Convolution arithmetic: transposed convolution, convolution as a matrix, dilated kernels and sizes.

Everything here works on one channel of one image, in floating point: float64 stays float64; an integer tensor
takes the floating dtype beside it, or keras.config.floatx() where there is none; two different ones are an
error. (JAX has no float64 unless jax_enable_x64 is set.)
"""

from __future__ import annotations

from typing import Any, Literal

import keras
import numpy as np
from keras import ops

from tf_impl._shared.arguments import IntPair, Pair, check_output_padding, pair

Tensor = Any  # a tensor of whichever backend Keras runs on


def _pairs(**values: IntPair) -> list[Pair]:
    """Return every geometry argument as (height, width), checked against the least value it may have."""
    return [pair(name, value, 0 if name.endswith("padding") else 1) for name, value in values.items()]


def _size(X: Tensor) -> Pair:
    """Height and width of a matrix."""
    return int(X.shape[0]), int(X.shape[1])


def _like_arguments(size: Pair, *arguments: IntPair) -> int | Pair:
    """Return one integer where every argument was one (both axes are then the same), else the pair."""
    return size[0] if all(isinstance(argument, int) for argument in arguments) else size


def _matrices(**values: Tensor) -> list[Tensor]:
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


def conv_output_size(
    size: IntPair, kernel_size: IntPair, stride: IntPair = 1, padding: IntPair = 0, dilation: IntPair = 1
) -> int | Pair:
    """Size of a convolution's output: floor((size + 2*padding - dilation*(kernel_size-1) - 1) / stride) + 1.

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
    sizes, kernels, strides, paddings, dilations = _pairs(
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
    return _like_arguments(out, size, kernel_size, stride, padding, dilation)


def conv_transpose_output_size(
    size: IntPair,
    kernel_size: IntPair,
    stride: IntPair = 1,
    padding: IntPair = 0,
    output_padding: IntPair = 0,
    dilation: IntPair = 1,
) -> int | Pair:
    """Size of a transposed convolution's output, in PyTorch's meaning of the arguments.

    (size - 1)*stride - 2*padding + dilation*(kernel_size-1) + output_padding + 1.

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
    sizes, kernels, strides, paddings, extras, dilations = _pairs(
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
    return _like_arguments((out[0], out[1]), size, kernel_size, stride, padding, output_padding, dilation)


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
    kernels, paddings, dilations = _pairs(kernel_size=kernel_size, padding=padding, dilation=dilation)
    amounts = [d * (k - 1) - p for k, p, d in zip(kernels, paddings, dilations, strict=True)]
    return _like_arguments((amounts[0], amounts[1]), kernel_size, padding, dilation)


def _interleave(X: Tensor, step: Pair) -> Tensor:
    """Follow every entry with step-1 zeros along each axis: (H, W) -> (H*step, W*step)."""
    height, width = _size(X)
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
    [K], [step] = _matrices(K=K), _pairs(dilation=dilation)
    dilated = _interleave(K, step)
    rows, columns = _size(dilated)
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
    X, K = _matrices(X=X, K=K)
    conv_output_size(_size(X), _size(K), stride, padding, dilation)  # raises where there is no output
    strides, paddings, dilations = _pairs(stride=stride, padding=padding, dilation=dilation)
    K = dilate_kernel(K, dilations)  # Keras refuses a stride together with a dilation
    padded = ops.pad(X, [(p, p) for p in paddings])[None, :, :, None]  # (1, H, W, 1)
    kernel = K[:, :, None, None]  # (kH, kW, 1, 1)
    return ops.conv(padded, kernel, strides, padding="valid", data_format="channels_last")[0, :, :, 0]


def _correlate_spread(
    X: Tensor, K: Tensor, stride: Pair, padding: Pair, output_padding: Pair, dilation: Pair
) -> Tensor:
    """Transposed convolution as a correlation: zeros between and around the pixels, the kernel turned."""
    X = dilate_kernel(X, stride)
    before = [d * (k - 1) - p for k, p, d in zip(_size(K), padding, dilation, strict=True)]
    after = [n + extra for n, extra in zip(before, output_padding, strict=True)]
    X = ops.pad(X, [(max(n, 0), max(m, 0)) for n, m in zip(before, after, strict=True)])
    (height, width), (top, left) = _size(X), (max(-n, 0) for n in before)  # a negative pad takes rows off
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
    X, K = _matrices(X=X, K=K)
    size = conv_transpose_output_size(_size(X), _size(K), stride, padding, output_padding, dilation)
    strides, paddings, extras, dilations = _pairs(
        stride=stride, padding=padding, output_padding=output_padding, dilation=dilation
    )
    if method == "fast":
        return _correlate_spread(X, K, strides, paddings, extras, dilations)
    if method != "loop":
        raise ValueError(f"method must be 'fast' or 'loop'; got method={method!r}. Choose one of them.")
    K = dilate_kernel(K, dilations)
    h, w = _size(K)
    [(height, width)] = _pairs(size=size)
    Y = ops.zeros((height + 2 * paddings[0], width + 2 * paddings[1]), K.dtype)  # the padding comes off last
    for i in range(X.shape[0]):
        for j in range(X.shape[1]):
            top, left = i * strides[0], j * strides[1]
            below, beside = Y.shape[0] - top - h, Y.shape[1] - left - w
            Y = Y + ops.pad(X[i, j] * K, ((top, below), (left, beside)))  # slice_update has no gradient
    return Y[paddings[0] : paddings[0] + height, paddings[1] : paddings[1] + width]


def _entries(
    kernel_size: IntPair, input_size: IntPair, stride: IntPair, padding: IntPair, dilation: IntPair
) -> tuple[np.ndarray, np.ndarray, Pair]:
    """Where each stored entry of a convolution's matrix stands, and which kernel entry it is.

    Returns (output pixel, input pixel) of every entry, row by row, as a 2 x N array; its index into the
    flattened kernel; and the shape of the matrix. Entries that fall into the padding are left out.
    """
    kernels, sizes, strides, paddings, dilations = _pairs(
        kernel_size=kernel_size, input_size=input_size, stride=stride, padding=padding, dilation=dilation
    )
    [out] = _pairs(size=conv_output_size(sizes, kernels, strides, paddings, dilations))
    axes = []
    for m, k, n, s, p, d in zip(out, kernels, sizes, strides, paddings, dilations, strict=True):
        place = np.arange(m)[:, None] * s - p + np.arange(k) * d  # (output row, kernel row) -> input row
        axes.append((place, (place >= 0) & (place < n)))
    (y, in_y), (x, in_x) = axes
    i, j, u, v = np.nonzero(in_y[:, None, :, None] & in_x[None, :, None, :])  # (oH, oW, kH, kW)
    places = np.stack([i * out[1] + j, y[i, u] * sizes[1] + x[j, v]])
    return places, u * kernels[1] + v, (out[0] * out[1], sizes[0] * sizes[1])


class SparseMatrix:
    """A matrix held as its stored entries, with the method names of torch's sparse COO tensors.

    Keras has no sparse tensor common to its backends. The places are plain integers; the values are a tensor
    of the backend, and the gradient flows back to them.
    """

    def __init__(self, indices: np.ndarray, values: Tensor, shape: Pair) -> None:
        self._indices, self._values, self.shape = indices, values, shape

    def indices(self) -> np.ndarray:
        """Row and column of every stored entry, sorted by row, then by column: (2, N)."""
        return self._indices

    def values(self) -> Tensor:
        """The stored entries: (N,)."""
        return self._values

    def to_dense(self) -> Tensor:
        """The same matrix as a tensor of self.shape."""
        zeros = ops.zeros(self.shape, self._values.dtype)
        return ops.scatter_update(zeros, self._indices.T, self._values)

    def t(self) -> SparseMatrix:
        """The transpose."""
        order = np.lexsort(self._indices)
        return SparseMatrix(self._indices[::-1, order], ops.take(self._values, order), self.shape[::-1])

    def __matmul__(self, x: Tensor) -> Tensor:
        """Multiply by a vector (columns,) or a matrix (columns, N) of the same dtype."""
        x = ops.convert_to_tensor(x)
        dtypes = [keras.backend.standardize_dtype(tensor.dtype) for tensor in (self._values, x)]
        if len(x.shape) not in (1, 2) or x.shape[0] != self.shape[1] or dtypes[0] != dtypes[1]:
            raise ValueError(
                f"x must have {self.shape[1]} rows of dtype {dtypes[0]}; got x of shape {tuple(x.shape)} and "
                f"dtype {dtypes[1]}. Pass the image's rows one after another."
            )
        rows, columns = self._indices
        values = self._values if len(x.shape) == 1 else self._values[:, None]
        return ops.segment_sum(values * ops.take(x, columns, axis=0), rows, self.shape[0])


def conv_matrix(
    K: Tensor,
    input_size: IntPair,
    stride: IntPair = 1,
    padding: IntPair = 0,
    dilation: IntPair = 1,
    *,
    sparse: bool = False,
) -> Tensor | SparseMatrix:
    """The matrix C of a convolution: C @ x, with x the image's rows one after another, is the output's rows.

    Shapes: K (kH, kW) -> (oH*oW, H*W), with (oH, oW) as conv_output_size says.

    Args:
        K: the kernel.
        input_size: height and width of the convolution's input in pixels, an integer or a pair.
        stride, padding, dilation: as in conv_output_size.
        sparse: return the entries alone (an entry for every place of the kernel, also where K holds a zero).

    Returns:
        A tensor, or a SparseMatrix; the gradient flows back to K.

    Raises:
        ValueError: K is not a matrix, an argument is out of range, or K does not fit in the input.

    Source: lecture (Kak & Bouman, 2025), slides 31-38; Dive into Deep Learning, transposed convolution.
    """
    [K] = _matrices(K=K)
    places, taps, shape = _entries(_size(K), input_size, stride, padding, dilation)
    matrix = SparseMatrix(places, ops.take(ops.reshape(K, (-1,)), taps), shape)
    return matrix if sparse else matrix.to_dense()


def conv_transpose_matrix(
    K: Tensor,
    input_size: IntPair,
    stride: IntPair = 1,
    padding: IntPair = 0,
    dilation: IntPair = 1,
    *,
    sparse: bool = False,
) -> Tensor | SparseMatrix:
    """The matrix of the transposed convolution: the transpose of conv_matrix with the same arguments.

    Shapes: K (kH, kW) -> (H*W, oH*oW), with (oH, oW) as conv_output_size says.

    Args:
        K, stride, padding, dilation, sparse: as in conv_matrix.
        input_size: height and width of the convolution's input, which is the transposed convolution's output.
            Among the sizes that share one (oH, oW) it takes the place of output_padding.

    Returns:
        A tensor, or a SparseMatrix; the gradient flows back to K.

    Raises:
        ValueError: as in conv_matrix.

    Source: lecture (Kak & Bouman, 2025), slides 36-44.
    """
    matrix = conv_matrix(K, input_size, stride, padding, dilation, sparse=True).t()
    return matrix if sparse else matrix.to_dense()


def kernel2matrix(K: Tensor, input_size: IntPair = (3, 3)) -> Tensor:
    """The matrix of a plain convolution (stride 1, no padding); by default of one on a 3x3 input.

    Shapes: K (kH, kW) -> (oH*oW, H*W); a 2x2 kernel on a 3x3 input gives (4, 9).

    Args:
        K: the kernel.
        input_size: height and width of the input in pixels, an integer or a pair.

    Returns:
        The dense matrix; the gradient flows back to K.

    Raises:
        ValueError: as in conv_matrix.

    Source: Dive into Deep Learning, transposed convolution.
    """
    return conv_matrix(K, input_size)


def _kept_rows(output_size: IntPair, stride: IntPair) -> np.ndarray:
    """Rows of a stride-1 matrix that a stride keeps, one truth value per output pixel, row by row."""
    (height, width), (down, right) = _pairs(output_size=output_size, stride=stride)
    kept: np.ndarray = (np.arange(height)[:, None] % down == 0) & (np.arange(width) % right == 0)
    return kept.reshape(-1)


def strided_matrix_zeroed_rows(
    K: Tensor, input_size: IntPair, stride: IntPair = 2, padding: IntPair = 0, dilation: IntPair = 1
) -> Tensor:
    """The lecture's matrix of a strided convolution: that of stride 1 with the skipped outputs' rows zeroed.

    Shapes: K (kH, kW) -> (oH*oW, H*W), with (oH, oW) the output size at stride 1; a 2x2 kernel on a 4x4 input
    gives (9, 16).

    Args:
        K, input_size, padding, dilation: as in conv_matrix.
        stride: every stride-th output row and column stays (>= 1), an integer or a pair.

    Returns:
        The dense matrix; the gradient flows back to K. drop_zeroed_rows makes conv_matrix' form of it.

    Raises:
        ValueError: as in conv_matrix.

    Source: lecture (Kak & Bouman, 2025), slides 38-42.
    """
    [K] = _matrices(K=K)
    matrix = conv_matrix(K, input_size, 1, padding, dilation)
    [sizes] = _pairs(input_size=input_size)
    kept = _kept_rows(conv_output_size(sizes, _size(K), 1, padding, dilation), stride)
    return ops.where(kept[:, None], matrix, ops.zeros_like(matrix))


def drop_zeroed_rows(C: Tensor, output_size: IntPair, stride: IntPair = 2) -> Tensor:
    """Drop what a stride skips: rows of strided_matrix_zeroed_rows, or entries of its product with an image.

    Shapes: C (oH*oW, N) or (oH*oW,) -> the same with ceil(oH/stride)*ceil(oW/stride) rows.

    Args:
        C: the matrix, or the output vector.
        output_size: (oH, oW), the output size at stride 1, an integer or a pair.
        stride: as in strided_matrix_zeroed_rows.

    Returns:
        The kept rows, chosen by their place and never by their values: a kernel of zeros keeps its rows.

    Raises:
        ValueError: C does not have oH*oW rows.

    Source: lecture (Kak & Bouman, 2025), slide 42.
    """
    C = ops.convert_to_tensor(C)
    kept = _kept_rows(output_size, stride)
    if len(C.shape) not in (1, 2) or C.shape[0] != kept.size:
        raise ValueError(
            f"C must have one row for every output pixel at stride 1; got C of shape {tuple(C.shape)} with "
            f"output_size={output_size}. Pass the output size at stride 1."
        )
    return ops.take(C, np.flatnonzero(kept), axis=0)
