"""TF32 where there is no GPU: operands rounded to ten bits of mantissa, wherever the frameworks' switches allow TF32.

It obeys the switches of the GPU, so that whatever turns TF32 off there turns it off here. It says nothing about
any card's own rounding, sums or speed.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import jax
import jax.numpy as jnp
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from parity.adapters.patching import restored

aten = torch.ops.aten
CONVOLUTIONS = (aten.convolution.default, aten.convolution_backward.default)
PRODUCTS = (aten.mm.default, aten.addmm.default, aten.bmm.default, aten.baddbmm.default)
DROPPED = 13  # of float32's 23 bits


@contextmanager
def rounding() -> Iterator[None]:
    """Round the operands of both frameworks' convolutions and products, as their switches say, while this is open."""
    with ExitStack() as stack:
        for name in ("conv_general_dilated", "conv_transpose", "dot_general"):
            stack.enter_context(restored(jax.lax, name, _jax_rounding(getattr(jax.lax, name))))
        stack.enter_context(_TorchRounding())
        yield


class _TorchRounding(TorchDispatchMode):
    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if (func in CONVOLUTIONS and torch.backends.cudnn.allow_tf32) or (
            func in PRODUCTS and torch.backends.cuda.matmul.allow_tf32
        ):
            args = tuple(_torch_rounded(value) for value in args)
        return func(*args, **(kwargs or {}))


def _torch_rounded(value: Any) -> Any:
    if not isinstance(value, torch.Tensor) or value.dtype != torch.float32 or value.ndim < 2:
        return value  # a bias has one dimension, and is added in float32
    bits = value.contiguous().view(torch.int32)
    return ((bits + (1 << (DROPPED - 1))) & -(1 << DROPPED)).view(torch.float32)


def _jax_rounding(plain: Any) -> Any:
    def rounded(lhs: Any, rhs: Any, *args: Any, **kwargs: Any) -> Any:
        if jax.config.jax_default_matmul_precision == "tensorfloat32":
            lhs, rhs = _jax_rounded(lhs), _jax_rounded(rhs)
        return plain(lhs, rhs, *args, **kwargs)

    return rounded


def _jax_rounded(value: Any) -> Any:
    if value.dtype != jnp.float32:
        return value
    bits = jax.lax.bitcast_convert_type(value, jnp.int32)
    return jax.lax.bitcast_convert_type((bits + (1 << (DROPPED - 1))) & -(1 << DROPPED), jnp.float32)
