"""Normalisation by statistics that were computed before, with gradients through them."""

from __future__ import annotations

import torch
from torch import Tensor


def batch_normalized(
    x: Tensor,
    mean: Tensor,
    variance: Tensor,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-3,
) -> Tensor:
    """Normalise each channel of (N, C, ...) by one mean and one variance for each channel."""
    shape = (1, -1, *[1] * (x.ndim - 2))
    scale = torch.rsqrt(variance + eps)
    scale = scale if weight is None else scale * weight
    x = (x - mean.reshape(shape)) * scale.reshape(shape)
    return x if bias is None else x + bias.reshape(shape)
