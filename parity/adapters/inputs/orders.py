"""The order of an input's axes on the torch side: which readings there are, their names, and the usual one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from typing import Any

from parity.core.adapter import Adapter
from parity.core.errors import UsageError
from parity.core.types import Array

AxisOrder = tuple[int, ...]
"""Axes of the Keras array in the order in which torch takes them."""

LAYOUTS = ("same", "channels-first", "channels-last", "frames")
"""Names of orders: torch takes the same array; the last axis behind the batch; axis 1 last; the last behind the frames."""


def order_of(name: str, rank: int) -> AxisOrder | None:
    """The order that a name stands for at this rank; None where it has none.

    >>> order_of("channels-first", 4), order_of("0312", 4), order_of("frames", 4)
    ((0, 3, 1, 2), (0, 3, 1, 2), None)
    """
    axes = tuple(range(rank))
    if name.isdigit():
        order = tuple(map(int, name))
        return order if tuple(sorted(order)) == axes else None
    if name == "same" or (rank < 3 and name != "frames"):
        return axes
    if name == "channels-first":
        return (0, rank - 1, *axes[1:-1])
    if name == "channels-last":
        return (0, *axes[2:], 1)
    return (0, 1, rank - 1, *axes[2:-1]) if name == "frames" and rank > 4 else None


def name_of(order: AxisOrder) -> str:
    """The name of an order, or its axes as digits."""
    return next((name for name in LAYOUTS if order_of(name, len(order)) == order), "".join(map(str, order)))


def usual(values: Sequence[Array], keras: Adapter) -> list[AxisOrder]:
    """The orders by custom: images channels first, vectors and tokens as they are; channels-first Keras models alike.

    Arrays of rank 3 are (length, channels) signals where the Keras model holds one-dimensional convolutions or
    poolings, and sequences of vectors otherwise. Films keep their frames in front where it runs along them.
    """
    layers = keras.layers().values()
    signals = any("1D" in layer.kind and not layer.kind.startswith("Global") for layer in layers)
    first = any(layer.settings.get("data_format") == "channels_first" for layer in layers)
    films = {layer.kind for layer in layers if layer.kind.startswith("ConvLSTM")}

    def name(rank: int) -> str:
        if first or (rank == 3 and not signals):
            return "same"
        if rank == 4 and "ConvLSTM1D" in films:
            return "0132"
        return "frames" if films and rank > 4 else "channels-first"

    return [order_of(name(value.ndim), value.ndim) or () for value in values]


def readings(values: Sequence[Array], keras: Adapter) -> Iterator[list[AxisOrder]]:
    """Every reading of the inputs, the usual one first; inputs of one rank are read alike."""
    first = usual(values, keras)
    ranks = dict.fromkeys(value.ndim for value in values)
    choices = []
    for rank in ranks:
        start = next(order for value, order in zip(values, first, strict=True) if value.ndim == rank)
        found = (order_of(name, rank) for name in LAYOUTS)
        choices.append(list(dict.fromkeys([start, *(order for order in found if order is not None)])))
    for chosen in product(*choices):
        by_rank = dict(zip(ranks, chosen, strict=True))
        yield [by_rank[value.ndim] for value in values]


def asked(layout: Any, values: Sequence[Array], keras: Adapter) -> list[AxisOrder] | None:
    """The orders that the caller asked for; None where that was nothing.

    Args:
        layout: a name of LAYOUTS or the axes as digits ("0312"), for all inputs; a list with one for each; or a
            dictionary by the inputs' names or numbers, where the others keep the usual one. None asks for nothing.
        values: the inputs, in the Keras layout.
        keras: the Keras side.

    Raises:
        UsageError: no such layout, or no such input.
    """
    if layout is None or layout == "auto":
        return None
    if isinstance(layout, Mapping):
        names = [str(key) for key in keras.keys]
        keys = [{str(i), *_names(keras.keys, i)} for i in range(len(values))]
        if strangers := [key for key in layout if not any(str(key) in own for own in keys)]:
            raise UsageError(
                f"layout must name inputs ({', '.join(names) or 'their numbers from 0'}); got {strangers[0]!r}."
            )
        wanted = [next((layout[key] for key in layout if str(key) in own), None) for own in keys]
    elif isinstance(layout, str):
        wanted = [layout if value.ndim > 2 else "same" for value in values]
    else:
        wanted = list(layout)
    if len(wanted) != len(values):
        raise UsageError(f"layout must have one for each of {len(values)} inputs; got {len(wanted)}.")
    return [
        own if name in (None, "auto") else _order(name, value)
        for name, value, own in zip(wanted, values, usual(values, keras), strict=True)
    ]


def _names(keys: Sequence[Any], number: int) -> set[str]:
    if number >= len(keys):
        return set()
    return {str(name) for name in keys[number]} if isinstance(keys[number], tuple) else {str(keys[number])}


def _order(name: Any, value: Array) -> AxisOrder:
    order = order_of(name, value.ndim) if isinstance(name, str) else None
    if order is None:
        raise UsageError(
            f"layout must be {', '.join(LAYOUTS)}, or the axes as torch takes them, as in '0312'; got {name!r} for an "
            f"input of shape {value.shape}."
        )
    return order
