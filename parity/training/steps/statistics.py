"""Why running statistics differ in training: the rule that each side follows, found on the same batches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from parity.core.finding import Finding, Fix, Kind
from parity.core.types import Array
from parity.pairing.pair import LayerPair
from parity.training.steps.explained import EXACT, Explained


@dataclass(frozen=True)
class Statistics:
    """Running statistics of one normalisation before and after one step, as Keras lays them out.

    Attributes:
        pair: the layers.
        batches: mean, variance and count of every call's input.
        before: (mean, variance) before the step, the same on both sides.
        keras: (mean, variance) after it; `torch` likewise.
        keep: the share of the old value that each side's setting asks for: (Keras, torch).
    """

    pair: LayerPair
    batches: Sequence[tuple[Array, Array, int]]
    before: tuple[Array, Array]
    keras: tuple[Array, Array]
    torch: tuple[Array, Array]
    keep: tuple[float, float]


def batch_of(value: Array, axis: int) -> tuple[Array, Array, int]:
    """Mean, biased variance and count of each channel."""
    axis %= value.ndim
    axes = tuple(i for i in range(value.ndim) if i != axis)
    return value.mean(axes), value.var(axes), value.size // value.shape[axis]


def _distinct(keep: tuple[float, float]) -> tuple[float, ...]:
    """Both shares, or one where they differ by rounding only (1 - 0.9 is not 0.1)."""
    return keep if abs(keep[0] - keep[1]) > EXACT else keep[:1]


def _predicted(s: Statistics, keep: float, unbiased: bool) -> tuple[Array, Array]:
    mean, variance = s.before
    for batch_mean, batch_variance, count in s.batches:
        wide = batch_variance * (count / (count - 1)) if unbiased and count > 1 else batch_variance
        mean, variance = keep * mean + (1.0 - keep) * batch_mean, keep * variance + (1.0 - keep) * wide
    return mean, variance


def _follows(actual: tuple[Array, Array], predicted: tuple[Array, Array]) -> float:
    """Greatest difference relative to each statistic's scale."""
    return max(
        float(np.abs(a - p).max(initial=0.0)) / max(float(np.abs(p).max(initial=0.0)), 1e-300)
        for a, p in zip(actual, predicted, strict=True)
    )


def explain_statistics(s: Statistics) -> Explained:
    """Which rule each side follows, and why these rules differ."""
    keras, torch = _rule(s, s.keras, s.keep[0]), _rule(s, s.torch, s.keep[1])
    names = s.pair.keras, ", ".join(s.pair.torch)
    if keras is None or torch is None or keras == torch:
        gap = max(float(np.abs(a - b).max()) for a, b in zip(s.keras, s.torch, strict=True))
        text = f"running statistics differ by up to {gap:.3g} in one step, by no known rule"
        return Explained([Finding(*names, Kind.TRAINING, None, text)], ignored={names[0]}, known=False)
    found = Explained(batchnorm={names[0]: {}})
    agreement = _follows(s.torch, _predicted(s, *torch))
    if abs(keras[0] - torch[0]) > EXACT:
        text = (
            f"Keras keeps {keras[0]:g} of the old statistic, torch {torch[0]:g} (momentum={1 - torch[0]:.6g}): "
            f"both sides' new mean and variance equal keep*old + (1 - keep)*batch to {agreement:.1g}"
        )
        shown = f"(Keras momentum = 1 - torch momentum); the step then agrees to {agreement:.1g}"
        in_keras = f"momentum={torch[0]:.6g} on Keras {names[0]}"
        in_torch = f"momentum={1 - keras[0]:.6g} on torch {names[1]}"
        fix = Fix(f"{in_keras} {shown}", f"{in_torch} {shown}", f"{in_keras}, or {in_torch} {shown}")
        found.findings.append(Finding(*names, Kind.TRAINING, "batchnorm-momentum", text, fix, True))
        found.batchnorm[names[0]]["momentum"] = torch[0]
    if keras[1] != torch[1]:
        found.rules.append(_variance(s, names, torch[1], agreement))
        found.batchnorm[names[0]]["unbiased"] = torch[1]
    return found


def _rule(s: Statistics, after: tuple[Array, Array], keep: float) -> tuple[float, bool] | None:
    """(share of the old value that is kept, whether the variance is the unbiased one) of one side; None if neither.

    The share that the side's own setting asks for is tried first.
    """
    candidates = [(share, unbiased) for share in _distinct(s.keep) for unbiased in (False, True)]
    for share, unbiased in sorted(candidates, key=lambda candidate: abs(candidate[0] - keep)):
        if _follows(after, _predicted(s, share, unbiased)) < EXACT:
            return share, unbiased
    return None


def _variance(s: Statistics, names: tuple[str, str], torch_unbiased: bool, agreement: float) -> Finding:
    count = s.batches[0][2]
    wide, narrow = ("torch", "Keras") if torch_unbiased else ("Keras", "torch")
    text = (
        f"{wide} stores the unbiased batch variance, {narrow} the biased one: the batch's term differs by n/(n - 1) = "
        f"{count}/{count - 1} = {count / max(count - 1, 1):.8g}; with the other side's rule "
        f"the step agrees to {agreement:.1g}"
    )
    fix = (
        f"a batch normalisation with one rule on both sides: in Keras, multiply the batch variance that goes into "
        f"moving_variance of {names[0]} by n/(n - 1) (tf_impl.layers.BatchNorm2d does), or compare with "
        "match_rules=True (--match-rules)"
    )
    return Finding(*names, Kind.TRAINING, "batchnorm-running-variance", text, fix, True)
