"""Operands that broadcast: all in the order of axes of the one that decides."""

from __future__ import annotations

from parity.porting.to_keras.layout.axes import HeldOrder, identity, tail
from parity.porting.to_keras.layout.operands import AxisLayout, Operand, RewriteError
from parity.porting.to_keras.operations.step import BodyStep


def together(step: BodyStep, operands: list[Operand]) -> tuple[list[str], AxisLayout | None]:
    """The texts of the operands in one order of axes, and the layout of what they give.

    The operand with the most axes decides; among several, one that owes nothing.
    """
    tensors = [operand for operand in operands if operand.is_tensor and operand.value.shape]
    if not tensors:
        return [operand.text for operand in operands], None
    rank = max(len(operand.value.shape) for operand in tensors)
    full = [operand for operand in tensors if len(operand.value.shape) == rank]
    full.sort(
        key=lambda operand: (_small(operand), operand.layout is not None and bool(operand.layout.debts))
    )
    main = full[0]
    mixed = main.layout.mixed if main.layout is not None else ()
    order = main.order
    texts = [_fitted(step, operand, order, mixed) for operand in operands]
    return texts, AxisLayout(order, step.debts(*tensors), mixed)


def _small(operand: Operand) -> bool:
    """Whether at most one axis is longer than 1: such a tensor is turned more easily than others."""
    return operand.value.held is not None or sum(size != 1 for size in operand.value.shape) < 2


def _fitted(step: BodyStep, operand: Operand, order: HeldOrder, mixed: tuple[int, ...]) -> str:
    if not operand.is_tensor or not operand.value.shape:
        return operand.text
    sizes = operand.value.shape
    rank, own = len(order), len(sizes)
    own_mixed = operand.layout.mixed if operand.layout is not None else ()
    if own_mixed != mixed and any(sizes[axis] != 1 for axis in (*own_mixed, *(a for a in mixed if a < own))):
        debts = step.debts(*[o for o in step.operands if o.is_tensor])
        if debts:
            raise RewriteError(debts[-1])
    wanted = tail(order, own)
    if operand.order == wanted and _aligned(order, own, sizes):
        return operand.text
    if own == rank:
        return step.into(operand, order)
    long = [axis + rank - own for axis in range(own) if sizes[axis] != 1]
    if len(long) <= 1:
        behind = order[order.index(long[0]) + 1 :] if long else ()
        if not behind:
            return operand.text if own == 1 or not long else f"ops.reshape({operand.text}, (-1,))"
        return f"ops.reshape({operand.text}, (-1, {', '.join('1' for _ in behind)}))"
    text = step.into(operand, identity(own) if operand.layout is None else wanted)
    if _aligned(order, own, sizes):
        return text
    shape = ", ".join(
        "1" if a < rank - own else f"ops.shape({operand.text})[{wanted.index(a - rank + own)}]" for a in order
    )
    return f"ops.reshape({text}, ({shape}))"


def _aligned(order: HeldOrder, own: int, sizes: tuple[int, ...]) -> bool:
    """Whether the last axes of Keras are those that the last axes of torch are, so that broadcasting finds them."""
    first = len(order) - own
    return all(axis >= first for axis in order[first:])
