"""Convolution arithmetic: transposed convolution, convolution as a matrix, dilated kernels and sizes.

Everything here works on one channel of one image, in floating point. float64 stays float64. An integer tensor takes
the floating dtype of the other tensor, or keras.config.floatx() if there is none. Two different floating dtypes are an
error. (JAX has no float64 unless jax_enable_x64 is set.)
"""

from __future__ import annotations

from tf_impl._shared.convolution import conv_output_size, conv_transpose_output_size, transposed_input_padding
from tf_impl.convolution import corr2d, dilate_kernel, trans_conv
from tf_impl.matrices import (
    SparseMatrix,
    conv_matrix,
    conv_transpose_matrix,
    drop_zeroed_rows,
    kernel2matrix,
    strided_matrix_zeroed_rows,
)

__all__ = [
    "SparseMatrix",
    "conv_matrix",
    "conv_output_size",
    "conv_transpose_matrix",
    "conv_transpose_output_size",
    "corr2d",
    "dilate_kernel",
    "drop_zeroed_rows",
    "kernel2matrix",
    "strided_matrix_zeroed_rows",
    "trans_conv",
    "transposed_input_padding",
]
