"""Convolutions and pooling of keras.ops: the kernel is a weight of the layer, in Keras' order of axes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from parity.porting.to_torch.axes import TorchAxes, images
from parity.porting.to_torch.leaves.convolutions import cropped, crops
from parity.porting.to_torch.use import RefusedError, StepUse, literal
from parity.porting.to_torch.values import is_variable, short


def each(value: Any, rank: int) -> tuple[int, ...]:
    """A setting for each spatial axis."""
    return (int(value),) * rank if isinstance(value, int) else tuple(map(int, value))


def _last(use: StepUse) -> int:
    """The number of spatial axes, where the channels are the last axis."""
    if use.get("data_format") == "channels_first":
        raise RefusedError(f"{use.piece.kind} of keras.ops with its channels first")
    return len(use.x.shape) - 2


def _operand(use: StepUse, place: int, name: str) -> Any:
    return use.args[place] if len(use.args) > place else use.kwargs[name]


def _padded(
    use: StepUse, text: str, size: tuple[int, ...], steps: tuple[int, ...], dilation: tuple[int, ...]
) -> tuple[str, Any]:
    """The text of the input and the number to pad by, so that a kernel sees what Keras shows it."""
    reach = [(k - 1) * spread for k, spread in zip(size, dilation, strict=True)]
    if use.get("padding") == "valid" or not any(reach):
        return text, 0
    if use.get("padding") == "causal":
        return f"F.pad({text}, ({reach[0]}, 0))", 0
    if all(step == 1 for step in steps) and all(n % 2 == 0 for n in reach):
        return text, short(tuple(n // 2 for n in reach))
    function = use.helper("pad_same")
    return f"{function}({text}, {literal(size)}, {literal(steps)}, {literal(dilation)})", 0


def _kernel(use: StepUse, kernel: Any, order: TorchAxes) -> str:
    if not is_variable(kernel) and use.axes(kernel).flat:
        raise RefusedError(f"{use.piece.kind} of keras.ops with a kernel that was flattened")
    return use.take(kernel, order, atom=True)


def _more(**settings: Any) -> str:
    """The arguments that are not torch's defaults."""
    defaults = {"padding": 0, "output_padding": 0}
    kept = {name: value for name, value in settings.items() if value != defaults.get(name, 1)}
    return "".join(f", {name}={literal(value)}" for name, value in kept.items())


def convolved(use: StepUse) -> None:
    """conv."""
    rank, kernel = _last(use), _operand(use, 1, "kernel")
    steps, dilation = each(use.get("strides") or 1, rank), each(use.get("dilation_rate") or 1, rank)
    text, padding = _padded(use, use.as_images(use.x), tuple(map(int, kernel.shape[:rank])), steps, dilation)
    weight = _kernel(use, kernel, TorchAxes((rank + 1, rank, *range(rank))))
    groups = int(use.x.shape[-1]) // int(kernel.shape[-2])
    more = _more(stride=short(steps), padding=padding, dilation=short(dilation), groups=groups)
    use.give(f"F.conv{rank}d({text}, {weight}{more})", images(rank + 2))


def _depthwise(use: StepUse, kernel: Any) -> str:
    rank, channels = _last(use), int(kernel.shape[-2])
    steps, dilation = each(use.get("strides") or 1, rank), each(use.get("dilation_rate") or 1, rank)
    text, padding = _padded(use, use.as_images(use.x), tuple(map(int, kernel.shape[:rank])), steps, dilation)
    weight = _kernel(use, kernel, TorchAxes((rank, rank + 1, *range(rank))))
    weight = f"{weight}.flatten(0, 1)[:, None]" if kernel.shape[-1] != 1 else weight
    more = _more(stride=short(steps), padding=padding, dilation=short(dilation), groups=channels)
    return f"F.conv{rank}d({text}, {weight}{more})"


def depthwise(use: StepUse) -> None:
    """depthwise_conv."""
    use.give(_depthwise(use, _operand(use, 1, "kernel")), images(len(use.x.shape)))


def separable(use: StepUse) -> None:
    """separable_conv: each channel alone, then all channels of a pixel."""
    rank = _last(use)
    text = _depthwise(use, _operand(use, 1, "depthwise_kernel"))
    pointwise = _operand(use, 2, "pointwise_kernel")
    weight = _kernel(use, pointwise, TorchAxes((rank + 1, rank, *range(rank))))
    use.give(f"F.conv{rank}d({text}, {weight})", images(rank + 2))


def transposed(use: StepUse) -> None:
    """conv_transpose."""
    rank, kernel = _last(use), _operand(use, 1, "kernel")
    steps, dilation = each(use.get("strides") or 1, rank), each(use.get("dilation_rate") or 1, rank)
    size = tuple(map(int, kernel.shape[:rank]))
    cuts = crops(size, steps, dilation, str(use.get("padding")), use.get("output_padding"))
    text = use.as_images(use.x, atom=True)
    weight = _kernel(use, kernel, TorchAxes((rank + 1, rank, *range(rank))))
    function, settings = f"F.conv_transpose{rank}d", {"stride": short(steps), "dilation": short(dilation)}
    settings["output_padding"] = short(tuple(max(-cut, 0) for cut in cuts))
    even = all(cut % 2 == 0 or cut < 0 for cut in cuts)
    if even:
        settings["padding"] = short(tuple(max(cut, 0) // 2 for cut in cuts))
    whole = f"{function}({text}, {weight}{_more(**settings)})"
    use.give(whole if even else f"F.pad({whole}, {cropped(cuts)})", images(rank + 2))


def pooled(kind: str) -> Callable[[StepUse], None]:
    """max_pool and average_pool."""

    def rule(use: StepUse) -> None:
        rank = _last(use)
        size = each(use.get("pool_size"), rank)
        stride = each(use.get("strides") or size, rank)
        numbers = literal(short(size)) + (f", {literal(short(stride))}" if stride != size else "")
        function = f"F.{kind}_pool{rank}d"
        if use.get("padding") == "same":
            function = use.helper(f"{kind}_pool{rank}d_same")
        use.give(f"{function}({use.as_images(use.x)}, {numbers})", images(rank + 2))

    return rule


RULES = {
    "Conv": convolved, "DepthwiseConv": depthwise, "SeparableConv": separable, "ConvTranspose": transposed,
    "MaxPool": pooled("max"), "AveragePool": pooled("avg"),
}  # fmt: skip
