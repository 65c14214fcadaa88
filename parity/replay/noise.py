"""Is a model repeatable, and if not, from which step on? Noise is never blamed on a layer of the other side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from parity.core.adapter import Adapter
from parity.core.store import Store
from parity.core.trace import Node, NodeObserver, Trace, Values
from parity.core.types import Array


@dataclass(frozen=True)
class Noise:
    """The first step at which two evaluations of one input differ.

    Attributes:
        path: of the layer; of the layer that the step feeds, where it is none; None where there is none.
        evidence: what was measured.
        dropped: whether values are zeroed at random places and the rest is the same, as dropout does.
    """

    path: str | None
    evidence: str
    dropped: bool = False


class _StepValues(NodeObserver):
    def __init__(self, store: Store) -> None:
        self.store, self.counts = store, dict[int, int]()

    def after(self, node: Node, outputs: Values) -> None:
        """Keep one step's results."""
        values = outputs()
        self.counts[node.id] = len(values)
        for i, value in enumerate(values):
            self.store[node.id, i] = value

    def values(self, node: Node) -> list[Array]:
        """What a step gave."""
        return [self.store[node.id, i] for i in range(self.counts.get(node.id, 0))]


def noise(model: Adapter, inputs: Sequence[Array]) -> Noise | None:
    """Where the model's evaluation is not repeatable; None where two evaluations give the same bits."""
    with Store() as store, Store() as again:
        keepers = _StepValues(store), _StepValues(again)
        try:
            runs = [model.trace(inputs, keeper) for keeper in keepers]
        except Exception:  # a model that raises is no matter of noise
            return None
        if all(_identical(a, b) for (_, a), (_, b) in zip(runs[0][0], runs[1][0], strict=True)):
            return None
        for node in runs[0][1].nodes:
            pairs = list(zip(keepers[0].values(node), keepers[1].values(node), strict=False))
            if not all(_identical(a, b) for a, b in pairs):
                return _at(node, runs[0][1], pairs)
    return Noise(None, "two evaluations of one input differ")


def _at(node: Node, trace: Trace, pairs: Sequence[tuple[Array, Array]]) -> Noise:
    fed = node.path if node.sort == "layer" else _feeds(node, trace)
    name = node.path if node.sort == "layer" else f"the step {node.label} in front of {fed or 'the output'}"
    text = f"{name} gives different results for one and the same input"
    for y, z in pairs:
        if y.shape == z.shape and y.size:
            both = (y != 0) & (z != 0)
            share = float((y == 0).mean()), float((z == 0).mean())
            # Dropout zeroes other values each time, and where it zeroes none it does the same each time.
            if both.any() and min(share) > 0 and np.array_equal(y[both], z[both]):
                zeros = f"{share[0]:.0%} and {share[1]:.0%} of the values are zero, at other places each time"
                return Noise(
                    fed, f"{text}: {zeros}, and the rest is the same, as dropout does in training", True
                )
    return Noise(fed, text)


def _feeds(node: Node, trace: Trace) -> str | None:
    """The first layer behind a step."""
    behind = {node.id}
    for later in trace.nodes[node.id + 1 :]:
        if any(source.node in behind for source in later.inputs):
            if later.sort == "layer":
                return later.path
            behind.add(later.id)
    return None


def _identical(a: Array, b: Array) -> bool:
    return bool(np.array_equal(a, b, equal_nan=a.dtype.kind in "fc"))
