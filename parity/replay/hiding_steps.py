"""Steps that make something coarse of what they are given, and the way back from the outputs to what they were given."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from parity.core.store import Store
from parity.core.tolerance import FLUSHED, seen
from parity.core.trace import Node, NodeObserver, Source, Trace, Values
from parity.core.types import Array

PASSED_ON = 0.01
"""A step hides its operand where fewer of its values move, as a share of the operand's that do."""

ROUNDING = {"round", "rint", "floor", "ceil", "trunc", "fix", "sign", "heaviside", "floor_divide", "floordiv", "onehot",
            "one_hot", "searchsorted", "digitize", "bucketize", "quantize", "histogram", "bincount"}  # fmt: skip
"""Kinds of steps whose floating results are whole numbers, or as coarse."""


FIXED = {"oneslike", "zeroslike", "fulllike", "newones", "newzeros", "newfull"}
"""Kinds of steps that take no more than the shape of their operand."""

COUNTING = {"pack_sequence"}
"""Kinds of steps whose whole numbers do not depend on the floating operand: the lengths of sequences."""

FIRST, SAMPLE = 8, 256
"""Values of a tensor that are looked at first, and then."""

DIGITS = 13
"""Decimals, relative to the greatest value, that count where a step gives two values."""


def at_ends(value: Array) -> bool:
    """Whether a floating tensor holds two values at most in every digit that counts, and not zeros alone.

    Such are the results of a softmax, a sigmoid or a clip whose operand is far out.
    """
    if value.dtype.kind != "f" or value.size == 0:
        return False
    flat = value.reshape(-1)
    greatest = float(max(flat.max(), -flat.min()))
    if not FLUSHED < greatest < np.inf:
        return False
    first = flat[:: 1 + flat.size // FIRST] / greatest
    if len({round(one, DIGITS) for one in first.tolist()}) > 2:
        return False
    for some in (flat[:: 1 + flat.size // SAMPLE], flat):
        different = np.unique(np.round(some / greatest, DIGITS)).size
        if different > 2:
            return False
    return different < flat.size or greatest == flat.size == 1


def hides_by_shape(node: Node, values: Sequence[Array]) -> bool:
    """Whether a step gives the same for every operand of this shape: ones like it, or a softmax over one value."""
    kind = node.kind.replace("_", "")
    return kind in FIXED or ("softmax" in kind and all((value == 1.0).all() for value in values))


@dataclass(frozen=True)
class HiddenTensor:
    """What a hiding step of one side was given.

    Attributes:
        step: what the report calls the step.
        value: the tensor, in the layout of its own side.
        spread: how far one rounding everywhere moves each element.
    """

    step: str
    value: Array
    spread: Array


@dataclass
class Hidden:
    """What one side's hiding steps were given, and everything that it computed.

    Attributes:
        tensors: operands of hiding steps on the way to an output.
        blind: outputs, and steps, that hide and could not be followed back to a floating tensor.
        values: every floating tensor of the trace.
    """

    tensors: list[HiddenTensor] = field(default_factory=list)
    blind: list[str] = field(default_factory=list)
    values: list[Array] = field(default_factory=list)


class StepKeeper(NodeObserver):
    """Keeps what the steps give: all of them, or those asked for."""

    def __init__(self, store: Store, key: str, wanted: set[int] | None = None) -> None:
        self._store, self._key, self._wanted = store, key, wanted
        self.counts: dict[int, int] = {}

    def after(self, node: Node, outputs: Values) -> list[Array] | None:
        """Keep one step's results."""
        if self._wanted is None or node.id in self._wanted:
            values = outputs()
            self.counts[node.id] = len(values)
            for i, value in enumerate(values):
                self._store[self._key, node.id, i] = value
        return None

    def value(self, source: Source) -> Array | None:
        """What a step gave; None where it was not kept."""
        if source.output >= self.counts.get(source.node, 0):
            return None
        return self._store[self._key, source.node, source.output]


class HiddenSearch:
    """Follows the outputs of one side back to the floating tensors that hiding steps were given."""

    def __init__(
        self, trace: Trace, keeper: StepKeeper, moved: StepKeeper, inputs: Sequence[Array], comparable: bool
    ) -> None:
        self.trace, self.inputs, self.comparable = trace, inputs, comparable
        self._kept, self._moved = keeper, moved
        self.taken: list[Source] = []

    def run(self, outputs: Sequence[tuple[str, Array]]) -> Hidden:
        """Operands of the hiding steps among the outputs' ancestors."""
        found = Hidden()
        starts: list[Source] = []
        for (name, source), (_, value) in zip(self.trace.outputs, outputs, strict=True):
            start = self._origin(source, value)
            if start is not None:
                starts.append(start)
            elif value.dtype.kind not in "fc":
                found.blind.append(f"output {name}".strip())
        decided = {(s.node, s.output) for s in starts if self._still(s)}
        seen: set[int] = set()
        queue = list(starts)
        while queue:
            source = queue.pop()
            node = self.trace.nodes[source.node]
            if (source.node, source.output) in decided or self._hides(node):
                self._take(node, found, decided)
            if node.id not in seen:
                seen.add(node.id)
                queue += node.inputs
        found.tensors = [HiddenTensor(step, value, np.zeros(value.shape)) for step, value in self._named]
        found.values = [value for value in self._every() if value.dtype.kind in "fc"]
        return found

    @property
    def _named(self) -> list[tuple[str, Array]]:
        named = []
        for source in self.taken:
            value = self._value(source)
            assert value is not None
            users = [
                n
                for n in self.trace.nodes
                if any((s.node, s.output) == (source.node, source.output) for s in n.inputs)
            ]
            label = next((n.label for n in users if self._hides(n)), users[0].label if users else "a step")
            named.append((label, value))
        return named

    def _take(self, node: Node, found: Hidden, decided: set[tuple[int, int]]) -> None:
        """Note what a hiding step was given; where nothing floating moved, look at what its operands were made from."""
        floating = [s for s in node.inputs if self._is_floating(s)]
        moving = [s for s in floating if not self._still(s)]
        for source in moving:
            plain = Source(source.node, source.output)
            if plain not in self.taken:
                self.taken.append(plain)
        if not moving:
            if not node.inputs and node.sort != "input":
                found.blind.append(node.label)
            decided.update(
                (s.node, s.output) for s in node.inputs if self.trace.nodes[s.node].sort in {"op", "layer"}
            )

    # --- values -----------------------------------------------------------------------------------------

    def _value(self, source: Source) -> Array | None:
        node = self.trace.nodes[source.node]
        if node.sort == "input":
            return np.asarray(self.inputs[self.trace.inputs.index(node.id)])
        return self._kept.value(source)

    def _every(self) -> Iterator[Array]:
        yield from map(np.asarray, self.inputs)
        for node in self.trace.nodes:
            for i in range(len(node.shapes)):
                value = self._kept.value(Source(node.id, i))
                if value is not None:
                    yield value

    def _is_floating(self, source: Source) -> bool:
        value = self._value(source)
        return value is not None and value.dtype.kind in "fc"

    def _share_moved(self, source: Source) -> float:
        """The share of a tensor's values that moved; none of a constant's, all where that is not known."""
        node = self.trace.nodes[source.node]
        value = self._value(source)
        if node.sort == "input":
            return float(value is not None and value.dtype.kind in "fc")
        after = self._moved.value(source) if self.comparable else None
        if value is None or value.size == 0:
            return 0.0
        if after is None or after.shape != value.shape:
            return 1.0
        return float(np.mean(seen(value) != seen(after)))

    def _still(self, source: Source) -> bool:
        """Whether (nearly) nothing in a tensor moves, or it holds no floating numbers at all."""
        value = self._value(source)
        whole = value is not None and value.dtype.kind not in "fc"
        return whole or self._share_moved(source) == 0.0

    def _hides(self, node: Node) -> bool:
        """Whether a step makes something coarse of a floating operand that moves."""
        if node.sort not in {"op", "layer"} or node.kind in COUNTING:
            return False
        shares = [self._share_moved(s) for s in node.inputs if self._is_floating(s)]
        if not any(shares):
            return False
        results = [Source(node.id, i) for i in range(len(node.shapes))]
        if any(self._value(r) is not None and not self._is_floating(r) for r in results):
            return True
        coarse = node.kind.replace("_", "") in {kind.replace("_", "") for kind in ROUNDING}
        values = [value for r in results if (value := self._value(r)) is not None]
        if values and all(map(at_ends, values)) and all(map(self._still, results)):
            return not hides_by_shape(node, values)
        return coarse and all(self._share_moved(r) < PASSED_ON * max(shares) for r in results)

    def _origin(self, source: Source, value: Array) -> Source | None:
        """The step that gave an output; of a number or an array, the last step that gave these values."""
        if self.trace.nodes[source.node].sort != "constant":
            return source
        for node in reversed(self.trace.nodes):
            for i in range(len(node.shapes)):
                known = self._kept.value(Source(node.id, i))
                if (
                    known is not None
                    and known.size == value.size
                    and np.array_equal(known.reshape(-1), value.reshape(-1))
                ):
                    return Source(node.id, i)
        return None
