"""What a transposed convolution did: with which kernel, and which part of the whole result it kept."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from itertools import product

from parity.adapters.torch import reference
from parity.causes.kernels.computation import FEW, Computation, Hyper, Mistakes, computation, constant
from parity.causes.kernels.variants import kernel_variants
from parity.causes.steps.equality import same
from parity.core.types import Array


def describe_transposed(
    x: Array,
    y: Array,
    weight: Array,
    torch_weight: Array | None,
    hypers: Sequence[Hyper],
    crops: Sequence[int] = (),
) -> Computation | None:
    """What turned `x` into `y`, both (N, C, *space), with a transposed convolution's kernel (I, O/g, *k)."""
    variants = cache(lambda groups: list(kernel_variants(weight, torch_weight, groups, transposed=True)))
    for crop in dict.fromkeys((0, *crops, *(-pad for pad in crops))):
        if 2 * crop >= min(x.shape[2:]):
            continue
        cut = reference.padded(x, [(-crop, -crop)] * (x.ndim - 2))
        for hyper in hypers:
            if weight.shape[0] != x.shape[1] or weight.shape[1] * hyper.groups != y.shape[1]:
                continue
            for mistakes, kernel in variants(hyper.groups):
                fits = _few_fit(cut, y, mistakes, kernel, hyper, crop)
                found = _cropped(cut, y, mistakes, kernel, hyper, crop) if fits else None
                if found is not None:
                    return found
    return None


def _few_fit(x: Array, y: Array, mistakes: Mistakes, kernel: Array, hyper: Hyper, crop: int) -> bool:
    """Whether the kernel gives the first channels of one example: most that do not fit show it there, and cost little."""
    inputs = kernel.shape[0] // hyper.groups  # those of the first group
    part = Hyper(hyper.stride, hyper.dilation, 1)
    few = kernel[:inputs, :FEW]
    return _cropped(x[:1, :inputs], y[:1, : few.shape[1]], mistakes, few, part, crop) is not None


def _cropped(
    x: Array, y: Array, mistakes: Mistakes, kernel: Array, hyper: Hyper, crop: int
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
        bias = constant(roomy[(slice(None), slice(None), *window)], y[:1])
        if bias is not None and same(y, _run_transposed(kernel, hyper, start, size, bias, 0)(x)):
            run = _run_transposed(kernel, hyper, start, size, bias, crop)
            return computation(mistakes, hyper, start, size, bias, run, crop=crop)
    return None


def _run_transposed(kernel: Array, hyper: Hyper, start: Sequence[int], size: Sequence[int], bias: Array, crop: int
                    ) -> Callable[[Array], Array]:  # fmt: skip
    def run(x: Array) -> Array:
        cut = reference.padded(x, [(-crop, -crop)] * (x.ndim - 2)) if crop else x
        whole = reference.spread(cut, kernel, hyper.stride, hyper.dilation, hyper.groups)
        pads = [(-first, first + out - n) for first, out, n in zip(start, size, whole.shape[2:], strict=True)]
        return reference.padded(whole, pads) + bias.reshape(1, -1, *[1] * (x.ndim - 2))

    return run
