"""Losses by name, as Keras computes them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras


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
