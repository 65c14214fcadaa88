"""Which pooling turns one image into another: kernel, stride, padding, and whether the padding counts.

Every window size, stride and padding of a short list is tried. The windows that touch no padding are computed once a
kernel; where they do not show in the result, the pooling itself is not computed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import product
from typing import Any

import numpy as np

from parity.adapters.torch import reference
from parity.causes.steps.budget import spend
from parity.causes.steps.equality import same
from parity.core.tolerance import STRUCTURE
from parity.core.types import Array

POOL_KERNELS = (2, 3, 4, 5, 6, 7, 8)

Pooling = tuple[str, dict[str, Any], Callable[[Array], Array]]
"""Its name, its settings, and the function itself."""


class _InnerWindows:
    """The windows of one image that touch no padding, by kernel.

    Args:
        x: the image, (1, 1, *spatial).
        y: the result, (1, 1, *spatial).
        kind: "max" or "avg".
    """

    def __init__(self, x: Array, y: Array, kind: str) -> None:
        self._x, self._y, self._kind = x, y, kind
        scale = float(np.abs(y).max(initial=0.0)), float(np.abs(x).max(initial=0.0))
        # More than what `same` accepts, and than the rounding of a mean.
        self._limit = 2.0 * STRUCTURE * scale[0] + 1e-13 * scale[1]
        self._pooled: dict[tuple[int, ...], Array] = {}

    def may_be(self, kernel: tuple[int, ...], stride: tuple[int, ...], begins: Sequence[int]) -> bool:
        """Whether the result agrees with them; where every window touches the padding, it may."""
        rank = len(kernel)
        taken: list[slice] = [slice(None)] * 2
        given: list[slice] = [slice(None)] * 2
        for n, out, k, s, begin in zip(
            self._x.shape[2:], self._y.shape[2:], kernel, stride, begins, strict=True
        ):
            first, last = -(-begin // s), min((n - k + begin) // s, out - 1)
            if n < k or last < first:
                return True
            given.append(slice(first, last + 1))
            taken.append(slice(first * s - begin, last * s - begin + 1, s))
        if kernel not in self._pooled:
            arguments = self._kind, kernel, (1,) * rank, [(0, 0)] * rank, True
            self._pooled[kernel] = reference.pool(self._x, *arguments)
        gap = np.abs(self._y[tuple(given)] - self._pooled[kernel][tuple(taken)])
        return bool((gap <= self._limit).all())


def poolings(x: Array, y: Array, hints: tuple[dict[str, Any], ...]) -> Iterator[Pooling]:
    """The pooling that turns `x` into `y`, where one of the list does.

    Args:
        x: what went in, (N, C, *spatial), finite.
        y: what came out, likewise.
        hints: settings of the layers that may have done it (pool_size, kernel_size, strides, ...).
    """
    rank = x.ndim - 2
    few_x, few_y = x[:1, :1], y[:1, :1]
    # A maximum is one of the values, or a zero of the padding; an average is none of them.
    kind = "max" if (np.isin(few_y, few_x) | (few_y == 0.0)).all() else "avg"
    windows = _InnerWindows(few_x, few_y, kind)
    for kernel, stride in _pool_sizes(x.shape[2:], y.shape[2:], hints):
        starts = [range(min(k - 1, 4) + 1) for k in kernel]
        for begins in product(*starts) if rank < 3 else zip(*starts, strict=False):
            pads = [((b), (out - 1) * s + k - n - b) for b, out, s, k, n in
                    zip(begins, y.shape[2:], stride, kernel, x.shape[2:], strict=True)]  # fmt: skip
            if any(end > k or end <= -s for (_, end), k, s in zip(pads, kernel, stride, strict=True)):
                continue  # padding as wide as a window, or rows left over that would have made another window
            possible = windows.may_be(kernel, stride, begins)
            for count in (False, True):
                if count and not any(b > 0 or e > 0 for b, e in pads):
                    continue
                if not possible:
                    spend(few_y.size)
                    continue
                arguments = (kind, kernel, stride, pads, count)
                if same(few_y, reference.pool(few_x, *arguments)) and same(y, reference.pool(x, *arguments)):
                    settings = {"pool": kind, "kernel": kernel, "stride": stride, "pads": pads, "count": count,
                                "size": y.shape[2:]}  # fmt: skip
                    counted = (
                        ("zeros counted" if kind == "max" else "padding counted")
                        if count
                        else "padding left out"
                    )
                    name = f"{kind} pooling {kernel} by {stride}, padding {pads}, {counted}"
                    yield name, settings, partial(_pooled, arguments=arguments)
                    return


def _pooled(x: Array, arguments: tuple[Any, ...]) -> Array:
    return reference.pool(x, *arguments)


def _pool_sizes(
    before: tuple[int, ...], after: tuple[int, ...], hints: tuple[dict[str, Any], ...]
) -> Iterator[tuple[tuple[int, ...], tuple[int, ...]]]:
    """(kernel, stride) to try: those of the layers' settings, then small ones that give about the size."""
    rank, seen = len(before), set()

    def once(
        kernel: tuple[int, ...], stride: tuple[int, ...]
    ) -> Iterator[tuple[tuple[int, ...], tuple[int, ...]]]:
        if (kernel, stride) not in seen and len(kernel) == len(stride) == rank and min(kernel + stride) > 0:
            seen.add((kernel, stride))
            yield kernel, stride

    for settings in hints:
        kernel = numbers(settings.get("pool_size", settings.get("kernel_size")), rank)
        stride = numbers(settings.get("strides", settings.get("stride")), rank) or kernel
        if kernel and stride:
            yield from once(kernel, stride)
    if any(b < a for b, a in zip(before, after, strict=True)):
        return
    ratio = max(round(before[0] / after[0]), 1)
    for step in sorted({1, 2, 3, ratio, max(before[0] // after[0], 1)}, key=lambda value: value != ratio):
        for width in POOL_KERNELS:
            sizes = [(n - 1) // step + 1 for n in before]
            if all(abs(size - out) <= width for size, out in zip(sizes, after, strict=True)):
                yield from once((width,) * rank, (step,) * rank)


def numbers(value: Any, rank: int) -> tuple[int, ...] | None:
    """A setting as `rank` whole numbers, where it is one."""
    if isinstance(value, int) and not isinstance(value, bool):
        return (value,) * rank
    if isinstance(value, list | tuple) and value and all(isinstance(item, int) for item in value):
        return tuple(value) if len(value) == rank else (value[0],) * rank if len(value) == 1 else None
    return None
