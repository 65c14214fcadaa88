"""Fused layers: which rows of a weight a step uses, and which parts of its result go separate ways.

One dense layer may give query, key and value in one, or a gate and what it gates. Each element of its result is known
by the number of the output that it is, which is followed through slices, transposes and reshapes to where it is used.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import prod

import numpy as np

from parity.core.trace import Node, Source, Trace
from parity.core.types import Array, LayerInfo, TensorInfo, WeightUse
from parity.pairing.uses.axes import sizes, standard
from parity.pairing.uses.slices import key_of
from parity.pairing.uses.views import permutation

MOVING = frozenset({"reshape", "transpose", "slice", "identity", "cast", "dropout"})
"""Steps that move what they are given, or a part of it."""
MIXING = frozenset({"add", "sub", "concat", "stack", "update"})
"""Steps that make one tensor of several: what meets in one of them was one layer's result."""
PRODUCTS = frozenset({"matmul", "einsum", "Einsum", "scaled_dot_product_attention", "dot_product_attention"})
MOST = 32
"""Parts of one layer."""
SPLIT = frozenset({"dense", "conv"})
"""Families of layers whose results are taken apart."""
Place = tuple[int, int]
"""(node, output)."""


@dataclass
class Parts:
    """What is taken apart in one trace.

    Attributes:
        rows: for each step that uses a part of its weight, or whose result is taken apart: the rows of each part.
        vectors: for each step that uses a part of its bias: which one.
        passed: for what is moved of such a result: (the step, the numbers of the parts that it holds).
    """

    rows: dict[int, list[tuple[int, ...]]] = field(default_factory=dict)
    vectors: dict[int, tuple[int, ...]] = field(default_factory=dict)
    passed: dict[Place, tuple[int, frozenset[int]]] = field(default_factory=dict)


def parts_of(trace: Trace, layers: Mapping[str, LayerInfo]) -> Parts:
    """Take the fused layers of a traced pass apart.

    Args:
        trace: of a forward pass.
        layers: the model's layers by path, with what is done with their weights.
    """
    return _Parting(trace, layers).run()


def kernel_use(side: str, layer: LayerInfo, tensor: TensorInfo) -> WeightUse | None:
    """How a layer uses a tensor, where it multiplies by it and its result may be taken apart."""
    if tensor.uses:
        return next((use for use in tensor.uses if use.family in SPLIT), None)
    use = standard("keras" if side == "keras" else "torch", layer.family, tensor)
    return use if use.family in SPLIT else None


class _Groups:
    """Sets of outputs, joined where they overlap or meet again."""

    def __init__(self) -> None:
        self.sets: list[frozenset[int]] = []
        self.joined: list[set[int]] = []

    def add(self, found: frozenset[int]) -> int:
        if found not in self.sets:
            self.sets.append(found)
        return self.sets.index(found)

    def groups(self) -> list[tuple[int, ...]]:
        """Disjoint groups of outputs, in ascending order."""
        known = [set(found) for found in self.sets]
        for numbers in self.joined:
            known.append(set().union(*(self.sets[i] for i in numbers)))
        done: list[set[int]] = []
        for found in known:
            apart = [group for group in done if not group & found]
            done = [*apart, found.union(*(group for group in done if group & found))]
        return sorted(tuple(sorted(group)) for group in done)


class _Parting:
    def __init__(self, trace: Trace, layers: Mapping[str, LayerInfo]) -> None:
        self.trace, self.layers = trace, layers
        self.tensors = {tensor.path: (layer, tensor) for layer in layers.values() for tensor in layer.tensors}
        self.live: set[int] = set(trace.inputs)
        self.weights: dict[Place, tuple[str, Array]] = {}
        self.chain: dict[Place, tuple[int, Array]] = {}
        self.base: dict[int, tuple[int, Array]] = {}
        self.groups: dict[int, _Groups] = {}
        self.vectors: dict[int, tuple[int, ...]] = {}
        self.taint: dict[int, dict[int, set[int]]] = {}

    def run(self) -> Parts:
        for node in self.trace.nodes:
            if node.sort == "parameter":
                self._parameter(node)
            elif node.sort in {"layer", "op"}:
                self._step(node)
        for _, source in self.trace.outputs:
            self._used(source)
        return self._found()

    def _found(self) -> Parts:
        parts = Parts(vectors=self.vectors)
        for number, (whole, base) in self.base.items():
            groups = self.groups[number].groups() if number in self.groups else []
            if not 1 < len(groups) <= MOST or sum(map(len, groups)) != base.size:
                groups = [tuple(base.tolist())]
            if len(groups) > 1 or base.size < whole:
                parts.rows[number] = groups
        for place, (number, array) in self.chain.items():
            if len(parts.rows.get(number, ())) > 1:
                own = _distinct(array)
                held = (i for i, rows in enumerate(parts.rows[number]) if not own.isdisjoint(rows))
                parts.passed[place] = number, frozenset(held)
        return parts

    # --- weights -------------------------------------------------------------------------------------

    def _parameter(self, node: Node) -> None:
        """Number the outputs of a kernel or of a vector."""
        layer, tensor = self.tensors.get(node.path or "", (None, None))
        if layer is None or tensor is None:
            return
        use = kernel_use(self.trace.side, layer, tensor)
        numbers = None if use is None else _numbered(use, tensor.shape)
        if numbers is None and max(tensor.shape, default=1) == prod(tensor.shape):
            numbers = np.arange(prod(tensor.shape)).reshape(tensor.shape)
        if numbers is not None:
            self.weights[node.id, 0] = tensor.path, numbers

    def _step(self, node: Node) -> None:
        if node.sort == "op" and not any(source.node in self.live for source in node.inputs):
            found = [item for source in node.inputs if (item := self.weights.get(_place(source))) is not None]
            for output in range(len(node.shapes)) if len(found) == 1 else ():
                array = moved(node, found[0][1], output)
                if array is not None:
                    self.weights[node.id, output] = found[0][0], array
            return
        self.live.add(node.id)
        owned = node.sort == "layer" and node.path is not None and self.layers[node.path].tensors
        raw = [self.weights[_place(source)] for source in node.inputs if _place(source) in self.weights]
        if owned or any(self._kernel(path) is not None for path, _ in raw):
            for source in node.inputs:
                self._used(source)
            self._weighted(node, raw)
        elif raw and node.kind == "add" and self._kept(node):
            return  # a bias behind the product
        else:
            self._plain(node)

    def _kernel(self, path: str) -> WeightUse | None:
        return kernel_use(self.trace.side, *self.tensors[path])

    def _weighted(self, node: Node, raw: Sequence[tuple[str, Array]]) -> None:
        """Number the elements of a product by the outputs that they are."""
        if node.sort == "layer":
            assert node.path is not None
            layer = self.layers[node.path]
            raw = [
                (tensor.path, numbers)
                for tensor in layer.tensors
                for use in [kernel_use(self.trace.side, layer, tensor)]
                if use is not None and (numbers := _numbered(use, tensor.shape)) is not None
            ]
        kernels = [(path, array, use) for path, array in raw if (use := self._kernel(path)) is not None]
        if len(kernels) != 1 or len(node.shapes) != 1:
            return
        path, array, use = kernels[0]
        base = np.array(sorted(_distinct(array)))
        for other, numbers in raw:
            rows = tuple(sorted(_distinct(numbers)))
            if other != path and len(rows) < prod(self.tensors[other][1].shape):
                self.vectors[node.id] = rows
        lengths = sizes(use, "out") if base.size == prod(sizes(use, "out")) else (base.size,)
        numbers = _placed(base, lengths, node.shapes[0], self.trace.side == "torch" and use.family == "conv")
        if numbers is not None:
            self.base[node.id] = prod(sizes(use, "out")), base
            self.chain[node.id, 0] = node.id, numbers

    # --- results -------------------------------------------------------------------------------------

    def _kept(self, node: Node) -> bool:
        """Whether a step leaves every element of a product where it is; its result is then the product's."""
        data = [source for source in node.inputs if source.node in self.live]
        known = self.chain.get(_place(data[0])) if len(data) == 1 else None
        if known is None or node.shapes[0] != known[1].shape:
            return False
        self.chain[node.id, 0] = known
        return True

    def _plain(self, node: Node) -> None:
        data = [source for source in node.inputs if source.node in self.live]
        known = self.chain.get(_place(data[0])) if len(data) == 1 and node.kind in MOVING else None
        arrays = [] if known is None else [moved(node, known[1], i) for i in range(len(node.shapes))]
        if known is not None and all(array is not None for array in arrays):
            for output, array in enumerate(arrays):
                if array is not None:
                    self.chain[node.id, output] = known[0], array
            return
        tainted = [self._used(source) for source in data]
        if node.label in PRODUCTS or node.kind in PRODUCTS or (node.kind == "mul" and len(data) > 1):
            return
        found: dict[int, set[int]] = {}
        for item in tainted:
            for number, sets in item.items():
                found.setdefault(number, set()).update(sets)
        if node.kind in MIXING:
            for number, sets in found.items():
                if sum(number in item for item in tainted) > 1:
                    self.groups[number].joined.append(set(sets))
        self.taint[node.id] = found

    def _used(self, source: Source) -> dict[int, set[int]]:
        """Note what a step takes of a product, and give what its operand was made of."""
        known = self.chain.get(_place(source))
        if known is None:
            return self.taint.get(source.node, {})
        number = self.groups.setdefault(known[0], _Groups()).add(_distinct(known[1]))
        return {known[0]: {number}}


def moved(node: Node, array: Array, output: int) -> Array | None:
    """What a step that only moves its operand makes of it; None for any other step."""
    shape = node.shapes[output]
    if node.kind == "transpose":
        order = permutation(node, array.ndim)
        return None if order is None else array.transpose(order)
    if node.kind == "slice":
        key = key_of(node, array.shape, output)
        try:
            part = None if key is None else array[key]
        except IndexError:
            return None
        return part if part is not None and part.shape == shape else None
    return array.reshape(shape) if node.kind in MOVING and prod(shape) == array.size else None


def _place(source: Source) -> Place:
    return source.node, source.output


def _distinct(array: Array) -> frozenset[int]:
    """The numbers in an array, of which many axes may repeat the same."""
    first = tuple(0 if stride == 0 else slice(None) for stride in array.strides)
    return frozenset(np.unique(array[first]).tolist())


def _numbered(use: WeightUse, shape: Sequence[int]) -> Array | None:
    """For each element of a stored kernel, which output it belongs to; no memory is taken for it."""
    axes = [i for i, parts in enumerate(use.axes) if any(part.role == "out" for part in parts)]
    if any(part.role != "out" for i in axes for part in use.axes[i]):
        return None
    places = [part.place for i in axes for part in use.axes[i]]
    if places != sorted(places):
        return None
    lengths = [size if i in axes else 1 for i, size in enumerate(shape)]
    return np.broadcast_to(np.arange(prod(lengths)).reshape(lengths), tuple(shape))


def _placed(base: Array, lengths: Iterable[int], shape: Sequence[int], second: bool) -> Array | None:
    """The numbers of the outputs at the elements of a result: on its last axes, or on the second one."""
    counts = tuple(size for size in lengths)
    ends = [1] if second else [len(shape) - len(counts), len(shape) - 1]
    for lengths_ in (counts, (base.size,)):
        first = ends[0] if second else len(shape) - len(lengths_)
        if first > 0 and tuple(shape[first : first + len(lengths_)]) == lengths_:
            laid = (1,) * first + lengths_ + (1,) * (len(shape) - first - len(lengths_))
            return np.broadcast_to(base.reshape(laid), tuple(shape))
    return None
