"""How to build one layer anew, in a script that does not know parity: its class, its arguments, its weights.

A layer has a recipe only where it is the framework's own and nobody changed it: subclasses, patched methods
and custom functions have none, because a script without the model's own code could not build them.
"""

from __future__ import annotations

import ast
import inspect
from typing import Any

import numpy as np
import torch
from torch import nn

from parity.adapters.base import Array

Recipe = tuple[dict[str, Any], dict[str, Array]]

LARGEST_WEIGHTS = 16 * 2**20
"""Bytes of a layer's weights that a report may carry."""

CLUTTER = ("initializer", "regularizer", "constraint", "dtype", "name", "trainable")
"""Parts of a Keras configuration that do not change what a layer with given weights computes."""


def keras_recipe(layer: Any) -> Recipe | None:
    """{"config", "training", "list"} and the weights in the layer's own order; None where there is no recipe."""
    import keras

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
    recipe = {"module": "keras.layers", "class_name": whole["class_name"], "config": config}
    merges = any(base.__name__ == "Merge" for base in type(layer).__mro__)
    made = {"config": recipe, "training": bool(layer._call_has_training_arg), "list": merges}
    return made, {str(i): value for i, value in enumerate(values)}


def _is_kerass_own(value: Any) -> bool:
    """Whether plain values and Keras' own objects are all that a configuration holds."""
    if isinstance(value, dict):
        foreign = value.get("registered_name") or not str(value.get("module") or "keras").startswith("keras")
        return not foreign and all(map(_is_kerass_own, value.values()))
    if isinstance(value, list | tuple):
        return all(map(_is_kerass_own, value))
    return value is None or isinstance(value, str | int | float | bool)


def torch_recipe(module: nn.Module) -> Recipe | None:
    """{"class", "arguments"} and the state by name; None where there is no recipe."""
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
