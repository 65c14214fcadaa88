"""Sees what a torch module asks for in float32, and gives float64 where that is wanted."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from parity.adapters.float32.log import Float32Log, with_float64

LIKE = {"to", "type_as"}
"""Methods whose dtype may be another tensor's."""


class TorchRequests(TorchFunctionMode):
    """Functions, methods and factories that name float32."""

    def __init__(self, log: Float32Log) -> None:
        super().__init__()
        self._log = log

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if not self._log.active:
            return func(*args, **kwargs)
        name = getattr(func, "__name__", "")
        if name == "float" and args and isinstance(args[0], torch.Tensor):
            return (torch.Tensor.double if self._log.lifts(name, args[0]) else func)(*args, **kwargs)
        wide = with_float64(args, kwargs, _asks, lambda value: _wide(value))
        if wide is None and name in LIKE:
            wide = _like(name, args, kwargs)
        if wide is None or not self._log.lifts(name, args[0] if args else None):
            return func(*args, **kwargs)
        if name == "type_as":
            return args[0].to(torch.float64)
        return func(*wide[0], **wide[1])


@contextmanager
def seen(log: Float32Log) -> Iterator[None]:
    """While this is open, what torch is asked for in float32 goes past the log."""
    with TorchRequests(log):
        yield


def _asks(value: Any) -> bool:
    return value is torch.float32 or (isinstance(value, str) and value == "torch.FloatTensor")


def _wide(value: Any) -> Any:
    return torch.float64 if value is torch.float32 else "torch.DoubleTensor"


def _like(name: str, args: Any, kwargs: Any) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
    """`x.to(y)` and `x.type_as(y)` of a float32 tensor y."""
    tensors = [value for value in [*args[1:], *kwargs.values()] if isinstance(value, torch.Tensor)]
    if not tensors or tensors[0].dtype != torch.float32:
        return None
    return (args[0], tensors[0].device, torch.float64), {}
