"""Operations that move, cut and join: nothing is computed."""

from __future__ import annotations

from typing import Any

import numpy as np

from parity.porting.to_torch.axes import TorchAxes, images, plain
from parity.porting.to_torch.leaves.merging import concatenate
from parity.porting.to_torch.leaves.shaping import reshaped, transposed
from parity.porting.to_torch.sized import Varying
from parity.porting.to_torch.use import RefusedError, StepUse, flat, literal
from parity.porting.to_torch.values import is_tensor


def reshape(use: StepUse) -> None:
    """reshape, ravel and view."""
    reshaped(use, use.x, use.sizes(use.step.outputs))


def transpose(use: StepUse) -> None:
    """transpose."""
    rank = len(use.x.shape)
    transposed(use, use.x, [axis % rank for axis in use.get("axes") or range(rank)[::-1]])


def swapped(use: StepUse) -> None:
    """swapaxes."""
    rank = len(use.x.shape)
    dims = list(range(rank))
    one, two = use.get("axis1") % rank, use.get("axis2") % rank
    dims[one], dims[two] = two, one
    transposed(use, use.x, dims)


def moved(use: StepUse) -> None:
    """moveaxis."""
    rank = len(use.x.shape)
    source = [axis % rank for axis in flat([use.get("source")])]
    target = [axis % rank for axis in flat([use.get("destination")])]
    dims: list[Any] = [None] * rank
    for one, two in zip(source, target, strict=True):
        dims[two] = one
    rest = iter(axis for axis in range(rank) if axis not in source)
    transposed(use, use.x, [next(rest) if axis is None else axis for axis in dims])


def expanded(use: StepUse) -> None:
    """expand_dims."""
    rank = len(use.x.shape)
    added = sorted(axis % (rank + len(flat([use.get("axis")]))) for axis in flat([use.get("axis")]))
    text = use.plainly(use.x, atom=True)
    for axis in added:
        text = f"{text}.unsqueeze({axis})"
    use.give(text, plain(rank + len(added)))


def squeezed(use: StepUse) -> None:
    """squeeze."""
    axes, rank = use.axes(use.x), len(use.x.shape)
    asked = use.get("axis")
    gone = (
        [n for n in range(rank) if use.x.shape[n] == 1]
        if asked is None
        else [n % rank for n in flat([asked])]
    )
    text = use.take(use.x, atom=True)
    for axis in sorted((axes.torch(n) for n in gone), reverse=True):
        text = f"{text}.squeeze({axis})"
    kept = [axis for axis in axes.order if axis not in gone]
    use.give(text, TorchAxes(tuple(sorted(kept).index(axis) for axis in kept)))


def split(use: StepUse) -> None:
    """split, into equal parts or at places."""
    axes = use.axes(use.x) if not use.axes(use.x).flat else plain(len(use.x.shape))
    axis = use.get("axis", 0) % axes.rank
    sections = use.get("indices_or_sections")
    outputs = use.step.outputs
    text = use.take(use.x, axes, atom=True)
    use.piece.unpacked = True
    if isinstance(sections, int):
        return use.give(f"{text}.chunk({sections}, dim={axes.torch(axis)})", *[axes] * len(outputs))
    sizes = ", ".join(str(int(part.shape[axis])) for part in outputs)
    return use.give(f"{text}.split(({sizes}), dim={axes.torch(axis)})", *[axes] * len(outputs))


def stacked(use: StepUse) -> None:
    """stack."""
    rank = len(use.x.shape)
    axis = use.get("axis", 0) % (rank + 1)
    use.give(f"torch.stack(({', '.join(map(use.plainly, use.tensors))}), dim={axis})", plain(rank + 1))


def unstacked(use: StepUse) -> None:
    """unstack."""
    rank, axis = len(use.x.shape), use.get("axis", 0)
    use.piece.unpacked = True
    use.give(f"{use.plainly(use.x, atom=True)}.unbind({axis})", *[plain(rank - 1)] * len(use.step.outputs))


def item(use: StepUse) -> None:
    """Indices, slices and new axes."""
    key = use.args[1] if len(use.args) > 1 else use.kwargs["key"]
    keys = list(key) if isinstance(key, tuple) else [key]
    if any(is_tensor(value) or hasattr(value, "shape") for value in keys):
        raise RefusedError("an index that is a tensor")
    rank = len(use.x.shape)
    counted = sum(value is not None and value is not Ellipsis for value in keys)
    if Ellipsis in [value for value in keys if value is None or value is Ellipsis]:
        at = next(n for n, value in enumerate(keys) if value is Ellipsis)
        keys[at : at + 1] = [slice(None)] * (rank - counted)
    keys += [slice(None)] * (rank - sum(value is not None for value in keys))
    simple = all(isinstance(value, slice) for value in keys)
    axes = use.axes(use.x) if simple and not use.axes(use.x).flat else plain(rank)
    if any(isinstance(value, slice) and (value.step or 1) < 0 for value in keys):
        raise RefusedError("a slice that runs backwards")
    ordered = [keys[axis] for axis in axes.order] if simple else keys
    while len(ordered) > 1 and ordered[-1] == slice(None):
        ordered.pop()
    texts = [_index(use, value) for value in ordered]
    text = use.take(use.x, axes, atom=True)
    use.give(f"{text}[{', '.join(texts)}]", axes if simple else plain(len(use.step.outputs.shape)))


def _index(use: StepUse, value: Any) -> str:
    if isinstance(value, slice):
        start, stop = ("" if end is None else use.size(end) for end in (value.start, value.stop))
        return f"{start}:{stop}" + ("" if value.step in (None, 1) else f":{use.size(value.step)}")
    return "None" if value is None else use.size(value)


def padded(use: StepUse) -> None:
    """pad."""
    axes = use.axes(use.x)
    if axes.flat:
        axes = plain(axes.rank)
    width = [tuple(pair) for pair in use.get("pad_width")]
    width = width * axes.rank if len(width) == 1 else width
    pads: list[int] = []
    first = min((axes.torch(n) for n, pair in enumerate(width) if any(pair)), default=axes.rank)
    for axis in range(axes.rank - 1, first - 1, -1):
        pads += width[axes.order[axis]]
    modes = {"constant": "", "reflect": ', mode="reflect"', "edge": ', mode="replicate"'}
    mode = use.get("mode", "constant")
    if mode not in modes:
        raise RefusedError(f"padding in the mode {mode}")
    value = use.kwargs.get("constant_values") or 0
    more = modes[mode] + (f", value={literal(value)}" if value else "")
    use.give(f"F.pad({use.take(use.x, axes)}, ({', '.join(str(int(n)) for n in pads)}){more})", axes)


def repeated(use: StepUse) -> None:
    """repeat: each element several times."""
    axes, axis = use.axes(use.x), use.get("axis")
    if axis is None or not isinstance(use.get("repeats"), int):
        raise RefusedError("a repeat without an axis, or with several counts")
    text = use.take(use.x, atom=True)
    use.give(f"{text}.repeat_interleave({use.get('repeats')}, dim={axes.torch(axis)})", axes)


def tiled(use: StepUse) -> None:
    """tile."""
    rank, out = len(use.x.shape), len(use.step.outputs.shape)
    repeats = [*flat([use.get("repeats")])]
    repeats = [1] * (out - len(repeats)) + repeats
    text = use.plainly(use.x, atom=True)
    del rank
    use.give(f"{text}.repeat({', '.join(use.size(n) for n in repeats)})", plain(out))


def broadcast(use: StepUse) -> None:
    """broadcast_to."""
    out = use.step.outputs.shape
    sizes = ", ".join(map(use.size, use.sizes(use.step.outputs)))
    use.give(f"{use.plainly(use.x, atom=True)}.expand({sizes})", plain(len(out)))


def rolled(use: StepUse) -> None:
    """roll."""
    axes = use.axes(use.x)
    if use.get("axis") is None:
        raise RefusedError("a roll without an axis")
    dims = tuple(axes.torch(axis) for axis in flat([use.get("axis")]))
    shifts = use.get("shift")
    shift = tuple(int(n) for n in shifts) if isinstance(shifts, list | tuple) else int(shifts)
    dim = dims if isinstance(shift, tuple) else dims[0]
    use.give(f"{use.take(use.x, atom=True)}.roll({shift}, {dim})", axes)


def flipped(use: StepUse) -> None:
    """flip."""
    axes, axis = use.axes(use.x), use.get("axis")
    dims = range(axes.rank) if axis is None else [axes.torch(n) for n in flat([axis])]
    use.give(f"{use.take(use.x, atom=True)}.flip({', '.join(map(str, dims))})", axes)


def taken(use: StepUse) -> None:
    """take: parts along an axis by their numbers."""
    axis = use.get("axis")
    values = [*use.args, *use.kwargs.values()]
    table, index = values[0], values[1]
    if not is_tensor(table) or (axis is None and len(table.shape) > 1):
        raise RefusedError("take from all axes at once, or from a table that is no tensor")
    rank = len(table.shape)
    axis = (axis or 0) % rank
    if not is_tensor(index):
        index = _numbers(index)
    one = (is_tensor(index) and len(index.shape) == 1) or isinstance(index, list)
    axes = use.axes(table) if one and not use.axes(table).flat else plain(rank)
    front = ":, " * axes.torch(axis)
    chosen = use.plainly(index) if is_tensor(index) else literal(index)
    after = axes if one else plain(len(use.step.outputs.shape))
    use.give(f"{use.take(table, axes, atom=True)}[{front}{chosen}]", after)


def _numbers(index: Any) -> Any:
    """Numbers that the call has as they are: one, or a list of a few."""
    found = np.asarray(index)
    if isinstance(index, Varying) or found.ndim > 1 or found.size > 64:
        raise RefusedError(f"take by numbers of shape {found.shape} that the call computes by itself")
    return found.tolist()


def depth_to_space(use: StepUse) -> None:
    """depth_to_space: Keras counts the rows and columns of a block before the channels."""
    use.give(f"{use.helper('depth_to_space')}({use.as_images(use.x)}, {use.get('block_size')})", images(4))


def space_to_depth(use: StepUse) -> None:
    """space_to_depth: the mirror image of depth_to_space."""
    use.give(f"{use.helper('space_to_depth')}({use.as_images(use.x)}, {use.get('block_size')})", images(4))


def sliced(use: StepUse) -> None:
    """slice: a start and a size for each axis."""
    values = [*use.args, *use.kwargs.values()]
    starts, sizes = [*values[1]], use.sizes(use.step.outputs)
    texts = []
    for start, size, whole in zip(starts, sizes, use.sizes(use.x), strict=True):
        if not isinstance(start, int):
            raise RefusedError("a slice that begins at a tensor")
        full = start == 0 and int(size) == int(whole)
        end = use.size(size) if start == 0 else f"{start} + {use.size(size)}"
        texts.append(":" if full else f"{start or ''}:{end}")
    while len(texts) > 1 and texts[-1] == ":":
        texts.pop()
    use.give(f"{use.plainly(use.x, atom=True)}[{', '.join(texts)}]", plain(len(use.x.shape)))


def patches(use: StepUse) -> None:
    """extract_patches: the rows and columns of a patch are counted before the channels."""
    size = use.get("size")
    size = (size, size) if isinstance(size, int) else tuple(size)
    strides = use.get("strides") or size
    strides = (strides, strides) if isinstance(strides, int) else tuple(strides)
    dilation, first = use.get("dilation_rate", 1), use.get("data_format") == "channels_first"
    if len(size) != 2 or dilation not in (1, (1, 1), [1, 1]) or first:
        raise RefusedError("extract_patches with a dilation, of volumes, or channels first")
    text = use.as_images(use.x)
    if use.get("padding") == "same":
        text = f"{use.helper('pad_same')}({text}, {size}, {strides}, (1, 1))"
    more = f", {strides}" if strides != size else ""
    use.give(f"{use.helper('extract_patches')}({text}, {size}{more})", images(4))


RULES = {
    "Slice": sliced, "ExtractPatches": patches,
    "Reshape": reshape, "Ravel": reshape, "View": reshape, "Transpose": transpose, "Swapaxes": swapped,
    "Moveaxis": moved, "ExpandDims": expanded, "Squeeze": squeezed, "Split": split, "Stack": stacked,
    "Unstack": unstacked, "GetItem": item, "Pad": padded, "Repeat": repeated, "Tile": tiled, "BroadcastTo": broadcast,
    "Roll": rolled, "Flip": flipped, "Take": taken, "Concatenate": concatenate, "DepthToSpace": depth_to_space,
    "SpaceToDepth": space_to_depth,
}  # fmt: skip
