"""Activations that Keras has and torch has not."""

from __future__ import annotations

import torch
from torch import Tensor


def squareplus(x: Tensor, b: float = 4.0) -> Tensor:
    """A smooth ReLU made of a square root."""
    return (x + torch.sqrt(x * x + b)) / 2


def sparse_plus(x: Tensor) -> Tensor:
    """Zero up to -1, a parabola up to 1, and the identity above."""
    return (x.clamp(-1, 1) + 1) ** 2 / 4 + (x - 1).clamp(min=0)


def sparse_sigmoid(x: Tensor) -> Tensor:
    """A straight line from 0 at -1 to 1 at 1."""
    return ((x + 1) / 2).clamp(0, 1)


def sparsemax(x: Tensor, dim: int = -1) -> Tensor:
    """Keras' sparsemax along one axis: its threshold is made of all sums inside the support."""
    ordered = x.sort(dim=dim, descending=True).values
    shape = [1] * x.ndim
    shape[dim] = -1
    ranks = torch.arange(1, x.shape[dim] + 1, dtype=x.dtype, device=x.device).view(shape)
    sums = ordered.cumsum(dim)
    inside = ranks * ordered > sums - 1
    count = inside.to(x.dtype).sum(dim, keepdim=True)
    threshold = (torch.where(inside, sums, 0.0).sum(dim, keepdim=True) - 1) / count
    return (x - threshold).clamp(min=0)


def bounded_relu(
    x: Tensor, negative_slope: float = 0.0, threshold: float = 0.0, max_value: float | None = None
) -> Tensor:
    """Keras' ReLU: a slope below the threshold, the identity above it, and a greatest value."""
    x = torch.where(x >= threshold, x, negative_slope * (x - threshold))
    return x if max_value is None else x.clamp(max=max_value)
