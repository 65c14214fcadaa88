"""Copies a transposed view at the speed of memory: block by block, through a small buffer that stays in the cache.

NumPy walks a transposed view with a large step, and where that step is a multiple of 4096 bytes (kernels with
2^n channels) every access misses the cache: 15 to 30 times slower than a plain copy. Here a block is gathered in
long rows of the source's memory, then written in long rows of the destination's.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from math import prod
from typing import Any

import numpy as np

from parity.core.types import Array

RUN = 384
"""Elements, at least, that a block takes in a row from the source's memory, and gives in a row to the destination's."""

SMALL = 1 << 16
"""Below this many elements the cache holds everything."""

WORKERS = min(os.cpu_count() or 1, 4)
SHARE = 1 << 20
"""Elements, at least, of a worker: to start one takes as long as to copy some hundred thousand."""

ALIGNED = 64
"""Bytes of a cache line, and what vector instructions want memory aligned to."""


def aligned_empty(shape: tuple[int, ...], dtype: Any) -> Array:
    """Contiguous, fresh and aligned memory."""
    size = prod(shape) * np.dtype(dtype).itemsize
    raw = np.empty(size + ALIGNED, np.uint8)
    start = -raw.ctypes.data % ALIGNED
    return raw[start : start + size].view(dtype).reshape(shape)


def contiguous(source: Array) -> Array:
    """The same values, contiguous, in fresh and aligned memory."""
    out = aligned_empty(source.shape, source.dtype)
    copy_into(out, source)
    return out


def same_values(first: Array, view: Array) -> bool:
    """Whether a contiguous array and a view, transposed in any way, hold the same values, NaN counted as one."""
    if first.shape != view.shape or first.dtype != view.dtype or first.size < SMALL:
        return np.array_equal(first, view) or np.array_equal(first, view, equal_nan=first.dtype.kind in "fc")
    differs: list[bool] = []
    copy_into(first, view, lambda known, value: differs.append(True) if _differ(known, value) else None)
    return not differs


def _differ(known: Array, value: Array) -> bool:
    gap = known != value
    return bool(gap.any()) and not bool(np.all(~gap | ((known != known) & (value != value))))


def copy_into(out: Array, source: Array, do: Callable[[Array, Array], Any] = np.copyto) -> None:
    """Copy the values of a view, transposed in any way, into a contiguous array of its shape.

    Args:
        out: the array.
        source: the view.
        do: what is done with each part of the array and the values of the view there.
    """
    strides = source.strides
    order = sorted(range(source.ndim), key=lambda axis: -abs(strides[axis]))  # as the source lies in memory
    if source.size < SMALL or order == sorted(order):
        do(out, source)
        return
    read, written = _run(source.shape, order), _run(source.shape, range(source.ndim))
    block = [max(read.get(axis, 1), written.get(axis, 1)) for axis in range(source.ndim)]
    # The rows that are read lie in the buffer as they come; across them run the rows that are written.
    across = [axis for axis in range(source.ndim) if axis not in read]
    held = [*across, *(axis for axis in order if axis in read)]
    starts = list(np.ndindex(*(-(-size // step) for size, step in zip(source.shape, block, strict=True))))
    workers = max(min(WORKERS, len(starts), source.size // SHARE), 1)
    if workers == 1:
        _blocks(out, source, held, block, len(across), starts, do)
        return
    with ThreadPoolExecutor(workers) as pool:  # NumPy lets other threads run while it copies
        parts = [
            starts[i * len(starts) // workers : (i + 1) * len(starts) // workers] for i in range(workers)
        ]
        for done in [pool.submit(_blocks, out, source, held, block, len(across), part, do) for part in parts]:
            done.result()


def _blocks(
    out: Array,
    source: Array,
    held: list[int],
    block: list[int],
    across: int,
    starts: list[tuple[int, ...]],
    do: Callable[[Array, Array], Any],
) -> None:
    """Copy the blocks that are so many blocks from the beginning."""
    buffer, back = _buffer([block[axis] for axis in held], across, source.dtype), np.argsort(held)
    for start in starts:
        window = tuple(slice(i * step, (i + 1) * step) for i, step in zip(start, block, strict=True))
        part = source[window].transpose(held)
        room = buffer[tuple(slice(0, size) for size in part.shape)]
        np.copyto(room, part)
        do(out[window], room.transpose(back))


def _run(shape: tuple[int, ...], axes: Sequence[int]) -> dict[int, int]:
    """How many of the innermost axes make a row of RUN elements."""
    found, run = dict[int, int](), 1
    for axis in reversed(axes):
        if run >= RUN:
            break
        found[axis] = min(shape[axis], -(-RUN // run))
        run *= found[axis]
    return found


def _buffer(sizes: list[int], across: int, dtype: np.dtype) -> Array:
    """Room for a block; the step from row to row is no multiple of the cache's."""
    row = prod(sizes[across:])
    line = ALIGNED // dtype.itemsize if dtype.itemsize < ALIGNED else 1
    step = -(-row // line) * line + line
    whole = np.empty(prod(sizes[:across]) * step, dtype)
    strides = [prod(sizes[i + 1 : across]) * step for i in range(across)]
    strides += [prod(sizes[i + 1 :]) for i in range(across, len(sizes))]
    return np.lib.stride_tricks.as_strided(whole, sizes, [n * dtype.itemsize for n in strides])
