"""The greatest and the least along an axis, with their places: torch gives both at once."""

from __future__ import annotations

from parity.porting.to_keras.layout.axes import slot, without
from parity.porting.to_keras.layout.operands import AxisLayout, Operand
from parity.porting.to_keras.operations.step import RULES, BodyStep, NoRuleError, rule


def both(step: BodyStep, values: str, places: str, layout: AxisLayout) -> Operand:
    """A pair of tensors, each with its own text."""
    first, second = step.value
    step.gives("", layout)
    items = (Operand(first, values, layout), Operand(second, places, layout))
    return Operand(step.value, f"({values}, {places})", items=items)


@rule("max", "min")
def extreme(step: BodyStep) -> Operand:
    """Over all elements, between two tensors, or along an axis with the places."""
    second = step.argument(1, "other", "dim")
    if second is None:
        return step.gives(f"ops.{step.name}({step.tensor.text})", AxisLayout(()))
    if second.is_tensor:
        return RULES["maximum" if step.name == "max" else "minimum"](step)
    tensor, keep = step.tensor, step.argument(2, "keepdim")
    layout = tensor.layout or AxisLayout(tensor.order)
    kept = keep is not None and bool(keep.value)
    given = (
        f"{step.named_text(tensor.text)}, axis={step.axis(tensor, second)}{', keepdims=True' if kept else ''}"
    )
    order = tensor.order if kept else without(tensor.order, [second.value])
    return both(step, f"ops.{step.name}({given})", f"ops.arg{step.name}({given})", layout.into(order))


@rule("argmax", "argmin", "argsort")
def place_of_extreme(step: BodyStep) -> Operand:
    """Places along an axis."""
    tensor, dim = step.tensor, step.argument(1, "dim")
    layout = tensor.layout or AxisLayout(tensor.order)
    axis = step.axis(tensor, dim, -1)
    if step.name == "argsort":
        if step.constant(2, "descending", default=False):
            raise NoRuleError("argsort from the greatest down")
        return step.gives(f"ops.argsort({tensor.text}, axis={axis})", layout)
    if dim is None or dim.value is None:
        raise NoRuleError(f"{step.name} over all elements")
    keep = step.argument(2, "keepdim")
    kept = keep is not None and bool(keep.value)
    order = tensor.order if kept else without(tensor.order, [dim.value])
    text = f"ops.{step.name}({tensor.text}, axis={axis}{', keepdims=True' if kept else ''})"
    return step.gives(text, layout.into(order))


@rule("sort")
def sort(step: BodyStep) -> Operand:
    """An axis in order, with the places that its values had."""
    tensor, dim = step.tensor, step.argument(1, "dim")
    if step.constant(2, "descending", default=False):
        raise NoRuleError("sort from the greatest down")
    given = f"{step.named_text(tensor.text)}, axis={step.axis(tensor, dim, -1)}"
    layout = tensor.layout or AxisLayout(tensor.order)
    return both(step, f"ops.sort({given})", f"ops.argsort({given})", layout)


@rule("topk")
def topk(step: BodyStep) -> Operand:
    """The greatest values and their places; Keras takes them along the last axis."""
    tensor, dim = step.tensor, step.constant(2, "dim", default=-1)
    if step.constant(3, "largest", default=True) is not True:
        raise NoRuleError("topk of the least values")
    rank = len(tensor.order)
    text, layout = tensor.text, tensor.layout or AxisLayout(tensor.order)
    if slot(tensor.order, dim) != rank - 1:
        last = dim % rank
        wanted = (*(axis for axis in range(rank) if axis != last), last)
        text, layout = step.into(tensor, wanted), AxisLayout(wanted)
    return step.gives(f"ops.top_k({text}, {step.text(1, 'k')})", layout)
