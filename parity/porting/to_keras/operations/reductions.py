"""Operations that reduce axes, or go along one."""

from __future__ import annotations

from collections.abc import Callable

from parity.porting.to_keras.layout.axes import identity, slot, without
from parity.porting.to_keras.layout.operands import AxisLayout, Operand, atom
from parity.porting.to_keras.operations.broadcast import together
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
    layout = _left(tensor, dims, keep)
    return step.gives(f"ops.{keras_name}({text})", layout)


def _left(tensor: Operand, dims: Operand | None, keep: Operand | None) -> AxisLayout:
    """How what is left lies, where the axes `dims` are gone, or 1 long."""
    layout = tensor.layout or AxisLayout(tensor.order)
    if keep is not None and keep.value:
        return layout.into(tensor.order)
    if dims is None or dims.value is None:
        gone = list(range(len(tensor.value.shape)))
    else:
        gone = [dims.value] if isinstance(dims.value, int) else list(dims.value)
    return layout.into(without(tensor.order, gone))


RULES.update({name: _reduction(keras_name) for name, keras_name in REDUCED.items()})


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
    layout = _left(tensor, dims, keep)
    if biased:
        return step.gives(f"ops.{step.name}({text})", layout)
    step.helpers.add(f"unbiased_{step.name}")
    return step.gives(f"unbiased_{step.name}({text})", layout)


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


@rule("norm", "vector_norm", "linalg_norm", "linalg_vector_norm")
def norm(step: BodyStep) -> Operand:
    """The p-norm of vectors along axes; Keras' norm with an order would be that of a matrix over two axes."""
    tensor, dims = step.tensor, step.argument(2, "dim")
    power = step.argument(1, "p", "ord")
    keep = step.argument(3, "keepdim")
    axes = step.axes(tensor, dims)
    gone = [] if dims is None or dims.value is None else [dims.value]
    gone = list(gone[0]) if gone and isinstance(gone[0], tuple | list) else gone
    plain = power is None or power.value in (None, 2, "fro")
    matrix = len(gone) > 1 or not gone
    if matrix and (not plain or (step.name == "linalg_norm" and power is not None and power.value == 2)):
        raise NoRuleError(f"{step.name} of another order over several axes")
    text = tensor.text + ("" if plain or power is None else f", ord={power.text}")
    text += "" if axes is None else f", axis={axes}"
    kept = keep is not None and bool(keep.value)
    layout = tensor.layout or AxisLayout(tensor.order)
    if axes is None:
        return step.gives(f"ops.norm({text})", AxisLayout(()))
    if len(gone) > 2:
        squares = f"ops.sum(ops.square({tensor.text}), axis={axes}{', keepdims=True' if kept else ''})"
        return step.gives(
            f"ops.sqrt({squares})", layout.into(tensor.order if kept else without(tensor.order, gone))
        )
    order = tensor.order if kept else without(tensor.order, gone)
    return step.gives(f"ops.norm({text}{', keepdims=True' if kept else ''})", layout.into(order))


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


@rule("tril", "triu")
def triangle(step: BodyStep) -> Operand:
    """One triangle of the last two axes."""
    return step.gives(
        f"ops.{step.name}({step.as_torch(step.tensor)}, {step.text(1, 'diagonal', default='0')})",
        AxisLayout(identity(len(step.tensor.value.shape))),
    )


@rule("cosine_similarity")
def cosine_similarity(step: BodyStep) -> Operand:
    """The product of two tensors, each divided by its norm along an axis."""
    first, second = step.argument(0, "x1"), step.argument(1, "x2")
    if first is None or second is None or len(first.value.shape) != len(second.value.shape):
        raise NoRuleError("cosine_similarity of tensors with several ranks")
    step.helpers.add("normalize")
    (a, b), layout = together(step, [first, second])
    assert layout is not None
    dim = step.argument(2, "dim")
    axis = step.axis(Operand(first.value, "", layout), dim, 1)
    epsilon = step.text(3, "eps", default="1e-8")
    parts = " * ".join(f"normalize({text}, axis={axis}, epsilon={epsilon})" for text in (a, b))
    order = without(layout.order, [1 if dim is None else dim.value])
    return step.gives(f"ops.sum({parts}, axis={axis})", layout.into(order))


@rule("pairwise_distance")
def pairwise_distance(step: BodyStep) -> Operand:
    """The norm of a difference along the last axis, to which torch adds a small number first."""
    first, second = step.argument(0, "x1"), step.argument(1, "x2")
    if first is None or second is None or step.constant(2, "p", default=2.0) != 2:
        raise NoRuleError("pairwise_distance with another power than 2")
    (a, b), layout = together(step, [first, second])
    assert layout is not None
    keep = step.argument(4, "keepdim")
    kept = keep is not None and bool(keep.value)
    last = len(layout.order) - 1
    axis = step.axis(Operand(first.value, "", layout), None, last)
    text = f"{a} - {atom(b)} + {step.text(3, 'eps', default='1e-6')}"
    order = layout.order if kept else without(layout.order, [last])
    return step.gives(f"ops.norm({text}, axis={axis}{', keepdims=True' if kept else ''})", layout.into(order))
