"""A kernel as it is, and as porting mistakes leave it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from parity.causes.kernels.computation import Mistakes
from parity.core.types import Array


def kernel_variants(
    weight: Array, torch_weight: Array | None, groups: int, transposed: bool
) -> Iterator[tuple[Mistakes, Array]]:
    """The kernel as it is, and as porting mistakes leave it, by the mistakes' causes and a number.

    Args:
        weight: in torch's layout.
        torch_weight: the kernel of the torch layer, where its values are others.
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
    if torch_weight is not None and torch_weight.shape == weight.shape:
        variants[("weight-not-copied",), 0] = torch_weight
    for mistakes, value in variants.items():
        if value.shape == weight.shape and not np.array_equal(value, weight):
            yield mistakes, value


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


def flattenings(weight: Array, images: Sequence[tuple[int, ...]]) -> Iterator[tuple[Mistakes, Array]]:
    """The matrix with its input axis, or its output axis, read in the other flattening order of each image that fits."""
    for channels, *space in images:
        size = int(np.prod(space))
        if size == 1 or channels == 1:
            continue
        for axis in (1, 0):
            if channels * size == weight.shape[axis]:
                turned = np.moveaxis(weight, axis, 1)
                for one in _orders(turned, channels, space):
                    yield (("flatten-order",), 0), np.moveaxis(one, 1, axis)


def _orders(weight: Array, channels: int, space: Sequence[int]) -> Iterator[Array]:
    """The columns from (C, *space) to (*space, C), and the other way round."""
    rows = weight.shape[0]
    yield np.moveaxis(weight.reshape(rows, channels, *space), 1, -1).reshape(weight.shape)
    yield np.moveaxis(weight.reshape(rows, *space, channels), -1, 1).reshape(weight.shape)
