"""Is a model repeatable, and if not, from which place on? Noise is never blamed on a layer of the other side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from parity.adapters.base import Adapter, Array
from parity.replay import Call, Recorder
from parity.store import Store


@dataclass(frozen=True)
class Noise:
    """The first place at which two evaluations of one input differ.

    Attributes:
        path: of the layer; None where no layer shows it.
        inside: whether the layer itself is random, or what arrives at it.
        evidence: what was measured.
        dropped: whether values are zeroed and the rest scaled, as dropout does.
    """

    path: str | None
    inside: bool
    evidence: str
    dropped: bool = False


def noise(model: Adapter, inputs: Sequence[Array]) -> Noise | None:
    """Where the model's evaluation is not repeatable; None where two evaluations give the same bits."""
    leaves = {path for path, layer in model.layers().items() if layer.leaf}
    with Store() as store, Store() as again:
        first, second = Recorder(store), Recorder(again)
        outputs = []
        for recorder in (first, second):
            with model.watched(recorder, leaves):
                try:
                    outputs.append([value for _, value in model.forward(inputs)])
                except Exception:  # a model that raises is no matter of noise
                    return None
        if all(map(_identical, *outputs)):
            return None
        for a, b in zip(first.calls, second.calls, strict=False):
            if a.path != b.path:
                break
            if not all(map(_identical, a.inputs, b.inputs)):
                return Noise(a.path, False, f"what arrives at {a.path} differs between two evaluations")
            if not all(map(_identical, a.outputs, b.outputs)):
                return _inside(a, b)
    return Noise(None, False, "two evaluations of one input differ")


def _inside(a: Call, b: Call) -> Noise:
    text = f"{a.path} gives different results for one and the same input"
    y, z = a.outputs[0], b.outputs[0]
    if y.shape == z.shape and y.size:
        both = (y != 0) & (z != 0)
        share = float((y == 0).mean()), float((z == 0).mean())
        # Dropout zeroes other values each time, and where it zeroes none it does the same each time.
        if both.any() and min(share) > 0 and np.array_equal(y[both], z[both]):
            zeros = f"{share[0]:.0%} and {share[1]:.0%} of the values are zero, at other places each time"
            return Noise(
                a.path, True, f"{text}: {zeros}, and the rest is the same, as dropout does in training", True
            )
    return Noise(a.path, True, text)


def _identical(a: Array, b: Array) -> bool:
    return bool(np.array_equal(a, b, equal_nan=a.dtype.kind in "fc"))
