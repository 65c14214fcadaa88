"""Axes in another order: of a permutation, in front of a reshape, and of the parts of a depth-to-space step."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import permutations
from math import isqrt
from typing import Any

import torch

from parity.adapters.torch.edits.edit import Called, Edit, of_first

PERMUTES = {"permute", "transpose", "t", "T", "mT", "movedim", "moveaxis", "swapaxes", "swapdims"}
RESHAPES = {"reshape", "view", "flatten", "unflatten", "reshape_as", "view_as", "ravel", "contiguous_view"}
PARTS = ((0, 1, 2), (1, 2, 0), (2, 1, 0), (0, 2, 1), (1, 0, 2), (2, 0, 1))
"""Orders of (channel, row, column) within the channels of a depth-to-space step; torch has the first."""
PART_NAMES = ("channel", "row", "column")


def changed_orders(step: Called) -> Iterator[Edit]:
    """The same values with their axes in another order."""
    x, out = step.x, step.out
    if x is None or out is None:
        return
    if step.name in PERMUTES:
        yield from _permuted(step, x, out)
    elif step.name in RESHAPES:
        yield from _reshaped(step, x, out)
    elif step.name in {"pixel_shuffle", "pixel_unshuffle"}:
        yield from _shuffled(step, x)
    elif step.name == "channel_shuffle":
        groups = step.given("groups", 1)
        yield Edit("depth-to-space-order", f"channels in groups of {x.shape[1] // groups}",
                   f"channel_shuffle with {groups} groups",
                   of_first(lambda z: torch.channel_shuffle(z, z.shape[1] // groups)))  # fmt: skip


def orders(rank: int) -> Iterator[tuple[int, ...]]:
    """Every order of so many axes, the ones that keep the first axis first; of many axes, these alone."""
    if rank > 6:
        return
    found = list(permutations(range(rank)))
    yield from (order for order in found if order[:1] == (0,))
    if rank <= 4:
        yield from (order for order in found if order[:1] != (0,))


def _permuted(step: Called, x: torch.Tensor, out: torch.Tensor) -> Iterator[Edit]:
    own = _order_of(step, x, out)
    many = x.ndim == 6
    for order in orders(x.ndim):
        if order != own:
            cause = "depth-to-space-order" if many else "axis-order"
            yield Edit(cause, f"axes in the order {order}", f"{step.name} to the order {own}",
                       of_first(lambda z, order=order: z.permute(order)))  # fmt: skip


def _order_of(step: Called, x: torch.Tensor, out: torch.Tensor) -> tuple[int, ...]:
    """The order of the axes that the step gives, read from what it makes of an index."""
    sizes = torch.arange(2, 2 + x.ndim)
    probe = torch.empty(tuple(int(n) for n in sizes), device="meta", dtype=x.dtype)
    try:
        args = tuple(probe if value is x else value for value in step.args)
        result = step.call.function(*args, **step.kwargs)
        return tuple(int(n) - 2 for n in result.shape)
    except Exception:  # what it takes is no tensor of this rank alone
        return ()


def _reshaped(step: Called, x: torch.Tensor, out: torch.Tensor) -> Iterator[Edit]:
    """Axes moved in front of a reshape, or the sizes of the reshape in another order and moved back."""
    size, before = tuple(out.shape), tuple(x.shape)
    if x.ndim == out.ndim and size == before:
        return
    blocks = max(x.ndim, out.ndim) > 5  # rows and columns of blocks have axes of their own
    cause = "depth-to-space-order" if blocks else "flatten-order" if out.ndim == 2 < x.ndim else "axis-order"
    for order in orders(x.ndim):
        if order != tuple(range(x.ndim)):
            yield Edit(cause, f"axes in the order {order} in front of the {step.name}",
                       f"{step.name} of {before} to {size}",
                       of_first(lambda z, order=order: z.permute(order).reshape(size)))  # fmt: skip
    for order in orders(out.ndim):
        if order == tuple(range(out.ndim)):
            continue
        laid = tuple(size[axis] for axis in order)
        back = tuple(order.index(axis) for axis in range(len(order)))
        plain = "depth-to-space-order" if blocks else "axis-order"
        yield Edit(plain, f"{step.name} to {laid} and its axes in the order {back}",
                   f"{step.name} of {before} to {size}",
                   of_first(lambda z, laid=laid, back=back: z.reshape(laid).permute(back)))  # fmt: skip


def _shuffled(step: Called, x: torch.Tensor) -> Iterator[Edit]:
    down = step.name == "pixel_unshuffle"
    factor = step.given("downscale_factor" if down else "upscale_factor", 1)
    own = _parts(PARTS[0])
    for order in PARTS[1:]:
        make: Callable[..., Any] = _space_to_depth if down else _depth_to_space
        yield Edit("depth-to-space-order", f"{step.name} of channels that count as {_parts(order)}",
                   f"{step.name} of channels that count as {own}",
                   of_first(lambda z, make=make, order=order: make(z, factor, order)))  # fmt: skip
    yield from _changed_factor(step, x, factor, down)


def _changed_factor(step: Called, x: torch.Tensor, factor: int, down: bool) -> Iterator[Edit]:
    if not down and isqrt(x.shape[1]) ** 2 != x.shape[1] and factor < 2:
        return
    yield Edit("depth-to-space-order", f"{step.name} with rows and columns exchanged", step.name,
               of_first(lambda z: step.call.function(z.transpose(-1, -2), factor).transpose(-1, -2)))  # fmt: skip


def _parts(order: tuple[int, ...]) -> str:
    return "(" + ", ".join(PART_NAMES[part] for part in order) + ")"


def _depth_to_space(x: torch.Tensor, factor: int, order: tuple[int, ...]) -> torch.Tensor:
    """Depth to space of channels that are laid out as `order` says."""
    n, c, h, w = x.shape
    sizes = (c // factor**2, factor, factor)
    parts = x.reshape(n, *(sizes[part] for part in order), h, w)
    at = [1 + order.index(part) for part in range(3)]
    return parts.permute(0, at[0], 4, at[1], 5, at[2]).reshape(n, sizes[0], h * factor, w * factor)


def _space_to_depth(x: torch.Tensor, factor: int, order: tuple[int, ...]) -> torch.Tensor:
    """Space to depth with the channels laid out as `order` says."""
    n, c, h, w = x.shape
    parts = x.reshape(n, c, h // factor, factor, w // factor, factor)
    axes = (1, 3, 5)
    moved = parts.permute(0, *(axes[part] for part in order), 2, 4)
    return moved.reshape(n, c * factor**2, h // factor, w // factor)
