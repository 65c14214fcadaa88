"""Paddings of another kind, poolings of another kind or with other windows."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch.nn import functional as F

from parity.adapters.torch.edits.edit import Called, Edit, given, of_first

MODES = ("constant", "reflect", "replicate", "circular")
CONVOLUTIONS = {"conv1d": 1, "conv2d": 2, "conv3d": 3}
POOLS: dict[str, Callable[..., Any]] = {
    "max_pool1d": F.max_pool1d, "max_pool2d": F.max_pool2d, "max_pool3d": F.max_pool3d,
    "avg_pool1d": F.avg_pool1d, "avg_pool2d": F.avg_pool2d, "avg_pool3d": F.avg_pool3d,
}  # fmt: skip


def changed_padding(step: Called) -> Iterator[Edit]:
    """The same padding with other values, or as much of it in other places."""
    if step.name == "pad":
        yield from _pads(step)
    elif step.name in CONVOLUTIONS:
        yield from _padded_convolutions(step, CONVOLUTIONS[step.name])


def _pads(step: Called) -> Iterator[Edit]:
    pads, mode = tuple(step.given("pad", 1)), step.given("mode", 2, "constant")
    value = step.given("value", 3)
    own = f"mode {mode!r}" + (f" with {value:g}" if mode == "constant" and value else "")
    for tried in MODES:
        if tried != mode:
            yield Edit("padding-mode", f"mode {tried!r}", own, of_first(lambda z, m=tried: _pad(z, pads, m)))
    for filled in (0.0, float("-inf"), 1.0, -1.0):
        if mode == "constant" and filled != (value or 0.0):
            yield Edit("padding-mode", f"filled with {filled:g}", own,
                       of_first(lambda z, v=filled: F.pad(z, pads, "constant", v)))  # fmt: skip
    for changed_pads in _shifted(pads):
        yield Edit("padding-size", f"padding {changed_pads}", f"padding {pads}",
                   of_first(lambda z, p=changed_pads: _pad(z, p, mode, value)))  # fmt: skip


def _shifted(pads: Sequence[int]) -> Iterator[tuple[int, ...]]:
    """As much padding in all, more of it in front or behind: along one axis, or along all alike."""
    pairs = [tuple(pads[i : i + 2]) for i in range(0, len(pads), 2)]
    for axis in (*range(len(pairs)), None):
        chosen = [i for i in range(len(pairs)) if axis in (i, None)]
        for by in (1, -1, 2, -2):
            moved = [(a + by, b - by) if i in chosen else (a, b) for i, (a, b) in enumerate(pairs)]
            if all(n >= 0 for i in chosen for n in moved[i]):
                yield tuple(n for pair in moved for n in pair)
    if len(pairs) == 2 and pairs[0] != pairs[1]:
        yield (*pairs[1], *pairs[0])


def _pad(x: torch.Tensor, pads: Sequence[int], mode: str, value: float | None = None) -> torch.Tensor:
    """F.pad, also for trailing pairs of zeros, which the other modes do not take, and over unpadded batches."""
    if mode == "constant":
        return F.pad(x, tuple(pads), mode, value)
    rank = len(pads) // 2
    if x.ndim == rank + 2:
        return F.pad(x, tuple(pads), mode)
    if x.ndim == rank + 1:
        return F.pad(x[None], tuple(pads), mode)[0]
    return F.pad(x.reshape(1, -1, *x.shape[x.ndim - rank :]), tuple(pads), mode).reshape(
        *x.shape[: x.ndim - rank], *(n + pads[2 * (rank - 1 - i)] + pads[2 * (rank - 1 - i) + 1]
                                     for i, n in enumerate(x.shape[x.ndim - rank :])))  # fmt: skip


def _padded_convolutions(step: Called, rank: int) -> Iterator[Edit]:
    padding = step.given("padding", 4, 0)
    if isinstance(padding, str):
        return
    sizes = (
        [padding] * rank if isinstance(padding, int) else list(padding) * (rank if len(padding) == 1 else 1)
    )
    pads = [n for size in reversed(sizes) for n in (size, size)]
    if not any(pads):
        return
    for mode in MODES[1:]:

        def change(function: Any, args: tuple[Any, ...], kwargs: dict[str, Any], mode: str = mode) -> Any:
            names = ("input", "weight", "bias", "stride", "padding", "dilation", "groups")
            values = {name: given(args, kwargs, name, i) for i, name in enumerate(names)}
            values = {name: value for name, value in values.items() if value is not None}
            return function(**{**values, "input": F.pad(values["input"], pads, mode), "padding": 0})

        yield Edit("padding-mode", f"padded in mode {mode!r}", "padded with zeros", change)


# --- pooling --------------------------------------------------------------------------------------


def changed_pooling(step: Called) -> Iterator[Edit]:
    """A maximum in place of an average, and the windows of an adaptive pooling cut otherwise."""
    x, name = step.x, step.name
    if x is None:
        return
    if name in POOLS:
        own, tried = name.split("_")[0], "avg" if name.startswith("max") else "max"
        size, stride, padding = (
            step.given("kernel_size", 1),
            step.given("stride", 2),
            step.given("padding", 3, 0),
        )
        pool = POOLS[name.replace(own, tried)]
        yield Edit("pool-kind", f"{_WORDS[tried]} pooling", f"{_WORDS[own]} pooling",
                   of_first(lambda z: pool(z, size, stride or size, padding)))  # fmt: skip
        rank = int(name[-2])
        widths = [padding] * rank if isinstance(padding, int) else list(padding)
        pads = [n for width in reversed(widths) for n in (width, width)]
        if own == "max" and any(pads):
            yield Edit("padding-mode", "padded with zeros", "padded with minus infinity",
                       of_first(lambda z: POOLS[name](F.pad(z, pads), size, stride or size)))  # fmt: skip
        if own == "avg":
            yield from _counted(step, name, size, stride, padding)
        if step.out is not None and not any(pads):
            sizes = tuple(step.out.shape[-rank:])
            yield Edit("pool-bins", f"as adaptive pooling to {sizes}", f"windows of {size} by {stride or size}",
                       of_first(lambda z: _pooled(z, [_torch_bins(n, out) for n, out in
                                                      zip(z.shape[-rank:], sizes, strict=True)], own)))  # fmt: skip
    elif name.startswith("adaptive_"):
        yield from _bins(step, x)


_WORDS = {"max": "maximum", "avg": "average"}


def _counted(step: Called, name: str, size: Any, stride: Any, padding: Any) -> Iterator[Edit]:
    counts = bool(step.given("count_include_pad", 5, True))
    ceil = bool(step.given("ceil_mode", 4, False))
    if any([padding] if isinstance(padding, int) else padding):
        yield Edit("pool-count-include-pad", f"count_include_pad={not counts}", f"count_include_pad={counts}",
                   of_first(lambda z: POOLS[name](z, size, stride or size, padding, ceil, not counts)))  # fmt: skip


def _bins(step: Called, x: torch.Tensor) -> Iterator[Edit]:
    rank = int(step.name[-2])
    kind = "max" if "max" in step.name else "avg"
    size = step.given("output_size", 1)
    wanted = [size] * rank if isinstance(size, int) else list(size)
    sizes = [n if out is None else int(out) for n, out in zip(x.shape[-rank:], wanted, strict=True)]
    if all(out == 1 for out in sizes):
        tried = "avg" if kind == "max" else "max"
        yield Edit("pool-kind", f"{_WORDS[tried]} over the whole image", f"{_WORDS[kind]} over the whole image",
                   of_first(lambda z: _pooled(z, [[(0, n)] for n in z.shape[-rank:]], tried)))  # fmt: skip
        return
    for text, edges in CUTS.items():
        bins = [edges(n, out) for n, out in zip(x.shape[-rank:], sizes, strict=True)]
        yield Edit("pool-bins", f"windows {bins[0]}", f"windows {_torch_bins(x.shape[-rank], sizes[0])}",
                   of_first(lambda z, bins=bins: _pooled(z, bins, kind)))  # fmt: skip
        del text
    yield Edit("pool-kind", f"{_WORDS['avg' if kind == 'max' else 'max']} of the same windows", _WORDS[kind],
               of_first(lambda z: _pooled(z, [_torch_bins(n, out) for n, out in zip(z.shape[-rank:], sizes, strict=True)],
                                          "avg" if kind == "max" else "max")))  # fmt: skip


def _torch_bins(size: int, out: int) -> list[tuple[int, int]]:
    return [(i * size // out, -(-(i + 1) * size // out)) for i in range(out)]


CUTS: dict[str, Callable[[int, int], list[tuple[int, int]]]] = {
    "whole pixels": lambda n, out: [
        (i * n // out, max((i + 1) * n // out, i * n // out + 1)) for i in range(out)
    ],
    "one stride": lambda n, out: [
        (i * (n // out), i * (n // out) + n - (out - 1) * (n // out)) for i in range(out)
    ],
    "one window": lambda n, out: [(i * (n // out), (i + 1) * (n // out)) for i in range(out)],
    "window rounded up": lambda n, out: [
        (i * -(-n // out), min((i + 1) * -(-n // out), n)) for i in range(out)
    ],
    "edges rounded": lambda n, out: [(round(i * n / out), round((i + 1) * n / out)) for i in range(out)],
    "ends rounded up": lambda n, out: [(-(-i * n // out), -(-(i + 1) * n // out)) for i in range(out)],
}
"""Ways to cut an axis into so many windows, besides torch's own."""


def _pooled(x: torch.Tensor, bins: Sequence[Sequence[tuple[int, int]]], kind: str) -> torch.Tensor:
    """The mean or maximum of every window, axis by axis (a mean of means over windows that are whole boxes)."""
    for i, edges in enumerate(bins):
        axis = x.ndim - len(bins) + i
        parts = [x.narrow(axis, a, b - a) for a, b in edges]
        x = torch.cat(
            [(p.amax(axis, keepdim=True) if kind == "max" else p.mean(axis, keepdim=True)) for p in parts],
            axis,
        )
    return x
