"""Calls a Keras layer or model eagerly, with the structure of inputs that it takes, and leaves it as it was."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from keras import tree

from parity.adapters.keras.layers import is_functional
from parity.adapters.keras.weights import to_numpy
from parity.core.adapter import Form, Takes

PLAIN = Form()


def call(layer: Any, tensors: list[Any], training: bool, form: Form = PLAIN) -> Any:
    """What the layer gives; it is not asked to train where its `call` does not take the argument."""
    args, kwargs = form.arguments(tensors) if form.names else (arguments_of(layer, tensors), {})
    if layer._call_has_training_arg:
        return layer(*args, **kwargs, training=training)
    return layer(*args, **kwargs)


def taken(layer: Any) -> Takes:
    """The names of a functional model's inputs, or of the arguments of `call`."""
    if is_functional(layer):
        struct = layer._inputs_struct
        by_key = isinstance(struct, dict)
        names = sorted(struct) if by_key else [tensor.name for tensor in layer.inputs]
        return Takes(tuple(names), ordered=len(names) == len(layer.inputs), by_key=by_key)
    parameters = [
        one for name, one in inspect.signature(layer.call).parameters.items() if name not in {"training"}
    ]
    named = [one for one in parameters if one.kind in (one.POSITIONAL_OR_KEYWORD, one.KEYWORD_ONLY)]
    needed = [one for one in parameters if one.default is one.empty and one.kind is not one.VAR_KEYWORD]
    return Takes(
        tuple(one.name for one in named),
        more=any(one.kind is one.VAR_KEYWORD for one in parameters),
        lone=len(needed) == 1,
    )


def arguments_of(layer: Any, tensors: list[Any]) -> list[Any]:
    """The tensors in the structure that the layer takes: a functional model's own, a list, or one by one."""
    if is_functional(layer) and len(layer.inputs) == len(tensors):
        return [tree.pack_sequence_as(layer._inputs_struct, tensors)]
    if len(tensors) > 1 and _positional(layer.call) == 1:
        return [tensors]
    return tensors


def _positional(function: Any) -> int:
    """How many inputs a `call` method takes by position; a variable number counts as more than one."""
    parameters = [
        parameter
        for name, parameter in inspect.signature(function).parameters.items()
        if name not in {"training", "mask"}
    ]
    if any(parameter.kind is parameter.VAR_POSITIONAL for parameter in parameters):
        return len(parameters) + 1
    return sum(parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD)
               and parameter.default is parameter.empty for parameter in parameters)  # fmt: skip


@contextmanager
def statistics_kept(layer: Any) -> Iterator[None]:
    """Put back the statistics that a layer moves in a pass: some layers train even when asked not to."""
    kept = [(variable, to_numpy(variable)) for variable in layer.non_trainable_variables]
    try:
        yield
    finally:
        for variable, value in kept:
            if not np.array_equal(to_numpy(variable), value):
                variable.assign(value)
