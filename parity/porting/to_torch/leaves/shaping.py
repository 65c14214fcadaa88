"""Layers that give the same numbers in another shape, and the reshape that they share with keras.ops."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

from parity.porting.to_torch.axes import TorchAxes, images, plain
from parity.porting.to_torch.use import StepUse

AxisRun = tuple[tuple[int, ...], tuple[int, ...]]


def groups(before: Sequence[int], after: Sequence[int]) -> list[AxisRun]:
    """The smallest groups of axes whose products are equal: which axes of the one become which of the other."""
    found: list[AxisRun] = []
    i = j = 0
    while i < len(before) or j < len(after):
        left, right = [i] if i < len(before) else [], [j] if j < len(after) else []
        i, j = i + len(left), j + len(right)
        while prod(before[k] for k in left) != prod(after[k] for k in right):
            if (
                prod(before[k] for k in left) < prod(after[k] for k in right) and i < len(before)
            ) or j >= len(after):
                left.append(i)
                i += 1
            else:
                right.append(j)
                j += 1
        found.append((tuple(left), tuple(right)))
    return found


def reshaped(use: StepUse, tensor: Any, sizes: Sequence[Any]) -> None:
    """Give a tensor in another shape; `sizes` are the new ones, whole numbers that may be formulas."""
    before, after = tuple(map(int, tensor.shape)), tuple(map(int, sizes))
    axes = use.axes(tensor)
    if before == after:
        return use.give(use.take(tensor), axes, alias=True)
    if _image(use, tensor, before, after) or _merged(use, tensor, before, after):
        return None
    if len(before) == 1 and len(after) == 4 and all(size == 1 for size in after[:-1]):
        return use.give(f"{use.take(tensor, atom=True)}[None, :, None, None]", images(4))
    found = groups(before, after)
    if not _follows(axes, found):
        axes = plain(len(before))
    in_torch = sorted(found, key=lambda group: axes.order.index(group[0][0]) if group[0] else len(axes.order))
    order = tuple(axis for _, right in in_torch for axis in right)
    text = _text(use, tensor, axes, in_torch, sizes)
    return use.give(text, TorchAxes(order))


def _follows(axes: TorchAxes, found: list[AxisRun]) -> bool:
    """Whether each group stands in torch as it does in Keras, one axis behind the other."""
    if axes.flat or any(not left for left, _ in found):
        return axes.same
    places = [[axes.order.index(axis) for axis in left] for left, _ in found]
    return all(at == list(range(at[0], at[0] + len(at))) for at in places)


def _text(use: StepUse, tensor: Any, axes: TorchAxes, in_torch: list[AxisRun], sizes: Sequence[Any]) -> str:
    """flatten or unflatten where one group changes, reshape where several do."""
    changed = [(left, right) for left, right in in_torch if (len(left), len(right)) != (1, 1)]
    text = use.take(tensor, axes, atom=True)
    if len(changed) == 1 and changed[0][0]:
        left, right = changed[0]
        at = axes.order.index(left[0])
        if len(right) == 1:
            last = at + len(left) - 1
            end = "" if last == axes.rank - 1 else f", {last}"
            return f"{text}.flatten({at}{end})"
        if len(left) == 1:
            if all(int(sizes[axis]) == 1 for axis in right[1:]) and at == axes.rank - 1:
                return f"{text}[{'..., ' if at != 1 else ':, :, '}{', '.join(['None'] * (len(right) - 1))}]"
            inner = ", ".join(use.size(sizes[axis]) for axis in right)
            return f"{text}.unflatten({at}, ({inner}))"
    shape = [(axis, sizes[axis]) for _, right in in_torch for axis in right]
    texts = [use.size(size) for _, size in shape]
    if shape and shape[0][0] == 0 and int(shape[0][1]) == int(tensor.shape[0]):
        texts[0] = (
            "-1" if not any(getattr(size, "pair", None) for _, size in shape[1:]) else f"{text}.shape[0]"
        )
    return f"{text}.reshape({', '.join(texts)})"


def _image(use: StepUse, tensor: Any, before: tuple[int, ...], after: tuple[int, ...]) -> bool:
    """Vectors that become images: features of a dense layer are counted in torch's order where that is all the same."""
    if len(before) != 2 or len(after) < 4 or before[0] != after[0]:
        return False
    axes, target = use.axes(tensor), images(len(after))
    single = all(n == 1 for n in after[1:-1])
    if axes.flat != after[1:] and not single and id(tensor) not in use.body.vectors:
        return False
    text = use.take(tensor, axes if axes.flat == after[1:] else plain(2), atom=True)
    if single:
        use.give(f"{text}[:, :, {', '.join(['None'] * (len(after) - 2))}]", target)
    else:
        use.give(f"{text}.unflatten(1, {target.shape(after)[1:]})", target)
    return True


def _merged(use: StepUse, tensor: Any, before: tuple[int, ...], after: tuple[int, ...]) -> bool:
    """Images that become vectors: flattened as they lie."""
    axes = use.axes(tensor)
    if len(after) != 2 or before[0] != after[0] or not axes.images or len(before) < 3:
        return False
    trivial = before[-1] == 1 or all(n == 1 for n in before[1:-1])
    use.give(f"{use.take(tensor, atom=True)}.flatten(1)", TorchAxes((0, 1), () if trivial else before[1:]))
    return True


def flatten(use: StepUse) -> None:
    """Flatten."""
    sizes = tuple(map(int, use.x.shape))
    if len(sizes) == 2:
        return use.give(use.take(use.x), use.axes(use.x), alias=True)
    return reshaped(use, use.x, (sizes[0], prod(sizes[1:])))


def reshape(use: StepUse) -> None:
    """Reshape: all axes but the batch."""
    reshaped(use, use.x, tuple(use.step.outputs.shape))


def permute(use: StepUse) -> None:
    """Permute."""
    transposed(use, use.x, (0, *use.layer.dims))


def transposed(use: StepUse, tensor: Any, dims: Sequence[int]) -> None:
    """Axes in another order; it vanishes where torch has them so anyway."""
    axes = use.axes(tensor)
    if axes.flat:
        axes = plain(axes.rank)
    order = tuple(list(dims).index(axis) for axis in axes.order)
    after, rank = TorchAxes(order), axes.rank
    if after in (plain(rank), images(rank)) and not axes.same:
        return use.give(use.take(tensor, axes), after, alias=True)
    moved = tuple(axes.order.index(axis) for axis in dims)
    swapped = [axis for axis in range(rank) if moved[axis] != axis]
    text = use.take(tensor, axes, atom=True)
    if len(swapped) == 2:
        return use.give(f"{text}.transpose({swapped[0]}, {swapped[1]})", plain(rank))
    return use.give(f"{text}.permute({', '.join(map(str, moved))})", plain(rank))


def repeat_vector(use: StepUse) -> None:
    """RepeatVector."""
    count = use.constant("n", int(use.layer.n))
    use.give(f"{use.plainly(use.x, atom=True)}[:, None].expand(-1, {count}, -1)", plain(3))


RULES = {"Flatten": flatten, "Reshape": reshape, "Permute": permute, "RepeatVector": repeat_vector}
