"""The settings of torch's layers, read from the layers themselves."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

from parity.porting.to_keras.leaves.setting import RECURRENT, Argument, Leaf, NoCounterpartError, Settings
from parity.porting.to_keras.leaves.table import TABLE, leaf_class
from parity.porting.to_keras.making.scope import Scope

_IGNORED = ("self", "device", "dtype", "inplace", "args", "kwargs", "_weight", "_freeze", "sparse")
_IN_CHANNELS = (
    "in_channels",
    "in_features",
    "num_features",
    "num_channels",
    "normalized_shape",
    "input_size",
)
"""What Keras' layers see of their inputs: these are known by value alone, and not written."""


def leaf_of(modules: Sequence[Any], scope: Scope, rank: int | None) -> Leaf:
    """The Keras layer for torch layers of one kind, one in each instance of what makes them.

    Raises:
        NoCounterpartError: Keras has none, or a setting cannot be written.
    """
    return leaf_of_class(leaf_class(type(modules[0])), modules, scope, rank)


def leaf_of_class(cls: Any, modules: Sequence[Any], scope: Scope, rank: int | None = None) -> Leaf:
    """The Keras layer for a class of torch.nn, with the settings that modules of that class have.

    Raises:
        NoCounterpartError: Keras has none, or a setting cannot be written.
    """
    kind = cls.__name__
    if kind not in TABLE:
        raise NoCounterpartError(f"torch.nn.{kind} has no counterpart in Keras")
    found = {}
    for name, default in _parameters(kind, cls).items():
        values = tuple(setting_of(module, name, default) for module in modules)
        found[name] = Argument(_text(name, values, scope), values)
    return TABLE[kind](Settings(kind, found, frozenset(found), rank))


def _parameters(kind: str, cls: Any) -> dict[str, Any]:
    known = RECURRENT.get(kind)
    if known is None:
        known = {name: p.default for name, p in inspect.signature(cls.__init__).parameters.items()}
    return {name: default for name, default in known.items() if name not in _IGNORED}


def _text(name: str, values: Sequence[Any], scope: Scope) -> str:
    if name in _IN_CHANNELS:
        quiet = Scope(scope.names, scope.named)
        try:
            return quiet.text(values, name)
        except NoCounterpartError:
            return "None"
    return scope.text(values, name)


def setting_of(module: Any, name: str, default: Any) -> Any:
    """A setting as the constructor was given it, or might have been."""
    if name == "bias" and type(getattr(module, name, None)) is not bool:
        held = "in_proj_bias" if hasattr(module, "in_proj_bias") else "bias"
        return getattr(module, held, None) is not None
    if name == "add_bias_kv":
        return module.bias_k is not None
    value = getattr(module, name, default)
    if isinstance(value, tuple | list) and value and all(item == value[0] for item in value):
        if name in ("kernel_size", "stride", "padding", "dilation", "output_padding", "output_size"):
            return value[0]
        if name == "scale_factor":
            value = value[0]
    if name == "scale_factor" and isinstance(value, float) and value.is_integer():
        return int(value)
    return value
