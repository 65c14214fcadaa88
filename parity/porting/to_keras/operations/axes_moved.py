"""Operations that reorder, merge, split, cut or join axes."""

from __future__ import annotations

from collections.abc import Sequence

from parity.porting.to_keras.layout.axes import (
    channels_last,
    exchanged,
    identity,
    permuted,
    place_of_new,
    slot,
    with_axis,
    without,
)
from parity.porting.to_keras.layout.operands import AxisLayout, Operand, RewriteError, numbers
from parity.porting.to_keras.layout.reshaping import reshaped
from parity.porting.to_keras.operations.step import BodyStep, NoRuleError, axis_text, rule


def permutation(step: BodyStep, tensor: Operand, dims: Sequence[int]) -> Operand:
    """A permute: left out at first; where something further on needs its order, it is written here.

    It is written so that the order of axes stays as it was; if that does not do, so that torch's order comes out.
    """
    order = tensor.order
    layout = tensor.layout or AxisLayout(order)
    if layout.mixed:
        raise NoRuleError("a permute of a flattened image whose features Keras holds in another order")
    after = permuted(order, dims)
    if step.tries == 0 or after == (order if step.tries == 1 else identity(len(order))):
        return step.gives(tensor.text, layout.into(after).owing(step.place))
    wanted = (
        order if step.tries == 1 else identity(len(order)) if step.tries == 2 else channels_last(len(order))
    )
    axes = [order.index(dims[axis] % len(order)) for axis in wanted]
    owing = AxisLayout(wanted).owing(step.place) if step.tries < 3 else AxisLayout(wanted)
    swapped = [k for k, axis in enumerate(axes) if k != axis]
    if len(swapped) == 2:
        pair = ", ".join(str(k - len(axes) if len(axes) - k <= 2 and k else k) for k in swapped)
        return step.gives(f"ops.swapaxes({tensor.text}, {pair})", owing)
    return step.gives(f"ops.transpose({tensor.text}, {numbers(axes)})", owing)


@rule("permute")
def permute(step: BodyStep) -> Operand:
    """All axes anew."""
    return permutation(step, step.tensor, [operand.value for operand in step.several(1, "dims")])


@rule("transpose", "swapaxes", "swapdims")
def transpose(step: BodyStep) -> Operand:
    """Two axes exchanged."""
    first, second = step.constant(1, "dim0", "axis0"), step.constant(2, "dim1", "axis1")
    return permutation(step, step.tensor, exchanged(len(step.tensor.value.shape), first, second))


@rule("t", "T", "mT", "adjoint", "numpy_T")
def turned(step: BodyStep) -> Operand:
    """The last two axes exchanged."""
    rank = len(step.tensor.value.shape)
    if rank < 2:
        return step.gives(step.tensor.text)
    return permutation(step, step.tensor, exchanged(rank, -2, -1))


@rule("movedim", "moveaxis")
def movedim(step: BodyStep) -> Operand:
    """Axes to other places."""
    rank = len(step.tensor.value.shape)
    source, target = step.constant(1, "source"), step.constant(2, "destination")
    sources = [axis % rank for axis in (source if isinstance(source, tuple | list) else [source])]
    targets = [axis % rank for axis in (target if isinstance(target, tuple | list) else [target])]
    rest = iter(axis for axis in range(rank) if axis not in sources)
    dims = [sources[targets.index(axis)] if axis in targets else next(rest) for axis in range(rank)]
    return permutation(step, step.tensor, dims)


def reshape_to(step: BodyStep, tensor: Operand, sizes: list[str]) -> Operand:
    """A reshape whose new sizes have texts, in torch's order."""
    before, after = tensor.value.shape, step.value.shape
    order, layout = tensor.order, tensor.layout or AxisLayout(tensor.order)
    fitting = None if layout.mixed else reshaped(order, before, after)
    text = tensor.text
    if fitting is None:
        if layout.debts:
            raise RewriteError(layout.debts[-1])
        text = step.into(tensor, identity(len(before)))
        fitting = reshaped(identity(len(before)), before, after)
        if fitting is None:
            raise NoRuleError("a reshape across groups of axes")
    ordered = [sizes[axis] for axis in fitting]
    dropped = [k for k, axis in enumerate(order) if before[axis] == 1]
    image_to_vector = (
        len(before) > 3 and len(after) == 2 and len(dropped) == len(before) - 2 and text == tensor.text
    )
    if image_to_vector and [before[axis] for axis in order if before[axis] != 1] == list(after):
        return step.gives(f"ops.squeeze({text}, {numbers(dropped)})", layout.into(fitting))
    return step.gives(f"ops.reshape({text}, {numbers(ordered)})", layout.into(fitting))


@rule("reshape", "view")
def reshape(step: BodyStep) -> Operand:
    """New sizes; a whole shape of another tensor as it is."""
    whole = step.argument(1, "shape", "size")
    if whole is not None and whole.shape_of is not None and whole.shape_of.order == step.tensor.order:
        return step.gives(f"ops.reshape({step.tensor.text}, {whole.text})")
    sizes = [operand.text for operand in step.several(1, "shape", "size")]
    if len(sizes) != len(step.value.shape):
        raise NoRuleError("a reshape to sizes that are not written one by one")
    return reshape_to(step, step.tensor, sizes)


@rule("reshape_as", "view_as")
def reshape_as(step: BodyStep) -> Operand:
    """The sizes of another tensor."""
    like = step.argument(1, "other")
    if like is None:
        raise NoRuleError(f"{step.name} without a tensor")
    if like.order != reshaped(step.tensor.order, step.tensor.value.shape, step.value.shape):
        sizes = [f"ops.shape({like.text})[{slot(like.order, axis)}]" for axis in range(len(step.value.shape))]
        return reshape_to(step, step.tensor, sizes)
    return step.gives(f"ops.reshape({step.tensor.text}, ops.shape({like.text}))", like.layout)


@rule("flatten", "ravel")
def flatten(step: BodyStep) -> Operand:
    """Several axes into one."""
    tensor = step.tensor
    rank = len(tensor.value.shape)
    first = step.constant(1, "start_dim", default=0) % rank
    last = step.constant(2, "end_dim", default=-1) % rank
    if first == last:
        return step.gives(tensor.text)
    order = tensor.order
    inner = [axis for axis in order if first <= axis <= last]
    places = [order.index(axis) for axis in inner]
    side_by_side = places == list(range(places[0], places[0] + len(places)))
    long = [axis for axis in inner if tensor.value.shape[axis] != 1]
    turned_image = (
        side_by_side and long != sorted(long) and step.tries == 0 and first == 1 and last == rank - 1
    )
    if turned_image:
        text = step.named_text(tensor.text)
        size = " * ".join(f"{text}.shape[{place}]" for place in places)
        layout = (tensor.layout or AxisLayout(order)).owing(step.place)
        return step.gives(f"ops.reshape({text}, (-1, {size}))", AxisLayout((0, 1), layout.debts, (1,)))
    fits = reshaped(order, tensor.value.shape, step.value.shape) is not None
    text = step.named_text(tensor.text if fits else step.as_torch(tensor))
    named = Operand(tensor.value, text, tensor.layout if fits else AxisLayout(identity(rank)))
    sizes = [f"ops.shape({text})[{named.order.index(axis)}]" for axis in range(rank)]
    if first == 1 and tensor.value.shape[0] != 1 and last == rank - 1:
        known = [f"{text}.shape[{named.order.index(axis)}]" for axis in range(first, rank)]
        return reshape_to(step, named, ["-1", " * ".join(known)])
    return reshape_to(step, named, [*sizes[:first], "-1", *sizes[last + 1 :]])


@rule("unflatten")
def unflatten(step: BodyStep) -> Operand:
    """One axis into several."""
    tensor, rank = step.tensor, len(step.tensor.value.shape)
    tensor = Operand(tensor.value, step.named_text(tensor.text), tensor.layout)
    axis = step.constant(1, "dim") % rank
    sizes = [f"ops.shape({tensor.text})[{tensor.order.index(a)}]" for a in range(rank)]
    new = [operand.text for operand in step.several(2, "sizes", "unflattened_size")]
    return reshape_to(step, tensor, [*sizes[:axis], *new, *sizes[axis + 1 :]])


@rule("unsqueeze")
def unsqueeze(step: BodyStep) -> Operand:
    """A new axis."""
    tensor, axis = step.tensor, step.constant(1, "dim")
    layout = tensor.layout or AxisLayout(tensor.order)
    at = place_of_new(tensor.order, axis)
    order = with_axis(tensor.order, axis, at)
    text = step.text(1, "dim") if at == axis % len(order) else str(at)
    return step.gives(f"ops.expand_dims({tensor.text}, {text})", layout.into(order))


@rule("squeeze")
def squeeze(step: BodyStep) -> Operand:
    """Axes of size 1 taken away."""
    tensor = step.tensor
    rank = len(tensor.value.shape)
    given = step.argument(1, "dim")
    dims = [d.value % rank for d in step.several(1, "dim")] if given is not None else list(range(rank))
    gone = [axis for axis in dims if tensor.value.shape[axis] == 1]
    layout = tensor.layout or AxisLayout(tensor.order)
    if not gone:
        return step.gives(tensor.text)
    places = sorted(slot(tensor.order, axis) for axis in gone)
    text = axis_text(tensor.order, gone[0], given.text if given is not None and len(dims) == 1 else None)
    text = text if len(gone) == 1 else numbers(places)
    return step.gives(f"ops.squeeze({tensor.text}, {text})", layout.into(without(tensor.order, gone)))
