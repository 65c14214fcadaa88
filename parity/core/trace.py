"""One forward pass as a graph: its inputs, every call of a layer, every functional step, and what feeds what."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from math import prod
from pathlib import Path
from typing import Any, Literal, Protocol

from parity.core.types import FAMILIES, Array, RowRun, Side, WeightUse

Sort = Literal["input", "layer", "op", "parameter", "constant"]

SPELLINGS: Mapping[str, str] = {
    spelling: kind
    for kind, spellings in {
        "add": "add addv2 iadd radd biasadd addn",
        "sub": "sub subtract isub rsub",
        "mul": "mul multiply imul rmul",
        "div": "div divide truedivide truediv itruediv rtruediv rdiv realdiv divnonan",
        "matmul": "matmul rmatmul bmm mm dot tensordot batchmatmul batchmatmulv2 addmm baddbmm linear_op",
        "power": "pow ipow rpow power",
        "concat": "cat concat concatv2 concatenate hstack vstack",
        "stack": "stack pack",
        "slice": "getitem stridedslice slice narrow select dynamicslice indexselect split chunk splitv unstack "
        "unbind tensorsplit cropping cropping1d cropping2d cropping3d gather take",
        "update": "setitem sliceupdate scatterupdate tensorstridedsliceupdate copy",
        "reshape": "reshape view flatten unflatten expanddims unsqueeze squeeze viewas ravel reshapeas repeatvector",
        "transpose": "transpose permute movedim moveaxis swapaxes t mt swapdims",
        "pad": "pad padv2 mirrorpad zeropadding zeropad constantpad reflectionpad replicationpad",
        "relu": "relu clampmin",
        "relu6": "relu6",
        "leaky_relu": "leakyrelu",
        "silu": "silu swish",
        "hard_silu": "hardswish hardsilu",
        "hard_sigmoid": "hardsigmoid",
        "log_softmax": "logsoftmax",
        "max_pool": "maxpool maxpooling",
        "average_pool": "averagepool avgpool averagepooling",
        "mean": "mean globalaveragepooling adaptiveavgpool globalavgpool adaptiveaveragepool",
        "max": "globalmaxpooling adaptivemaxpool globalmaxpool amax max reducemax",
        "resize": "resize interpolate upsample upsampling upsamplingbilinear upsamplingnearest resizebilinear "
        "resizenearestneighbor upsamplebilinear upsamplenearest resizing",
        "dropout": "dropout featuredropout spatialdropout alphadropout droppath stochasticdepth featurealphadropout",
        "identity": "identity converttotensor contiguous clone detach stopgradient to type float double activation",
        "cast": "cast",
        "maximum": "maximum max2",
        "minimum": "minimum",
        "neg": "neg negative",
        "flip": "flip reverse reversev2 turned",
        "pack_sequence": "packpaddedsequence padpackedsequence packed padded",
        "sum": "sum reducesum",
        **{family.name: family.spellings for family in FAMILIES.values()},
    }.items()
    for spelling in spellings.split()
}
"""How the frameworks spell the steps, without case, punctuation and dimensions -> parity's one name."""


FEATURES_LAST = {"dense", "layernorm", "embedding", "lstm", "gru", "simple_rnn"}
CHANNELS_FIRST = {"conv", "depthwise", "conv_transpose", "batchnorm", "groupnorm", "max_pool", "average_pool"}
"""Torch's layers by where their results have the features."""
SUBTRACTING = {"logsoftmax", "gelu"}
"""Kinds of steps that subtract values as great as their operand within: an element of the result carries the
operand's rounding there, however small it is itself."""


def subtracts(kind: str) -> bool:
    """Whether a step is of such a kind, or anybody's that is named after one: GELU, LogSoftmax, NewGELUActivation."""
    name = kind.replace("_", "").lower()
    return any(one in name for one in SUBTRACTING)


@cache
def canonical(name: str) -> str:
    """Parity's name for a function, tensor method, layer class or TensorFlow operation.

    >>> canonical("Conv2DTranspose"), canonical("__iadd__"), canonical("max_pool2d"), canonical("my_op")
    ('conv_transpose', 'add', 'max_pool', 'my_op')
    """
    plain = re.sub(r"[^0-9a-z]", "", name.lower())
    for form in (plain, re.sub(r"[123]d", "", plain)):
        if form in SPELLINGS:
            return SPELLINGS[form]
    return name.strip("_") or name


@dataclass(frozen=True)
class CodePlace:
    """Where something is written.

    Attributes:
        file: the source file.
        line: its line, counted from 1.
        text: the expression, in one line; empty where it is not known.
        more: further lines, one of which it may be as well.
    """

    file: str
    line: int
    text: str = ""
    more: tuple[int, ...] = ()

    def __str__(self) -> str:
        """file:line, from the current folder where the file lies in it."""
        path = Path(self.file)
        shown = path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
        return " or ".join([f"{shown}:{self.line}", *map(str, self.more)])


@dataclass(frozen=True)
class Source:
    """Where an operand comes from: which output of which node, and which operand of the step it is."""

    node: int
    output: int = 0
    position: int = 0


@dataclass
class Node:
    """One step.

    Attributes:
        id: its number, in execution order; the same in every trace of the same model and input shapes.
        kind: parity's name of what it does ("conv", "relu", "concat", ...), else the step's own name.
        label: what to call it in a report.
        sort: "input", "layer" (a call of a leaf layer), "op" (a functional step), "parameter" (a tensor that
            is used outside a leaf layer) or "constant" (a tensor that came from nowhere in the trace).
        path: parity path of the layer (sort "layer") or of the tensor (sort "parameter").
        index: how many calls of this layer, or of this kind of step in this scope, went before.
        scope: path of the innermost layer in which the step ran.
        inputs: its operands, in order.
        shapes: of its outputs, in the framework's own layout.
        settings: what else it was called with (axis, slices, sizes), as far as that is plain.
        names: of its operands, in order: the number of the argument, or its name; empty where not known.
        spot: the instruction of the user's own code that runs it (parity.adapters.sites); None where there is none.
    """

    id: int
    kind: str
    label: str
    sort: Sort
    path: str | None = None
    index: int = 0
    scope: str = ""
    inputs: tuple[Source, ...] = ()
    shapes: tuple[tuple[int, ...], ...] = ()
    settings: dict[str, Any] = field(default_factory=dict)
    names: tuple[str, ...] = ()
    spot: Any = field(default=None, compare=False, repr=False)


@dataclass
class Trace:
    """The graph of one forward pass; it holds no values.

    Attributes:
        side: which side ran.
        nodes: by id, in execution order (a node's operands come before it).
        inputs: ids of the model inputs, in order.
        outputs: (name, source) of the model outputs, in the order of `forward`.
        complete: False where a tensor's origin was lost; `lost` says of what.
        flattened: (H, W, C) of the image that was flattened in front of a layer, by path (Keras alone).
        uses: what the operations do with the weights of layers of unknown classes, by the tensors' paths.
        walks: the rows that are read one behind the other of tables, by the tensors' paths.
        unread: paths of the tensors that no step reads, although training may change them and their layer runs.
        expanded: the same pass with what happens within attention layers as steps; None where there are none.
        last: the last steps, which can be run again alone; None unless they were asked for, and on the Keras side.
    """

    side: Side
    nodes: list[Node] = field(default_factory=list)
    inputs: list[int] = field(default_factory=list)
    outputs: list[tuple[str, Source]] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    flattened: dict[str, tuple[int, ...]] = field(default_factory=dict)
    uses: dict[str, tuple[WeightUse, ...]] = field(default_factory=dict)
    walks: Mapping[str, RowRun] = field(default_factory=dict)
    unread: frozenset[str] = frozenset()
    expanded: Trace | None = None
    last: LastSteps | None = None

    @property
    def complete(self) -> bool:
        """Whether the origin of every tensor is known."""
        return not self.lost

    def take_last(self) -> LastSteps | None:
        """The last steps, which the trace holds no longer: they keep tensors."""
        last, self.last = self.last, None
        return last

    def calls(self, path: str) -> list[Node]:
        """The calls of a layer, in order."""
        return [node for node in self.nodes if node.sort == "layer" and node.path == path]

    def calls_by_path(self) -> dict[str, list[Node]]:
        """The calls of every layer, in order, by its path."""
        found: dict[str, list[Node]] = {}
        for node in self.nodes:
            if node.sort == "layer" and node.path is not None:
                found.setdefault(node.path, []).append(node)
        return found

    def users(self) -> dict[int, list[int]]:
        """Ids of the nodes that take an output of a node, by its id."""
        found: dict[int, list[int]] = {node.id: [] for node in self.nodes}
        for node in self.nodes:
            for source in node.inputs:
                found[source.node].append(node.id)
        return found

    def graph(self) -> dict[str, Any]:
        """Plain nodes and edges, for a report."""
        return {
            "nodes": [
                {
                    "id": node.id,
                    "label": node.label,
                    "kind": node.kind,
                    "path": node.path,
                    "shape": list(node.shapes[0]) if node.shapes else [],
                }
                for node in self.nodes
            ],
            "edges": [[source.node, node.id] for node in self.nodes for source in node.inputs],
        }


def flattened_images(trace: Trace) -> dict[str, tuple[int, ...]]:
    """The shape without the batch axis of what was flattened in front of a layer, by the layer's path.

    Followed back from each layer through steps that keep the shape (dropout, activations, normalisation).
    """
    found: dict[str, tuple[int, ...]] = {}
    for node in trace.nodes:
        if node.sort != "layer" or len(node.inputs) != 1 or node.path is None:
            continue
        source = node.inputs[0]
        image = _flattened(trace, source)
        if image is not None:
            found.setdefault(node.path, image)
    return found


def settle_flattened(keras: Trace, torch: Trace) -> None:
    """Forget what torch flattens in the same order: tokens and features on both sides, or channels first on both.

    Images are channels first in torch, sequences of tokens are not, and neither are images of a Keras model that has
    its channels first. The shape that torch flattens says which it was.
    """
    torch_images = set(torch.flattened.values())
    for path, image in list(keras.flattened.items()):
        turned = (image[-1], *image[:-1])
        if image in torch_images and (
            all(_features_last(torch, at) for at, found in torch.flattened.items() if found == image)
            if turned == image  # as many tokens as features
            else turned not in torch_images
        ):
            del keras.flattened[path]


def _features_last(trace: Trace, path: str) -> bool:
    """Whether what is flattened in front of a torch layer has its features last, by the layer that gave it."""
    source, flat, last = trace.calls(path)[0].inputs[0], True, True
    while True:
        node = trace.nodes[source.node]
        flat = flat and node.kind != "reshape"
        if not flat and (node.kind in FEATURES_LAST or node.kind in CHANNELS_FIRST):
            return last == (node.kind in FEATURES_LAST)
        if node.kind == "transpose":
            last = not last
        data = [item for item in node.inputs if trace.nodes[item.node].sort not in {"parameter", "constant"}]
        if not data:
            return False
        source = data[0]


def _flattened(trace: Trace, source: Source) -> tuple[int, ...] | None:
    while True:
        node = trace.nodes[source.node]
        if source.output >= len(node.shapes) or len(node.shapes[source.output]) != 2 or not node.inputs:
            return None
        first = node.inputs[0]
        before = trace.nodes[first.node].shapes[first.output]
        shape = node.shapes[source.output]
        if node.kind == "reshape" and len(before) > 2:
            if before[0] != shape[0] or prod(before) != prod(shape):
                return None
            turned = node.sort == "layer" and node.settings.get("data_format") == "channels_first"
            return (*before[2:], before[1]) if turned else before[1:]  # Keras' Flatten moves them last
        data = [item for item in node.inputs if trace.nodes[item.node].sort not in {"parameter", "constant"}]
        if node.kind in {"dense", "matmul"} or len(data) != 1 or before != shape:
            return None
        source = first


class NodeObserver:
    """Sees every step of a trace while it runs, and may replace what goes in and what comes out.

    Both methods get thunks, so that arrays are made only where somebody wants them. A node's `shapes`
    are empty in `before`. Raw TensorFlow operations (outside keras.ops and layers) have `ran` in place of both.
    """

    def before(self, node: Node, inputs: Values) -> list[Array] | None:
        """Called with the operands, in order; a returned list replaces them."""
        return None

    def around(self, node: Node, function: Callable[..., Any]) -> Callable[..., Any]:
        """Called with the function that is about to run; what it returns runs in its place."""
        return function

    def after(self, node: Node, outputs: Values) -> list[Array] | None:
        """Called with the outputs; a returned list replaces them."""
        return None

    def ran(self, node: Node, inputs: Values, outputs: Values) -> list[Array] | None:
        """Called for a step that has run already, with operands and outputs; a returned list replaces the outputs."""
        return self.after(node, outputs)


@dataclass(frozen=True)
class Look:
    """One graph of a pass: who watches its steps, and what is a step of it.

    Attributes:
        observer: sees the steps; None for none.
        inside: what layers of unknown classes run are steps, not the layers.
        attention: the layers and steps within an attention layer are steps of their own.
        training: the pass is one of training mode.
        last: the last steps are kept, so that they can be run again (`Trace.last`); torch alone.
    """

    observer: NodeObserver | None = None
    inside: bool = False
    attention: bool = False
    training: bool = False
    last: bool = False


@dataclass(frozen=True)
class Rerun:
    """How the last steps of a pass are run again.

    Attributes:
        observer: sees the steps, and may replace what they give; None for none.
        start: replaces each floating tensor that earlier steps gave; None replaces none.
    """

    observer: NodeObserver | None = None
    start: Callable[[Array], Array] | None = None


class LastSteps(Protocol):
    """The last steps of a pass with what they took, so that they can be run again without the others."""

    def again(self, runs: Sequence[Rerun]) -> list[list[Array]]:
        """The outputs of each run, in the order of `forward`; an output that no kept step gave is as it was.

        Raises:
            Exception: whatever the steps raise.
        """
        ...


class Values:
    """Tensors of a running step, made into NumPy arrays on demand, in the framework's own layout."""

    def __init__(self, tensors: list[Any], to_numpy: Any, looked_at: Any = None) -> None:
        self._tensors, self._to_numpy, self._looked_at = tensors, to_numpy, looked_at or to_numpy

    def __len__(self) -> int:
        return len(self._tensors)

    def floating(self) -> list[bool]:
        """Whether each holds floating-point numbers; no values are copied."""
        return [_is_floating(getattr(tensor, "dtype", "")) for tensor in self._tensors]

    def shapes(self) -> list[tuple[int, ...]]:
        """Their shapes; no values are copied."""
        return [tuple(int(size) for size in tensor.shape) for tensor in self._tensors]

    def __call__(self) -> list[Array]:
        """Copies of the values."""
        return [self._to_numpy(tensor) for tensor in self._tensors]

    def look(self) -> list[Array]:
        """The values without a copy where that can be: good while the step runs, and not to be written to."""
        return [self._looked_at(tensor) for tensor in self._tensors]


@cache
def _is_floating(dtype: Any) -> bool:
    """Whether a dtype of either framework is one of floating-point numbers."""
    return re.search("float|complex|half|double", str(dtype).rpartition(".")[2]) is not None
