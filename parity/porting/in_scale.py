"""Random statistics for a source that fit what it computes: deep sums would grow until a softmax gives 0 and 1 alone."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from parity.core.adapter import Adapter, Observer
from parity.core.types import Array

MEANS, VARIANCES = ("running_mean", "moving_mean"), ("running_var", "moving_variance")
LEAST = 0.1
"""Of the mean variance of all channels: a channel that stands still keeps a variance of its own."""


def in_scale(model: Adapter, inputs: Sequence[Array], seed: int = 0) -> int:
    """Give normalisations random statistics around those of what comes in, one layer after the other in one pass.

    Args:
        model: with random weights.
        inputs: as it takes them.
        seed: of the statistics.

    Returns:
        How many layers there are.
    """
    observer = _Statistics(model, np.random.default_rng(seed))
    if not observer.known:
        return 0
    with model.watched(observer, set(observer.known)):
        model.forward(inputs)
    for path, value in observer.drawn.items():  # a pass of inference puts them back
        model.write(path, value)
    return len(observer.known)


class _Statistics(Observer):
    """Draws the statistics of a layer when it is called first."""

    def __init__(self, model: Adapter, rng: np.random.Generator) -> None:
        self.model, self.rng = model, rng
        self.drawn: dict[str, Array] = {}
        self.known: dict[str, tuple[str, str]] = {}
        for path, layer in model.layers().items():
            found = {tensor.name: tensor.path for tensor in layer.tensors}
            means, variances = ([found[n] for n in names if n in found] for names in (MEANS, VARIANCES))
            if means and variances:
                self.known[path] = (means[0], variances[0])

    def before(self, path: str, index: int, inputs: list[Array]) -> list[Array] | None:
        """Write the statistics, which this call reads already."""
        mean, variance = self.known[path]
        held = self.model.read(mean)
        value = np.asarray(inputs[0], dtype="float64")
        axis = 1 if self.model.side == "torch" else value.ndim - 1
        if index or held.ndim != 1 or value.ndim < 2 or value.shape[axis] != held.size:
            return None
        rest = tuple(n for n in range(value.ndim) if n != axis)
        spread = value.var(rest)
        spread = np.maximum(spread, LEAST * float(spread.mean()) or 1.0)
        drawn = {
            mean: value.mean(rest) + self.rng.normal(0.0, 0.3, held.shape) * np.sqrt(spread),
            variance: spread * self.rng.uniform(0.5, 2.0, held.shape),
        }
        for name, values in drawn.items():
            self.drawn[name] = values.astype(self.model.read(name).dtype)
            self.model.write(name, self.drawn[name])
        return None
