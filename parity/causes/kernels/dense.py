"""What a dense layer did: with which matrix."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np

from parity.causes.kernels.computation import Computation, constant
from parity.causes.kernels.variants import flattenings, kernel_variants
from parity.core.types import Array


def describe_dense(
    x: Array, y: Array, weight: Array, torch_weight: Array | None, images: Sequence[tuple[int, ...]]
) -> Computation | None:
    """What turned `x` (..., I) into `y` (..., O) with a matrix (O, I).

    Args:
        x: what went in; y: what came out.
        weight: the matrix.
        torch_weight: the matrix of the torch layer, where its values are others.
        images: (C, *space) of images that may have been flattened in front.
    """
    if x.shape[:-1] != y.shape[:-1] or weight.shape != (y.shape[-1], x.shape[-1]):
        return None
    flat_x, flat_y = x.reshape(-1, x.shape[-1]), y.reshape(-1, y.shape[-1])
    matrices = [*kernel_variants(weight, None, 1, False), *flattenings(weight, images)]
    if torch_weight is not None:
        matrices.append(((("weight-not-copied",), 0), torch_weight))
    for (mistakes, variant), matrix in matrices:
        bias = constant(flat_x @ matrix.T, flat_y)
        if bias is not None:
            run = partial(_dense, matrix=matrix, bias=bias)
            return Computation(mistakes, (), (), 1, (), (), "", 0, variant, bias, run)
    return None


def _dense(x: Array, matrix: Array, bias: Array) -> Array:
    return np.asarray(x @ matrix.T + bias)
