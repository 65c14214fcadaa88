"""Calls a torch module without gradients in train or eval mode, and leaves it as it was."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from parity.adapters.torch.tensors import named_leaves
from parity.core.adapter import Form, Takes
from parity.core.errors import UsageError

PLAIN = Form()
CACHES = ("use_cache",)
"""Arguments that ask for what later calls go on from, which is no output."""


def call(
    module: nn.Module,
    tensors: Sequence[torch.Tensor],
    training: bool,
    gradients: bool = False,
    form: Form = PLAIN,
) -> Any:
    """What the module gives; flags for train and eval mode are put back afterwards."""
    args, kwargs = form.arguments(tensors)
    with modes_kept(module), torch.set_grad_enabled(gradients):
        set_mode(module, training)
        return renamed(module(*args, **kwargs), form)


@contextmanager
def as_evaluated(module: nn.Module) -> Iterator[None]:
    """While this is open, the module is in eval mode, and no gradients are recorded."""
    with modes_kept(module), torch.no_grad():
        set_mode(module, False)
        yield


def renamed(outputs: Any, form: Form) -> Any:
    """The outputs in the order and by the names that were settled with the other side."""
    if not form.renamed:
        return outputs
    leaves = dict(named_leaves(outputs))
    return {name: leaves[own] for own, name in form.renamed}


def set_mode(module: nn.Module, training: bool) -> None:
    """Train or eval mode. An exported program stays in the mode that it was exported in.

    Raises:
        UsageError: an exported program is to train.
    """
    try:
        module.train(training)
    except NotImplementedError as error:
        if training:
            raise UsageError(
                "a module must have a training mode to be compared in training; got an exported program. "
                "Pass the module that was exported."
            ) from error


def taken(module: nn.Module) -> Takes:
    """The names of the arguments of `forward`; none where it does not say them."""
    try:
        parameters = inspect.signature(module.forward).parameters.values()
    except (TypeError, ValueError):  # compiled code has no signature
        return Takes((), more=True)
    named = [one for one in parameters if one.kind in (one.POSITIONAL_OR_KEYWORD, one.KEYWORD_ONLY)]
    needed = [one for one in parameters if one.default is one.empty and one.kind is not one.VAR_KEYWORD]
    return Takes(
        tuple(one.name for one in named),
        more=any(one.kind is one.VAR_KEYWORD for one in parameters),
        lone=len(needed) == 1,
    )


def constants(module: nn.Module) -> dict[str, Any]:
    """Keyword arguments that switch off what is no output: caches that a later call would go on from."""
    return dict.fromkeys((name for name in taken(module).names if name in CACHES), False)


def call_unseen(module: nn.Module, tensors: Sequence[torch.Tensor]) -> Any:
    """What one module gives alone, in eval mode, unseen by its hooks."""
    with as_evaluated(module), statistics_kept(module):
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
    owners = [(child, dict(child._buffers)) for child in module.modules() if child._buffers]
    held = {id(one): one for _, buffers in owners for one in buffers.values() if one is not None}
    kept = [(buffer, buffer.detach().clone()) for buffer in held.values()]
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


@contextmanager
def uncompiled() -> Iterator[None]:
    """While this is open, what torch.compile made runs as it is written: its compiler would read what watches a run too."""
    if "torch._dynamo" not in sys.modules:  # nothing is compiled, and torch.compiler would load its compiler
        yield
        return
    with torch.compiler.set_stance("force_eager"):
        yield
