"""What a layer with a kernel did: a convolution, a transposed one, or a dense layer, identified from its result.

Input and result are held against the layer's formula with the kernel as it is and as porting mistakes leave it
(turned, transposed, permuted), at any stride, dilation, padding and crop. What is found is a description of the
computation; where the two sides' descriptions differ is the cause.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import product
from typing import Any

import numpy as np

from parity.adapters.torch import reference
from parity.causes.steps import numbers, same
from parity.core.tolerance import difference
from parity.core.types import Array

SMALL = range(1, 5)
"""Strides and dilations that are tried where the settings of neither layer explain the result."""


Mistakes = tuple[tuple[str, ...], int]
"""Causes of a kernel that was used otherwise, and which of several ways it is."""


@dataclass(frozen=True)
class Computation:
    """What a layer computed.

    Attributes:
        mistakes: how the kernel was used, by the causes that this would have; none where it was used as it is.
        variant: which of several ways to make the mistakes.
        stride: of the windows (or of the taps, transposed).
        dilation: of the kernel.
        groups: of channels.
        start: where the first window begins, in pixels of the input (minus the padding), or, transposed, the
            first row of the whole result that was kept.
        size: of the result.
        padding: "zeros", or another way to fill.
        crop: rows cut from (or, negative, added to) the input before a transposed convolution.
        bias: the constant that was added to each channel.
        run: repeats the computation on an input.
    """

    mistakes: tuple[str, ...]
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    groups: int
    start: tuple[int, ...]
    size: tuple[int, ...]
    padding: str = "zeros"
    crop: int = 0
    variant: int = 0
    bias: Array = field(default_factory=lambda: np.zeros(0), compare=False)
    run: Callable[[Array], Array] = field(default=lambda x: x, compare=False, repr=False)


@dataclass(frozen=True)
class Hyper:
    """Stride, dilation and groups to try."""

    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    groups: int


def kernel_variants(
    weight: Array, other: Array | None, groups: int, transposed: bool
) -> Iterator[tuple[Mistakes, Array]]:
    """The kernel as it is, and as porting mistakes leave it, by the mistakes' causes and a number.

    Args:
        weight: in torch's layout.
        other: the other side's kernel, where its values are not the same.
        groups: of the layer.
        transposed: whether it is a transposed convolution's.
    """
    yield ((), 0), weight
    space = tuple(range(2, weight.ndim))
    variants: dict[Mistakes, Array] = {}
    if space:
        variants[("kernel-flip",), 0] = np.flip(weight, space)
    if len(space) > 1:
        variants[("kernel-hw-swap",), 0] = weight.swapaxes(-1, -2)
        variants[("kernel-hw-swap", "kernel-flip"), 0] = np.flip(weight.swapaxes(-1, -2), space)
    if weight.shape[0] == weight.shape[1]:
        variants[("kernel-io-swap",), 0] = weight.swapaxes(0, 1)
        if space:
            variants[("kernel-io-swap", "kernel-flip"), 0] = np.flip(weight.swapaxes(0, 1), space)
        if len(space) > 1:
            variants[("kernel-io-swap", "kernel-hw-swap"), 0] = weight.swapaxes(0, 1).swapaxes(-1, -2)
    elif space and len(weight.shape) > 2:  # read in the other order without a transpose
        variants[("kernel-io-swap",), 0] = (
            weight.reshape(weight.shape[1], weight.shape[0], -1).swapaxes(0, 1).reshape(weight.shape)
        )
    inputs = 0 if transposed else 1
    if weight.shape[inputs] == 3 and groups == 1:
        variants[("channel-order",), 0] = np.flip(weight, inputs)
    if groups > 1:
        variants.update(_grouped(weight, groups, transposed))
    if other is not None and other.shape == weight.shape:
        variants[("weight-not-copied",), 0] = other
    for name, value in variants.items():
        if value.shape == weight.shape and not np.array_equal(value, weight):
            yield name, value


def _grouped(weight: Array, groups: int, transposed: bool) -> dict[Mistakes, Array]:
    """Output channels of a grouped kernel in the orders that a wrong layout gives."""
    depthwise = not transposed and weight.shape[1] == 1
    name = "depthwise-multiplier-order" if depthwise and weight.shape[0] > groups else "group-layout"
    rest = weight.shape[1:]
    blocks = weight.reshape(groups, -1, *rest)
    per_group = blocks.shape[1]
    found: dict[Mistakes, Array] = {}
    if per_group > 1:
        found[(name,), 0] = blocks.swapaxes(0, 1).reshape(weight.shape)
        found[(name,), 1] = weight.reshape(per_group, groups, *rest).swapaxes(0, 1).reshape(weight.shape)
    found[("group-layout",), 2] = blocks[::-1].reshape(weight.shape)
    found[("group-layout",), 3] = np.roll(blocks, 1, axis=0).reshape(weight.shape)
    return found


def describe_convolution(
    x: Array, y: Array, weight: Array, other: Array | None, hypers: Sequence[Hyper], pads: Sequence[int] = ()
) -> Computation | None:
    """What turned `x` into `y`, both (N, C, *space), with a kernel (O, I/g, *k)."""
    for hyper in hypers:
        if weight.shape[1] * hyper.groups != x.shape[1] or weight.shape[0] != y.shape[1]:
            continue
        for name, kernel in kernel_variants(weight, other, hyper.groups, transposed=False):
            found = _placed(x, y, name, kernel, hyper, pads)
            if found is not None:
                return found
    return None


def _placed(
    x: Array, y: Array, name: Mistakes, kernel: Array, hyper: Hyper, pads: Sequence[int]
) -> Computation | None:
    """The place of the windows at which the kernel gives y, zeros around the image (or another filling)."""
    span = [d * (k - 1) + 1 for d, k in zip(hyper.dilation, kernel.shape[2:], strict=True)]
    size = y.shape[2:]
    needed = [(out - 1) * s + w for out, s, w in zip(size, hyper.stride, span, strict=True)]
    if any(need > n + 2 * (w + 2) for need, n, w in zip(needed, x.shape[2:], span, strict=True)):
        return None  # more windows than fit, whatever the padding
    ones = (1,) * len(span)
    margin = [(w + 1, max(need - n, 0) + w + 1) for w, need, n in zip(span, needed, x.shape[2:], strict=True)]
    full = reference.correlation(reference.padded(x[:1], margin), kernel, ones, hyper.dilation, hyper.groups)
    for start in product(*(_starts(w) for w in span)):
        window = tuple(
            slice(b + first, b + first + (out - 1) * s + 1, s)
            for (b, _), first, out, s in zip(margin, start, size, hyper.stride, strict=True)
        )
        part = full[(slice(None), slice(None), *window)]
        bias = _constant(part, y[:1])
        if bias is not None:
            run = _run_convolution(kernel, hyper, start, size, bias, "constant")
            if same(y, run(x)):
                return Computation(
                    name[0],
                    hyper.stride,
                    hyper.dilation,
                    hyper.groups,
                    start,
                    size,
                    "zeros",
                    0,
                    name[1],
                    bias,
                    run,
                )
    for mode, pad in product(("reflect", "replicate", "circular"), pads):
        if pad >= min(x.shape[2:]) or any(w > n + 2 * pad for w, n in zip(span, x.shape[2:], strict=True)):
            continue
        start = (-pad,) * len(span)
        inner = reference.correlation(
            reference.padded(x, [(pad, pad)] * len(span), mode),
            kernel,
            hyper.stride,
            hyper.dilation,
            hyper.groups,
        )
        bias = _constant(inner, y)
        if bias is not None:
            run = _run_convolution(kernel, hyper, start, size, bias, mode)
            return Computation(
                name[0], hyper.stride, hyper.dilation, hyper.groups, start, size, mode, 0, name[1], bias, run
            )
    return None


def _starts(span: int) -> list[int]:
    """First pixels to try: from a window before the image to a pixel inside, the middle first."""
    return sorted(range(-span, 2), key=lambda start: abs(start + (span - 1) // 2))


def _constant(plain: Array, y: Array) -> Array | None:
    """What was added to each channel, the same everywhere; None where the rest differs."""
    if plain.shape != y.shape or plain.size == 0:
        return None
    axes = (0, *range(2, y.ndim))
    place = (slice(0, 1), slice(None), *(slice(size // 2, size // 2 + 1) for size in y.shape[2:]))
    bias = (y[place] - plain[place]).reshape(-1)
    shaped = bias.reshape(1, -1, *[1] * (y.ndim - 2))
    if not same(y, plain + shaped):
        return None
    bias = (y - plain).mean(axis=axes)
    return np.where(np.abs(bias) < 1e-12 * max(float(np.abs(y).max()), 1e-300), 0.0, bias)


def _run_convolution(kernel: Array, hyper: Hyper, start: Sequence[int], size: Sequence[int], bias: Array, mode: str
                     ) -> Callable[[Array], Array]:  # fmt: skip
    def run(x: Array) -> Array:
        span = [d * (k - 1) + 1 for d, k in zip(hyper.dilation, kernel.shape[2:], strict=True)]
        pads = [(-first, first + (out - 1) * s + w - n) for first, out, s, w, n in
                zip(start, size, hyper.stride, span, x.shape[2:], strict=True)]  # fmt: skip
        if mode != "constant":
            pads = [(-first, -first) for first in start]
        value = reference.correlation(
            reference.padded(x, pads, mode), kernel, hyper.stride, hyper.dilation, hyper.groups
        )
        return value + bias.reshape(1, -1, *[1] * (x.ndim - 2))

    return run


def describe_transposed(
    x: Array, y: Array, weight: Array, other: Array | None, hypers: Sequence[Hyper], crops: Sequence[int] = ()
) -> Computation | None:
    """What turned `x` into `y`, both (N, C, *space), with a transposed convolution's kernel (I, O/g, *k)."""
    for crop in dict.fromkeys((0, *crops, *(-pad for pad in crops))):
        if 2 * crop >= min(x.shape[2:]):
            continue
        cut = reference.padded(x, [(-crop, -crop)] * (x.ndim - 2))
        for hyper in hypers:
            if weight.shape[0] != x.shape[1] or weight.shape[1] * hyper.groups != y.shape[1]:
                continue
            for name, kernel in kernel_variants(weight, other, hyper.groups, transposed=True):
                found = _cropped(cut, y, name, kernel, hyper, crop)
                if found is not None:
                    return found
    return None


def _cropped(
    x: Array, y: Array, name: Mistakes, kernel: Array, hyper: Hyper, crop: int
) -> Computation | None:
    """The part of the whole result (with zeros around it) that y is."""
    whole = reference.spread(x[:1], kernel, hyper.stride, hyper.dilation, hyper.groups)
    size = y.shape[2:]
    span = [d * (k - 1) + 1 for d, k in zip(hyper.dilation, kernel.shape[2:], strict=True)]
    if any(
        abs(out - n) > 2 * (w + s)
        for out, n, w, s in zip(size, whole.shape[2:], span, hyper.stride, strict=True)
    ):
        return None
    margin = [(2, max(out - n, 0) + w + 2) for out, n, w in zip(size, whole.shape[2:], span, strict=True)]
    roomy = reference.padded(whole, margin)
    for start in product(*(range(-2, w + 1) for w in span)):
        window = tuple(slice(2 + first, 2 + first + out) for first, out in zip(start, size, strict=True))
        bias = _constant(roomy[(slice(None), slice(None), *window)], y[:1])
        if bias is not None:
            run = _run_transposed(kernel, hyper, start, size, bias, crop)
            return Computation(
                name[0],
                hyper.stride,
                hyper.dilation,
                hyper.groups,
                start,
                size,
                "zeros",
                crop,
                name[1],
                bias,
                run,
            )
    return None


def _run_transposed(kernel: Array, hyper: Hyper, start: Sequence[int], size: Sequence[int], bias: Array, crop: int
                    ) -> Callable[[Array], Array]:  # fmt: skip
    def run(x: Array) -> Array:
        cut = reference.padded(x, [(-crop, -crop)] * (x.ndim - 2)) if crop else x
        whole = reference.spread(cut, kernel, hyper.stride, hyper.dilation, hyper.groups)
        pads = [(-first, first + out - n) for first, out, n in zip(start, size, whole.shape[2:], strict=True)]
        return reference.padded(whole, pads) + bias.reshape(1, -1, *[1] * (x.ndim - 2))

    return run


def describe_dense(
    x: Array, y: Array, weight: Array, other: Array | None, images: Sequence[tuple[int, ...]]
) -> Computation | None:
    """What turned `x` (..., I) into `y` (..., O) with a matrix (O, I).

    Args:
        x: what went in; y: what came out.
        weight: the matrix.
        other: the other side's, where its values are not the same.
        images: (C, *space) of images that may have been flattened in front.
    """
    if x.shape[:-1] != y.shape[:-1] or weight.shape != (y.shape[-1], x.shape[-1]):
        return None
    flat_x, flat_y = x.reshape(-1, x.shape[-1]), y.reshape(-1, y.shape[-1])
    for name, matrix in (*kernel_variants(weight, None, 1, False), *flattenings(weight, images),
                         *((((("weight-not-copied",), 0), other),) if other is not None else ())):  # fmt: skip
        bias = _constant(flat_x @ matrix.T, flat_y)
        if bias is not None:
            return Computation(
                name[0], (), (), 1, (), (), "", 0, name[1], bias, partial(_dense, matrix=matrix, bias=bias)
            )
    return None


def _dense(x: Array, matrix: Array, bias: Array) -> Array:
    return np.asarray(x @ matrix.T + bias)


def flattenings(weight: Array, images: Sequence[tuple[int, ...]]) -> Iterator[tuple[Mistakes, Array]]:
    """The matrix with its input axis read in the other flattening order, of each image that fits."""
    for channels, *space in images:
        if channels * int(np.prod(space)) != weight.shape[1] or int(np.prod(space)) == 1 or channels == 1:
            continue
        rows = weight.shape[0]
        yield (
            (("flatten-order",), 0),
            np.moveaxis(weight.reshape(rows, channels, *space), 1, -1).reshape(weight.shape),
        )
        yield (
            (("flatten-order",), 0),
            np.moveaxis(weight.reshape(rows, *space, channels), -1, 1).reshape(weight.shape),
        )


def hypers_of(settings: Sequence[dict[str, Any]], x: Array, y: Array, transposed: bool) -> list[Hyper]:
    """Strides, dilations and groups to try: each layer's own first, then mixtures, then small ones."""
    rank = x.ndim - 2
    strides, dilations, groups = [], [], []
    for values in settings:
        strides.append(numbers(values.get("strides", values.get("stride")), rank))
        dilations.append(numbers(values.get("dilation_rate", values.get("dilation")), rank))
        own = values.get("groups")
        groups.append(own if isinstance(own, int) else None)
    ones = (1,) * rank
    sizes = zip(x.shape[2:], y.shape[2:], strict=True)
    measured = tuple(max(round(b / a if transposed else a / max(b, 1)), 1) for a, b in sizes)
    own_first = [(s, d, g) for s, d, g in zip(strides, dilations, groups, strict=True) if s and d]
    combinations = [
        *((s, d, g or 1) for s, d, g in own_first),
        *product([s for s in strides if s], [d for d in dilations if d], [g for g in groups if g] or [1]),
        *product(
            [measured, ones], [*(d for d in dilations if d), ones], [*(g for g in groups if g), 1, x.shape[1]]
        ),
        *(((s,) * rank, (d,) * rank, g) for s in SMALL for d in SMALL for g in {*(g or 1 for g in groups)}),
    ]
    return [Hyper(*item) for item in dict.fromkeys(combinations) if item[2] >= 1]


def agreement(y: Array, value: Array) -> float:
    """Greatest difference relative to the scale, for the evidence."""
    return difference(y, value).max_rel
