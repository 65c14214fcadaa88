"""Functions on images: their tensors must be N, H, W, C."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from parity.porting.to_keras.layout.axes import channels_last, identity, slot, with_axis
from parity.porting.to_keras.layout.operands import AxisLayout, Operand, atom, numbers
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
    inner.target, inner.taken = step.target, step.taken
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
_plain_average = helped(
    "average_pool",
    (1, ("kernel_size",), "pool_size"),
    (2, ("stride",), "strides"),
    (3, ("padding",), "padding"),
    (4, ("ceil_mode",), "ceil_mode"),
)
RULES["max_pool1d"] = RULES["max_pool3d"] = RULES["max_pool2d"]
RULES["pixel_shuffle"] = helped("pixel_shuffle", (1, ("upscale_factor",), "factor"))
RULES["pixel_unshuffle"] = helped("pixel_unshuffle", (1, ("downscale_factor",), "factor"))


@rule("avg_pool2d")
def average_pool(step: BodyStep) -> Operand:
    """A mean of windows; a layer where the rims do not count, or sizes are rounded up."""
    if step.constant(6, "divisor_override") is not None:
        raise NoRuleError("avg_pool2d with divisor_override")
    padding = step.constant(3, "padding", default=0)
    padded = any(padding) if isinstance(padding, tuple | list) else padding
    rims = step.constant(5, "count_include_pad", default=True)
    if not step.constant(4, "ceil_mode", default=False) and (rims or not padded):
        step.operands = step.operands[:5]
        step.named = {
            name: given
            for name, given in step.named.items()
            if name not in ("count_include_pad", "ceil_mode")
        }
        return _plain_average(step)
    text, layout = image(step)
    step.helpers.add("PaddedAveragePooling")
    parts = [step.text(1, "kernel_size")]
    names = ((2, "stride", "strides"), (3, "padding", "padding"), (4, "ceil_mode", "ceil_mode"))
    for index, name, keras_name in (*names, (5, "count_include_pad", "count_include_pad")):
        found = step.argument(index, name)
        if found is not None and found.value is not None:
            parts.append(f"{keras_name}={found.text}")
    return step.gives(f"PaddedAveragePooling({', '.join(parts)})({text})", layout)


@rule("instance_norm")
def instance_norm(step: BodyStep) -> Operand:
    """Each channel of each image by itself: as many groups as channels."""
    if step.constant(1, "running_mean") is not None:
        raise NoRuleError("instance_norm with running statistics")
    text, layout = image(step)
    text = step.named_text(text)
    step.helpers.add("group_norm")
    parts = [text, f"{text}.shape[-1]"]
    for index, name, keras_name in ((3, "weight", "weight"), (4, "bias", "bias"), (7, "eps", "epsilon")):
        found = step.argument(index, name)
        if found is not None and found.value is not None:
            parts.append(f"{keras_name}={found.text}")
    return step.gives(f"group_norm({', '.join(parts)})", layout)


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
        else [f"{atom(pads.text)}[{k}]" for k in range(len(values))]
    )
    pairs = {rank - 1 - k // 2: f"({texts[k]}, {texts[k + 1]})" for k in range(0, len(values), 2)}
    widths = numbers([pairs.get(axis, "(0, 0)") for axis in tensor.order])
    fill = step.argument(3, "value")
    if mode in ("replicate", "circular") or any(value < 0 for value in values):
        step.helpers.add("pad")
        extra = "" if mode == "constant" else f', mode="{mode}"'
        extra += "" if fill is None or fill.value in (None, 0) else f", value={fill.text}"
        return step.gives(f"pad({tensor.text}, {widths}{extra})", tensor.layout)
    extra = "" if mode == "constant" else f', mode="{mode}"'
    if fill is not None and fill.value not in (None, 0) and mode == "constant":
        extra = f", constant_values={fill.text}"
    return step.gives(f"ops.pad({tensor.text}, {widths}{extra})", tensor.layout)


@rule("unfold")
def unfold(step: BodyStep) -> Operand:
    """`F.unfold` of an image: its windows as rows. `Tensor.unfold`: the windows of one axis as a new last axis."""
    tensor, rank = step.tensor, len(step.tensor.value.shape)
    if len(step.value.shape) == rank + 1:
        dim = step.argument(1, "dimension")
        axis = step.axis(tensor, dim)
        step.helpers.add("windows")
        place = slot(tensor.order, dim.value if dim is not None else 0)
        layout = (tensor.layout or AxisLayout(tensor.order)).into(with_axis(tensor.order, rank, place + 1))
        return step.gives(
            f"windows({tensor.text}, {step.text(2, 'size')}, {step.text(3, 'step')}, axis={axis})", layout
        )
    text, _ = image(step)
    step.helpers.add("Unfold")
    return step.gives(
        f"Unfold({_window_arguments(step, 1)})({text})", AxisLayout((0, 2, 1), step.debts(tensor))
    )


@rule("fold")
def fold(step: BodyStep) -> Operand:
    """Windows back to an image."""
    if len(step.tensor.value.shape) != 3:
        raise NoRuleError("fold of one image without a batch")
    step.helpers.add("Fold")
    text = step.into(step.tensor, (0, 2, 1))
    return step.gives(
        f"Fold({step.text(1, 'output_size')}, {_window_arguments(step, 2)})({text})",
        AxisLayout(channels_last(4)),
    )


def _window_arguments(step: BodyStep, first: int) -> str:
    names = ("kernel_size", "dilation", "padding", "stride")
    found = [(name, step.argument(first + k, name)) for k, name in enumerate(names)]
    parts = [f"{name}={given.text}" for name, given in found if given is not None]
    return ", ".join(parts).removeprefix("kernel_size=")


@rule("affine_grid")
def affine_grid(step: BodyStep) -> Operand:
    """The places of an affine map, for an image of a given size."""
    theta, size = step.tensor, step.argument(1, "size")
    if size is None or len(step.value.shape) != 4:
        raise NoRuleError("affine_grid of volumes")
    if size.shape_of is not None:
        places = [f"{size.text}[{size.shape_of.order.index(axis)}]" for axis in (2, 3)]
    else:
        places = [operand.text for operand in step.several(1, "size")][2:]
    step.helpers.add("affine_grid")
    corners = ", align_corners=True" if step.constant(2, "align_corners", default=False) else ""
    return step.gives(
        f"affine_grid({step.as_torch(theta)}, {', '.join(places)}{corners})", AxisLayout(identity(4))
    )


@rule("grid_sample")
def grid_sample(step: BodyStep) -> Operand:
    """Pixels at places; the grid has its pairs last, as in torch."""
    text, layout = image(step)
    grid = step.argument(1, "grid")
    mode, rims = (
        step.constant(2, "mode", default="bilinear"),
        step.constant(3, "padding_mode", default="zeros"),
    )
    if grid is None or len(step.value.shape) != 4 or mode != "bilinear" or rims == "reflection":
        raise NoRuleError("grid_sample of volumes, with reflections, or not bilinear")
    step.helpers.add("grid_sample")
    parts = [text, step.as_torch(grid)]
    parts += [f'padding_mode="{rims}"'] if rims != "zeros" else []
    parts += ["align_corners=True"] if step.constant(4, "align_corners", default=False) else []
    return step.gives(f"grid_sample({', '.join(parts)})", layout)
