"""Why two optimizers differ: the parts of their rules that change a step, each tried on the same steps."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from parity.core.finding import Finding, Kind
from parity.core.rules import Rule, State, advance
from parity.core.tolerance import STRUCTURE
from parity.core.types import Array, Both
from parity.pairing.pair import LayerPair
from parity.pairing.slots import Slot
from parity.training.steps.explained import EXACT, Explained
from parity.training.steps.parts import Part, differing_parts, exchanged, in_words, is_framework_rule


@dataclass(frozen=True)
class OptimizerStep:
    """One step of one side: what the optimizer was given, and what it made of it, by path.

    Attributes:
        weights: before the step.
        gradients: without the regularisers' part.
        penalties: gradient of the regularisers.
        rules: the rule of each parameter.
        after: the parameters after the step.
        constrain: the weights as the side's constraints leave them; None where it has none.
    """

    weights: Mapping[str, Array]
    gradients: Mapping[str, Array]
    penalties: Mapping[str, Array]
    rules: Mapping[str, Rule]
    after: Mapping[str, Array]
    constrain: Callable[[Mapping[str, Array]], dict[str, Array]] | None = None


Rules = Mapping[str, Rule]


def made_of(steps: Sequence[OptimizerStep], rules: Sequence[Rules]) -> dict[str, Array]:
    """Parameters after the last step, had the optimizer followed these rules in all of them.

    Weights and gradients are those of the run, in which nothing differed before the last step; what the
    optimizer keeps from step to step is what the rules make of them.
    """
    states: dict[str, State] = {}
    weights: dict[str, Array] = {}
    for step, chosen in zip(steps, rules, strict=True):
        gradients = {path: value for path, value in step.gradients.items() if path in chosen}
        weights, states = advance(chosen, step.weights, gradients, states)
        weights = {**weights, **step.constrain(weights)} if step.constrain else weights
    return weights


def _gaps(a: Mapping[str, Array], b: Mapping[str, Array]) -> dict[str, float]:
    """Greatest difference relative to the scale, of the tensors that both have."""
    return {
        path: float(np.abs(a[path] - b[path]).max(initial=0.0))
        / max(float(np.abs(b[path]).max(initial=0.0)), 1e-300)
        for path in a
        if path in b
    }


def with_penalties(step: OptimizerStep) -> OptimizerStep:
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
    keras: Sequence[OptimizerStep],
    torch: Sequence[OptimizerStep],
    slots: Sequence[tuple[LayerPair, Slot]],
    worst: Slot,
    left_out: set[str],
) -> Explained:
    """The parts of the two optimizers' rules that make the last step differ.

    Args:
        keras: the Keras steps from the first to the one that differs.
        torch: torch's, their arrays as Keras lays them out and under the Keras paths.
        slots: pairs of parameters.
        worst: the tensor whose two values are farthest from one another.
        left_out: parameters that follow a rule of their own.
    """
    run, keras = keras, [with_penalties(step) for step in keras]
    rules = Both(keras[-1].rules, torch[-1].rules)
    common = [path for path in keras[-1].gradients if path in torch[-1].gradients and path not in left_out]
    unknown = Explained(known=False)
    if not common or any(path not in rules.keras or path not in rules.torch for path in common):
        return unknown
    if not all(does_what_it_says(steps, common) for steps in (keras, torch)):
        return unknown
    parts = {part.name: part for p in common for part in differing_parts(rules.keras[p], rules.torch[p])}
    kinds = {(rules.keras[p].algorithm, rules.torch[p].algorithm) for p in common}
    if any(keras_kind != torch_kind for keras_kind, torch_kind in kinds):
        named = " and ".join(
            f"{keras_kind} in Keras, {torch_kind} in torch" for keras_kind, torch_kind in kinds
        )
        return Explained(
            [Finding(None, None, Kind.TRAINING, None, f"the optimizers differ: {named}")], known=False
        )
    if not parts:
        return unknown
    keras = [_given_alike(*three) for three in zip(run, keras, torch, strict=True)]
    best = _exchanged_gap(keras, torch, common, list(parts.values()))
    if not best <= EXACT:
        return unknown
    needed, without = _needed(keras, torch, common, list(parts.values()), best)
    pair = next(pair for pair, slot in slots if slot is worst)
    first = [worst.keras] if worst.keras in common else []
    found = Explained(parts=needed)
    for part in needed:
        path = next(p for p in (*first, *common) if part in differing_parts(rules.keras[p], rules.torch[p]))
        a, b = rules.keras[path], rules.torch[path]
        text, fix = in_words(part, a, b)
        text += (
            f"; the step differs by {without[part.name]:.2g} of the scale, and with torch's {part.name} in Keras "
            f"it agrees to {best:.1g}"
        )
        finding = Finding(pair.keras, ", ".join(pair.torch), Kind.TRAINING, part.cause, text, fix, True)
        (found.rules if is_framework_rule(part, a, b) else found.findings).append(finding)
    return found


def _given_alike(run: OptimizerStep, keras: OptimizerStep, torch: OptimizerStep) -> OptimizerStep:
    """The Keras step with torch's weights and gradients, which are the same up to rounding where they are compared.

    Some rules make a step of the whole rate out of a gradient that is rounding alone. So both are given the same.
    A gradient to which a penalty was added stays: `run` has it without.
    """
    gradients = {
        path: torch.gradients.get(path, value) if value is run.gradients.get(path) else value
        for path, value in keras.gradients.items()
    }
    weights = {path: torch.weights.get(path, value) for path, value in keras.weights.items()}
    return replace(keras, gradients=gradients, weights=weights)


def _needed(
    keras: Sequence[OptimizerStep],
    torch: Sequence[OptimizerStep],
    paths: Sequence[str],
    parts: list[Part],
    best: float,
) -> tuple[list[Part], dict[str, float]]:
    """The parts without which the last step differs, and by how much it does without each.

    A part that changes nothing yet is left out, so that it is neither named nor taken over: a later step shows it.
    """
    enough = max(100.0 * best, STRUCTURE)
    kept, gaps = list(parts), {}
    for part in sorted(
        parts, key=lambda part: part.numbers is None
    ):  # the frameworks' own rules are dropped first
        without = _exchanged_gap(keras, torch, paths, [one for one in kept if one is not part])
        if without <= enough:
            kept.remove(part)
        gaps[part.name] = without
    return kept, gaps


def _exchanged_gap(
    keras: Sequence[OptimizerStep], torch: Sequence[OptimizerStep], paths: Sequence[str], parts: list[Part]
) -> float:
    """How far the last Keras step is from torch's, with these parts of the rule taken from torch."""
    mixed = [
        {p: exchanged(a.rules[p], b.rules[p], parts) for p in a.rules if p in b.rules}
        for a, b in zip(keras, torch, strict=True)
    ]
    gaps = _gaps(made_of(keras, mixed), torch[-1].after)
    return max(gaps[path] for path in paths)


def does_what_it_says(steps: Sequence[OptimizerStep], paths: Sequence[str]) -> bool:
    """Whether the rules, read from the optimizer's attributes, give the parameters that it made."""
    gaps = _gaps(made_of(steps, [step.rules for step in steps]), steps[-1].after)
    return max(gaps[path] for path in paths) <= EXACT
