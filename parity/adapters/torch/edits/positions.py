"""Rows of a table and slices that begin elsewhere, and another element that is taken."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from torch import nn

from parity.adapters.torch.edits.edit import Called, Edit, given, of_first, with_given

OFFSETS = (1, -1, 2, -2)
MOST = 17
"""Below this many places, every roll is tried."""


def changed_positions(step: Called) -> Iterator[Edit]:
    """The same look-up some places further."""
    if step.name == "embedding":
        for by in OFFSETS:
            yield Edit("position-offset", f"rows {by:+d} from there", "rows of a table", _further(by))
    elif step.name == "getitem":
        yield from _sliced(step)
    elif step.name == "roll" and isinstance(step.given("dims", 2), int | tuple | list):
        yield from _rolled(step)
    elif step.name in {"select", "narrow"} and isinstance(
        step.given("start", 2, step.given("index", 2)), int
    ):
        own = step.given("start", 2, step.given("index", 2))
        for by in OFFSETS:
            key = "start" if step.name == "narrow" else "index"
            yield Edit(
                _cause(step), f"from {own + by}", f"{step.name} from {own}", with_given(key, 2, own + by)
            )


def _further(by: int) -> Callable[..., Any]:
    def change(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        index, table = given(args, kwargs, "input", 0), given(args, kwargs, "weight", 1)
        moved = index + by
        if int(moved.min()) < 0 or int(moved.max()) >= len(table):
            raise IndexError("no such row")
        return nn.functional.embedding(moved, table)

    return change


def _rolled(step: Called) -> Iterator[Edit]:
    shifts, dims = step.given("shifts", 1), step.given("dims", 2)
    own = (shifts,) if isinstance(shifts, int) else tuple(shifts)
    axes = (dims,) if isinstance(dims, int) else tuple(dims)
    turned = tuple(-by for by in own)
    size = 1 if step.x is None or len(own) > 1 else min(step.x.shape[axes[0]], MOST)
    tried = [turned, *((by,) for by in range(1, size))]
    for by in dict.fromkeys(tried):
        if by != own:
            yield Edit("slice-offset", f"rolled by {by}", f"rolled by {own}",
                       of_first(lambda z, by=by: z.roll(by, axes)))  # fmt: skip


def _cause(step: Called) -> str:
    held = step.call.takes[0] in step.tape.first and step.call.takes[0] not in step.tape.data
    return "position-offset" if held else "slice-offset"


def _sliced(step: Called) -> Iterator[Edit]:
    if len(step.args) != 2 or step.x is None:
        return
    parts = step.args[1] if isinstance(step.args[1], tuple) else (step.args[1],)
    axis = 0
    for place, item in enumerate(parts):
        if item is Ellipsis:
            axis = step.x.ndim - sum(
                tried is not None and tried is not Ellipsis for tried in parts[place + 1 :]
            )
            continue
        if item is None:
            continue
        size = step.x.shape[axis] if axis < step.x.ndim else 0
        for tried in _moved(item, size):
            fresh = tuple(tried if i == place else kept for i, kept in enumerate(parts))
            yield Edit(_cause(step), f"[{_shown(tried)}] of axis {axis}", f"[{_shown(item)}] of axis {axis}",
                       with_given("key", 1, fresh))  # fmt: skip
        axis += 1


def _moved(item: Any, size: int) -> Iterator[Any]:
    """The same part some places further, within the axis."""
    if isinstance(item, bool) or not isinstance(item, int | slice):
        return
    if isinstance(item, int):
        own = item % size if size else 0
        nearby = [own + by for by in OFFSETS] + [0, size - 1, size // 2]
        yield from dict.fromkeys(n for n in nearby if 0 <= n < size and n != own)
        return
    try:
        start, stop, step = item.indices(size)
    except TypeError:  # a bound that is a tensor
        return
    if step < 1:
        yield slice(None)
        return
    for by in OFFSETS:
        if start + by >= 0 and (stop + by <= size or step > 1):
            yield slice(start + by, min(stop + by, size) if step > 1 else stop + by, step)
    if (start, stop) != (0, size) and step == 1:
        yield slice(size - (stop - start), size)
        yield slice(0, stop - start)


def _shown(item: Any) -> str:
    if isinstance(item, slice):
        return ":".join("" if part is None else str(part) for part in (item.start, item.stop))
    return str(item)
