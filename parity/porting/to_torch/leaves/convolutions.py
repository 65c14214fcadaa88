"""Convolutions: plain, depthwise, separable and transposed."""

from __future__ import annotations

from typing import Any

from parity.porting.library import from_library
from parity.porting.to_torch.axes import images
from parity.porting.to_torch.leaves.activations import applied
from parity.porting.to_torch.use import RefusedError, StepUse
from parity.porting.to_torch.values import short

POSITIONAL = ("in_channels", "out_channels", "kernel_size")
SOURCES = {
    "out_channels": "filters", "kernel_size": "kernel_size", "stride": "strides", "dilation": "dilation_rate",
    "groups": "groups", "bias": "use_bias",
}  # fmt: skip


def checked(use: StepUse) -> tuple[int, int]:
    """The number of spatial axes and of input channels."""
    if use.get("data_format") == "channels_first":
        raise RefusedError("the layer computes channels first")
    rank = len(use.x.shape) - 2
    return rank, int(use.x.shape[-1])


def settings(layer: Any, rank: int, kernel: tuple[int, ...]) -> tuple[str, dict[str, Any]]:
    """The suffix of the class ("Same" where the padding depends on the size), and stride, padding and dilation."""
    strides, dilation = tuple(layer.strides), tuple(layer.dilation_rate)
    found: dict[str, Any] = {"stride": short(strides), "padding": 0, "dilation": short(dilation)}
    if layer.padding != "same" or all(size == 1 for size in kernel):
        if layer.padding == "causal":
            raise RefusedError("causal padding")
        return "", found
    if all(step == 1 for step in strides):
        reach = [(size - 1) * spread for size, spread in zip(kernel, dilation, strict=True)]
        found["padding"] = short(tuple(n // 2 for n in reach)) if all(n % 2 == 0 for n in reach) else "same"
        return "", found
    del found["padding"]
    return "Same", found


def convolution(use: StepUse) -> None:
    """Conv1D, Conv2D, Conv3D."""
    rank, channels = checked(use)
    layer, axes = use.layer, images(len(use.x.shape))
    text = use.as_images(use.x)
    kernel = tuple(layer.kernel_size)
    causal = layer.padding == "causal"
    if causal:
        reach = (kernel[0] - 1) * layer.dilation_rate[0]
        text = f"F.pad({text}, ({use.constant('reach', reach)}, 0))"
        suffix, found = "", {"stride": short(layer.strides), "dilation": short(layer.dilation_rate)}
    else:
        suffix, found = settings(layer, rank, kernel)
    kind = f"Conv{rank}d{suffix}"
    made = use.module(
        kind if suffix else f"nn.{kind}", POSITIONAL, in_channels=channels, out_channels=int(layer.filters),
        kernel_size=short(kernel), **found, groups=int(layer.groups), bias=bool(layer.use_bias), sources=SOURCES,
    )  # fmt: skip
    use.give(applied(use, f"{made}({text})", layer.activation, axes), axes)


def depthwise(use: StepUse) -> None:
    """DepthwiseConv1D, DepthwiseConv2D."""
    rank, channels = checked(use)
    layer, axes = use.layer, images(len(use.x.shape))
    kernel = tuple(layer.kernel_size)
    suffix, found = settings(layer, rank, kernel)
    kind = f"Conv{rank}d{suffix}"
    made = use.module(
        kind if suffix else f"nn.{kind}", POSITIONAL, in_channels=channels,
        out_channels=channels * int(layer.depth_multiplier), kernel_size=short(kernel), **found, groups=channels,
        bias=bool(layer.use_bias), sources={key: SOURCES[key] for key in ("kernel_size", "stride", "dilation", "bias")},
    )  # fmt: skip
    use.give(applied(use, f"{made}({use.as_images(use.x)})", layer.activation, axes), axes)


def separable(use: StepUse) -> None:
    """SeparableConv1D, SeparableConv2D."""
    rank, channels = checked(use)
    layer, axes = use.layer, images(len(use.x.shape))
    made = use.module(
        f"SeparableConv{rank}d", POSITIONAL, in_channels=channels, out_channels=int(layer.filters),
        kernel_size=short(tuple(layer.kernel_size)), stride=short(layer.strides), padding=layer.padding,
        dilation=short(layer.dilation_rate), depth_multiplier=int(layer.depth_multiplier), bias=bool(layer.use_bias),
        sources={**SOURCES, "depth_multiplier": "depth_multiplier"},
    )  # fmt: skip
    use.give(applied(use, f"{made}({use.as_images(use.x)})", layer.activation, axes), axes)


def transposed(use: StepUse) -> None:
    """Conv1DTranspose, Conv2DTranspose, Conv3DTranspose."""
    rank, channels = checked(use)
    layer, axes = use.layer, images(len(use.x.shape))
    kernel, strides, dilation = (tuple(v) for v in (layer.kernel_size, layer.strides, layer.dilation_rate))
    cuts = crops(kernel, strides, dilation, layer.padding, layer.output_padding)
    found: dict[str, Any] = {
        "stride": short(strides), "padding": 0, "output_padding": short(tuple(max(-cut, 0) for cut in cuts)),
        "dilation": short(dilation),
    }  # fmt: skip
    kind, behind = f"nn.ConvTranspose{rank}d", ""
    odd = any(cut % 2 and cut > 0 for cut in cuts)
    if odd and rank == 2 and from_library("Conv2DTranspose"):
        kind = "torch_impl.layers.Conv2DTranspose"
        more = layer.output_padding
        found |= {"padding": layer.padding, "output_padding": None if more is None else short(more)}
    elif all(cut % 2 == 0 or cut < 0 for cut in cuts):
        found["padding"] = short(tuple(max(cut, 0) // 2 for cut in cuts))
    elif layer.output_padding is None and all(spread == 1 for spread in dilation):
        del found["padding"], found["dilation"]
        kind = f"ConvTranspose{rank}dSame"
    else:
        behind = cropped(cuts)
    made = use.module(
        kind, POSITIONAL, in_channels=channels, out_channels=int(layer.filters), kernel_size=short(kernel), **found,
        bias=bool(layer.use_bias),
        sources={key: SOURCES[key] for key in ("out_channels", "kernel_size", "stride", "dilation", "bias")},
    )  # fmt: skip
    text = f"{made}({use.as_images(use.x)})"
    use.give(applied(use, f"F.pad({text}, {behind})" if behind else text, layer.activation, axes), axes)


def crops(
    kernel: tuple[int, ...], strides: tuple[int, ...], dilation: tuple[int, ...], padding: str, more: Any
) -> list[int]:
    """How many pixels Keras cuts off what a transposed convolution gives, along each axis; fewer than none: adds.

    The smaller half of an odd number is cut at the start.
    """
    extra = [more] * len(kernel) if more is None or isinstance(more, int) else list(more)
    found = []
    for size, step, spread, added in zip(kernel, strides, dilation, extra, strict=True):
        reach = (size - 1) * spread + 1
        if padding == "same":
            cut = reach - step if added is None else reach - reach % 2 - added
        else:
            cut = min(reach - step, 0) if added is None else -added
        if cut < 0 and -cut >= max(step, spread):
            raise RefusedError(
                f"a transposed convolution with {-cut} pixels behind its output: torch adds fewer than its stride"
            )
        found.append(cut)
    return found


def cropped(cuts: list[int]) -> str:
    """The pads, the last axis first, that cut the smaller half off the start and the larger one off the end."""
    pads = [n for cut in reversed(cuts) for n in (-(max(cut, 0) // 2), -(max(cut, 0) - max(cut, 0) // 2))]
    return f"({', '.join(map(str, pads))})"


RULES = {
    **dict.fromkeys(("DepthwiseConv1D", "DepthwiseConv2D"), depthwise),
    **dict.fromkeys(("SeparableConv1D", "SeparableConv2D"), separable),
    **dict.fromkeys(("Conv1DTranspose", "Conv2DTranspose", "Conv3DTranspose"), transposed),
    **dict.fromkeys(("Conv1D", "Conv2D", "Conv3D"), convolution),
}
