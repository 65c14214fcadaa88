"""The loss on the Keras side: by name, as given, or the squared error."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np

from parity.core.types import Array


def named_loss(name: str) -> Callable[..., Any]:
    """The loss of (targets, outputs) that a name of parity.training.requests.LOSSES stands for; lists are added up."""
    single = {
        "mse": keras.losses.MeanSquaredError,
        "mae": keras.losses.MeanAbsoluteError,
        "bce": lambda: keras.losses.BinaryCrossentropy(from_logits=True),
        "cross-entropy": lambda: keras.losses.CategoricalCrossentropy(from_logits=True),
    }[name]()

    def loss(targets: Any, outputs: Any) -> Any:
        if not isinstance(outputs, list):
            return single(targets, outputs)
        terms = [single(target, output) for target, output in zip(targets, outputs, strict=True)]
        total = terms[0]
        for term in terms[1:]:
            total = total + term
        return total

    single._dtype_policy = keras.DTypePolicy("float64")
    single._dtype = "float64"
    return loss


def loss_value(loss: Callable[..., Any] | None, outputs: list[Any], targets: Sequence[Array]) -> Any:
    """The loss of these outputs as compile() would reduce it; without a loss function the mean squared errors' sum."""
    wanted = [keras.ops.convert_to_tensor(value) for value in targets]
    if loss is None:
        terms = [
            keras.ops.sum(keras.ops.square(output - target)) / np.float64(value.size)
            for output, target, value in zip(outputs, wanted, targets, strict=True)
        ]
        total = terms[0]
        for term in terms[1:]:
            total = total + term
        return total
    single = len(outputs) == 1
    value = loss(wanted[0] if single else wanted, outputs[0] if single else outputs)
    size = int(np.prod(value.shape))
    return keras.ops.sum(value) / np.float64(size) if len(value.shape) else value
