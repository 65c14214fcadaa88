"""Differences between two optimizers' rules that the steps did not show, proven on gradients that grow and shrink."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from parity.core.finding import Finding, Kind
from parity.core.rules import Rule, State, advance
from parity.core.types import Array
from parity.training.steps.explained import Explained
from parity.training.steps.parts import Part, differing_parts, exchanged, in_words, is_framework_rule

UPDATES = 24
MOST = 10_000
"""Updates at most, where an average replaces the weights after many."""
EFFECT = 1e-12
"""Least difference of weights, relative to their scale, that counts as an effect: the same engine makes both."""

RulesBySteps = Sequence[Rule]


def unseen(places: Sequence[tuple[str, str, RulesBySteps, RulesBySteps]], known: Sequence[Part]) -> Explained:
    """One finding for each part in which two rules differ, although no step showed it.

    Args:
        places: (Keras path, torch path, Keras rules, torch rules by step) of each pair of parameters; what was
            explained already is the same in both.
        known: the parts that were explained.
    """
    found = Explained()
    told: set[str] = {part.name for part in known}
    for keras_path, torch_path, keras, torch in places:
        for part in _parts(keras, torch):
            if part.name in told:
                continue
            effect = effect_of(part, keras, torch)
            if effect <= EFFECT:
                continue
            told.add(part.name)
            a, b = next((a, b) for a, b in zip(keras, torch, strict=True) if part in differing_parts(a, b))
            text, fix = in_words(part, a, b)
            text += (
                f"; these steps do not show it: on gradients that grow and shrink a thousandfold the rules differ by "
                f"{effect:.2g} of the weights' scale after {_batches([a, b])} batches"
            )
            finding = Finding(keras_path, torch_path, Kind.TRAINING, part.cause, text, fix)
            (found.rules if is_framework_rule(part, a, b) else found.findings).append(finding)
    return found


def _parts(keras: RulesBySteps, torch: RulesBySteps) -> list[Part]:
    """Every part in which the rules of any step differ."""
    return list(
        {
            part.name: part for a, b in zip(keras, torch, strict=True) for part in differing_parts(a, b)
        }.values()
    )


def effect_of(part: Part, keras: RulesBySteps, torch: RulesBySteps) -> float:
    """How far torch's rule with this part of Keras' is from torch's rule, relative to the weights' scale."""
    mixed = [exchanged(b, a, [part]) for a, b in zip(keras, torch, strict=True)]
    batches = _batches([*mixed, *torch])
    first, second = _trained(mixed, batches), _trained(torch, batches)
    scale = max(float(np.abs(second).max()), 1e-300)
    with np.errstate(invalid="ignore"):
        gap = float(np.abs(first - second).max()) / scale
    return gap if np.isfinite(gap) else float("inf")


def _batches(rules: RulesBySteps) -> int:
    """How many batches are trained with: some updates, and as many as an average takes to replace the weights."""
    updates = max(UPDATES, min(MOST, max(rule.overwrite + 1 for rule in rules)))
    return updates * max(rule.accumulate for rule in rules)


def _trained(rules: RulesBySteps, batches: int) -> Array:
    """Weights, and what stands in their place after the training, by these rules; the last rule stays."""
    rng = np.random.default_rng(0)
    sizes = {"a": 3, "b": 4, "c": 5}
    weights: dict[str, Array] = {name: rng.uniform(0.5, 1.5, size) for name, size in sizes.items()}
    states: dict[str, State] = {}
    limit = max((rule.limit for rule in rules), default=0.0) or 1.0
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        for number in range(batches):
            rule = rules[min(number, len(rules) - 1)]
            size = limit * 10.0 ** (3.0 * np.cos(2.0 * np.pi * number / UPDATES))
            gradients = {name: size * rng.standard_normal(count) for name, count in sizes.items()}
            weights, states = advance(dict.fromkeys(sizes, rule), weights, gradients, states)
    averages = [states.get(name, {}).get("average", weights[name]) for name in sizes]
    return np.concatenate([*weights.values(), *averages])
