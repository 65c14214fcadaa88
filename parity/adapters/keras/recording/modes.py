"""What a model computes in training mode alone: nothing of it may be lost in silence."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import keras

from parity.adapters.keras.recording.ports import recorded_training
from parity.adapters.keras.recording.scope import CallScope, RecordedCall


def training_alone(model: Any, inputs: Any, first: CallScope) -> dict[int, tuple[Any, RecordedCall | None]]:
    """The layers whose calls do other steps in training mode.

    Args:
        model: the Keras model.
        inputs: as the record took them.
        first: the record of the call in inference mode, before its steps are put into groups.

    Returns:
        By the layer's id: the layer, and the first step that differs; None where its output or a weight that it sets does.

    Raises:
        Exception: whatever the model's own code raises in training mode where it is called with symbolic tensors.
    """
    found: dict[int, tuple[Any, RecordedCall | None]] = {}
    with keras.StatelessScope() as kept:
        trained = recorded_training(model, inputs)
    for owner, step in _differences(first, trained, {}):
        found.setdefault(id(owner), (owner, step))
    changed = {id(variable) for variable in model.variables if id(variable) in kept.state_mapping}
    for layer in [*model._flatten_layers()] if changed else ():
        if changed & {id(value) for value in vars(layer).values()}:
            found.setdefault(id(layer), (layer, None))
    return found


def _is_tensor(value: Any) -> bool:
    return isinstance(value, keras.KerasTensor | keras.Variable)


def _is_layer(value: Any) -> bool:
    return isinstance(value, keras.layers.Layer)


def _differences(one: Any, two: Any, same: dict[int, int]) -> Iterator[tuple[Any, Any]]:
    """The owners whose calls differ, and the first step of the second call that does."""
    _note(same, (one.args, one.kwargs), (two.args, two.kwargs))
    for n, step in enumerate(two.steps):
        before = one.steps[n] if n < len(one.steps) else None
        if before is None or not _equal(before, step, same):
            yield two.owner, step
            return
        if step.scope is not None:
            yield from _differences(before.scope, step.scope, same)
        _note(same, before.outputs, step.outputs)
    if len(one.steps) > len(two.steps) or not _taken(one.outputs, two.outputs, same):
        yield two.owner, one.steps[len(two.steps)] if len(one.steps) > len(two.steps) else None


def _equal(one: Any, two: Any, same: dict[int, int]) -> bool:
    """Whether two steps do the same with the same tensors and numbers."""
    alike = (
        one.operation is two.operation
        if _is_layer(two.operation)
        else type(one.operation) is type(two.operation)
    )
    if not alike or (one.scope is None) != (two.scope is None):
        return False
    if not _is_layer(two.operation) and _settings(one.operation) != _settings(two.operation):
        return False
    kwargs = [{k: v for k, v in step.kwargs.items() if k != "training"} for step in (one, two)]
    return _taken((one.args, kwargs[0]), (two.args, kwargs[1]), same)


def _settings(operation: Any) -> str:
    plain = (bool, int, float, str, tuple, list, type(None))
    return repr(
        sorted(
            (k, v) for k, v in vars(operation).items() if isinstance(v, plain) and k not in ("name", "_lock")
        )
    )


def _taken(one: Any, two: Any, same: dict[int, int]) -> bool:
    first, second = keras.tree.flatten(one), keras.tree.flatten(two)
    if len(first) != len(second):
        return False
    for a, b in zip(first, second, strict=True):
        if _is_tensor(a) and _is_tensor(b):
            if a is not b and same.get(id(b)) != id(a):
                return False
        elif isinstance(b, bool):
            continue  # the mode itself, handed on
        elif isinstance(b, int | float | str | slice):
            if a != b:
                return False
        elif type(a) is not type(b):
            return False
    return True


def _note(same: dict[int, int], one: Any, two: Any) -> None:
    for a, b in zip(keras.tree.flatten(one), keras.tree.flatten(two), strict=False):
        if _is_tensor(a) and _is_tensor(b):
            same[id(b)] = id(a)
