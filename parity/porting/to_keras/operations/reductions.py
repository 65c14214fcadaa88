"""Operations that reduce axes, or go along one."""

from __future__ import annotations

from collections.abc import Callable

from parity.porting.to_keras.layout.axes import identity, slot, without
from parity.porting.to_keras.layout.operands import AxisLayout, Operand
from parity.porting.to_keras.operations.step import RULES, BodyStep, NoRuleError, rule

REDUCED = {
    "mean": "mean",
    "sum": "sum",
    "amax": "max",
    "amin": "min",
    "prod": "prod",
    "any": "any",
    "all": "all",
    "logsumexp": "logsumexp",
}


def _reduction(keras_name: str) -> Callable[[BodyStep], Operand]:
    return lambda step: reduced(step, keras_name)


def reduced(step: BodyStep, keras_name: str) -> Operand:
    """One reduction over some axes or all."""
    tensor = step.tensor
    dims = step.argument(1, "dim", "axis")
    keep = step.argument(2, "keepdim", "keepdims")
    axes = step.axes(tensor, dims)
    text = tensor.text + ("" if axes is None else f", axis={axes}")
    if keep is not None and keep.value:
        text += f", keepdims={keep.text}"
    if axes is None and not step.value.shape:
        return step.gives(f"ops.{keras_name}({text})", AxisLayout(()))
    rank = len(tensor.value.shape)
    if dims is None or dims.value is None:
        gone = list(range(rank))
    else:
        gone = [dims.value] if isinstance(dims.value, int) else list(dims.value)
    layout = tensor.layout or AxisLayout(tensor.order)
    order = tensor.order if keep is not None and keep.value else without(tensor.order, gone)
    return step.gives(f"ops.{keras_name}({text})", layout.into(order))


RULES.update({name: _reduction(keras_name) for name, keras_name in REDUCED.items()})


@rule("max", "min")
def extreme(step: BodyStep) -> Operand:
    """Over all elements, or between two tensors; with an axis torch gives indices too."""
    second = step.argument(1, "other", "dim")
    if second is None:
        return step.gives(f"ops.{step.name}({step.tensor.text})", AxisLayout(()))
    if second.is_tensor:
        return RULES["maximum" if step.name == "max" else "minimum"](step)
    raise NoRuleError(f"{step.name} along an axis, with indices")


@rule("var", "std", "var_mean")
def variance(step: BodyStep) -> Operand:
    """The biased ones; torch's default divides by n - 1."""
    if step.name == "var_mean":
        raise NoRuleError("var_mean: mean and var are written apart")
    biased = (
        step.constant(2, "unbiased", default=True) is False
        or step.named.get("correction", Operand(1, "")).value == 0
    )
    tensor, dims = step.tensor, step.argument(1, "dim", "axis")
    if isinstance(dims, Operand) and isinstance(dims.value, bool):
        biased, dims = not dims.value, None
    axes = step.axes(tensor, dims)
    keep = step.named.get("keepdim") or (step.operands[3] if len(step.operands) > 3 else None)
    text = (
        tensor.text + ("" if axes is None else f", axis={axes}") + (f", keepdims={keep.text}" if keep else "")
    )
    rank = len(tensor.value.shape)
    if dims is None or dims.value is None:
        gone = list(range(rank))
    else:
        gone = [dims.value] if isinstance(dims.value, int) else list(dims.value)
    layout = tensor.layout or AxisLayout(tensor.order)
    order = tensor.order if keep is not None and keep.value else without(tensor.order, gone)
    if biased:
        return step.gives(f"ops.{step.name}({text})", layout.into(order))
    step.helpers.add(f"unbiased_{step.name}")
    return step.gives(f"unbiased_{step.name}({text})", layout.into(order))


@rule("softmax", "log_softmax")
def softmax(step: BodyStep) -> Operand:
    """Along one axis."""
    axis = step.axis(step.tensor, step.argument(1, "dim"))
    return step.gives(f"ops.{step.name}({step.tensor.text}, axis={axis})")


@rule("cumsum", "cumprod")
def running(step: BodyStep) -> Operand:
    """Sums from the start of an axis on."""
    axis = step.axis(step.tensor, step.argument(1, "dim", "axis"))
    return step.gives(f"ops.{step.name}({step.tensor.text}, axis={axis})")


@rule("argmax", "argmin", "argsort")
def where_extreme(step: BodyStep) -> Operand:
    """Indices along an axis."""
    tensor, dim = step.tensor, step.argument(1, "dim")
    layout = tensor.layout or AxisLayout(tensor.order)
    axis = step.axis(tensor, dim, -1)
    if step.name == "argsort":
        return step.gives(f"ops.argsort({tensor.text}, axis={axis})", layout)
    if dim is None:
        raise NoRuleError(f"{step.name} over all elements")
    return step.gives(
        f"ops.{step.name}({tensor.text}, axis={axis})", layout.into(without(tensor.order, [dim.value]))
    )


@rule("norm", "vector_norm")
def norm(step: BodyStep) -> Operand:
    """The p-norm along axes."""
    tensor, dims = step.tensor, step.argument(2, "dim")
    power = step.text(1, "p", "ord", default="2")
    keep = step.argument(3, "keepdim")
    axes = step.axes(tensor, dims)
    layout = tensor.layout or AxisLayout(tensor.order)
    gone = [] if dims is None else [dims.value] if isinstance(dims.value, int) else list(dims.value)
    order = tensor.order if keep is not None and keep.value else without(tensor.order, gone)
    if axes is None:
        raise NoRuleError("norm over all elements")
    return step.gives(
        f"ops.norm({tensor.text}, ord={power}, axis={axes}{', keepdims=True' if keep is not None and keep.value else ''})",
        layout.into(order),
    )


@rule("normalize")
def normalize(step: BodyStep) -> Operand:
    """Divided by the norm along an axis; torch bounds the norm from below, not its square."""
    step.helpers.add("normalize")
    axis = step.axis(step.tensor, step.argument(2, "dim"), 1)
    power = step.constant(1, "p", default=2.0)
    if power != 2:
        raise NoRuleError(f"normalize with p={power}")
    eps = step.argument(3, "eps")
    return step.gives(
        f"normalize({step.tensor.text}, axis={axis}{'' if eps is None else f', epsilon={eps.text}'})"
    )


@rule("gather", "take_along_dim")
def gather(step: BodyStep) -> Operand:
    """Elements by indices along an axis, in torch's order."""
    dims = step.constant(1, "dim") if step.name == "gather" else step.constant(2, "dim")
    index = step.argument(2, "index") if step.name == "gather" else step.argument(1, "indices")
    if index is None or not index.is_tensor:
        raise NoRuleError(f"{step.name} without indices")
    order = step.tensor.order
    return step.gives(
        f"ops.take_along_axis({step.tensor.text}, {step.into(index, order)}, axis={slot(order, dims)})",
        step.tensor.layout,
    )


@rule("index_select")
def index_select(step: BodyStep) -> Operand:
    """Whole slices by indices."""
    axis = step.axis(step.tensor, step.argument(1, "dim"))
    return step.gives(
        f"ops.take({step.tensor.text}, {step.text(2, 'index')}, axis={axis})", step.tensor.layout
    )


@rule("topk")
def topk(step: BodyStep) -> Operand:
    """The largest values and their places, along the last axis."""
    tensor, dim = step.tensor, step.constant(2, "dim", default=-1)
    if slot(tensor.order, dim) != len(tensor.order) - 1:
        raise NoRuleError("topk along an axis that is not the last")
    return step.gives(f"ops.top_k({tensor.text}, {step.text(1, 'k')})", tensor.layout)


@rule("tril", "triu")
def triangle(step: BodyStep) -> Operand:
    """One triangle of the last two axes."""
    return step.gives(
        f"ops.{step.name}({step.as_torch(step.tensor)}, {step.text(1, 'diagonal', default='0')})",
        AxisLayout(identity(len(step.tensor.value.shape))),
    )
