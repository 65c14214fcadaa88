"""Features that are several axes of an image, merged: in which order each side counts them in a layer's inputs.

Flattening a whole image is the commonest case, and known elsewhere. Here a part of it is kept: the columns of a picture
become a sequence, whose features are its rows and channels. Keras merges (H, C), torch (C, H).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod

from parity.core.trace import Node, Source, Trace
from parity.core.types import NORMALISATIONS, LayerInfo, TensorInfo
from parity.pairing.uses.axes import standard
from parity.pairing.uses.images import EACH, SPATIAL, Regrouped, weights_of
from parity.pairing.uses.views import permutation, reshaped, stored

IMAGES = SPATIAL - {"batchnorm", "groupnorm"}
"""Steps that give and take images as their framework lays them out."""
FAR = 8
"""Steps that are followed on."""
CHANNELS = -1
"""The role of the channels; those of the axes of space are 0, 1, ..."""


@dataclass(frozen=True)
class Merged:
    """What the features of a tensor are made of.

    Attributes:
        sizes: of the axes, the outermost first.
        roles: which axis of the image each is.
    """

    sizes: tuple[int, ...]
    roles: tuple[int, ...]


def merged_inputs(trace: Trace, layers: Mapping[str, LayerInfo]) -> dict[str, Merged]:
    """What the inputs of layers are made of, by the paths of the layers' tensors; others have none."""
    found: dict[str, Merged] = {}
    for node in trace.nodes:
        tensors = weights_of(trace, node, layers)
        data = [item for item in node.inputs if trace.nodes[item.node].sort not in {"parameter", "constant"}]
        made = _behind(trace, data[0], _features(trace, node)) if tensors and data else None
        if made is not None:
            found.update(dict.fromkeys(tensors, made))
    return found


def reordered(keras: Merged | None, torch: Merged | None) -> Regrouped | None:
    """How the features go from side to side; None where they stay as they are, or nothing says how."""
    if keras is None or torch is None or set(keras.roles) != set(torch.roles):
        return None
    order = tuple(keras.roles.index(role) for role in torch.roles)
    if tuple(keras.sizes[axis] for axis in order) != torch.sizes or order == tuple(range(len(order))):
        return None
    return Regrouped(keras.sizes, order, merged=True)


def input_axis(tensor: TensorInfo, family: str | None) -> int | None:
    """The axis of a torch tensor that counts its layer's inputs; None where none does alone."""
    if family in NORMALISATIONS:
        return 0 if len(tensor.shape) == 1 else None
    if tensor.name.startswith("weight_ih"):
        return 1
    use = tensor.uses[0] if tensor.uses else standard("torch", family, tensor)
    found = [i for i, parts in enumerate(use.axes) if parts and all(part.role == "in" for part in parts)]
    return found[0] if len(found) == 1 else None


def _features(trace: Trace, node: Node) -> int:
    """The axis on which a layer takes its features."""
    first = trace.side == "torch" or node.settings.get("data_format") == "channels_first"
    return (
        1 if node.kind in {"conv", "depthwise", "conv_transpose", "batchnorm", "groupnorm"} and first else -1
    )


def _behind(trace: Trace, source: Source, features: int) -> Merged | None:
    """What an axis of a tensor of rank three or more was merged from."""
    axis = features % len(_shape(trace, source) or (1,))
    while True:
        node = trace.nodes[source.node]
        shape = _shape(trace, source)
        if shape is None or len(shape) < 3 or not node.inputs:
            return None
        first = node.inputs[0]
        before = _shape(trace, first)
        if before is None:
            return None
        if node.kind == "reshape" and len(before) > len(shape) and prod(before) == prod(shape):
            view = reshaped(stored(before), shape)
            parts = view[axis] if view is not None else ()
            whole = all(part.step == 1 and part.size == before[part.axis] for part in parts)
            return (
                _of_image(trace, first, [part.axis for part in parts]) if whole and len(parts) > 1 else None
            )
        if node.kind == "transpose":
            order = _order(node, before)
            if order is None:
                return None
            axis = order[axis]
        elif node.kind not in EACH or before != shape:
            return None
        source = first


def image_axes(trace: Trace, node: Node, source: Source) -> tuple[int, ...] | None:
    """Which axis of an image each axis of a step's data is, the examples aside; None where no image is seen.

    It is followed back to the step that gave the image, else on to the one that takes it.

    Args:
        trace: of the pass.
        node: the step, which does the same at each place.
        source: its data.
    """
    shape = _shape(trace, source)
    if shape is None or len(shape) < 3:
        return None
    found = _of_image(trace, source, range(1, len(shape)))
    return found.roles if found is not None else _taken(trace, node, len(shape))


def _taken(trace: Trace, node: Node, rank: int) -> tuple[int, ...] | None:
    """Which axis of an image each axis of a step's result is, by the step that takes it as one."""
    users = trace.users()
    for _ in range(FAR):
        behind = [trace.nodes[number] for number in users[node.id]]
        if len(behind) != 1:
            return None
        node = behind[0]
        if node.kind in IMAGES:
            return _roles(trace, node, rank)[1:]
        if node.kind not in EACH or not node.shapes or len(node.shapes[0]) != rank:
            return None
    return None


def _roles(trace: Trace, node: Node, rank: int) -> tuple[int, ...]:
    """What each axis is of a tensor that a step takes or gives as an image; the examples count as -2."""
    first = trace.side == "torch" or node.settings.get("data_format") == "channels_first"
    space = tuple(range(rank - 2))
    return (-2, CHANNELS, *space) if first else (-2, *space, CHANNELS)


def _of_image(trace: Trace, source: Source, axes: Sequence[int]) -> Merged | None:
    """Which axes of an image those of a tensor are, followed back to the step that gave the image."""
    places = list(axes)
    shape = _shape(trace, source)
    sizes = tuple(shape[axis] for axis in axes) if shape else ()
    while True:
        node = trace.nodes[source.node]
        if node.kind in IMAGES and len(_shape(trace, source) or ()) > 2:
            roles = _roles(trace, node, len(node.shapes[0]))
            return None if 0 in places else Merged(sizes, tuple(roles[place] for place in places))
        before = _shape(trace, node.inputs[0]) if node.inputs else None
        if before is None:
            return None
        if node.kind == "transpose":
            order = _order(node, before)
            if order is None:
                return None
            places = [order[place] for place in places]
        elif node.kind not in EACH or before != _shape(trace, source):
            return None
        source = node.inputs[0]


def _order(node: Node, before: Sequence[int]) -> tuple[int, ...] | None:
    """The order that a transpose makes; a Keras Permute counts its axes from one, without the examples."""
    dims = node.settings.get("dims")
    if node.sort == "layer":
        return (0, *dims) if isinstance(dims, list | tuple) else None
    return permutation(node, len(before))


def _shape(trace: Trace, source: Source) -> tuple[int, ...] | None:
    shapes = trace.nodes[source.node].shapes
    return tuple(shapes[source.output]) if source.output < len(shapes) else None
