"""What a writer of ports asks of a Keras model: two records at two sizes, and the attributes that hold its layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from parity.adapters.keras.layers import children, is_functional
from parity.adapters.keras.recording.record import record
from parity.adapters.keras.recording.scope import CallScope
from parity.core.errors import UsageError

BATCHES = (11, 13)
"""Two batch sizes that no layer has as a number of its own."""
GROWTHS = ((32, 160, 224, 96), (32,) * 4, (0,) * 4)
"""How open sizes grow: each by its own number, so that none is taken for another; all alike; or not at all."""


def recorded(model: Any, inputs: Any) -> tuple[CallScope, CallScope | None]:
    """Two records of a model: at the inputs' size, and at another one where the model allows it.

    Raises:
        UsageError: the model's code cannot be called with symbolic tensors.
    """
    structure = _structure(model, inputs)
    try:
        first = record(model, _symbols(model, structure, BATCHES[0], GROWTHS[-1]))
    except Exception as error:
        raise UsageError(
            "the model must run with symbolic tensors (keras.KerasTensor) to be written as torch source; "
            f"got {type(error).__name__}: {str(error).strip()[:500]}. Write the call with keras.ops alone, "
            "or port that layer by hand."
        ) from error
    for more in GROWTHS:
        try:
            return first, record(model, _symbols(model, structure, BATCHES[1], more))
        except Exception:
            continue
    return first, None


def recorded_training(model: Any, inputs: Any) -> CallScope:
    """The record of a call in training mode, at the inputs' size.

    Raises:
        Exception: whatever the model's own code raises in that mode where it is called with symbolic tensors.
    """
    return record(model, _symbols(model, _structure(model, inputs), BATCHES[0], GROWTHS[-1]), training=True)


def _structure(model: Any, inputs: Any) -> Any:
    """The inputs as arrays; the model is built with them."""
    structure = keras.tree.map_structure(
        lambda value: value if hasattr(value, "shape") else np.asarray(value), inputs
    )
    if not getattr(model, "built", True):
        model(keras.tree.map_structure(np.asarray, structure))
    return _fitted(model, structure)


def _fitted(model: Any, structure: Any) -> Any:
    """The inputs in the structure in which a graph of layers asks for them."""
    if not isinstance(structure, list | tuple | dict):
        return structure
    wanted = model._inputs_struct if is_functional(model) else None
    if isinstance(wanted, dict) and not isinstance(structure, dict):
        return dict(zip(wanted, structure, strict=True))
    alone = not isinstance(structure, dict) and len(structure) == 1
    return structure[0] if alone and not isinstance(wanted, list | tuple | dict) else structure


def _symbols(model: Any, structure: Any, batch: int, more: Sequence[int]) -> Any:
    """The inputs as symbolic tensors; open sizes grow by `more`, a number for each axis."""
    declared = {}
    if is_functional(model):
        given = keras.tree.flatten(structure)
        declared = {id(value): tensor for value, tensor in zip(given, model.inputs, strict=False)}

    def symbol(value: Any) -> Any:
        tensor = declared.get(id(value))
        shape = [batch, *map(int, value.shape[1:])]
        fixed = tuple(tensor.shape) if tensor is not None else None
        last = len(shape) - 1
        for axis in range(1, len(shape)):
            open_ = fixed is None or fixed[axis] is None
            if open_ and (axis < last or (len(shape) == 2 and "int" in str(value.dtype))):
                shape[axis] += more[axis - 1]
        dtype = str(tensor.dtype) if tensor is not None else str(np.asarray(value).dtype)
        dtype = model.compute_dtype if "float" in dtype else dtype
        return keras.KerasTensor(shape, dtype)

    return keras.tree.map_structure(symbol, structure)


def attributes_of(owner: Any) -> dict[int, str]:
    """The attribute that holds each layer of a layer, by the layer's id; of a graph, the layers' names."""
    found: dict[int, str] = {}
    if is_functional(owner) or isinstance(owner, keras.Sequential):
        return found

    def walk(layer: Any, stem: str, depth: int) -> None:
        for names, child in children(layer):
            path = f"{stem}{names[0]}"
            if id(child) not in found:
                found[id(child)] = path
                if depth < 1 and not isinstance(child, keras.Sequential) and not is_functional(child):
                    walk(child, f"{path}.", depth + 1)

    walk(owner, "", 0)
    return found
