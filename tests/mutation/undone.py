"""Whether a seeded fault is gone again: what models and frameworks were, against what they are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from types import BuiltinFunctionType
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
Plain = bool | int | float | str | tuple | type(None)  # what settings are made of


@contextmanager
def undone(fault: AbstractContextManager[Any], *models: Any) -> Iterator[None]:
    """The fault is there while inside; on the way out everything must be as it was before.

    Args:
        fault: seeds the fault, and takes it out again.
        models: torch modules and Keras models.
    Raises:
        AssertionError: a weight, a setting, a method, a hook or a function of torch that the fault left changed.
    """
    before = _state(models)
    with fault:
        yield
    after = _state(models)
    # A framework may define more functions while it runs; a model may not get more of anything.
    names = {**before, **{name: None for name in after if name.startswith("model ")}}
    left = [name for name in names if not _same(before.get(name), after.get(name))]
    assert not left, f"a seeded fault must be undone at its end; got {', '.join(sorted(left))} changed."


def _state(models: tuple[Any, ...]) -> Mapping[str, Any]:
    """Every value that a fault may change, by a name for it."""
    found: dict[str, Any] = {}
    for number, model in enumerate(models):
        parts = _torch_state(model) if isinstance(model, nn.Module) else _keras_state(model)
        found |= {f"model {number}, {name}": value for name, value in parts}
    found |= {f"torch.nn.functional.{name}": value for name, value in vars(F).items() if callable(value)}
    # Those written in Python are left out: torch wraps some of them when its compiler is first loaded.
    built_in = {name: value for name, value in vars(torch).items() if isinstance(value, BuiltinFunctionType)}
    return found | {f"torch.{name}": value for name, value in built_in.items()}


def _torch_state(module: nn.Module) -> Iterator[tuple[str, Any]]:
    for path, layer in module.named_modules():
        for name, value in vars(layer).items():
            if name in HOOKS:
                yield f"{path}.{name}", tuple(value)
            elif callable(value) or isinstance(value, Plain):
                yield f"{path}.{name}", value
    for path, tensor in [*module.named_parameters(), *module.named_buffers()]:
        yield path, tensor.detach().clone()
        yield f"{path}.requires_grad", tensor.requires_grad


def _keras_state(model: Any) -> Iterator[tuple[str, Any]]:
    layers = list(model._flatten_layers())
    for number, layer in enumerate(layers):
        place = f"layer {number} ({layer.name})"
        yield f"{place}.trainable", layer.trainable
        yield f"{place}.dtype", layer.dtype_policy.name
        for name, value in vars(layer).items():
            if not name.startswith("_") and (callable(value) or isinstance(value, Plain)):
                yield f"{place}.{name}", value
    for number, weight in enumerate(model.weights):
        yield f"weight {number} ({weight.path})", weight.numpy()
        yield f"weight {number}.regularizer", getattr(weight, "regularizer", None)


def _same(one: Any, two: Any) -> bool:
    if isinstance(one, torch.Tensor) and isinstance(two, torch.Tensor):
        return torch.equal(one, two)
    if isinstance(one, np.ndarray) and isinstance(two, np.ndarray):
        return np.array_equal(one, two)
    if isinstance(one, Plain) and isinstance(two, Plain):
        return type(one) is type(two) and one == two
    return one is two
