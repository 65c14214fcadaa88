"""Vectors that become images: in which order each side counts height, width and channels in a layer's outputs.

It is the mirror image of what flattening does. A generator's dense layer gives (N, F), which Keras takes apart as
(H, W, C) and torch as (C, H, W): one and the same layer then has its outputs in another order.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod

from parity.core.layout import Layout
from parity.core.trace import Node, Trace
from parity.core.types import Array, LayerInfo, Side, TensorInfo
from parity.pairing.uses.axes import standard
from parity.pairing.uses.views import permutation

EACH = frozenset(
    {
        "relu", "relu6", "leaky_relu", "elu", "selu", "celu", "gelu", "silu", "hard_silu", "hard_sigmoid", "sigmoid", "tanh",
        "softplus", "softsign", "mish", "hardtanh", "prelu", "dropout", "identity", "cast", "add", "sub", "mul", "div",
        "neg", "maximum", "minimum", "power", "square", "abs", "exp", "activation", "batchnorm", "layernorm", "Relu",
        "Sigmoid", "Tanh",
    }
)  # fmt: skip
"""Steps that do the same at each place, so that the order of the places is what it was."""
SPATIAL = frozenset(
    {
        "conv",
        "depthwise",
        "separable",
        "conv_transpose",
        "max_pool",
        "average_pool",
        "resize",
        "batchnorm",
        "groupnorm",
    }
)
"""Steps that take images as their framework lays them out."""


@dataclass(frozen=True)
class Image:
    """What a vector is taken apart into.

    Attributes:
        sizes: of the axes, in the order in which the vector counts them.
        order: which of them each axis is once the step arrives that takes the image.
        spatial: whether that step takes images as its framework lays them out.
        channels_first: whether its own setting says that channels come first.
    """

    sizes: tuple[int, ...]
    order: tuple[int, ...]
    spatial: bool = False
    channels_first: bool = False

    def readings(self, side: Side) -> list[tuple[int, ...]]:
        """For each axis of (*space, C) the axis of the vector that it may be, the likeliest first."""
        first = (*self.order[1:], self.order[0])
        if self.spatial:
            return [first if side == "torch" or self.channels_first else self.order]
        return [self.order, first] if side == "torch" else [self.order]


@dataclass(frozen=True)
class Regrouped:
    """How features go from Keras' order to torch's: taken apart into `sizes`, and these put in `order`.

    They are a layer's outputs, or its inputs where these are `merged` from axes of an image.
    """

    sizes: tuple[int, ...]
    order: tuple[int, ...]
    merged: bool = False

    def to_torch(self, value: Array) -> Array:
        """A tensor (..., F) of the layer's outputs, in torch's order."""
        start = value.shape[:-1]
        axes = (*range(len(start)), *(axis + len(start) for axis in self.order))
        return value.reshape(*start, *self.sizes).transpose(axes).reshape(value.shape)

    def to_keras(self, value: Array) -> Array:
        """The same the other way round."""
        start = value.shape[:-1]
        axes = (*range(len(start)), *(self.order.index(i) + len(start) for i in range(len(self.order))))
        return value.reshape(*start, *self.torch_sizes).transpose(axes).reshape(value.shape)

    @property
    def torch_sizes(self) -> tuple[int, ...]:
        """What the torch side takes the vector apart into."""
        return tuple(self.sizes[axis] for axis in self.order)


def images_of(trace: Trace, layers: Mapping[str, LayerInfo]) -> dict[str, Image]:
    """What each layer's outputs become, by the paths of the layer's tensors; layers whose outputs stay vectors have none."""
    users, found = trace.users(), dict[str, Image]()
    outputs = {source.node for _, source in trace.outputs}
    for node in trace.nodes:
        tensors = weights_of(trace, node, layers)
        if not tensors or len(node.shapes) != 1 or len(node.shapes[0]) != 2:
            continue
        images = _ahead(trace, node, users, outputs)
        if images is not None and len(set(images)) == 1:
            found.update(dict.fromkeys(tensors, images[0]))
    return found


def regrouped(keras: Image | None, torch: Image | None) -> Regrouped | None:
    """How one vector goes from side to side; None where it stays as it is, or nothing says how."""
    if keras is None or torch is None or len(keras.sizes) != len(torch.sizes):
        return None
    for own in keras.readings("keras"):
        for other in torch.readings("torch"):
            if [keras.sizes[axis] for axis in own] == [torch.sizes[axis] for axis in other]:
                place = {axis: own[role] for role, axis in enumerate(other)}
                order = tuple(place[axis] for axis in range(len(other)))
                return None if order == tuple(range(len(order))) else Regrouped(keras.sizes, order)
    return None


def with_image(layout: Layout, axis: int, change: Regrouped) -> Layout | None:
    """The layout with one axis of the torch tensor, which counts outputs, put into Keras' order.

    Args:
        layout: without it.
        axis: of the torch tensor.
        change: how the outputs go from Keras' order to torch's.

    Returns:
        None where that axis is taken apart already.
    """
    whole, before, at = prod(change.sizes), prod(layout.torch_shape[:axis]), 0
    while prod(layout.split[:at]) != before or (at < len(layout.split) and layout.split[at] != whole):
        at += 1
        if at > len(layout.split):
            return None
    if at == len(layout.split) or layout.torch_shape[axis] != whole or layout.partial:
        return None
    count = len(change.sizes)
    inner = [at + change.order.index(i) for i in range(count)]
    order: list[int] = []
    for old in layout.order:
        order += inner if old == at else [old + count - 1 if old > at else old]
    split = (*layout.split[:at], *change.torch_sizes, *layout.split[at + 1 :])
    return replace(layout, split=split, order=tuple(order))


def output_axis(tensor: TensorInfo, family: str | None) -> int | None:
    """The axis of a torch tensor that counts its layer's outputs; None where none does alone."""
    if len(tensor.shape) == 1:
        return 0
    use = tensor.uses[0] if tensor.uses else standard("torch", family, tensor)
    found = [i for i, parts in enumerate(use.axes) if parts and all(part.role == "out" for part in parts)]
    return found[0] if len(found) == 1 else None


def weights_of(trace: Trace, node: Node, layers: Mapping[str, LayerInfo]) -> list[str]:
    """Paths of the weights of a step, where it has some."""
    if node.sort == "layer" and node.path in layers:
        return [tensor.path for tensor in layers[str(node.path)].tensors]
    if node.sort != "op":
        return []
    operands = [trace.nodes[source.node] for source in node.inputs]
    return [operand.path for operand in operands if operand.sort == "parameter" and operand.path is not None]


def _ahead(
    trace: Trace, node: Node, users: Mapping[int, Sequence[int]], outputs: set[int]
) -> list[Image] | None:
    """The images that a vector becomes; None where it is taken as a vector too."""
    shape = node.shapes[0]
    if node.id in outputs or not users[node.id]:
        return None
    found: list[Image] = []
    for number in users[node.id]:
        user = trace.nodes[number]
        made = user.shapes[0] if user.shapes else ()
        if user.kind == "reshape" and len(made) > 2 and made[0] == shape[0] and prod(made) == prod(shape):
            image = _image(trace, user, users)
            if image is None:
                return None
            found.append(image)
        elif user.kind in EACH and tuple(made) == tuple(shape):
            more = _ahead(trace, user, users, outputs)
            if more is None:
                return None
            found += more
        else:
            return None
    return found


def _image(trace: Trace, node: Node, users: Mapping[int, Sequence[int]]) -> Image | None:
    """What a reshape makes of a vector, with the transposes behind it."""
    sizes = tuple(node.shapes[0][1:])
    order = tuple(range(len(sizes)))
    while len(set(users[node.id])) == 1:
        user = trace.nodes[users[node.id][0]]
        if user.kind == "transpose":
            turned = _turned(user, node.shapes[0])
            if turned is None or turned[0] != 0:
                return None
            order = tuple(order[axis - 1] for axis in turned[1:])
        elif user.kind not in EACH - {"batchnorm", "layernorm"} or user.shapes != node.shapes:
            first = user.settings.get("data_format") == "channels_first"
            return Image(sizes, order, user.kind in SPATIAL, first)
        node = user
    kinds = {trace.nodes[number].kind for number in users[node.id]}
    return Image(sizes, order, bool(kinds) and kinds <= SPATIAL)


def _turned(node: Node, before: Sequence[int]) -> tuple[int, ...] | None:
    """The order that a transpose makes: by its arguments, or by sizes that occur once."""
    order = permutation(node, len(before)) if node.sort == "op" else None
    if order is None and len(set(before)) == len(before) and sorted(node.shapes[0]) == sorted(before):
        order = tuple(list(before).index(size) for size in node.shapes[0])
    return order
