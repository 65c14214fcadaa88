"""Steps that hide what they are given: labels, masks, indices, rounded values.

Two networks may differ and give the same labels. A label is therefore not judged alone: the trace says which floating
tensors it was read from, and these must be on both sides, element by element.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np

from parity.core.adapter import Adapter
from parity.core.store import Store
from parity.core.tolerance import Difference, difference, limits
from parity.core.trace import Node, NodeObserver, Source, Trace, Values
from parity.core.types import Array
from parity.replay.spread import DRAWS, Shaker, shaken

NUDGE = 1e-7
"""How far, relative to itself, every input and weight is moved to see which steps pass a movement on."""

PASSED_ON = 0.01
"""A step hides its operand where fewer of its values move, as a share of the operand's that do."""

ROUNDING = {"round", "rint", "floor", "ceil", "trunc", "fix", "sign", "heaviside", "floor_divide", "floordiv", "onehot",
            "one_hot", "searchsorted", "digitize", "bucketize", "quantize", "histogram", "bincount"}  # fmt: skip
"""Kinds of steps whose floating results are whole numbers, or as coarse."""


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


class _Kinds(NodeObserver):
    """Notes which results are floating."""

    def __init__(self) -> None:
        self.floating: dict[int, list[bool]] = {}

    def after(self, node: Node, outputs: Values) -> None:
        """Note one step's."""
        self.floating[node.id] = outputs.floating()


class _Keeper(NodeObserver):
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


def may_hide(model: Adapter, inputs: Sequence[Array], outputs: Sequence[tuple[str, Array]]) -> bool:
    """Whether an output or a step on the way to one may hide what it is given; one or two evaluations.

    Args:
        model: one side, held in float64.
        inputs: model inputs in its own layout.
        outputs: what it gave for them.
    """
    if any(value.dtype.kind not in "fc" for _, value in outputs):
        return True
    kinds = _Kinds()
    try:
        trace = model.trace(inputs, kinds)[1]
    except Exception:  # any model, any error: it cannot be looked into
        return False
    wanted = _ancestors(trace)
    if any(_is_discrete(node, kinds.floating) for node in trace.nodes if node.id in wanted):
        return True
    if all(_varied(value) for _, value in outputs):
        return False
    with _nudged(model, 0):
        moved = model.forward([shaken(np.random.default_rng(1), value, NUDGE) for value in inputs])
    return any(
        value.size and np.array_equal(value, after)
        for (_, value), (_, after) in zip(outputs, moved, strict=True)
    )


def _varied(value: Array, sample: int = 4096) -> bool:
    """Whether most values of a tensor are unlike all others, zeros left out: no rounding gave them."""
    some = value.reshape(-1)[:sample]
    some = some[some != 0]
    return bool(np.unique(some).size > 0.5 * some.size) if some.size else value.size == 0


def _ancestors(trace: Trace) -> set[int]:
    """Ids of the outputs' steps and of all that lead to them; all steps where an output's origin is not known."""
    found = {source.node for _, source in trace.outputs}
    if any(trace.nodes[i].sort == "constant" for i in found):
        return {node.id for node in trace.nodes}
    for node in reversed(trace.nodes):
        if node.id in found:
            found.update(source.node for source in node.inputs)
    return found


def _is_discrete(node: Node, floating: Mapping[int, Sequence[bool]]) -> bool:
    """Whether a step makes whole numbers, truth values or rounded values of a floating tensor."""
    if node.sort not in {"op", "layer"} or not node.inputs:
        return False
    taken = [
        floating[source.node][source.output]
        for source in node.inputs
        if source.output < len(floating.get(source.node, ()))
    ]
    fed = any(taken) or not all(source.node in floating for source in node.inputs)
    whole = any(not is_float for is_float in floating.get(node.id, ()))
    return fed and (whole or node.kind.replace("_", "") in {kind.replace("_", "") for kind in ROUNDING})


@contextmanager
def _nudged(model: Adapter, seed: int, unit: float = NUDGE) -> Iterator[None]:
    """Every floating weight moved a little while this is open."""
    rng = np.random.default_rng(seed)
    floating = {
        tensor.path: model.read(tensor.path)
        for layer in model.layers().values()
        for tensor in layer.tensors
        if tensor.dtype.startswith(("float", "bfloat"))
    }
    try:
        for path, value in floating.items():
            model.write(path, shaken(rng, value, unit))
        yield
    finally:
        for path, value in floating.items():
            model.write(path, value)


def hidden(model: Adapter, inputs: Sequence[Array]) -> Hidden:
    """What the hiding steps of one side were given.

    Args:
        model: one side, held in float64.
        inputs: model inputs in its own layout.
    """
    with Store() as store:
        keeper, moved = _Keeper(store, "plain"), _Keeper(store, "moved")
        try:
            outputs, trace = model.trace(inputs, keeper)
            with _nudged(model, 0):
                again = model.trace([shaken(np.random.default_rng(1), v, NUDGE) for v in inputs], moved)[1]
        except Exception:  # any model, any error: nothing in it can be looked at
            return Hidden(blind=["a traced pass"])
        search = _Search(trace, keeper, moved, inputs, len(again.nodes) == len(trace.nodes))
        found = search.run(outputs)
        _measure(model, inputs, found, search.taken)
        return found


class _Search:
    """Follows the outputs of one side back to the floating tensors that hiding steps were given."""

    def __init__(
        self, trace: Trace, keeper: _Keeper, moved: _Keeper, inputs: Sequence[Array], comparable: bool
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
        return float(np.mean(value != after))

    def _still(self, source: Source) -> bool:
        """Whether (nearly) nothing in a tensor moves, or it holds no floating numbers at all."""
        value = self._value(source)
        whole = value is not None and value.dtype.kind not in "fc"
        return whole or self._share_moved(source) == 0.0

    def _hides(self, node: Node) -> bool:
        """Whether a step makes something coarse of a floating operand that moves."""
        if node.sort not in {"op", "layer"}:
            return False
        shares = [self._share_moved(s) for s in node.inputs if self._is_floating(s)]
        if not any(shares):
            return False
        results = [Source(node.id, i) for i in range(len(node.shapes))]
        if any(self._value(r) is not None and not self._is_floating(r) for r in results):
            return True
        coarse = node.kind.replace("_", "") in {kind.replace("_", "") for kind in ROUNDING}
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


def _measure(model: Adapter, inputs: Sequence[Array], found: Hidden, taken: Sequence[Source]) -> None:
    """The spread of every tensor that a hiding step was given."""
    if not taken:
        return
    spreads = [np.zeros(tensor.value.shape) for tensor in found.tensors]
    wanted = {source.node for source in taken}
    for draw in range(DRAWS):
        rng = np.random.default_rng((draw, 0))
        with Store() as store, _nudged(model, draw + 2, 2.0**-52):
            keeper = _ShakenKeeper(store, wanted, Shaker(rng))
            model.trace([shaken(rng, value) for value in inputs], keeper)
            for i, (tensor, source) in enumerate(zip(found.tensors, taken, strict=True)):
                after = keeper.value(source)
                if after is not None and after.shape == tensor.value.shape:
                    with np.errstate(invalid="ignore"):
                        spreads[i] = np.fmax(spreads[i], np.abs(after - tensor.value))
    found.tensors = [
        HiddenTensor(tensor.step, tensor.value, spread)
        for tensor, spread in zip(found.tensors, spreads, strict=True)
    ]


class _ShakenKeeper(NodeObserver):
    """Rounds every step's result otherwise, and keeps those asked for as they go on."""

    def __init__(self, store: Store, wanted: set[int], shaker: Shaker) -> None:
        self._keeper, self._shaker = _Keeper(store, "shaken", wanted), shaker
        self.value = self._keeper.value

    def before(self, node: Node, inputs: Values) -> None:
        """What the shaker wants to know."""
        self._shaker.before(node, inputs)

    def after(self, node: Node, outputs: Values) -> list[Array] | None:
        """Shake, then keep."""
        moved = self._shaker.after(node, outputs)
        self._keeper.after(node, outputs if moved is None else Values(moved, np.asarray))
        return moved


def unmatched(looked_at: Hidden, against: Hidden) -> list[tuple[HiddenTensor, str]]:
    """Tensors that hiding steps of one side were given and the other side has nowhere, each with the nearest one.

    Args:
        looked_at: the side whose hiding steps are looked at.
        against: the side that must have computed the same tensors.
    """
    missing = []
    for tensor in looked_at.tensors:
        gaps = [gap for value in against.values if (gap := _gap(tensor, value)) is not None]
        if not any(gap.mismatched == 0 and gap.size for gap in gaps):
            nearest = min(gaps, key=lambda gap: gap.max_rel, default=None)
            missing.append((tensor, f"the nearest one: {nearest}" if nearest else "none has its shape"))
    return missing


def _gap(tensor: HiddenTensor, value: Array) -> Difference | None:
    """How far a tensor of the other side is from this one, in the layout that fits best; None where none fits."""
    if value.size != tensor.value.size:
        return None
    limit = limits(tensor.value, tensor.spread)
    readings = [value] if value.ndim < 3 else [value, np.moveaxis(value, 1, -1), np.moveaxis(value, -1, 1)]
    gaps = [difference(tensor.value, one, limit=limit) for one in readings if one.shape == tensor.value.shape]
    slim = np.squeeze(tensor.value)
    if not gaps and np.squeeze(value).shape == slim.shape:
        gaps = [difference(slim, np.squeeze(value), limit=np.squeeze(limit))]
    return min(gaps, key=lambda gap: (gap.mismatched, gap.max_rel), default=None)
