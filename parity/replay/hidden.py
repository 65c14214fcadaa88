"""Steps that hide what they are given: labels, masks, indices, rounded values.

Two networks may differ and give the same labels. A label is therefore not judged alone: the trace says which floating
tensors it was read from, and these must be on both sides, element by element.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from parity.core.adapter import Adapter, Observer
from parity.core.store import Store
from parity.core.tolerance import Difference, difference, limits, seen
from parity.core.trace import Node, NodeObserver, Source, Trace, Values
from parity.core.types import Array
from parity.replay.hiding_steps import (
    ROUNDING,
    Hidden,
    HiddenSearch,
    HiddenTensor,
    StepKeeper,
    at_ends,
    hides_by_shape,
)
from parity.replay.spread import DRAWS, Shaker, movement, shaken, weights_shaken

NUDGE = 1e-7
"""How far, relative to itself, every input and weight is moved to see which steps pass a movement on."""


class _Kinds(NodeObserver):
    """Notes which results are floating, and which steps are at their ends."""

    def __init__(self) -> None:
        self.floating: dict[int, list[bool]] = {}
        self.ended: set[int] = set()

    def after(self, node: Node, outputs: Values) -> None:
        """Note one step's."""
        self.floating[node.id] = outputs.floating()
        if node.sort in {"op", "layer"} and self.floating[node.id] and all(self.floating[node.id]):
            values = outputs.look()
            if all(map(at_ends, values)) and not hides_by_shape(node, values):
                self.ended.add(node.id)


@dataclass(frozen=True)
class TracedRun:
    """One traced run with nothing moved.

    Attributes:
        outputs: by name; of a model that cannot be traced, those of a plain run.
        trace: None where the model cannot be traced.
        floating: for each step, which of its results are floating.
        ended: steps whose results are two values at most.
    """

    outputs: list[tuple[str, Array]]
    trace: Trace | None = None
    floating: Mapping[int, Sequence[bool]] = field(default_factory=dict)
    ended: frozenset[int] = frozenset()


def traced_run(model: Adapter, inputs: Sequence[Array]) -> TracedRun:
    """Trace one side; one evaluation.

    Args:
        model: one side, held in float64.
        inputs: model inputs in its own layout.
    """
    kinds = _Kinds()
    try:
        outputs, trace = model.trace(inputs, kinds, last=True)
    except Exception:  # any model, any error: it cannot be looked into
        return TracedRun(model.forward(inputs))
    return TracedRun(outputs, trace, kinds.floating, frozenset(kinds.ended))


def has_hiding_steps(run: TracedRun) -> bool:
    """Whether an output, or a step on the way to one, holds whole numbers, truth values, rounded values or two values."""
    if any(value.dtype.kind not in "fc" for _, value in run.outputs):
        return True
    if run.trace is None:
        return False
    wanted = _ancestors(run.trace)
    return any(
        _is_discrete(node, run.floating) or _first_at_ends(node, run)
        for node in run.trace.nodes
        if node.id in wanted
    )


def stands_still(model: Adapter, inputs: Sequence[Array], outputs: Sequence[tuple[str, Array]]) -> bool:
    """Whether an output stays the same where every weight and input moves a little; one evaluation at most.

    Labels and rounded values do, and so do probabilities that are 0 and 1 to the last digit that counts.

    Args:
        model: one side, held in float64.
        inputs: model inputs in its own layout.
        outputs: what it gave for them.
    """
    if all(varied(value) for _, value in outputs):
        return False
    with weights_shaken(model, np.random.default_rng(0), NUDGE):
        moved = model.forward([shaken(np.random.default_rng(1), value, NUDGE) for value in inputs])
    return any(
        value.size and np.array_equal(seen(value), seen(after))
        for (_, value), (_, after) in zip(outputs, moved, strict=True)
    )


def varied(value: Array, sample: int = 4096) -> bool:
    """Whether most values of a tensor are unlike all others, zeros left out: no rounding gave them."""
    some = seen(value.reshape(-1)[:sample])
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


def _first_at_ends(node: Node, run: TracedRun) -> bool:
    """Whether a step is at its ends, and something floating that it took is not."""
    return node.id in run.ended and any(
        source.node not in run.ended and any(run.floating.get(source.node, [True])) for source in node.inputs
    )


def hidden(model: Adapter, inputs: Sequence[Array]) -> Hidden:
    """What the hiding steps of one side were given.

    Args:
        model: one side, held in float64.
        inputs: model inputs in its own layout.
    """
    with Store() as store:
        keeper, moved = StepKeeper(store, "plain"), StepKeeper(store, "moved")
        try:
            outputs, trace = model.trace(inputs, keeper)
            with weights_shaken(model, np.random.default_rng(0), NUDGE):
                again = model.trace([shaken(np.random.default_rng(1), v, NUDGE) for v in inputs], moved)[1]
        except Exception:  # any model, any error: nothing in it can be looked at
            return Hidden(blind=["a traced pass"])
        search = HiddenSearch(trace, keeper, moved, inputs, len(again.nodes) == len(trace.nodes))
        found = search.run(outputs)
        _measure(model, inputs, found, search.taken)
        return found


def _measure(model: Adapter, inputs: Sequence[Array], found: Hidden, taken: Sequence[Source]) -> None:
    """The spread of every tensor that a hiding step was given."""
    if not taken:
        return
    spreads = [np.zeros(tensor.value.shape) for tensor in found.tensors]
    wanted = {source.node for source in taken}
    for draw in range(DRAWS):
        rng = np.random.default_rng((draw, 0))
        with Store() as store, weights_shaken(model, rng):
            keeper = _ShakenKeeper(store, wanted, Shaker(rng))
            model.trace([shaken(rng, value) for value in inputs], keeper)
            for i, (tensor, source) in enumerate(zip(found.tensors, taken, strict=True)):
                after = keeper.value(source)
                if after is not None and after.shape == tensor.value.shape:
                    spreads[i] = np.maximum(spreads[i], movement(tensor.value, after))
    found.tensors = [
        HiddenTensor(tensor.step, tensor.value, spread)
        for tensor, spread in zip(found.tensors, spreads, strict=True)
    ]


class _ShakenKeeper(NodeObserver):
    """Rounds every step's result otherwise, and keeps those asked for as they go on."""

    def __init__(self, store: Store, wanted: set[int], shaker: Shaker) -> None:
        self._keeper, self._shaker = StepKeeper(store, "shaken", wanted), shaker
        self.value = self._keeper.value

    def before(self, node: Node, inputs: Values) -> None:
        """What the shaker wants to know."""
        self._shaker.before(node, inputs)

    def after(self, node: Node, outputs: Values) -> list[Array] | None:
        """Shake, then keep."""
        moved = self._shaker.after(node, outputs)
        self._keeper.after(node, outputs if moved is None else Values(moved, np.asarray))
        return moved


class _BeforeActivations(Observer):
    """Keeps what layers gave before the activations in them."""

    def __init__(self) -> None:
        self.values: list[Array] = []

    def after(
        self, path: str, index: int, inputs: list[Array], outputs: list[Array], linear: list[Array] | None
    ) -> list[Array] | None:
        """Keep it, where there is an activation."""
        self.values += linear or []
        return None


def before_activations(model: Adapter, inputs: Sequence[Array]) -> list[Array]:
    """What the layers gave before the activations that are built into them, which no trace shows as steps of their own.

    Args:
        model: one side, held in float64.
        inputs: model inputs in its own layout.
    """
    observer = _BeforeActivations()
    leaves = {path for path, layer in model.layers().items() if layer.leaf}
    with model.watched(observer, leaves):
        model.forward(inputs)
    return observer.values


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
