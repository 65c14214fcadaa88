"""A Keras normalisation that follows another rule for its statistics for a while."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np

from parity.adapters.patching import restored


@contextmanager
def another_rule(
    layer: Any, *, momentum: float | None = None, unbiased: bool | None = None, frozen: bool = False
) -> Iterator[None]:
    """While this is open the layer keeps another share, stores another variance, or does not use the batch's."""
    original, had = layer.call, "call" in vars(layer)

    def call(inputs: Any, training: Any = None, **kwargs: Any) -> Any:
        if frozen:
            with restored(layer, "_trainable", False):  # whatever mode the layer is given, or gives itself
                return original(inputs, training=training, **kwargs)
        statistics = (layer.moving_mean, layer.moving_variance)
        before = [keras.ops.convert_to_tensor(value) + 0.0 for value in statistics]
        outputs = original(inputs, training=training, **kwargs)
        if not (training and layer.trainable):
            return outputs
        count = int(np.prod(inputs.shape)) // int(layer.moving_mean.shape[0])
        wide = {None: 1.0, True: count / (count - 1), False: (count - 1) / count}[unbiased]
        for variable, old, factor in zip(statistics, before, (1.0, wide), strict=True):
            keep = layer.momentum if momentum is None else momentum
            batch = (keras.ops.convert_to_tensor(variable) - old * layer.momentum) / (1.0 - layer.momentum)
            variable.assign(old * keep + batch * ((1.0 - keep) * factor))
        return outputs

    vars(layer)["call"] = call
    try:
        yield
    finally:
        vars(layer).pop("call")
        if had:
            vars(layer)["call"] = original
