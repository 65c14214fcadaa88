"""Modules that are one step although they have modules inside: which of their tensors both frameworks have.

Attention and recurrent modules take and give more than their Keras counterparts, in another order, and may have the
batch in the second axis. What is shown of them is what corresponds: query, value and key; the sequence; and the first
result, each with the batch first.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from parity.adapters.torch.layers import is_composite
from parity.adapters.torch.tensors import arrays, replaced
from parity.core.types import Array

SHOWN = {nn.MultiheadAttention: ("query", "value", "key"), nn.RNNBase: ("input",)}
"""Arguments that correspond to those of the Keras layer, in its order."""


def inputs_of(module: nn.Module, args: Any, kwargs: Any) -> list[Array]:
    """The tensors that a call takes, as they are shown."""
    if not is_composite(module):
        return arrays((args, kwargs))
    return arrays([_turned(module, value) for value in _bound(module, args, kwargs).values()])


def with_inputs(module: nn.Module, args: Any, kwargs: Any, values: Sequence[Array]) -> tuple[Any, Any]:
    """The arguments of a call with other values in place of those that are shown."""
    if not is_composite(module):
        return replaced((args, kwargs), values)  # type: ignore[no-any-return]
    shown = _bound(module, args, kwargs)
    turned = replaced([_turned(module, value) for value in shown.values()], values)
    fresh = {name: _turned(module, value) for name, value in zip(shown, turned, strict=True)}
    names = list(inspect.signature(module.forward).parameters)
    args = [fresh.get(name, value) for name, value in zip(names, args, strict=False)]
    return tuple(args), {name: fresh.get(name, value) for name, value in kwargs.items()}


def outputs_of(module: nn.Module, outputs: Any) -> list[Array]:
    """The tensors that a call gives, as they are shown: of a composite the first one."""
    if not is_composite(module):
        return arrays(outputs)
    return arrays([_turned(module, outputs[0])])


def with_outputs(module: nn.Module, outputs: Any, values: Sequence[Array]) -> Any:
    """The result of a call with other values in place of those that are shown."""
    if not is_composite(module):
        return replaced(outputs, values)
    (first,) = replaced([_turned(module, outputs[0])], values)
    return (_turned(module, first), *outputs[1:])


def arguments_of(module: nn.Module, tensors: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    """Tensors in the order in which they are shown, as the module takes them by position."""
    if not is_composite(module):
        return list(tensors)
    turned = [_turned(module, value) for value in tensors]
    return [turned[0], turned[2], turned[1]] if len(turned) == 3 else turned


def _bound(module: nn.Module, args: Any, kwargs: Any) -> dict[str, torch.Tensor]:
    """The tensors of a composite's call that are shown, by the names of its arguments."""
    names = next(names for cls, names in SHOWN.items() if isinstance(module, cls))
    positions = list(inspect.signature(module.forward).parameters)
    given = {**dict(zip(positions, args, strict=False)), **kwargs}
    return {name: given[name] for name in names if isinstance(given.get(name), torch.Tensor)}


def _turned(module: Any, value: Any) -> Any:
    """Batch and sequence exchanged, where the module has the batch in the second axis."""
    plain = isinstance(value, torch.Tensor) and value.dim() == 3 and not module.batch_first
    return value.transpose(0, 1) if plain else value
