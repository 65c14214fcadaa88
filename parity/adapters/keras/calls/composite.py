"""Layers that are one step although they have layers inside: which of their tensors both frameworks have.

Attention layers may leave the key out, and attention and recurrent layers may give more than one result. What is
shown of them is what torch's modules have too: query, value and key; the sequence; and the first result.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import keras

from parity.adapters.keras.layers import is_composite
from parity.adapters.keras.tensors import arrays, replaced
from parity.core.types import Array

L = keras.layers
SHOWN = {L.RNN: ("sequences", "inputs")}
ATTENTION = ("query", "value", "key")
"""Arguments that correspond to those of the torch module."""


def inputs_of(layer: Any, args: Any, kwargs: Any) -> list[Array]:
    """The tensors that a call takes, as they are shown."""
    if not is_composite(layer):
        return arrays((args, kwargs))
    shown = _bound(layer, args, kwargs)
    if not isinstance(layer, L.RNN) and "key" not in shown and "value" in shown:
        shown["key"] = shown["value"]
    return arrays(list(shown.values()))


def with_inputs(layer: Any, args: Any, kwargs: Any, values: Sequence[Array]) -> tuple[Any, Any]:
    """The arguments of a call with other values in place of those that are shown."""
    if not is_composite(layer):
        return replaced((args, kwargs), values)  # type: ignore[no-any-return]
    shown = _bound(layer, args, kwargs)
    like = [*shown.values(), *list(shown.values())[1:]][: len(values)]
    fresh = dict(zip([*shown, "key"], replaced(like, values), strict=False))
    names = list(inspect.signature(layer.call).parameters)
    given = {**dict(zip(names, args, strict=False)), **kwargs}
    return (), {**given, **fresh}


def outputs_of(layer: Any, outputs: Any) -> list[Array]:
    """The tensors that a call gives, as they are shown: of a composite the first one."""
    return arrays(outputs)[:1] if is_composite(layer) else arrays(outputs)


def with_outputs(layer: Any, outputs: Any, values: Sequence[Array]) -> Any:
    """The result of a call with other values in place of those that are shown."""
    if is_composite(layer) and isinstance(outputs, list | tuple):
        return type(outputs)([replaced(outputs[0], values), *outputs[1:]])
    return replaced(outputs, values)


def _bound(layer: Any, args: Any, kwargs: Any) -> dict[str, Any]:
    """The tensors of a composite's call that are shown, by the names of its arguments."""
    names = SHOWN[L.RNN] if isinstance(layer, L.RNN) else ATTENTION
    positions = list(inspect.signature(layer.call).parameters)
    given = {**dict(zip(positions, args, strict=False)), **kwargs}
    return {name: given[name] for name in names if given.get(name) is not None}
