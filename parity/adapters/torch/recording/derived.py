"""Classes of the user's that derive from a layer of torch's, have a forward of their own, and compute the same."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch

CLOSE = 1e-5
"""Share of the greatest value by which two ways to compute one layer in float32 may differ."""
WEIGHTS = frozenset({"weight", "bias"})


class DerivedLayers:
    """Compares each call of such a module with what torch's own forward gives; a hook for forward calls.

    Args:
        layers: the names of the classes of torch.nn that are tried.
    """

    def __init__(self, layers: Collection[str]) -> None:
        self.layers = layers
        self._same: dict[Any, bool] = {}

    @property
    def classes(self) -> frozenset[type]:
        """Those that gave the same in every call."""
        return frozenset(cls for cls, same in self._same.items() if same)

    def __call__(self, module: Any, positional: Any, named: Mapping[str, Any], value: Any) -> None:
        """Compare one call; as torch's hooks of forward calls are called."""
        cls: Any = type(module)
        base: Any = torch_base(cls)
        if base is None or cls.forward is base.forward or base.__name__ not in self.layers:
            return
        if self._same.get(cls, True):
            self._same[cls] = _plain(module) and _agrees(base, module, positional, named, value)

    @contextmanager
    def replaced(self) -> Iterator[None]:
        """While this is open, these classes run torch's own forward."""
        own = {cls: vars(cls).get("forward") for cls in self.classes}
        try:
            for cls in own:
                base: Any = torch_base(cls)
                cls.forward = base.forward  # type: ignore[attr-defined]
            yield
        finally:
            for cls, forward in own.items():
                if forward is None:
                    del cls.forward  # type: ignore[attr-defined]
                else:
                    cls.forward = forward  # type: ignore[attr-defined]


def torch_base(cls: type) -> type | None:
    """The first class of torch.nn that a class derives from."""
    return next((base for base in cls.__mro__ if base.__module__.startswith("torch.nn.modules")), None)


def _plain(module: Any) -> bool:
    """Whether a module has nothing but the weights of torch's layers, and nothing that training changes.

    Weights of its own may begin with values that hide them, and a dropout does nothing in evaluation.
    """
    weights = {name for name, value in module._parameters.items() if value is not None}
    return not module._modules and not module._buffers and weights <= WEIGHTS and not hasattr(module, "p")


def _agrees(base: Any, module: Any, positional: Any, named: Mapping[str, Any], value: Any) -> bool:
    try:
        plain = base.forward(module, *positional, **named)
    except Exception:  # its own forward takes what torch's does not
        return False
    if not isinstance(value, torch.Tensor) or not isinstance(plain, torch.Tensor):
        return False
    if plain.shape != value.shape or plain.dtype != value.dtype:
        return False
    bound = CLOSE * float(value.abs().max()) if value.numel() else 0.0
    return bool((plain - value).abs().max() <= bound) if value.numel() else True
