"""What the operations of a traced pass do with each weight, and the families of layers that follow from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import prod

from parity.core.trace import Node, Source, Trace
from parity.core.types import AxisPart, LayerInfo, TensorInfo, WeightUse
from parity.pairing.uses.axes import LINEAR
from parity.pairing.uses.merged import image_axes
from parity.pairing.uses.operations import ELEMENTWISE, roles
from parity.pairing.uses.tables import with_walks
from parity.pairing.uses.views import View, after, stored

SAME_VALUES = frozenset(
    {"transpose", "reshape", "slice", "identity", "cast", "dropout", "broadcast_to", "expand"}
)
"""Steps behind which a tensor holds the values that it held."""
FLIPS = frozenset({"flip", "ReverseV2", "rev"})
"""Steps that turn axes round."""
MERGES = {"add": "add", "subtract": "sub", "multiply": "mul", "maximum": "maximum", "minimum": "minimum"}
"""Layers that are one step without weights, and its kind."""
Views = dict[str, View | None]
"""The weights that a tensor is made of alone; None where their axes were lost."""


def unknown(layer: LayerInfo) -> bool:
    """Whether only a trace can say what the layer does with its weights."""
    return layer.family in {None, "sequence"} and not layer.whole and bool(layer.tensors)


def uses_of(trace: Trace, layers: Mapping[str, LayerInfo]) -> dict[str, tuple[WeightUse, ...]]:
    """What the operations do with each weight, in execution order, by the weights' paths.

    Args:
        trace: of a pass in which the steps within layers of unknown classes are steps of their own.
        layers: the model's layers by path.
    """
    shapes = {tensor.path: tensor.shape for layer in layers.values() for tensor in layer.tensors}
    return _Reading(trace, shapes).run()


def as_traced(layers: Mapping[str, LayerInfo], trace: Trace) -> dict[str, LayerInfo]:
    """The layers with what a traced pass says of their weights."""
    found = with_walks(with_uses(layers, trace.uses), trace.walks)
    for path, layer in found.items():
        if any(tensor.path in trace.unread for tensor in layer.tensors):
            tensors = tuple(
                replace(t, fixed=True, unread=True) if t.path in trace.unread else t for t in layer.tensors
            )
            found[path] = replace(layer, tensors=tensors)
    return found


def with_uses(
    layers: Mapping[str, LayerInfo], uses: Mapping[str, tuple[WeightUse, ...]]
) -> dict[str, LayerInfo]:
    """The layers with what is done with their weights, and the family where that says it.

    A layer of an unknown class whose weights go into one multiplication is of that multiplication's family.
    """
    found = {}
    for path, layer in layers.items():
        if (unknown(layer) or layer.whole) and any(tensor.path in uses for tensor in layer.tensors):
            tensors = tuple(replace(tensor, uses=uses.get(tensor.path, ())) for tensor in layer.tensors)
            family = layer.family if layer.whole else layer.family or _family(tensors)
            layer = replace(layer, tensors=tensors, family=family)
        found[path] = layer
    return found


def linear(tensor: TensorInfo) -> WeightUse | None:
    """The first multiplication that uses the tensor as its kernel."""
    return next((use for use in tensor.uses if use.family in LINEAR), None)


def _family(tensors: Sequence[TensorInfo]) -> str | None:
    kernels = [use.family for tensor in tensors for use in [linear(tensor)] if use is not None]
    rest = [tensor for tensor in tensors if linear(tensor) is None]
    return (
        kernels[0] if len(kernels) == 1 and len(rest) <= 1 and all(tensor.uses for tensor in rest) else None
    )


class _Reading:
    def __init__(self, trace: Trace, shapes: Mapping[str, tuple[int, ...]]) -> None:
        self.trace, self.shapes = trace, shapes
        self.views: dict[tuple[int, int], Views] = {}
        self.found: dict[str, list[WeightUse]] = {}
        self.computed: set[tuple[int, str]] = set()
        self.flipped: set[tuple[int, str]] = set()

    def run(self) -> dict[str, tuple[WeightUse, ...]]:
        for node in self.trace.nodes:
            if node.sort == "parameter" and node.path is not None and node.path in self.shapes:
                self.views[node.id, 0] = {node.path: stored(self.shapes[node.path])}
            elif node.sort == "op":
                self._step(node)
            elif node.sort == "layer" and node.kind in MERGES:  # keras.layers.Add is the step that it makes
                self._step(replace(node, label="", kind=MERGES[node.kind]))
        return {path: tuple(dict.fromkeys(uses)) for path, uses in self.found.items()}

    def _step(self, node: Node) -> None:
        made = [self.views.get((source.node, source.output), {}) for source in node.inputs]
        if not any(made):
            return
        data = [source for source, views in zip(node.inputs, made, strict=True) if not views]
        moving = [source for source in data if self.trace.nodes[source.node].sort != "constant"]
        if not moving and not self._looked_up(node, data):
            self._of_weights_alone(node, made)
            return
        shapes = [self._shape(source) for source in node.inputs]
        for number, views in enumerate(made):
            read = roles(node, number, shapes) if views else None
            if read is not None and node.kind in ELEMENTWISE and len(moving) == 1 and len(read[1]) > 2:
                read = read[0], self._of_image(node, moving[0], len(read[1])) or read[1]
            for path, view in views.items():
                use = None if read is None or view is None else self._use(path, view, *read)
                if (
                    use is not None
                    and use.family == "scale"
                    and (node.inputs[number].node, path) in self.computed
                ):
                    use = replace(use, family="variance")
                if use is not None and (node.inputs[number].node, path) in self.flipped:
                    use = self._turned(use)
                if use is not None:
                    self.found.setdefault(path, []).append(use)

    def _of_image(self, node: Node, data: Source, rank: int) -> list[str] | None:
        """The axes of what is added to an image, or multiplied with it: its axes of space in order, then its channels."""
        axes = image_axes(self.trace, node, data)
        if axes is None or rank > len(axes) + 1:
            return None
        places = [0, *(len(axes) + 1 if axis < 0 else axis + 1 for axis in axes)]
        return [f"at {place}" for place in places[len(places) - rank :]]

    def _turned(self, use: WeightUse) -> WeightUse:
        """A convolution with a flipped kernel, stored as a transposed convolution's is one, over what it is given."""
        ends = [part.role for axis in use.axes for part in axis if part.role in {"in", "out"}]
        turned = ["out", "in"] if self.trace.side == "keras" else ["in", "out"]
        return replace(use, family="conv_transpose") if use.family == "conv" and ends == turned else use

    def _looked_up(self, node: Node, data: Sequence[Source]) -> bool:
        """Rows of a table by constant numbers, as positions are."""
        return bool(data) and node.label in {
            "embedding",
            "take",
            "index_select",
            "GatherV2",
            "ResourceGather",
        }

    def _of_weights_alone(self, node: Node, made: Sequence[Views]) -> None:
        """A step that makes a tensor of weights alone."""
        numbers = {(source.node, path) for source, own in zip(node.inputs, made, strict=True) for path in own}
        if node.kind not in SAME_VALUES or numbers & self.computed:
            self.computed |= {(node.id, path) for _, path in numbers}
        if node.label in FLIPS:
            self.flipped |= {(node.id, path) for _, path in numbers - self.flipped}
        elif numbers & self.flipped:
            self.flipped |= {(node.id, path) for _, path in numbers & self.flipped}
        for output, shape in enumerate(node.shapes):
            views: Views = {}
            for source, own in zip(node.inputs, made, strict=True):
                before = self._shape(source)
                for path, view in own.items():
                    moved = (
                        None
                        if view is None or len(view) != len(before)
                        else after(node, view, before, output)
                    )
                    if moved is not None and len(moved) != len(shape):
                        moved = ((),) * (len(shape) - len(moved)) + moved
                    if views.get(path) is None:
                        views[path] = moved
            self.views[node.id, output] = views

    def _shape(self, source: Source) -> tuple[int, ...]:
        node = self.trace.nodes[source.node]
        if node.sort == "parameter" and node.path is not None and node.path in self.shapes:
            return self.shapes[node.path]  # TensorFlow's handle of a variable has no shape
        return self.trace.nodes[source.node].shapes[source.output]

    def _use(self, path: str, view: View, family: str, names: Sequence[str | None]) -> WeightUse | None:
        """The use of a stored tensor, from the roles of the axes of what it has become."""
        if len(names) != len(view):
            return None
        shape = self.shapes[path]
        parts: dict[int, list[tuple[int, AxisPart]]] = {axis: [] for axis in range(len(shape))}
        for name, strides in zip(names, view, strict=True):
            role, _, place = (name or "none").partition(" ")
            for number, stride in enumerate(strides):
                part = AxisPart(role, int(place or 0) * 100 + number, stride.size)
                parts[stride.axis].append((stride.step, part))
        axes = []
        for axis, size in enumerate(shape):
            ordered = [part for _, part in sorted(parts[axis], key=lambda item: -item[0])]
            inner = prod(part.size for part in ordered[1:])
            if size != 1 and (not ordered or size % inner):
                return None
            axes.append((ordered[0]._replace(size=size // inner), *ordered[1:]) if size != 1 else ())
        kernel = {part.role for axis in axes for part in axis} & {"in", "space"}
        contracted = any((name or "").partition(" ")[0] == "in" for name in names)
        of_one = contracted and 1 in shape  # a kernel for a single input
        if family == "dense" and not kernel and not of_one:
            family, axes = "element", [tuple(part._replace(role="at") for part in axis) for axis in axes]
        return WeightUse(family, tuple(axes))
