"""Where a traced pass attends: which operands are query, key and value, however it is written.

An attention is one function of the frameworks, or a product, a softmax, and a second product. The axis of the softmax
says which operand of the first product is the key.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from parity.core.trace import Node, Trace
from parity.core.types import LayerInfo
from parity.pairing.uses.operations import terms
from parity.pairing.uses.views import permutation

OperandRoles = dict[tuple[int, int], str | None]
"""By step and operand: "query", "key" or "value"; None for what stands between the products."""
FUNCTIONS = frozenset({"scaled_dot_product_attention", "dot_product_attention"})
PARTS = ("query", "key", "value")
REACH = 24
"""Steps between a product and the softmax."""


class Attention(NamedTuple):
    """One attention of a traced pass, by the steps that it consists of.

    Attributes:
        scores: the first product, or the one function that does all; softmax and mixed likewise.
        query, key, value: the numbers of the operands, of `scores` and of `mixed`.
        axis: of the scores, along which the softmax goes.
    """

    scores: Node
    softmax: Node
    mixed: Node
    query: int
    key: int
    value: int
    axis: int = -1


def attentions(trace: Trace, layers: Mapping[str, LayerInfo]) -> list[Attention]:
    """Every attention in a traced pass, in order; those with more than one product in front of their softmax aside.

    Args:
        trace: of a pass in which what happens within attention layers are steps of their own.
        layers: the model's layers by path.
    """
    search = _Search(trace, layers)
    search.run()
    return search.found


def attended(trace: Trace, layers: Mapping[str, LayerInfo]) -> OperandRoles:
    """The operands of every attention in a traced pass.

    Args:
        trace: of a pass in which what happens within attention layers are steps of their own.
        layers: the model's layers by path.
    """
    return _Search(trace, layers).run()


class _Search:
    def __init__(self, trace: Trace, layers: Mapping[str, LayerInfo]) -> None:
        self.trace, self.layers = trace, layers
        self.users = trace.users()
        self.live = set(trace.inputs)
        for node in trace.nodes:
            if any(source.node in self.live for source in node.inputs) or self._weighted(node):
                self.live.add(node.id)
        self.roles: OperandRoles = {}
        self.found: list[Attention] = []

    def run(self) -> OperandRoles:
        for node in self.trace.nodes:
            if node.label in FUNCTIONS:
                self._function(node)
            elif node.kind.lower() == "softmax":
                self._written_out(node)
        return self.roles

    def _function(self, node: Node) -> None:
        for i, source in enumerate(node.inputs):
            name = node.names[i] if node.names else str(i)
            name = PARTS[int(name)] if name in {"0", "1", "2"} else name
            self.roles[node.id, source.position] = name if name in PARTS else None
        places = {role: at for (step, at), role in self.roles.items() if step == node.id}
        if all(part in places for part in PARTS):
            self.found.append(Attention(node, node, node, *(places[part] for part in PARTS)))

    def _written_out(self, softmax: Node) -> None:
        axis = _axis(softmax)
        scores = list(self._in_front(softmax, axis)) if axis is not None else []
        mixed = list(self._behind(softmax))
        if not scores or not mixed:
            return
        for product, at, path in scores:
            key = _with_axis(product, at, [self.trace.nodes[s.node].shapes[s.output] for s in product.inputs])
            if key is None:
                continue
            pair = [source.position for source in product.inputs][-2:]
            for position in pair:
                self.roles[product.id, position] = "key" if position == key else "query"
            self._silent(path)
        for product, taken, path in mixed:
            for source in product.inputs[-2:]:
                self.roles[product.id, source.position] = None if source.node in taken else "value"
            self._silent(path)
        self._silent([softmax.id])
        (product, axis, _), (end, taken, _) = scores[0], mixed[0]
        places = {self.roles.get((product.id, source.position)): source.position for source in product.inputs}
        value = [source.position for source in end.inputs[-2:] if source.node not in taken]
        if len(scores) == len(mixed) == len(value) == 1 and {"query", "key"} <= places.keys():
            found = Attention(product, softmax, end, places["query"], places["key"], value[0], axis)
            self.found.append(found)

    def _silent(self, path: list[int]) -> None:
        for number in path:
            for source in self.trace.nodes[number].inputs:
                self.roles.setdefault((number, source.position), None)

    def _in_front(self, softmax: Node, axis: int) -> Iterator[tuple[Node, int, list[int]]]:
        """The products that the softmax is taken of, the axis of each that it goes along, and the steps between."""
        waiting = [(softmax, axis, [softmax.id])]
        while waiting:
            node, at, path = waiting.pop(0)
            for source in node.inputs:
                front = self.trace.nodes[source.node]
                if source.node not in self.live or len(path) > REACH:
                    continue
                there = _axis_in_front(node, front.shapes[source.output], at)
                if there is None or front.sort not in {"op", "layer"} or self._weighted(front):
                    continue
                if self._multiplies(front):
                    yield front, there, path
                else:
                    waiting.append((front, there, [*path, front.id]))

    def _behind(self, softmax: Node) -> Iterator[tuple[Node, set[int], list[int]]]:
        """The products that take the softmax, by which operand, and the steps between."""
        path: list[int] = []
        waiting, taken = [softmax.id], {softmax.id}
        while waiting and len(path) < REACH:
            for user in self.users[waiting.pop(0)]:
                node = self.trace.nodes[user]
                if user in taken or node.sort not in {"op", "layer"} or self._weighted(node):
                    continue
                if self._multiplies(node):
                    yield node, taken, path
                else:
                    taken.add(user)
                    path.append(user)
                    waiting.append(user)

    def _multiplies(self, node: Node) -> bool:
        """Whether it is a product of two tensors of data."""
        if node.kind not in {"matmul", "einsum", "Einsum"}:
            return False
        return sum(source.node in self.live for source in node.inputs[-2:]) == 2

    def _weighted(self, node: Node) -> bool:
        """Whether a step takes weights."""
        if node.sort == "layer" and node.path is not None:
            layer = self.layers[node.path]
            return bool(layer.tensors) or not layer.leaf
        return any(self.trace.nodes[source.node].sort == "parameter" for source in node.inputs)


def _axis(softmax: Node) -> int | None:
    """The last axis that a softmax goes along."""
    settings: Mapping[str, Any] = softmax.settings
    given = next((settings[name] for name in ("axis", "dim", "1") if settings.get(name) is not None), -1)
    axes = [given] if isinstance(given, int) else list(given)
    rank = len(softmax.shapes[0])
    return max(axis % rank for axis in axes) if axes and all(isinstance(a, int) for a in axes) else None


def _axis_in_front(node: Node, before: tuple[int, ...], axis: int) -> int | None:
    """Where an axis of a step's result is in its operand; None where that is not known."""
    after = node.shapes[0]
    if node.kind == "transpose":
        order = permutation(node, len(before))
        return None if order is None else order[axis]
    if node.kind == "reshape" and len(before) != len(after):
        behind = axis - len(after)
        alike = before[behind:] == after[behind:] if -behind <= len(before) else False
        return len(before) + behind if alike else None
    found = axis - len(after) + len(before)
    return found if found >= 0 and before[found] == after[axis] else None


def _with_axis(product: Node, axis: int, shapes: list[tuple[int, ...]]) -> int | None:
    """Which operand of a product an axis of its result comes from."""
    first, second = product.inputs[-2:]
    rank = len(product.shapes[0])
    if product.kind == "matmul":
        if product.label == "tensordot":
            return None
        return {rank - 1: second.position, rank - 2: first.position}.get(axis)
    found = terms(product, shapes)
    if found is None:
        return None
    letter = found[-1][axis]
    holding = [i for i in (0, 1) if letter in found[i]]
    return (first, second)[holding[0]].position if len(holding) == 1 else None
