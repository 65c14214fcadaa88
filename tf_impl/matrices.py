"""A convolution as a matrix, dense or sparse: of any stride, padding and dilation, and the lecture's zeroed rows."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

from tf_impl._shared.arguments import IntPair, Pair
from tf_impl._shared.convolution import conv_output_size, kept_rows, matrix_entries, pairs
from tf_impl.convolution import as_matrices, size_of

Tensor = Any  # a tensor of whichever backend Keras runs on


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
    [K] = as_matrices(K=K)
    places, taps, shape = matrix_entries(size_of(K), input_size, stride, padding, dilation)
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
    [K] = as_matrices(K=K)
    matrix = conv_matrix(K, input_size, 1, padding, dilation)
    [sizes] = pairs(input_size=input_size)
    kept = kept_rows(conv_output_size(sizes, size_of(K), 1, padding, dilation), stride)
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
    kept = kept_rows(output_size, stride)
    if len(C.shape) not in (1, 2) or C.shape[0] != kept.size:
        raise ValueError(
            f"C must have one row for every output pixel at stride 1; got C of shape {tuple(C.shape)} with "
            f"output_size={output_size}. Pass the output size at stride 1."
        )
    return ops.take(C, np.flatnonzero(kept), axis=0)
