"""The settings of torch's layers, read from the layers themselves."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Mapping, Sequence
from operator import attrgetter
from typing import Any

from parity.porting.to_keras.leaves.library import layer_for
from parity.porting.to_keras.leaves.sequences import activation_name
from parity.porting.to_keras.leaves.setting import (
    RECURRENT,
    Argument,
    Leaf,
    NoCounterpartError,
    Settings,
    bound,
)
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
_WITHIN = {
    "d_model": "self_attn.embed_dim", "nhead": "self_attn.num_heads", "dim_feedforward": "linear1.out_features",
    "dropout": "dropout.p", "layer_norm_eps": "norm1.eps", "batch_first": "self_attn.batch_first", "bias": "linear1.bias",
}  # fmt: skip
"""Where a transformer's layer keeps the settings that it was given."""


def leaf_of(modules: Sequence[Any], scope: Scope, rank: int | None) -> Leaf:
    """The Keras layer for torch layers of one kind, one in each instance of what makes them.

    Raises:
        NoCounterpartError: Keras has none, or a setting cannot be written.
    """
    return leaf_of_class(leaf_class(type(modules[0])), modules, scope, rank)


def leaf_of_class(
    cls: Any, modules: Sequence[Any], scope: Scope, rank: int | None = None, *, base: bool = False
) -> Leaf:
    """The Keras layer for a class of torch.nn, with the settings that modules of that class have.

    Where it is the `base` of a class of the port, which reads its attributes, it is never one of the library's.

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
    settings = Settings(kind, found, frozenset(found), rank)
    return TABLE[kind](settings) if base else layer_for(settings)


def settings_of_call(
    cls: Any,
    callee: Any,
    positional: Sequence[Argument],
    named: Mapping[str, Argument],
    modules: Sequence[Any],
    rank: int | None,
) -> Settings:
    """The settings of a call of a layer of torch's, or of a class that derives from one.

    Args:
        cls: the class of torch.nn.
        callee: what is called. Where it has a constructor of its own, an argument is a setting of torch's layer where
            the modules have the value that was given; all other settings are read from the modules.
        positional: the arguments.
        named: the arguments by name.
        modules: what the call gave, each time.
        rank: how many axes the inputs of the layer have, where that is known.

    Raises:
        NoCounterpartError: the arguments do not fit, or a setting changes with something that is not known.
    """
    kind = cls.__name__
    if callee.__init__ is cls.__init__:
        return bound(kind, cls, positional, named, rank)
    modules = modules or [_tried(callee, positional, named)]
    names = [name for name in inspect.signature(callee.__init__).parameters if name != "self"]
    given = {**dict(zip(names, positional, strict=False)), **named}
    found: dict[str, Argument] = {}
    for name, default in _parameters(kind, cls).items():
        values = tuple(setting_of(module, name, default) for module in modules)
        argument = given.get(name)
        if argument is not None and (
            not argument.values or tuple(map(_collapsed, argument.values)) == values
        ):
            found[name] = Argument(argument.text, values)
        elif name == "stride" and default is None and values == found["kernel_size"].values:
            found[name] = Argument("None", (None,) * len(values))
        elif all(value == values[0] for value in values):
            found[name] = Argument(repr(values[0]), values)
        elif name in _IN_CHANNELS:
            found[name] = Argument("None", values)
        else:
            raise NoCounterpartError(f"{callee.__name__} sets {name} itself, in each instance otherwise")
    return Settings(kind, found, frozenset(found), rank)


def _tried(callee: Any, positional: Sequence[Argument], named: Mapping[str, Argument]) -> Any:
    """The module that a call would have given which never ran, where all of its arguments are constants."""
    if not all(argument.literal for argument in (*positional, *named.values())):
        raise NoCounterpartError(f"{callee.__name__} has a constructor of its own, which did not run here")
    values = [ast.literal_eval(argument.text) for argument in positional]
    return callee(*values, **{name: ast.literal_eval(argument.text) for name, argument in named.items()})


def _collapsed(value: Any) -> Any:
    """One number for all axes where each has the same."""
    alike = isinstance(value, tuple | list) and value and all(item == value[0] for item in value)
    return value[0] if alike else value


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
    if name == "activation":
        return activation_name(getattr(module, name, default))
    if name in _WITHIN and hasattr(module, "self_attn"):
        held = attrgetter(_WITHIN[name])(module)
        return held is not None if name == "bias" else held
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
