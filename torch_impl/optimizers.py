"""Optimizers with one rule in both packages: PyTorch's own, under the names and arguments of `tf_impl.optimizers`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch


class SGD(torch.optim.SGD):
    """Step along the gradient, or along a velocity that does not hold the learning rate.

    Args:
        params: the module's parameters, or groups of them.
        lr: learning rate.
        momentum: share of the velocity that is kept, from 0 to 1.
        dampening: share of the gradient that does not enter the velocity.
        weight_decay: times the weight, added to the gradient.
        nesterov: whether to look ahead.

    Raises:
        ValueError: nesterov without momentum, or with dampening.

    Source: `torch.optim.SGD`; Sutskever et al., "On the importance of initialization and momentum", 2013.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        momentum: float = 0,
        dampening: float = 0,
        weight_decay: float = 0,
        nesterov: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(params, lr, momentum, dampening, weight_decay, nesterov, **kwargs)


class Adam(torch.optim.Adam):
    """Step by the mean of the gradients over the root of the mean of their squares, both bias-corrected.

    Args:
        params: the module's parameters, or groups of them.
        lr: learning rate.
        betas: shares of the two means that are kept.
        eps: added to the bias-corrected root.
        weight_decay: times the weight, added to the gradient.
        amsgrad: whether the greatest mean square counts.

    Source: `torch.optim.Adam`; Kingma & Ba, "Adam", 2015, algorithm 1.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        amsgrad: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(params, lr, betas, eps, weight_decay, amsgrad, **kwargs)


class AdamW(torch.optim.AdamW):
    """Adam whose weight decay shrinks the weights by themselves.

    Args:
        params: the module's parameters, or groups of them.
        lr: learning rate.
        betas: shares of the two means that are kept.
        eps: added to the bias-corrected root.
        weight_decay: times learning rate and weight, taken off the weight.
        amsgrad: whether the greatest mean square counts.

    Source: `torch.optim.AdamW`; Loshchilov & Hutter, "Decoupled weight decay regularization", 2019.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        amsgrad: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(params, lr, betas, eps, weight_decay, amsgrad, **kwargs)


class RMSprop(torch.optim.RMSprop):
    """Step by the gradient over the root of the mean of its squares.

    Args:
        params: the module's parameters, or groups of them.
        lr: learning rate.
        alpha: share of the mean that is kept.
        eps: added to the root.
        weight_decay: times the weight, added to the gradient.
        momentum: share of the velocity that is kept, from 0 to 1.
        centered: whether to subtract the squared mean.

    Source: `torch.optim.RMSprop`; Hinton, "Neural networks for machine learning", lecture 6, 2012.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0,
        momentum: float = 0,
        centered: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(params, lr, alpha, eps, weight_decay, momentum, centered, **kwargs)
