"""Bilinear resizing that is written out: rows and columns taken by number, and weighed between their neighbours."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from parity.core.types import Array
from parity.porting.to_torch.use import flat
from parity.porting.to_torch.values import is_tensor, kinds


@dataclass(eq=False)
class NeighbourSums:
    """What stands for the steps of a resizing: the settings of `keras.ops.image.resize`."""

    name: str
    interpolation: str = "bilinear"
    antialias: bool = False


@dataclass(eq=False)
class NeighbourStep:
    """A resizing as one step; its fields are those of a recorded call."""

    operation: NeighbourSums
    args: tuple[Any, ...]
    outputs: Any
    places: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = field(default_factory=dict)
    scope: Any = None
    short: str = ""

    @property
    def name(self) -> str:
        """The name of the operation."""
        return self.operation.name


def resizings_as_steps(scope: Any) -> None:
    """Put one step where five or ten steps enlarge or reduce an image bilinearly, in place, here and in what is inside."""
    for step in scope.steps:
        if step.scope is not None:
            resizings_as_steps(step.scope)
    home = {id(step.outputs): step for step in scope.steps if is_tensor(step.outputs)}
    users: dict[int, int] = {}
    for value in flat([(step.args, step.kwargs) for step in scope.steps]) + flat(scope.outputs):
        users[id(value)] = users.get(id(value), 0) + 1
    found: list[tuple[NeighbourStep, list[Any]]] = []
    for step in scope.steps:
        along = _along(step, home)
        if along is None:
            continue
        axis, x, parts = along
        last = found[-1] if found else None
        if axis == 2 and last is not None and last[0].outputs is x and users[id(x)] == 2:
            last[0].outputs = step.outputs
            last[1].extend([*parts, step])
        elif axis in (1, 2):
            found.append(
                (NeighbourStep(NeighbourSums(step.name), (x,), step.outputs, step.places), [*parts, step])
            )
    at = {id(parts[-1]): made for made, parts in found}
    gone = {id(part) for _, parts in found for part in parts}
    scope.steps = [at.get(id(step), step) for step in scope.steps if id(step) in at or id(step) not in gone]


def _along(step: Any, home: dict[int, Any]) -> tuple[int, Any, list[Any]] | None:
    """(axis, image, the steps in front) where a sum of two weighed neighbours resizes along an axis bilinearly."""
    if kinds(step.operation)[0] != "Add" or not is_tensor(step.outputs) or len(step.outputs.shape) != 4:
        return None
    terms = [term for value in step.args if (term := _term(value, home)) is not None]
    if len(terms) != 2 or len(step.args) != 2:
        return None
    (axis, x, low, first, one), (its_axis, same, high, second, two) = terms
    if axis != its_axis or x is not same or axis not in (1, 2):
        return None
    before, after = int(x.shape[axis]), int(step.outputs.shape[axis])
    if any(part.shape != (after,) for part in (low, high, first, second)):
        return None
    rows = np.arange(after)
    matrix = np.zeros((after, before))
    np.add.at(matrix, (rows, low), first)
    np.add.at(matrix, (rows, high), second)
    return (axis, x, [*one, *two]) if np.allclose(matrix, bilinear(before, after), atol=1e-6) else None


def _term(value: Any, home: dict[int, Any]) -> tuple[int, Any, Array, Array, list[Any]] | None:
    """(axis, image, numbers of its rows, their weights, the two steps) of one of the neighbours."""
    product = home.get(id(value))
    if product is None or kinds(product.operation)[0] != "Multiply":
        return None
    taken = next((home[id(v)] for v in product.args if id(v) in home), None)
    weights = next((v for v in product.args if not is_tensor(v)), None)
    if taken is None or weights is None or kinds(taken.operation)[0] != "Take" or len(taken.args) < 2:
        return None
    x, index, axis = taken.args[0], taken.args[1], taken.operation.axis
    shape = tuple(getattr(weights, "shape", ()))
    if is_tensor(index) or not is_tensor(x) or len(x.shape) != 4 or not isinstance(axis, int):
        return None
    if shape != (len(taken.outputs.shape) and taken.outputs.shape[axis], *(1,) * (3 - axis)):
        return None
    return axis, x, np.asarray(index), np.asarray(weights, dtype="float64").ravel(), [taken, product]


def bilinear(before: int, after: int) -> Array:
    """The weights of each old pixel in each new one: centres at half numbers, the border repeated."""
    place = np.clip((np.arange(after) + 0.5) * (before / after) - 0.5, 0, before - 1)
    low = place.astype(int)
    share, rows = place - low, np.arange(after)
    matrix = np.zeros((after, before))
    np.add.at(matrix, (rows, low), 1 - share)
    np.add.at(matrix, (rows, np.minimum(low + 1, before - 1)), share)
    return matrix
