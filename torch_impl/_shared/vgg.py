"""Which layers VGG16 has, in plain numbers: the same file in both packages."""

from __future__ import annotations

from typing import NamedTuple

CHANNELS = 3  # the network reads RGB
STAGES = (2, 2, 3, 3, 3)  # convolutions before each pooling
GROWTH = (1, 2, 4, 8, 8)  # channels of each stage, in the first one's


class Convolution(NamedTuple):
    """The arguments of one convolution."""

    in_channels: int
    out_channels: int
    kernel_size: int
    stride: int
    padding: int
    dilation: int


class Stage(NamedTuple):
    """Convolutions and the stride of the pooling after them."""

    convolutions: tuple[Convolution, ...]
    stride: int


def plan(output_stride: int, padding: int, width: int) -> list[Stage]:
    """Give the five stages; a pooling that may not halve any more has stride 1, and the next stage dilates."""
    if output_stride not in (8, 16, 32):
        raise ValueError(
            f"output_stride must be 8, 16 or 32; got output_stride={output_stride!r}. Choose one of them."
        )
    for name, value in (("padding", padding), ("width", width)):
        if value < 1:
            raise ValueError(f"{name} must be at least 1; got {name}={value}. Give a greater number.")
    stages: list[Stage] = []
    enter, reached, rate = CHANNELS, 1, 1
    for count, growth in zip(STAGES, GROWTH, strict=True):
        units: list[Convolution] = []
        for _ in range(count):
            rim = rate if stages or units else padding
            units.append(Convolution(enter, growth * width, 3, 1, rim, rate))
            enter = growth * width
        stride = 2 if reached < output_stride else 1
        reached, rate = reached * stride, rate * (2 // stride)
        stages.append(Stage(tuple(units), stride))
    return stages
