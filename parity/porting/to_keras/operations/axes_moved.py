"""Operations that reorder, merge, split, cut or join axes."""

from __future__ import annotations

from collections.abc import Sequence

from parity.porting.to_keras.layout.axes import (
    Order,
    channels_last,
    exchanged,
    identity,
    permuted,
    place_of_new,
    slot,
    with_axis,
    without,
)
from parity.porting.to_keras.layout.operands import Layout, Operand, Rewrite, numbers
from parity.porting.to_keras.layout.reshaping import reshaped
from parity.porting.to_keras.operations.step import NoRule, Step, axis_text, rule


def permutation(step: Step, tensor: Operand, dims: Sequence[int]) -> Operand:
    """A permute: left out at first; where something further on needs its order, it is written here.

    It is written so that the order of axes stays as it was; if that does not do, so that torch's order comes out.
    """
    order = tensor.order
    layout = tensor.layout or Layout(order)
    if layout.mixed:
        raise NoRule("a permute of a flattened image whose features Keras holds in another order")
    after = permuted(order, dims)
    if step.tries == 0 or after == (order if step.tries == 1 else identity(len(order))):
        return step.gives(tensor.text, layout.into(after).owing(step.place))
    wanted = order if step.tries == 1 else identity(len(order)) if step.tries == 2 else channels_last(len(order))
    axes = [order.index(dims[axis] % len(order)) for axis in wanted]
    owing = Layout(wanted).owing(step.place) if step.tries < 3 else Layout(wanted)
    swapped = [k for k, axis in enumerate(axes) if k != axis]
    if len(swapped) == 2:
        pair = ", ".join(str(k - len(axes) if len(axes) - k <= 2 and k else k) for k in swapped)
        return step.gives(f"ops.swapaxes({tensor.text}, {pair})", owing)
    return step.gives(f"ops.transpose({tensor.text}, {numbers(axes)})", owing)


@rule("permute")
def permute(step: Step) -> Operand:
    """All axes anew."""
    return permutation(step, step.tensor, [operand.value for operand in step.several(1, "dims")])


@rule("transpose", "swapaxes", "swapdims")
def transpose(step: Step) -> Operand:
    """Two axes exchanged."""
    first, second = step.constant(1, "dim0", "axis0"), step.constant(2, "dim1", "axis1")
    return permutation(step, step.tensor, exchanged(len(step.tensor.value.shape), first, second))


@rule("t", "T", "mT", "adjoint", "numpy_T")
def turned(step: Step) -> Operand:
    """The last two axes exchanged."""
    rank = len(step.tensor.value.shape)
    if rank < 2:
        return step.gives(step.tensor.text)
    return permutation(step, step.tensor, exchanged(rank, -2, -1))


@rule("movedim", "moveaxis")
def movedim(step: Step) -> Operand:
    """Axes to other places."""
    rank = len(step.tensor.value.shape)
    source, target = step.constant(1, "source"), step.constant(2, "destination")
    sources = [axis % rank for axis in (source if isinstance(source, tuple | list) else [source])]
    targets = [axis % rank for axis in (target if isinstance(target, tuple | list) else [target])]
    rest = iter(axis for axis in range(rank) if axis not in sources)
    dims = [sources[targets.index(axis)] if axis in targets else next(rest) for axis in range(rank)]
    return permutation(step, step.tensor, dims)


def reshape_to(step: Step, tensor: Operand, sizes: list[str]) -> Operand:
    """A reshape whose new sizes have texts, in torch's order."""
    before, after = tensor.value.shape, step.value.shape
    order, layout = tensor.order, tensor.layout or Layout(tensor.order)
    fitting = None if layout.mixed else reshaped(order, before, after)
    text = tensor.text
    if fitting is None:
        if layout.debts:
            raise Rewrite(layout.debts[-1])
        text = step.into(tensor, identity(len(before)))
        fitting = reshaped(identity(len(before)), before, after)
        if fitting is None:
            raise NoRule("a reshape across groups of axes")
    ordered = [sizes[axis] for axis in fitting]
    dropped = [k for k, axis in enumerate(order) if before[axis] == 1]
    kept = [before[axis] for axis in order if before[axis] != 1]
    if text == tensor.text and dropped and len(after) < len(before) and kept == [after[axis] for axis in fitting]:
        if len(dropped) == len(before) - len(after):
            return step.gives(f"ops.squeeze({text}, {numbers(dropped)})", layout.into(fitting))
    return step.gives(f"ops.reshape({text}, {numbers(ordered)})", layout.into(fitting))


@rule("reshape", "view")
def reshape(step: Step) -> Operand:
    """New sizes; a whole shape of another tensor as it is."""
    whole = step.argument(1, "shape", "size")
    if whole is not None and whole.shape_of is not None and whole.shape_of.order == step.tensor.order:
        return step.gives(f"ops.reshape({step.tensor.text}, {whole.text})")
    sizes = [operand.text for operand in step.several(1, "shape", "size")]
    if len(sizes) != len(step.value.shape):
        raise NoRule("a reshape to sizes that are not written one by one")
    return reshape_to(step, step.tensor, sizes)


@rule("reshape_as", "view_as")
def reshape_as(step: Step) -> Operand:
    """The sizes of another tensor."""
    like = step.argument(1, "other")
    if like is None or like.order != reshaped(step.tensor.order, step.tensor.value.shape, step.value.shape):
        raise NoRule(f"{step.name} between two orders of axes")
    return step.gives(f"ops.reshape({step.tensor.text}, ops.shape({like.text}))", like.layout)


@rule("flatten", "ravel")
def flatten(step: Step) -> Operand:
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
    turned_image = side_by_side and long != sorted(long) and step.tries == 0 and first == 1 and last == rank - 1
    if turned_image:
        size = " * ".join(f"{tensor.text}.shape[{place}]" for place in places)
        layout = (tensor.layout or Layout(order)).owing(step.place)
        return step.gives(f"ops.reshape({tensor.text}, (-1, {size}))", Layout((0, 1), layout.debts, (1,)))
    sizes = [f"ops.shape({tensor.text})[{order.index(axis)}]" for axis in range(rank)]
    merged = "-1" if first else "-1"
    if first == 1 and tensor.value.shape[0] != 1 and last == rank - 1:
        known = [f"{tensor.text}.shape[{order.index(axis)}]" for axis in range(first, rank)]
        return reshape_to(step, tensor, ["-1", " * ".join(known)])
    return reshape_to(step, tensor, [*sizes[:first], merged, *sizes[last + 1 :]])


@rule("unflatten")
def unflatten(step: Step) -> Operand:
    """One axis into several."""
    tensor, rank = step.tensor, len(step.tensor.value.shape)
    axis = step.constant(1, "dim") % rank
    sizes = [f"ops.shape({tensor.text})[{tensor.order.index(a)}]" for a in range(rank)]
    new = [operand.text for operand in step.several(2, "sizes", "unflattened_size")]
    return reshape_to(step, tensor, [*sizes[:axis], *new, *sizes[axis + 1 :]])


@rule("unsqueeze")
def unsqueeze(step: Step) -> Operand:
    """A new axis."""
    tensor, axis = step.tensor, step.constant(1, "dim")
    layout = tensor.layout or Layout(tensor.order)
    at = place_of_new(tensor.order, axis)
    order = with_axis(tensor.order, axis, at)
    text = step.text(1, "dim") if at == axis % len(order) else str(at)
    return step.gives(f"ops.expand_dims({tensor.text}, {text})", layout.into(order))


@rule("squeeze")
def squeeze(step: Step) -> Operand:
    """Axes of size 1 taken away."""
    tensor = step.tensor
    rank = len(tensor.value.shape)
    given = step.argument(1, "dim")
    dims = [d.value % rank for d in step.several(1, "dim")] if given is not None else list(range(rank))
    gone = [axis for axis in dims if tensor.value.shape[axis] == 1]
    layout = tensor.layout or Layout(tensor.order)
    if not gone:
        return step.gives(tensor.text)
    places = sorted(slot(tensor.order, axis) for axis in gone)
    text = axis_text(tensor.order, gone[0], given.text if given is not None and len(dims) == 1 else None)
    text = text if len(gone) == 1 else numbers(places)
    return step.gives(f"ops.squeeze({tensor.text}, {text})", layout.into(without(tensor.order, gone)))


def _listed(step: Step) -> tuple[Operand, list[Operand]]:
    found = step.argument(0, "tensors")
    if found is None or found.items is None:
        raise NoRule(f"{step.name} of a list whose tensors are not known")
    return found, list(found.items)


@rule("cat", "concat", "concatenate")
def cat(step: Step) -> Operand:
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
        raise NoRule("cat of a list whose tensors have several orders of axes")
    axis = step.axis(main, step.argument(1, "dim", "axis"), 0)
    layout = Layout(main.order, step.debts(*items_used))
    return step.gives(f"ops.concatenate({text}, axis={axis})", layout)


@rule("stack")
def stack(step: Step) -> Operand:
    """Tensors joined along a new axis."""
    whole, items = _listed(step)
    order = items[0].order
    if any(step.into(item, order) != item.text for item in items):
        raise NoRule("stack of tensors in several orders of axes")
    axis = step.constant(1, "dim", "axis", default=0)
    at = place_of_new(order, axis)
    layout = Layout(with_axis(order, axis, at), step.debts(*items))
    text = step.text(1, "dim", "axis", default="0") if at == axis % (len(order) + 1) else str(at)
    return step.gives(f"ops.stack({whole.text}, axis={text})", layout)


@rule("unbind")
def unbind(step: Step) -> Operand:
    """One tensor for each index of an axis."""
    tensor, dim = step.tensor, step.argument(1, "dim")
    axis = 0 if dim is None else dim.value
    layout = tensor.layout or Layout(tensor.order)
    text = f"ops.unstack({tensor.text}, axis={step.axis(tensor, dim, 0)})"
    return step.gives(text, layout.into(without(tensor.order, [axis])))


@rule("chunk", "split", "split_with_sizes", "tensor_split")
def split(step: Step) -> Operand:
    """Parts of one axis."""
    tensor, dim = step.tensor, step.argument(2, "dim")
    axis = step.axis(tensor, dim, 0)
    total, sizes = tensor.value.shape[0 if dim is None else dim.value], []
    for part in step.value:
        sizes.append(part.shape[0 if dim is None else dim.value])
    given = step.argument(1, "chunks", "split_size_or_sections", "split_size", "indices_or_sections", "sections")
    if len(set(sizes)) == 1:
        if step.name == "chunk" and given is not None:
            count = given.text
        elif given is not None and isinstance(given.value, int) and step.name != "chunk" and not given.text.isdigit():
            place = slot(tensor.order, 0 if dim is None else dim.value)
            count = f"{tensor.text}.shape[{place - len(tensor.order) if place == len(tensor.order) - 1 else place}] // {given.text}"
        else:
            count = str(total // sizes[0])
        return step.gives(f"ops.split({tensor.text}, {count}, axis={axis})")
    if given is not None and isinstance(given.value, list | tuple) and given.items is None:
        step.helpers.add("split_sizes")
        return step.gives(f"split_sizes({tensor.text}, {given.text}, axis={axis})")
    bounds = [sum(sizes[: k + 1]) for k in range(len(sizes) - 1)]
    if given is not None and given.items is not None:
        texts = [item.text for item in given.items]
        bounds = [" + ".join(texts[: k + 1]) for k in range(len(texts) - 1)]  # type: ignore[misc]
    return step.gives(f"ops.split({tensor.text}, [{', '.join(map(str, bounds))}], axis={axis})")


@rule("roll")
def roll(step: Step) -> Operand:
    """Axes shifted in a circle."""
    dims = step.argument(2, "dims")
    return step.gives(f"ops.roll({step.tensor.text}, {step.text(1, 'shifts')}, axis={_kept(step, dims)})")


@rule("flip")
def flip(step: Step) -> Operand:
    """Axes the other way round."""
    dims = [operand.value for operand in step.several(1, "dims")]
    places = sorted(slot(step.tensor.order, dim) for dim in dims)
    return step.gives(f"ops.flip({step.tensor.text}, axis={numbers(places) if len(places) > 1 else places[0]})")


def _kept(step: Step, dims: Operand | None) -> str:
    """Axes in the given order, since shifts go with them."""
    if dims is None:
        raise NoRule(f"{step.name} of all elements in a row")
    order = step.tensor.order
    values = [dims.value] if isinstance(dims.value, int) else list(dims.value)
    places = [slot(order, value) for value in values]
    if places == values:
        return dims.text
    return str(places[0]) if isinstance(dims.value, int) else numbers(places)


@rule("expand", "expand_as", "broadcast_to")
def expand(step: Step) -> Operand:
    """Axes of size 1 made longer; new axes in front."""
    tensor, after = step.tensor, step.value.shape
    own = tensor.value.shape
    new = len(after) - len(own)
    order: Order = (*range(new), *(axis + new for axis in tensor.order))
    if step.name == "expand_as":
        like = step.argument(1, "other")
        if like is None:
            raise NoRule("expand_as without a tensor")
        text = step.into(tensor, like.order) if not new else tensor.text
        if new and like.order != order:
            raise NoRule("expand_as between two orders of axes")
        return step.gives(f"ops.broadcast_to({text}, ops.shape({like.text}))", like.layout)
    sizes = [operand.text for operand in step.several(1, "size", "shape")]
    if len(sizes) != len(after):
        raise NoRule("expand to sizes that are not written one by one")
    layout = (tensor.layout or Layout(tensor.order)).into(order)
    texts = []
    for axis in order:
        size = sizes[axis]
        if size.replace(" ", "") == "-1":
            place = tensor.order.index(axis - new)
            size = f"ops.shape({tensor.text})[{place}]"
        texts.append(size)
    return step.gives(f"ops.broadcast_to({tensor.text}, {numbers(texts)})", layout)


@rule("repeat", "tile")
def repeat(step: Step) -> Operand:
    """Copies along axes."""
    tensor, after = step.tensor, step.value.shape
    new = len(after) - len(tensor.value.shape)
    order: Order = (*range(new), *(axis + new for axis in tensor.order))
    counts = [operand.text for operand in step.several(1, "repeats", "dims")]
    layout = (tensor.layout or Layout(tensor.order)).into(order)
    return step.gives(f"ops.tile({tensor.text}, {numbers([counts[axis] for axis in order])})", layout)
