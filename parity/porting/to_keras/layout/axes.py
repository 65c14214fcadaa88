"""The algebra of orders of axes. An order says which axis of torch each axis of Keras is."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

HeldOrder = tuple[int, ...]


def identity(rank: int) -> HeldOrder:
    """The order of torch itself."""
    return tuple(range(rank))


def channels_last(rank: int) -> HeldOrder:
    """The order of N, H, W, C for torch's N, C, H, W, and the same for one or three spatial axes."""
    return (0, *range(2, rank), 1) if rank > 2 else identity(rank)


def slot(order: HeldOrder, axis: int) -> int:
    """Which axis of Keras a torch axis is; negative axes count from the end of torch's axes."""
    return order.index(axis % len(order))


def moved(order: HeldOrder, wanted: HeldOrder) -> tuple[int, ...]:
    """The axes that a transpose takes to come from one order to another."""
    return tuple(order.index(axis) for axis in wanted)


def permuted(order: HeldOrder, dims: Sequence[int]) -> HeldOrder:
    """The order after torch permutes its axes, when the data stay where they are."""
    dims = [dim % len(order) for dim in dims]
    return tuple(dims.index(axis) for axis in order)


def exchanged(rank: int, first: int, second: int) -> tuple[int, ...]:
    """The permutation of a transpose of two axes."""
    dims = list(range(rank))
    first, second = first % rank, second % rank
    dims[first], dims[second] = second, first
    return tuple(dims)


def without(order: HeldOrder, axes: Iterable[int]) -> HeldOrder:
    """The order after some torch axes are gone."""
    gone = {axis % len(order) for axis in axes}
    kept = [axis for axis in range(len(order)) if axis not in gone]
    return tuple(kept.index(axis) for axis in order if axis not in gone)


def with_axis(order: HeldOrder, axis: int, at: int) -> HeldOrder:
    """The order after torch has a new axis, which Keras has at the place `at`."""
    axis %= len(order) + 1
    shifted = [old + (old >= axis) for old in order]
    return (*shifted[:at], axis, *shifted[at:])


def place_of_new(order: HeldOrder, axis: int) -> int:
    """Where Keras puts a new axis of torch: in front of the torch axis behind it, or at the end for the last."""
    axis %= len(order) + 1
    if axis == len(order):
        return len(order)
    return order.index(axis)


def tail(order: HeldOrder, rank: int) -> HeldOrder:
    """The order of a tensor of lower rank that broadcasts against the last axes of torch."""
    first = len(order) - rank
    return tuple(axis - first for axis in order if axis >= first)
