"""What a convolution did: with which kernel, and where its windows lie."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from itertools import product

from parity.adapters.torch import reference
from parity.causes.kernels.computation import FEW, Computation, Hyper, Mistakes, computation, constant
from parity.causes.kernels.variants import kernel_variants
from parity.causes.steps.equality import same
from parity.core.types import Array


def describe_convolution(
    x: Array,
    y: Array,
    weight: Array,
    torch_weight: Array | None,
    hypers: Sequence[Hyper],
    pads: Sequence[int] = (),
) -> Computation | None:
    """What turned `x` into `y`, both (N, C, *space), with a kernel (O, I/g, *k)."""
    variants = cache(lambda groups: list(kernel_variants(weight, torch_weight, groups, transposed=False)))
    for hyper in hypers:
        if weight.shape[1] * hyper.groups != x.shape[1] or weight.shape[0] != y.shape[1]:
            continue
        for mistakes, kernel in variants(hyper.groups):
            fits = _few_fit(x, y, mistakes, kernel, hyper, pads)
            found = _placed(x, y, mistakes, kernel, hyper, pads) if fits else None
            if found is not None:
                return found
    return None


def _few_fit(
    x: Array, y: Array, mistakes: Mistakes, kernel: Array, hyper: Hyper, pads: Sequence[int]
) -> bool:
    """Whether the kernel gives the first channels of one example: most that do not fit show it there, and cost little."""
    groups = min(hyper.groups, FEW)
    inputs = groups * kernel.shape[1]
    outputs = groups * (kernel.shape[0] // hyper.groups) if hyper.groups > 1 else min(FEW, kernel.shape[0])
    part = Hyper(hyper.stride, hyper.dilation, groups)
    return _placed(x[:1, :inputs], y[:1, :outputs], mistakes, kernel[:outputs], part, pads) is not None


def _placed(
    x: Array, y: Array, mistakes: Mistakes, kernel: Array, hyper: Hyper, pads: Sequence[int]
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
        bias = constant(part, y[:1])
        if bias is not None:
            run = _run_convolution(kernel, hyper, start, size, bias, "constant")
            if same(y, run(x)):
                return computation(mistakes, hyper, start, size, bias, run)
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
        bias = constant(inner, y)
        if bias is not None:
            run = _run_convolution(kernel, hyper, start, size, bias, mode)
            return computation(mistakes, hyper, start, size, bias, run, padding=mode)
    return None


def _starts(span: int) -> list[int]:
    """First pixels to try: from a window before the image to a pixel inside, the middle first."""
    return sorted(range(-span, 2), key=lambda start: abs(start + (span - 1) // 2))


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
