"""Functions on images: their tensors must be N, H, W, C."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from parity.porting.to_keras.layout.axes import channels_last, slot
from parity.porting.to_keras.layout.operands import AxisLayout, Operand, numbers
from parity.porting.to_keras.operations.step import RULES, BodyStep, NoRuleError, rule


def image(step: BodyStep) -> tuple[str, AxisLayout]:
    """The text of the first operand in N, H, W, C, and the layout of what comes out."""
    tensor = step.tensor
    wanted = channels_last(len(tensor.value.shape))
    return step.into(tensor, wanted), AxisLayout(channels_last(len(step.value.shape)), step.debts(tensor))


def helped(name: str, *arguments: tuple[int, tuple[str, ...], str]) -> Callable[[BodyStep], Operand]:
    """A rule that calls a function which the port brings along, with some arguments by the names it has for them.

    Args:
        name: of the function.
        arguments: (position, torch's names, the function's name) of each.
    """

    def apply(step: BodyStep) -> Operand:
        text, layout = image(step)
        step.helpers.add(name)
        allowed = {known for _, names, _ in arguments for known in names}
        unknown = set(step.named) - allowed - {"input", "momentum"}
        if unknown:
            raise NoRuleError(f"{step.name} with {', '.join(sorted(unknown))}")
        parts = [text]
        for index, names, target in arguments:
            found = step.argument(index, *names)
            if found is not None and not _default(found.value):
                parts.append(f"{target}={found.text}")
        return step.gives(f"{name}({', '.join(parts)})", layout)

    return apply


def _default(value: Any) -> bool:
    return value is None or value is False


_SIZES = (
    (3, ("stride",), "stride"),
    (4, ("padding",), "padding"),
    (5, ("dilation",), "dilation"),
    (6, ("groups",), "groups"),
)
_WEIGHTS = ((1, ("weight",), "weight"), (2, ("bias",), "bias"))


@rule("conv1d", "conv2d", "conv3d")
def convolution(step: BodyStep) -> Operand:
    """A convolution with a kernel of its own, which Keras holds as height, width, inputs, outputs."""
    weight = step.argument(1, "weight")
    if weight is None or not weight.is_tensor:
        raise NoRuleError(f"{step.name} without a weight")
    rank = len(weight.value.shape)
    kernel = step.into(weight, (*range(2, rank), 1, 0))
    turned = Operand(weight.value, kernel, AxisLayout((*range(2, rank), 1, 0)))
    operands = [step.operands[0], turned, *step.operands[2:]]
    named = {name: operand for name, operand in step.named.items() if name != "weight"}
    inner = BodyStep(step.name, operands, named, step.value, step.place, step.tries)
    inner.helpers, inner.given, inner.before = step.helpers, step.given, step.before
    return helped("convolution", *_WEIGHTS, *_SIZES)(inner)


RULES["batch_norm"] = helped(
    "batch_norm",
    (1, ("running_mean",), "mean"),
    (2, ("running_var",), "variance"),
    (3, ("weight",), "weight"),
    (4, ("bias",), "bias"),
    (5, ("training",), "training"),
    (7, ("eps",), "epsilon"),
)
RULES["group_norm"] = helped(
    "group_norm",
    (1, ("num_groups",), "groups"),
    (2, ("weight",), "weight"),
    (3, ("bias",), "bias"),
    (4, ("eps",), "epsilon"),
)
RULES["max_pool2d"] = helped(
    "max_pool",
    (1, ("kernel_size",), "pool_size"),
    (2, ("stride",), "strides"),
    (3, ("padding",), "padding"),
    (5, ("ceil_mode",), "ceil_mode"),
)
RULES["avg_pool2d"] = helped(
    "average_pool",
    (1, ("kernel_size",), "pool_size"),
    (2, ("stride",), "strides"),
    (3, ("padding",), "padding"),
    (4, ("ceil_mode",), "ceil_mode"),
)
RULES["pixel_shuffle"] = helped("pixel_shuffle", (1, ("upscale_factor",), "factor"))


@rule(
    "adaptive_avg_pool2d",
    "adaptive_max_pool2d",
    "adaptive_avg_pool1d",
    "adaptive_max_pool1d",
    "adaptive_avg_pool3d",
)
def adaptive(step: BodyStep) -> Operand:
    """A pooling to a given size; to one pixel it is a mean or a maximum."""
    text, layout = image(step)
    rank = len(step.tensor.value.shape)
    name = "mean" if "avg" in step.name else "max"
    size = step.constant(1, "output_size")
    if all(s == 1 for s in ((size,) if isinstance(size, int) else size)):
        axes = tuple(range(1, rank - 1))
        return step.gives(
            f"ops.{name}({text}, axis={numbers(axes) if len(axes) > 1 else 1}, keepdims=True)", layout
        )
    step.helpers.add(f"adaptive_{name}_pool")
    return step.gives(f"adaptive_{name}_pool({text}, {step.text(1, 'output_size')})", layout)


@rule("interpolate", "upsample")
def interpolate(step: BodyStep) -> Operand:
    """A resize, with torch's rule for where the pixels lie."""
    text, layout = image(step)
    mode = step.constant(3, "mode", default="nearest")
    size, factor = step.argument(1, "size"), step.argument(2, "scale_factor")
    corners = step.constant(4, "align_corners", default=False)
    if step.constant(6, "antialias", default=False):
        raise NoRuleError("interpolate with antialias=True")
    step.helpers.add("resize")
    parts = [text]
    if size is not None and size.value is not None:
        parts.append(f"size={size.text}")
    elif factor is not None:
        parts.append(f"scale_factor={factor.text}")
    if mode != "nearest":
        parts.append(f"mode={step.text(3, 'mode').replace(chr(39), chr(34))}")
    if corners:
        parts.append("align_corners=True")
    return step.gives(f"resize({', '.join(parts)})", layout)


@rule("pad")
def pad(step: BodyStep) -> Operand:
    """Torch counts the pads from the last axis on."""
    tensor, pads = step.tensor, step.argument(1, "pad")
    mode = step.constant(2, "mode", default="constant")
    if pads is None:
        raise NoRuleError("pad without widths")
    rank, values = len(tensor.value.shape), list(pads.value)
    texts = (
        [item.text for item in pads.items]
        if pads.items is not None
        else [f"{pads.text}[{k}]" for k in range(len(values))]
    )
    pairs = {rank - 1 - k // 2: f"({texts[k]}, {texts[k + 1]})" for k in range(0, len(values), 2)}
    widths = numbers([pairs.get(axis, "(0, 0)") for axis in tensor.order])
    names = {"constant": "constant", "reflect": "reflect", "replicate": "edge", "circular": "wrap"}
    extra = "" if mode == "constant" else f', mode="{names[mode]}"'
    if mode in ("replicate", "circular"):
        raise NoRuleError(f"pad with mode={mode!r}, which keras.ops has not on every backend")
    fill = step.argument(3, "value")
    if fill is not None and fill.value not in (None, 0) and mode == "constant":
        extra = f", constant_values={fill.text}"
    return step.gives(f"ops.pad({tensor.text}, {widths}{extra})", tensor.layout)


@rule("unfold")
def unfold(step: BodyStep) -> Operand:
    """Tensor.unfold has no counterpart in keras.ops."""
    raise NoRuleError(f"unfold along axis {slot(step.tensor.order, 0)}")
