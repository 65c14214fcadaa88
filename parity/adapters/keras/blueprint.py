"""How to rebuild one Keras layer in a script that does not know parity: its class, its arguments, its weights.

Only the framework's own, unchanged layers have a blueprint. Subclasses, patched methods and custom functions have
none, because a script without the model's own code could not build them.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from parity.core.adapter import LARGEST_WEIGHTS, Blueprint

CLUTTER = ("initializer", "regularizer", "constraint", "dtype", "name", "trainable")
"""Parts of a Keras configuration that do not change what a layer with given weights computes."""


def keras_blueprint(layer: Any) -> Blueprint | None:
    """{"config", "training", "list"} and the weights in the layer's own order; None where there is no blueprint."""
    own = type(layer).__module__.split(".")[0] == "keras" and type(layer).__name__ != "Lambda"
    if not own or layer._layers or "call" in vars(layer) or "__call__" in vars(layer):
        return None
    try:
        whole = keras.layers.serialize(layer)
    except Exception:  # a function or a regularizer that Keras cannot write down
        return None
    config = {key: value for key, value in whole["config"].items() if not key.endswith(CLUTTER)}
    config["dtype"] = "float64"
    if not _is_kerass_own(config):
        return None
    values = [np.asarray(keras.ops.convert_to_numpy(variable.value)) for variable in layer.weights]
    if sum(value.nbytes for value in values) > LARGEST_WEIGHTS:
        return None
    blueprint = {"module": "keras.layers", "class_name": whole["class_name"], "config": config}
    merges = any(base.__name__ == "Merge" for base in type(layer).__mro__)
    made = {"config": blueprint, "training": bool(layer._call_has_training_arg), "list": merges}
    return made, {str(i): value for i, value in enumerate(values)}


def _is_kerass_own(value: Any) -> bool:
    """Whether plain values and Keras' own objects are all that a configuration holds."""
    if isinstance(value, dict):
        foreign = value.get("registered_name") or not str(value.get("module") or "keras").startswith("keras")
        return not foreign and all(map(_is_kerass_own, value.values()))
    if isinstance(value, list | tuple):
        return all(map(_is_kerass_own, value))
    return value is None or isinstance(value, str | int | float | bool)
