"""Which blocks a residual network has, in plain numbers: the same file in both packages."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

CHANNELS = 3  # the network reads RGB
LAYERS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3)}  # He et al., table 1
BOTTLENECKS = (50, 101)
EXPANSION = 4  # of a bottleneck's channels at its end


class Unit(NamedTuple):
    """The arguments of one residual block."""

    in_channels: int
    channels: int
    stride: int
    dilation: tuple[int, int]  # of the block's first 3 x 3 convolution, and of a second one


def out_channels(depth: int, width: int) -> tuple[int, ...]:
    """Channels at the end of each stage."""
    expansion = EXPANSION if depth in BOTTLENECKS else 1
    return tuple(width * 2**stage * expansion for stage in range(4))


def plan(
    depth: int, output_stride: int, multi_grid: Sequence[int] | None, width: int
) -> tuple[tuple[Unit, ...], ...]:
    """Give the blocks of the four stages.

    Where a stage may not halve any more, it dilates by two instead. Its first convolution still sees the
    former grid, so that the network computes what it did, at more places. With `multi_grid` the blocks of
    the last stage take that rate times its numbers throughout, the first block too.
    """
    _check(depth, output_stride, multi_grid, width)
    ends = out_channels(depth, width)
    stages, reached, rate = [], 4, 1  # after the stem
    for stage, count in enumerate(LAYERS[depth]):
        stride, before = (1 if stage == 0 else 2), rate
        if stride == 2 and reached == output_stride:
            stride, rate = 1, 2 * rate
        reached *= stride
        rates = [(before if block == 0 else rate, rate) for block in range(count)]
        if stage == 3 and multi_grid is not None:
            rates = [(rate * each, rate * each) for each in multi_grid]
        enter = width if stage == 0 else ends[stage - 1]
        stages.append(
            tuple(
                Unit(*((enter, width * 2**stage, stride) if block == 0 else (ends[stage], width * 2**stage, 1)), each)
                for block, each in enumerate(rates)
            )
        )  # fmt: skip
    return tuple(stages)


def _check(depth: int, output_stride: int, multi_grid: Sequence[int] | None, width: int) -> None:
    """Refuse options without a meaning."""
    if depth not in LAYERS:
        raise ValueError(f"depth must be one of {sorted(LAYERS)}; got depth={depth!r}. Choose one.")
    if output_stride not in (8, 16, 32):
        raise ValueError(
            f"output_stride must be 8, 16 or 32; got output_stride={output_stride!r}. Choose one of them."
        )
    if multi_grid is not None and (len(multi_grid) != LAYERS[depth][3] or min(multi_grid) < 1):
        raise ValueError(
            f"multi_grid must hold a rate of at least 1 for each of the last stage's {LAYERS[depth][3]} blocks; "
            f"got multi_grid={tuple(multi_grid)}. Give as many, such as {(1, 2, 4)[: LAYERS[depth][3]]}."
        )
    if width < 1:
        raise ValueError(f"width must be at least 1; got width={width}. Give the first stage's channels.")
