"""Why two models part in training: each cause with its evidence, and its fix tried on the same step."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from parity.adapters.base import Array
from parity.finding import Finding
from parity.optimizers import (
    Part,
    Rule,
    State,
    clipped,
    differing_parts,
    exchanged,
    is_framework_rule,
    update,
)
from parity.pairing import LayerPair
from parity.slots import Slot
from parity.tolerance import STRUCTURE

EXACT = 1e-9
"""How closely a statistic or an update must follow a rule for the rule to be called proven."""


@dataclass
class Explained:
    """Findings, and what makes the rest comparable."""

    findings: list[Finding] = field(default_factory=list)
    rules: list[Finding] = field(default_factory=list)
    batchnorm: dict[str, dict[str, Any]] = field(default_factory=dict)
    parts: list[Part] = field(default_factory=list)
    ignored: set[str] = field(default_factory=set)
    known: bool = True


# --- batch normalisation ----------------------------------------------------------------------------


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
    """Both shares, or the one that they are but for rounding (1 - 0.9 is not 0.1)."""
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
    """Which rule each side follows, and the causes in which they differ."""
    candidates = [(keep, unbiased) for keep in _distinct(s.keep) for unbiased in (False, True)]
    fits = [
        next(
            (
                (keep, unbiased)
                for keep, unbiased in order
                if _follows(actual, _predicted(s, keep, unbiased)) < EXACT
            ),
            None,
        )
        for actual, order in (
            (s.keras, sorted(candidates, key=lambda c: abs(c[0] - s.keep[0]))),
            (s.torch, sorted(candidates, key=lambda c: abs(c[0] - s.keep[1]))),
        )
    ]
    ours, theirs = fits
    names = s.pair.keras, ", ".join(s.pair.torch)
    if ours is None or theirs is None or ours == theirs:
        gap = max(float(np.abs(a - b).max()) for a, b in zip(s.keras, s.torch, strict=True))
        text = f"running statistics part by up to {gap:.3g} in one step, by no rule that is known"
        return Explained([Finding(*names, "training", None, text)], ignored={names[0]}, known=False)
    found = Explained(batchnorm={names[0]: {}})
    agreement = _follows(s.torch, _predicted(s, *theirs))
    if abs(ours[0] - theirs[0]) > EXACT:
        text = (
            f"Keras keeps {ours[0]:g} of the old statistic, torch {theirs[0]:g} (momentum={1 - theirs[0]:.6g}): "
            f"both sides' new mean and variance equal keep*old + (1 - keep)*batch to {agreement:.1g}"
        )
        fix = (
            f"momentum={theirs[0]:.6g} on Keras {names[0]}, or momentum={1 - ours[0]:.6g} on torch {names[1]} "
            f"(Keras momentum = 1 - torch momentum); the step then agrees to {agreement:.1g}"
        )
        found.findings.append(Finding(*names, "training", "batchnorm-momentum", text, fix, True))
        found.batchnorm[names[0]]["momentum"] = theirs[0]
    if ours[1] != theirs[1]:
        found.rules.append(_variance(s, names, theirs, agreement))
        found.batchnorm[names[0]]["unbiased"] = theirs[1]
    return found


def _variance(s: Statistics, names: tuple[str, str], theirs: tuple[float, bool], agreement: float) -> Finding:
    count = s.batches[0][2]
    wide, narrow = ("torch", "Keras") if theirs[1] else ("Keras", "torch")
    text = (
        f"{wide} stores the unbiased batch variance, {narrow} the biased one: the batch's term differs by "
        f"n/(n - 1) = {count}/{count - 1} = {count / max(count - 1, 1):.8g}; with the other side's rule the step agrees to {agreement:.1g}"
    )
    fix = (
        f"a batch normalisation with one rule on both sides: in Keras, multiply the batch variance that goes into "
        f"moving_variance of {names[0]} by n/(n - 1) (tf_impl.layers.BatchNorm2d does), or compare with "
        "match_rules=True (--match-rules)"
    )
    return Finding(*names, "training", "batchnorm-running-variance", text, fix, True)


# --- the optimizer ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Step:
    """One step of one side: what the optimizer was given, and what it made of it, by path.

    Attributes:
        weights: before the step.
        gradients: without the regularisers' part.
        penalties: gradient of the regularisers.
        rules: the rule of each parameter.
        after: the parameters after the step.
    """

    weights: Mapping[str, Array]
    gradients: Mapping[str, Array]
    penalties: Mapping[str, Array]
    rules: Mapping[str, Rule]
    after: Mapping[str, Array]


Rules = Mapping[str, Rule]


def made_of(steps: Sequence[Step], rules: Sequence[Rules]) -> dict[str, Array]:
    """Parameters after the last step, had the optimizer followed these rules in all of them.

    Weights and gradients are those of the run, in which nothing differed before the last step; what the
    optimizer keeps from step to step is what the rules make of them.
    """
    states: dict[str, State] = {}
    weights: dict[str, Array] = {}
    for step, chosen in zip(steps, rules, strict=True):
        paths = [path for path in step.gradients if path in chosen]
        cut = clipped({path: chosen[path] for path in paths}, {path: step.gradients[path] for path in paths})
        for path in paths:
            weights[path], states[path] = update(
                chosen[path], step.weights[path], cut[path], states.get(path, {})
            )
    return weights


def _apart(a: Mapping[str, Array], b: Mapping[str, Array]) -> dict[str, float]:
    """Greatest difference relative to the scale, of the tensors that both have."""
    return {
        path: float(np.abs(a[path] - b[path]).max(initial=0.0))
        / max(float(np.abs(b[path]).max(initial=0.0)), 1e-300)
        for path in a
        if path in b
    }


def _with_penalties(step: Step) -> Step:
    """A regulariser's gradient that is a multiple of the weight is a weight decay added to the gradient."""
    rules, gradients = dict(step.rules), dict(step.gradients)
    for path, penalty in step.penalties.items():
        weight = step.weights[path]
        share = float(np.sum(penalty * weight) / np.sum(weight * weight)) if np.any(weight) else 0.0
        rule = rules.get(path)
        linear = float(np.abs(penalty - share * weight).max()) <= EXACT * float(np.abs(penalty).max())
        if rule is not None and linear and not rule.decay:
            rules[path] = replace(rule, decay=float(f"{share:.12g}"), decoupled=False)
        else:
            gradients[path] = gradients.get(path, 0.0) + penalty
    return replace(step, rules=rules, gradients=gradients)


def explain_step(
    ours: Sequence[Step], theirs: Sequence[Step], slots: Sequence[tuple[LayerPair, Slot]], parted: Slot
) -> Explained:
    """The parts of the two optimizers' rules that make the last step differ.

    Args:
        ours: the Keras steps from the first to the one that differs.
        theirs: torch's, their arrays as Keras lays them out and under the Keras paths.
        slots: pairs of parameters.
        parted: the tensor that is farthest apart.
    """
    ours = [_with_penalties(step) for step in ours]
    pair = next(pair for pair, slot in slots if slot is parted)
    names = pair.keras, ", ".join(pair.torch)
    unknown = Explained(known=False)
    mine, other = ours[-1].rules, theirs[-1].rules
    common = [path for path in ours[-1].gradients if path in theirs[-1].gradients]
    if not common or any(path not in mine or path not in other for path in common):
        return unknown
    for steps in (ours, theirs):  # does the optimizer do what its attributes say?
        if max(_apart(made_of(steps, [step.rules for step in steps]), steps[-1].after).values()) > EXACT:
            return unknown
    parts = {part.name: part for path in common for part in differing_parts(mine[path], other[path])}
    if any(mine[p].algorithm != other[p].algorithm for p in common) or not parts:
        return unknown

    def agreement(chosen: list[Part]) -> float:
        rules = [
            {p: exchanged(a.rules[p], b.rules[p], chosen) for p in a.rules if p in b.rules}
            for a, b in zip(ours, theirs, strict=True)
        ]
        return max(_apart(made_of(ours, rules), theirs[-1].after).values())

    best = agreement(list(parts.values()))
    if best > EXACT:
        return unknown
    found = Explained(parts=list(parts.values()))
    for part in parts.values():
        without = agreement([one for one in parts.values() if one is not part])
        if without <= max(100.0 * best, STRUCTURE):
            continue  # it makes no difference here
        differs = [
            path for path in (parted.keras, *common) if part in differing_parts(mine[path], other[path])
        ]
        a, b = mine[differs[0]], other[differs[0]]
        text, fix = _TEXTS[part.name](a, b)
        text += (
            f"; the step parts by {without:.2g} of the scale, and with torch's {part.name} in Keras "
            f"it agrees to {best:.1g}"
        )
        finding = Finding(*names, "training", part.cause, text, fix, True)
        (found.rules if is_framework_rule(part, a, b) else found.findings).append(finding)
    return found


Texts = Callable[[Rule, Rule], tuple[str, str]]


def _numbers(part: str) -> Texts:
    fields = {"learning rate": ("rate",), "momentum": ("momentum", "dampening", "nesterov"),
              "betas": ("beta1", "beta2", "rho", "centered", "amsgrad"), "direction": ("maximize",)}[part]  # fmt: skip

    def texts(a: Rule, b: Rule) -> tuple[str, str]:
        said = [
            f"{n}={getattr(a, n)} in Keras, {getattr(b, n)} in torch"
            for n in fields
            if getattr(a, n) != getattr(b, n)
        ]
        return "; ".join(said), f"the same {part} on both sides"

    return texts


def _rate_in_velocity(a: Rule, b: Rule) -> tuple[str, str]:
    text = (
        "Keras' velocity holds the learning rate (v = m*v - lr*g; w += v), torch's does not (v = m*v + g; w -= lr*v): "
        "the same while the learning rate stays, not in the step after it changed"
    )
    return text, "scale the velocity by the ratio of the learning rates when it changes, or use an optimizer with one rule on both sides (tf_impl.optimizers)"  # fmt: skip


def _epsilon(a: Rule, b: Rule) -> tuple[str, str]:
    where = {"corrected": "added to the bias-corrected root", "raw": "added to the root before the bias correction",
             "inside": "added under the root"}  # fmt: skip
    if a.algorithm == "rmsprop":
        where["corrected"] = "added to the root"
    text = f"epsilon={a.epsilon:g}, {where[a.epsilon_at]}, in Keras; {b.epsilon:g}, {where[b.epsilon_at]}, in torch"
    return (
        text,
        "an optimizer with one rule on both sides (tf_impl.optimizers); for Adam, torch eps = Keras epsilon / sqrt(1 - beta2**t)",
    )


def _decay(a: Rule, b: Rule) -> tuple[str, str]:
    how = {
        True: "decoupled (shrinks the weight by lr*decay*w)",
        False: "coupled (decay*w added to the gradient)",
    }
    text = (
        f"weight decay {a.decay:g}, {how[a.decoupled]}, in Keras; {b.decay:g}, {how[b.decoupled]}, in torch"
    )
    ratio = a.decay / b.decay if b.decay else 0.0
    if not a.decoupled and not b.decoupled and abs(ratio - 2.0) < 1e-6:
        return (
            f"{text}: the gradient of Keras' l2(c) is 2*c*w",
            "halve the factor of Keras' l2, or double torch's weight_decay",
        )
    return (
        text,
        "AdamW (decoupled) on both sides, or the decay added to the gradient on both (l2 with half the factor in Keras)",
    )


def _clipping(a: Rule, b: Rule) -> tuple[str, str]:
    said = [f"{r.clip or 'no clipping'}{f' {r.limit:g}' if r.clip else ''}{f', {r.guard:g} added to the norm' if r.guard else ''}" for r in (a, b)]  # fmt: skip
    return (
        f"Keras: {said[0]}; torch: {said[1]}",
        "clip alike: Keras' global_clipnorm is torch's clip_grad_norm_ but for 1e-6 on the norm, clipnorm is per variable",
    )


_TEXTS: dict[str, Texts] = {
    **{name: _numbers(name) for name in ("learning rate", "momentum", "betas", "direction")},
    "learning rate in the velocity": _rate_in_velocity,
    "epsilon": _epsilon,
    "weight decay": _decay,
    "clipping": _clipping,
}
