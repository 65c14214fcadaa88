"""Layers of keras.layers that are recorded as the steps that they do: around a function of the user's, or another layer."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

POINTWISE = (
    keras.layers.Dense,
    keras.layers.Dropout,
    keras.layers.Activation,
    keras.layers.LayerNormalization,
)
"""Layers that do the same to every step of a sequence of vectors, whether they are told so or not."""


def is_inlined(operation: Any) -> bool:
    """Whether the steps of a layer stand in the scope around it."""
    if isinstance(operation, keras.layers.Activation):
        return not getattr(operation.activation, "__module__", "").startswith("keras.")
    return isinstance(operation, keras.layers.Lambda | keras.layers.Masking | keras.layers.TimeDistributed)


def inlined(layer: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """What the layer gives, its steps recorded one by one."""
    if isinstance(layer, keras.layers.TimeDistributed):
        return _each_step(layer.layer, *args, **kwargs)
    return layer.call(*args, **kwargs)


def _each_step(layer: Any, x: Any, training: bool | None = None, mask: Any = None) -> Any:
    """The layer on all steps of (N, T, ...) as if they were examples."""
    more = {"training": training} if layer._call_has_training_arg else {}
    if len(x.shape) == 3 and isinstance(layer, POINTWISE):
        return layer(x, **more)
    if mask is not None and layer._call_has_mask_arg:
        more["mask"] = ops.reshape(mask, (-1, *mask.shape[2:]))
    steps = layer(ops.reshape(x, (-1, *x.shape[2:])), **more)
    return ops.reshape(steps, (-1, x.shape[1], *steps.shape[1:]))


def known_spec(operation: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """The symbolic outputs of an operation, their sizes known even where it does not say them (EinsumDense)."""
    if type(operation).__name__ == "ConvertToTensor" and isinstance(args[0], keras.Variable):
        return keras.KerasTensor(args[0].shape, args[0].dtype)
    outputs = operation.compute_output_spec(*args, **kwargs)
    if any(None in tensor.shape for tensor in keras.tree.flatten(outputs) if hasattr(tensor, "shape")):
        return keras.src.backend.compute_output_spec(operation.call, *args, **kwargs)
    return outputs
