"""Operations that join, cut, repeat or shift along axes."""

from __future__ import annotations

import re

from parity.porting.to_keras.layout.axes import HeldOrder, place_of_new, slot, with_axis, without
from parity.porting.to_keras.layout.operands import AxisLayout, Operand, atom, numbers
from parity.porting.to_keras.operations.step import BodyStep, NoRuleError, rule


def _listed(step: BodyStep) -> tuple[Operand, list[Operand]]:
    found = step.argument(0, "tensors")
    if found is None or found.items is None:
        raise NoRuleError(f"{step.name} of a list whose tensors are not known")
    return found, list(found.items)


@rule("cat", "concat", "concatenate")
def cat(step: BodyStep) -> Operand:
    """Tensors joined along an axis."""
    whole, items = _listed(step)
    items_used = [item for item in items if item.value.shape != (0,)]
    main = next((i for i in items_used if i.layout is None or not i.layout.debts), items_used[0])
    turned = [step.into(item, main.order) for item in items_used]
    same = all(text == item.text for text, item in zip(turned, items_used, strict=True))
    if not same and whole.text.startswith(("[", "(")) and len(items) == len(items_used):
        text = f"[{', '.join(turned)}]"
    elif same:
        text = whole.text
    else:
        raise NoRuleError("cat of a list whose tensors have several orders of axes")
    axis = step.axis(main, step.argument(1, "dim", "axis"), 0)
    layout = AxisLayout(main.order, step.debts(*items_used))
    return step.gives(f"ops.concatenate({text}, axis={axis})", layout)


@rule("stack")
def stack(step: BodyStep) -> Operand:
    """Tensors joined along a new axis."""
    whole, items = _listed(step)
    order = items[0].order
    if any(step.into(item, order) != item.text for item in items):
        raise NoRuleError("stack of tensors in several orders of axes")
    axis = step.constant(1, "dim", "axis", default=0)
    at = place_of_new(order, axis)
    layout = AxisLayout(with_axis(order, axis, at), step.debts(*items))
    text = step.text(1, "dim", "axis", default="0") if at == axis % (len(order) + 1) else str(at)
    return step.gives(f"ops.stack({whole.text}, axis={text})", layout)


@rule("unbind")
def unbind(step: BodyStep) -> Operand:
    """One tensor for each index of an axis."""
    tensor, dim = step.tensor, step.argument(1, "dim")
    axis = 0 if dim is None else dim.value
    layout = tensor.layout or AxisLayout(tensor.order)
    text = f"ops.unstack({tensor.text}, axis={step.axis(tensor, dim, 0)})"
    return step.gives(text, layout.into(without(tensor.order, [axis])))


@rule("chunk", "split", "split_with_sizes", "tensor_split")
def split(step: BodyStep) -> Operand:
    """Parts of one axis."""
    tensor, dim = step.tensor, step.argument(2, "dim")
    axis = step.axis(tensor, dim, 0)
    total, sizes = tensor.value.shape[0 if dim is None else dim.value], []
    for part in step.value:
        sizes.append(part.shape[0 if dim is None else dim.value])
    given = step.argument(
        1, "chunks", "split_size_or_sections", "split_size", "indices_or_sections", "sections"
    )
    if given is not None and isinstance(given.value, list | tuple) and given.items is None:
        step.helpers.add("split_sizes")
        return step.gives(f"split_sizes({tensor.text}, {given.text}, axis={axis})")
    if len(set(sizes)) == 1:
        if step.name in ("chunk", "tensor_split") and given is not None and isinstance(given.value, int):
            count = given.text
        elif given is not None and isinstance(given.value, int) and not given.text.isdigit():
            count = f"{step.named_text(tensor.text)}.shape[{axis}] // {atom(given.text)}"
            tensor = Operand(tensor.value, step.named_text(tensor.text), tensor.layout)
        else:
            count = str(total // sizes[0])
        return step.gives(f"ops.split({tensor.text}, {count}, axis={axis})")
    bounds = [sum(sizes[: k + 1]) for k in range(len(sizes) - 1)]
    if given is not None and given.items is not None:
        texts = [atom(item.text) for item in given.items]
        bounds = [" + ".join(texts[: k + 1]) for k in range(len(texts) - 1)]  # type: ignore[misc]
    return step.gives(f"ops.split({tensor.text}, [{', '.join(map(str, bounds))}], axis={axis})")


@rule("roll")
def roll(step: BodyStep) -> Operand:
    """Axes shifted in a circle."""
    dims = step.argument(2, "dims")
    return step.gives(f"ops.roll({step.tensor.text}, {step.text(1, 'shifts')}, axis={_kept(step, dims)})")


@rule("flip")
def flip(step: BodyStep) -> Operand:
    """Axes the other way round."""
    dims = [operand.value for operand in step.several(1, "dims")]
    places = sorted(slot(step.tensor.order, dim) for dim in dims)
    return step.gives(
        f"ops.flip({step.tensor.text}, axis={numbers(places) if len(places) > 1 else places[0]})"
    )


def _kept(step: BodyStep, dims: Operand | None) -> str:
    """Axes in the given order, since shifts go with them."""
    if dims is None:
        raise NoRuleError(f"{step.name} of all elements in a row")
    order = step.tensor.order
    values = [dims.value] if isinstance(dims.value, int) else list(dims.value)
    places = [slot(order, value) for value in values]
    if places == values:
        return dims.text
    return str(places[0]) if isinstance(dims.value, int) else numbers(places)


_ITEM = re.compile(r"\[(\d+):-1\]\[(\d+)\]")
"""One item of a range: shape[1:-1][0] is shape[1]."""


@rule("expand", "expand_as", "broadcast_to")
def expand(step: BodyStep) -> Operand:
    """Axes of size 1 made longer; new axes in front."""
    tensor, after = step.tensor, step.value.shape
    own = tensor.value.shape
    new = len(after) - len(own)
    order: HeldOrder = (*range(new), *(axis + new for axis in tensor.order))
    if step.name == "expand_as":
        like = step.argument(1, "other")
        if like is None:
            raise NoRuleError("expand_as without a tensor")
        text = step.into(tensor, like.order) if not new else tensor.text
        if new and like.order != order:
            raise NoRuleError("expand_as between two orders of axes")
        return step.gives(f"ops.broadcast_to({text}, ops.shape({like.text}))", like.layout)
    sizes = [operand.text for operand in step.several(1, "size", "shape")]
    if len(sizes) != len(after):
        raise NoRuleError("expand to sizes that are not written one by one")
    layout = (tensor.layout or AxisLayout(tensor.order)).into(order)
    texts = []
    keeps = any(size.replace(" ", "") == "-1" for size in sizes)
    held = step.named_text(tensor.text) if keeps else tensor.text
    for axis in order:
        size = _ITEM.sub(lambda found: f"[{int(found[1]) + int(found[2])}]", sizes[axis])
        if size.replace(" ", "") == "-1":
            place = tensor.order.index(axis - new)
            size = f"ops.shape({held})[{place}]"
        texts.append(size)
    return step.gives(f"ops.broadcast_to({held}, {numbers(texts)})", layout)


@rule("repeat_interleave")
def repeat_interleave(step: BodyStep) -> Operand:
    """Each entry of an axis several times."""
    count, dim = step.argument(1, "repeats"), step.argument(2, "dim")
    if count is None or dim is None or dim.value is None or not isinstance(count.value, int):
        raise NoRuleError("repeat_interleave without an axis, or with a number for each entry")
    return step.gives(f"ops.repeat({step.tensor.text}, {count.text}, axis={step.axis(step.tensor, dim)})")


@rule("repeat", "tile")
def repeat(step: BodyStep) -> Operand:
    """Copies along axes."""
    tensor, after = step.tensor, step.value.shape
    new = len(after) - len(tensor.value.shape)
    order: HeldOrder = (*range(new), *(axis + new for axis in tensor.order))
    counts = [operand.text for operand in step.several(1, "repeats", "dims")]
    layout = (tensor.layout or AxisLayout(tensor.order)).into(order)
    return step.gives(f"ops.tile({tensor.text}, {numbers([counts[axis] for axis in order])})", layout)
