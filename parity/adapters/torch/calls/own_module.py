"""What a module of torch.nn computes that has the name and the arguments of a layer of the user's."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import nn

from parity.core.types import Array


def takes(kind: str) -> list[str]:
    """The names of a constructor's arguments, in order; empty where torch.nn has no such module."""
    made = getattr(nn, kind, None)
    if not isinstance(made, type) or not issubclass(made, nn.Module):
        return []
    return [name for name in inspect.signature(made).parameters if name not in ("device", "dtype")]


def computes(kind: str, arguments: Mapping[str, Any], weights: Mapping[str, Array], x: Array) -> Array | None:
    """What the module gives in evaluation, in float64; None where it does not take these arguments or weights.

    Args:
        kind: the name of a class in torch.nn.
        arguments: of its constructor.
        weights: all of its tensors by name, in torch's order of axes.
        x: the input, in torch's order of axes.
    """
    try:
        module = getattr(nn, kind)(**arguments).double().eval()
        module.load_state_dict({name: torch.from_numpy(np.array(value)) for name, value in weights.items()})
        with torch.no_grad():
            given = module(torch.from_numpy(np.array(x, dtype="float64")))
    except (TypeError, ValueError, RuntimeError, AttributeError):
        return None
    return given.numpy() if isinstance(given, torch.Tensor) else None
