"""Calls a torch module without gradients in train or eval mode, and leaves it as it was."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn


def call(module: nn.Module, tensors: Sequence[torch.Tensor], training: bool, gradients: bool = False) -> Any:
    """What the module gives; flags for train and eval mode are put back afterwards."""
    with modes_kept(module), torch.set_grad_enabled(gradients):
        module.train(training)
        return module(*tensors)


def call_unseen(module: nn.Module, tensors: Sequence[torch.Tensor]) -> Any:
    """What one module gives alone, in eval mode, unseen by its hooks."""
    with modes_kept(module), torch.no_grad(), statistics_kept(module):
        module.eval()
        forward = getattr(module.forward, "unseen", module.forward)  # not the one that is watched
        return forward(*tensors)


@contextmanager
def modes_kept(module: nn.Module) -> Iterator[None]:
    """Put back the flags for train and eval mode of the module and all within it."""
    modes = [(child, child.training) for child in module.modules()]
    try:
        yield
    finally:
        for child, mode in modes:
            child.training = mode


@contextmanager
def statistics_kept(module: nn.Module) -> Iterator[None]:
    """Put back the statistics that a module moves in a pass: it may have been left in training mode."""
    owners = [(child, dict(child._buffers)) for child in module.modules()]
    kept = [(buffer, buffer.detach().clone()) for buffer in module.buffers()]
    try:
        yield
    finally:
        for child, buffers in owners:  # `self.seen = self.seen + 1` puts another tensor in its place
            if any(child._buffers.get(name) is not buffer for name, buffer in buffers.items()):
                child._buffers.update(buffers)
        for buffer, value in kept:
            if not torch.equal(buffer, value):
                with torch.no_grad():
                    buffer.copy_(value)
