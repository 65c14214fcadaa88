"""Values of torch tensors: copied, looked at without a copy, and set."""

from __future__ import annotations

import numpy as np
import torch

from parity.adapters.reorder import copy_into
from parity.core.types import Array


def to_numpy(tensor: torch.Tensor) -> Array:
    """A copy of the tensor's values; bfloat16 widens to float32, which is exact."""
    return np.array(peek(tensor), copy=True)


def peek(tensor: torch.Tensor) -> Array:
    """The tensor's own memory where NumPy can look at it, else a copy."""
    value = tensor.detach().cpu()
    if value.layout != torch.strided:
        value = value.to_dense()
    if value.dtype == torch.bfloat16:
        value = value.float()
    return np.asarray(value.resolve_conj().resolve_neg().numpy())


def write(tensor: torch.Tensor, value: Array) -> None:
    """Set a parameter or buffer in place."""
    target = tensor.detach()
    same = str(target.dtype) == f"torch.{value.dtype}"
    if same and target.device.type == "cpu" and target.is_contiguous():
        copy_into(target.numpy(), value.reshape(target.shape))  # straight into the tensor's memory
    else:
        target.copy_(torch.from_numpy(np.array(value)).reshape(target.shape))
