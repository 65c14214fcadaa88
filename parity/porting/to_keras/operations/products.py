"""Products of matrices, attention, and layers as functions that end in one."""

from __future__ import annotations

from parity.porting.to_keras.layout.axes import HeldOrder, identity
from parity.porting.to_keras.layout.operands import AxisLayout, Operand, RewriteError, atom
from parity.porting.to_keras.operations.step import BodyStep, NoRuleError, rule


def _swapped(rank: int) -> HeldOrder:
    return (*range(rank - 2), rank - 1, rank - 2)


@rule("matmul", "bmm", "mm", "mv", "dot")
def matmul(step: BodyStep) -> Operand:
    """A product over the last axis of one and the last but one of the next."""
    left, right = step.operands[0], step.operands[1] if len(step.operands) > 1 else step.named["other"]
    ranks = len(left.value.shape), len(right.value.shape)
    debts = step.debts(left, right)
    if (
        min(ranks) >= 2
        and left.order == _swapped(ranks[0])
        and right.order == _swapped(ranks[1])
        and ranks[0] == ranks[1]
    ):
        text = f"ops.matmul({right.text}, {left.text})"
        return step.gives(text, AxisLayout(_swapped(ranks[0]), debts))
    a, b = _rows(step, left), step.as_torch(right)
    order = (
        left.order if left.order[-1] == ranks[0] - 1 and ranks[1] == 2 else identity(len(step.value.shape))
    )
    return step.gives(
        f"ops.matmul({a}, {b})", AxisLayout(order, debts if order != identity(len(order)) else ())
    )


def _rows(step: BodyStep, left: Operand) -> str:
    """A left operand, whose other axes may lie in any order where the right one is a single matrix."""
    right = step.operands[1] if len(step.operands) > 1 else step.named["other"]
    if len(right.value.shape) == 2 and left.order[-1] == len(left.order) - 1:
        return left.text
    return step.as_torch(left)


@rule("einsum")
def einsum(step: BodyStep) -> Operand:
    """The letters follow the axes: nothing is transposed."""
    formula = step.operands[0]
    if not isinstance(formula.value, str) or "..." in formula.value or "->" not in formula.value:
        raise NoRuleError("einsum with a formula that is not written out")
    operands = list(step.operands[1:])
    if len(operands) == 1 and operands[0].items is not None:
        operands = list(operands[0].items)
    inputs, output = formula.value.replace(" ", "").split("->")
    names = inputs.split(",")
    turned = [
        "".join(name[axis] for axis in operand.order) for name, operand in zip(names, operands, strict=True)
    ]
    same = turned == names
    text = formula.text if same else f'"{",".join(turned)}->{output}"'
    return step.gives(
        f"ops.einsum({text}, {', '.join(operand.text for operand in operands)})",
        AxisLayout(identity(len(output))),
    )


@rule("baddbmm", "addmm")
def added_product(step: BodyStep) -> Operand:
    """x + a @ b."""
    if step.named:
        raise NoRuleError(f"{step.name} with factors")
    x, a, b = (step.as_torch(operand) for operand in step.operands[:3])
    return step.gives(f"{x} + ops.matmul({a}, {b})", AxisLayout(identity(len(step.value.shape))))


@rule("linear")
def linear(step: BodyStep) -> Operand:
    """A dense layer as a function; the weight has torch's shape."""
    tensor, weight, bias = step.tensor, step.argument(1, "weight"), step.argument(2, "bias")
    if weight is None:
        raise NoRuleError("linear without a weight")
    order = last_axis_last(step, tensor)
    kernel = weight.text if weight.order == (1, 0) else f"ops.transpose({weight.text})"
    text = f"ops.matmul({step.into(tensor, order)}, {kernel})"
    if bias is not None and bias.value is not None:
        text += f" + {atom(bias.text)}"
    return step.gives(text, AxisLayout(order, step.debts(tensor)))


def last_axis_last(step: BodyStep, tensor: Operand) -> HeldOrder:
    """The tensor's own order where it ends with torch's last axis, else torch's order."""
    order = tensor.order
    return order if order[-1] == len(order) - 1 else identity(len(order))


@rule("embedding")
def embedding(step: BodyStep) -> Operand:
    """Rows of a table by indices."""
    index, table = step.operands[0], step.argument(1, "weight")
    if table is None:
        raise NoRuleError("embedding without a table")
    return step.gives(
        f"ops.take({table.text}, {index.text}, axis=0)", AxisLayout((*index.order, len(index.order)))
    )


@rule("scaled_dot_product_attention")
def attention(step: BodyStep) -> Operand:
    """Written out in a function that the port brings along."""
    if step.constant(5, "is_causal", default=False):
        step.helpers.add("causal_mask")
    if step.constant(7, "enable_gqa", default=False):
        raise NoRuleError("scaled_dot_product_attention with enable_gqa=True")
    step.helpers.add("scaled_dot_product_attention")
    texts = [step.as_torch(operand) for operand in step.operands[:3]]
    mask = step.argument(3, "attn_mask")
    if mask is not None and mask.value is not None:
        texts.append(f"mask={step.as_torch(mask)}")
    if step.constant(5, "is_causal", default=False):
        texts[:2] = [step.named_text(texts[0]), texts[1]]
        texts.append(f"mask=causal_mask({texts[0]}, {texts[1]})")
    rate, scale = step.argument(4, "dropout_p"), step.named.get("scale")
    if rate is not None and not (isinstance(rate.value, float | int) and rate.text in ("0.0", "0")):
        texts.append(f"dropout_p={rate.text}")
    if scale is not None and scale.value is not None:
        texts.append(f"scale={scale.text}")
    return step.gives(
        f"scaled_dot_product_attention({', '.join(texts)})", AxisLayout(identity(len(step.value.shape)))
    )


@rule("layer_norm")
def layer_norm(step: BodyStep) -> Operand:
    """Over the last axes."""
    tensor = step.tensor
    sizes = step.constant(1, "normalized_shape")
    count = 1 if isinstance(sizes, int) else len(sizes)
    order = tensor.order
    rank = len(order)
    if order[rank - count :] != tuple(range(rank - count, rank)):
        if tensor.layout is not None and tensor.layout.debts:
            raise RewriteError(tensor.layout.debts[-1])
        order = identity(rank)
    step.helpers.add("layer_norm")
    axes = "-1" if count == 1 else str(tuple(range(-count, 0)))
    weight, bias = step.text(2, "weight"), step.text(3, "bias")
    eps = step.text(4, "eps", default="1e-5")
    text = f"layer_norm({step.into(tensor, order)}, {weight}, {bias}, epsilon={eps}{'' if count == 1 else f', axis={axes}'})"
    return step.gives(text, AxisLayout(order, step.debts(tensor)))


@rule("rms_norm")
def rms_norm(step: BodyStep) -> Operand:
    """Over the last axis."""
    order = last_axis_last(step, step.tensor)
    step.helpers.add("rms_norm")
    text = (
        f"rms_norm({step.into(step.tensor, order)}, {step.text(2, 'weight')}, epsilon={step.text(3, 'eps')})"
    )
    return step.gives(text, AxisLayout(order, step.debts(step.tensor)))
