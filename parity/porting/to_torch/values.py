"""What a value of the recorded model is, decided by the names of its classes."""

from __future__ import annotations

from typing import Any


def kinds(value: Any) -> list[str]:
    """The names of a value's classes, its own first."""
    return [cls.__name__ for cls in type(value).__mro__]


def is_tensor(value: Any) -> bool:
    """Whether it is a tensor of the record, or a weight."""
    names = kinds(value)
    return "KerasTensor" in names or "Variable" in names


def is_variable(value: Any) -> bool:
    """Whether it is a weight."""
    return "Variable" in kinds(value)


def is_layer(value: Any) -> bool:
    """Whether it is a layer or a model."""
    return "Layer" in kinds(value)


def short(value: Any) -> Any:
    """A pair or triple of equal numbers as one number."""
    if isinstance(value, list | tuple) and value and all(item == value[0] for item in value):
        return value[0] if not isinstance(value[0], list | tuple) else tuple(map(tuple, value))
    return tuple(value) if isinstance(value, list | tuple) else value
