"""Checks of layer arguments and the arithmetic of sizes: plain numbers, the same file in both packages."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

IntPair: TypeAlias = int | tuple[int, int] | list[int]
Pair: TypeAlias = tuple[int, int]


def pair(name: str, value: IntPair, least: int) -> Pair:
    """Give (height, width) for one whole number or two, each at least `least`."""
    both = tuple(value) if isinstance(value, (tuple, list)) else (value, value)
    whole = all(isinstance(each, int) and not isinstance(each, bool) for each in both)
    if len(both) != 2 or not whole or min(both) < least:
        raise ValueError(
            f"{name} must be one or two whole numbers of at least {least}; got {name}={value!r}. "
            "Give an int, or a pair (height, width)."
        )
    return both[0], both[1]


def check_channels(in_channels: int, out_channels: int, groups: int) -> None:
    """Refuse channel counts below 1 and groups that do not divide them."""
    for name, value in (("in_channels", in_channels), ("out_channels", out_channels)):
        if value < 1:
            raise ValueError(f"{name} must be at least 1; got {name}={value}. Give the number of channels.")
        if groups < 1 or value % groups:
            raise ValueError(
                f"{name} must be a multiple of groups; got {name}={value}, groups={groups}. "
                "Choose a number of groups that divides in_channels and out_channels."
            )


def check_pool_padding(kernel_size: Pair, padding: Pair) -> None:
    """Refuse windows that could lie in the padding alone."""
    if any(2 * pad > size for size, pad in zip(kernel_size, padding, strict=True)):
        raise ValueError(
            f"padding must be at most half of kernel_size; got padding={padding}, kernel_size={kernel_size}. "
            "Use less padding or a greater window."
        )


def check_output_padding(
    output_padding: Sequence[int], stride: Sequence[int], dilation: Sequence[int]
) -> None:
    """Refuse an output padding that another number of input pixels would explain."""
    for extra, step, spread in zip(output_padding, stride, dilation, strict=True):
        if extra >= max(step, spread):
            raise ValueError(
                "output_padding must be smaller than stride or dilation; got "
                f"output_padding={output_padding}, stride={stride}, dilation={dilation}. "
                "Use less output_padding."
            )


def check_keras_rules(padding: str, stride: Pair, dilation: Pair, output_padding: Pair | None) -> None:
    """Refuse what Keras' Conv2DTranspose refuses."""
    if padding not in ("valid", "same"):
        raise ValueError(
            f'padding must be "valid" or "same"; got padding={padding!r}. '
            "For a number of pixels use ConvTranspose2d."
        )
    if max(stride) > 1 and max(dilation) > 1:
        raise ValueError(
            "stride and dilation must not both be greater than 1 in Keras' transposed convolution; got "
            f"stride={stride}, dilation={dilation}. Use ConvTranspose2d, which takes both."
        )
    if output_padding is not None and any(o >= s for o, s in zip(output_padding, stride, strict=True)):
        raise ValueError(
            f"output_padding must be smaller than stride; got output_padding={output_padding}, "
            f"stride={stride}. Use less output_padding, or None."
        )


def check_mode(mode: str) -> None:
    """Refuse a way of enlarging that the two packages do not share."""
    if mode not in ("nearest", "bilinear"):
        raise ValueError(f'mode must be "nearest" or "bilinear"; got mode={mode!r}. Choose one of them.')


def spans(
    sizes: Sequence[int | None], kernel_size: Sequence[int], stride: Sequence[int], dilation: Sequence[int]
) -> list[int | None]:
    """Give height and width of a transposed convolution's result before anything is cut off or added."""
    axes = zip(sizes, kernel_size, stride, dilation, strict=True)
    return [None if size is None else (size - 1) * s + d * (k - 1) + 1 for size, k, s, d in axes]


def less(sizes: Sequence[int | None], crops: Sequence[Pair]) -> list[int | None]:
    """Give the sizes after `crops` pixels are cut off (negative: added) at the start and the end."""
    return [None if size is None else size - sum(crop) for size, crop in zip(sizes, crops, strict=True)]


def check_not_empty(sizes: Sequence[int | None], input_shape: Sequence[int | None], padding: object) -> None:
    """Refuse an output of which the cut leaves nothing; an unknown size (None) passes."""
    if any(size is not None and size < 1 for size in sizes):
        raise ValueError(
            f"the output must have at least one pixel; got output size={tuple(sizes)}, "
            f"input shape={tuple(input_shape)}, padding={padding}. Use less padding or a greater input."
        )


def keras_crops(
    kernel_size: Pair, stride: Pair, dilation: Pair, padding: str, output_padding: Pair | None
) -> tuple[Pair, Pair]:
    """Rows and columns that Keras cuts (negative: adds) at the start and the end of the uncropped result.

    The uncropped result has (size - 1)*stride + kernel pixels, where kernel is the dilated kernel's extent.
    Keras fixes the output's size and cuts half of the surplus, rounded down, at the start.
    """
    crops = []
    for axis in (0, 1):
        step, extent = stride[axis], dilation[axis] * (kernel_size[axis] - 1) + 1
        extra = None if output_padding is None else output_padding[axis]
        if padding == "valid":
            kept = max(extent, step) if extra is None else extent + extra
            start = 0
        else:
            kept = step if extra is None else extent % 2 + extra
            start = max(extent - kept, 0) // 2
        crops.append((start, extent - kept - start))
    return crops[0], crops[1]
