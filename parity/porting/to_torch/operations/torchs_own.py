"""Layers of the user's with the name and the arguments of a module of torch.nn, where a run says that they are the same."""

from __future__ import annotations

from typing import Any

import numpy as np

from parity.porting.to_torch.axes import images
from parity.porting.to_torch.emission.source import ClassSource
from parity.porting.to_torch.leaves.convolutions import POSITIONAL
from parity.porting.to_torch.use import StepUse
from parity.porting.to_torch.values import short

CLOSE = 1e-4
"""Of the greatest value: the layer computes in float32, and the proof of the port in float64 comes behind."""


def as_torchs_own(use: StepUse) -> bool:
    """Write a layer as the module of torch.nn that has its name; whether there is one, and it computes the same."""
    from parity.adapters.torch.calls.own_module import takes

    kind, layer = type(use.layer).__name__, use.layer
    names = takes(kind)
    if not names or len(use.tensors) != 1 or len(use.x.shape) not in (3, 4, 5):
        return False
    source = ClassSource(layer)
    values = source.values()
    asked = [name for name, _ in source.arguments()]
    if not asked or not set(asked) <= set(values) or not set(asked) <= set(names):
        return False
    settings = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in values.items()
        if value is not None
    }
    if not _same(use, kind, settings):
        return False
    arguments = {
        name: short(value) if isinstance(value, tuple) else value for name, value in settings.items()
    }
    positional = POSITIONAL if "Conv" in kind else tuple(names[:2])
    made = use.module(f"nn.{kind}", positional, sources={name: name for name in arguments}, **arguments)
    use.piece.members[-1].made.owner = layer
    use.give(f"{made}({use.as_images(use.x)})", images(len(use.x.shape)))
    return True


def _same(use: StepUse, kind: str, settings: dict[str, Any]) -> bool:
    """Whether a run of the layer and one of the module give the same."""
    from parity.adapters.torch.calls.own_module import computes

    layer, shape = use.layer, tuple(map(int, use.x.shape))
    rank = len(shape)
    weights = {}
    for variable in layer.variables:
        value = np.asarray(variable.numpy(), dtype="float64")
        if value.ndim == rank:
            weights["weight"] = value.transpose(rank - 1, rank - 2, *range(rank - 2))
        elif value.ndim == 1 and str(variable.name) == "bias":
            weights["bias"] = value
        else:
            return False
    x = np.random.default_rng(0).normal(size=(2, *shape[1:])).astype("float32")
    forth, back = (0, rank - 1, *range(1, rank - 1)), (0, *range(2, rank), 1)
    torchs = computes(kind, settings, weights, x.transpose(forth))
    try:
        keras = np.asarray(layer(x))
    except Exception:  # the layer's own code
        return False
    if torchs is None or torchs.ndim != rank or torchs.transpose(back).shape != keras.shape:
        return False
    return bool(np.abs(torchs.transpose(back) - keras).max() <= CLOSE * np.abs(keras).max())
