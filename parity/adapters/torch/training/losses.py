"""Losses by name, as torch computes them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.nn import functional as F


def named_loss(name: str) -> Callable[..., Any]:
    """The loss of (outputs, targets) that a name of parity.training.requests.LOSSES stands for; lists are added up."""
    table: dict[str, Callable[..., Any]] = {
        "mse": F.mse_loss,
        "mae": F.l1_loss,
        "bce": F.binary_cross_entropy_with_logits,
        "cross-entropy": _cross_entropy,
    }
    single = table[name]

    def loss(outputs: Any, targets: Any) -> Any:
        if not isinstance(outputs, list):
            return single(outputs, targets)
        return torch.stack([single(o, t) for o, t in zip(outputs, targets, strict=True)]).sum()

    return loss


def _cross_entropy(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """The cross-entropy of logits with probabilities, along the axis on which these add up to one."""
    total = targets.sum(-1)
    axis = -1 if torch.allclose(total, torch.ones_like(total)) else 1
    return -(targets * F.log_softmax(outputs, axis)).sum(axis).mean()
