"""How to rebuild one torch layer in a script that does not know parity: its class, its arguments, its weights.

Only the framework's own, unchanged layers have a blueprint. Subclasses, patched methods and custom functions have
none, because a script without the model's own code could not build them.
"""

from __future__ import annotations

import ast
import inspect
from typing import Any

import torch
from torch import nn

from parity.core.adapter import LARGEST_WEIGHTS, Blueprint


def torch_blueprint(module: nn.Module) -> Blueprint | None:
    """{"class", "arguments"} and the state by name; None where there is no blueprint."""
    cls = type(module)
    if not cls.__module__.startswith("torch.nn.modules.") or getattr(nn, cls.__name__, None) is not cls:
        return None
    if any(True for _ in module.children()) or "forward" in vars(module):
        return None
    arguments = _arguments(module)
    state = module.state_dict()
    if arguments is None or sum(value.nbytes for value in state.values()) > LARGEST_WEIGHTS:
        return None
    try:
        with torch.device("meta"):
            fresh = cls(**arguments).state_dict()
    except Exception:  # what it was built with cannot be read off its attributes
        return None
    if {name: value.shape for name, value in fresh.items()} != {
        name: value.shape for name, value in state.items()
    }:
        return None
    values = {
        name: (value.float() if value.dtype == torch.bfloat16 else value).detach().cpu().numpy().copy()
        for name, value in state.items()
    }
    return {"class": cls.__name__, "arguments": arguments}, values


def _arguments(module: nn.Module) -> dict[str, Any] | None:
    """What the constructor took, where it is not the default; None where that cannot be read."""
    found: dict[str, Any] = {}
    for name, parameter in inspect.signature(type(module).__init__).parameters.items():
        if name in {"self", "device", "dtype", "inplace"} or not hasattr(module, name):
            continue
        value = getattr(module, name)
        if name == "bias" or isinstance(value, torch.Tensor):
            value = value is not None
        if isinstance(value, tuple):
            value = tuple(value)
        everywhere = set(value) if isinstance(value, tuple) else {value}
        if value == parameter.default or everywhere == {parameter.default}:  # (2, 2) is 2
            continue
        if not _literal(value):
            return None
        found[name] = value
    return found


def _literal(value: Any) -> bool:
    """Whether the value can be written into a script as it prints."""
    try:
        return bool(ast.literal_eval(repr(value)) == value)
    except (ValueError, SyntaxError):
        return False
