"""Tables that one side keeps in float32 where the other computes them: the same to float32 rounding, and judged as one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from parity.adapters.patching import restored
from parity.core.adapter import Adapter, joined
from parity.core.trace import Node, NodeObserver, Values
from parity.core.types import Array
from parity.pairing.pair import Pairing

ROUNDED = 2.0**-22
"""Relative: two roundings of float32 on either side."""
LARGEST = 2**24
"""Elements of the largest table that is looked at."""


@dataclass(frozen=True)
class Table:
    """Numbers that a model keeps, and that no training changes.

    Attributes:
        path: of the tensor, or of the layer and its attribute.
        value: as it is held now, in float64.
        owner: the layer, where it is a plain attribute of it; None for a tensor with a path of its own.
        name: of the attribute.
        held: the framework's own tensor, for an attribute.
    """

    path: str
    value: Array
    owner: Any = None
    name: str = ""
    held: Any = None


def tables(model: Adapter, pairing: Pairing) -> list[Table]:
    """The numbers that a side keeps in float32 and that are no weights of a pair."""
    paired = {path for pair in pairing.pairs for slot in pair.slots for path in (slot.keras, slot.torch)}
    found = [
        Table(tensor.path, model.read(tensor.path))
        for layer in model.layers().values()
        for tensor in layer.tensors
        if tensor.path not in paired
    ]
    known = {table.path for table in found} | paired
    for path, layer, attributes in model.kept():
        for name, held in attributes.items():
            value = model.values(held) if joined(path, name) not in known else None
            if value is not None and vars(layer).get(name) is held:
                found.append(Table(joined(path, name), np.array(value), layer, name, held))
            elif value is not None and name in getattr(layer, "_buffers", {}):
                found.append(Table(joined(path, name), np.array(value)))
    return [table for table in found if _in_float32(table.value)]


def _in_float32(value: Array) -> bool:
    """Whether these are floating numbers that float32 holds, and not whole ones, which it holds exactly."""
    if value.dtype != np.float64 or not 0 < value.size <= LARGEST or not np.isfinite(value).all():
        return False
    with np.errstate(over="ignore"):
        return bool((value.astype(np.float32) == value).all()) and not bool((value == np.round(value)).all())


class _Alike(NodeObserver):
    """Looks for the tables of the other side among what the steps give."""

    def __init__(self, wanted: Sequence[Table]) -> None:
        self.found: dict[str, Array] = {}
        self._wanted: dict[int, list[Table]] = {}
        for table in wanted:
            self._wanted.setdefault(table.value.size, []).append(table)

    def after(self, node: Node, outputs: Values) -> None:
        """A step gave something."""
        for number, shape in enumerate(outputs.shapes()):
            if int(np.prod(shape)) in self._wanted and outputs.floating()[number]:
                self.look(outputs()[number])

    def look(self, value: Array) -> None:
        """Whether these numbers are one of the tables."""
        for table in self._wanted.get(value.size, ()):
            if table.path not in self.found and value.dtype == np.float64:
                own = value.reshape(table.value.shape)
                if (np.abs(own - table.value) <= ROUNDED * np.abs(table.value)).all():
                    self.found[table.path] = own


@contextmanager
def settled(
    sides: tuple[Adapter, Adapter], pairing: Pairing, inputs: Mapping[Any, Sequence[Array]]
) -> Iterator[list[str]]:
    """While this is open, such tables of one side hold what the other computes; yields what to say of it.

    No number moves by more than the rounding of float32, in which it is kept: what is judged lies within that of what
    was given.

    Args:
        sides: both sides, Keras first, in float64.
        pairing: which layer is which.
        inputs: of each side, in its own layout.
    """
    kept = {model.side: tables(model, pairing) for model in sides}
    said: list[str] = []
    with ExitStack() as stack:
        for model, computing in (sides[::-1], sides):
            if not kept[model.side]:
                continue
            look = _Alike(kept[model.side])
            computing.trace(inputs[computing.side], look)
            for known in kept[computing.side]:
                look.look(known.value)
            for table in kept[model.side]:
                value = look.found.get(table.path)
                if value is None or np.array_equal(value, table.value):
                    continue
                stack.enter_context(_holding(model, table, value))
                kept[computing.side] = [one for one in kept[computing.side] if one.value.size != value.size]
                said.append(
                    f"{_name(model)} keeps {table.path} in float32, and {_name(computing)} has the same numbers to its "
                    f"rounding; judged with those of {_name(computing)}"
                )
        yield said


@contextmanager
def _holding(model: Adapter, table: Table, value: Array) -> Iterator[None]:
    if table.owner is not None:
        with restored(table.owner, table.name, model.like(table.held, value)):
            yield
        return
    model.write(table.path, value)
    try:
        yield
    finally:
        model.write(table.path, table.value)


def _name(model: Adapter) -> str:
    return "torch" if model.side == "torch" else "Keras"
