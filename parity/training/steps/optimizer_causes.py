"""Why two optimizers differ: the parts of their rules that change a step, each tried on the same steps."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from parity.core.finding import Finding, Kind
from parity.core.rules import (
    Part,
    Rule,
    State,
    clipped,
    differing_parts,
    exchanged,
    is_framework_rule,
    update,
)
from parity.core.tolerance import STRUCTURE
from parity.core.types import Array, Both
from parity.pairing.pair import LayerPair
from parity.pairing.slots import Slot
from parity.training.steps.explained import EXACT, Explained


@dataclass(frozen=True)
class OptimizerStep:
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


def made_of(steps: Sequence[OptimizerStep], rules: Sequence[Rules]) -> dict[str, Array]:
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


def _gaps(a: Mapping[str, Array], b: Mapping[str, Array]) -> dict[str, float]:
    """Greatest difference relative to the scale, of the tensors that both have."""
    return {
        path: float(np.abs(a[path] - b[path]).max(initial=0.0))
        / max(float(np.abs(b[path]).max(initial=0.0)), 1e-300)
        for path in a
        if path in b
    }


def _with_penalties(step: OptimizerStep) -> OptimizerStep:
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
    blurred: set[str],
) -> Explained:
    """The parts of the two optimizers' rules that make the last step differ.

    Args:
        keras: the Keras steps from the first to the one that differs.
        torch: torch's, their arrays as Keras lays them out and under the Keras paths.
        slots: pairs of parameters.
        worst: the tensor whose two values are farthest from one another.
        blurred: parameters whose gradients are rounding, which prove nothing.
    """
    keras = [_with_penalties(step) for step in keras]
    rules = Both(keras[-1].rules, torch[-1].rules)
    common = [path for path in keras[-1].gradients if path in torch[-1].gradients and path not in blurred]
    unknown = Explained(known=False)
    if not common or any(path not in rules.keras or path not in rules.torch for path in common):
        return unknown
    if not all(_does_what_it_says(steps, common) for steps in (keras, torch)):
        return unknown
    parts = {part.name: part for p in common for part in differing_parts(rules.keras[p], rules.torch[p])}
    if any(rules.keras[p].algorithm != rules.torch[p].algorithm for p in common) or not parts:
        return unknown
    best = _exchanged_gap(keras, torch, common, list(parts.values()))
    if not best <= EXACT:
        return unknown
    pair = next(pair for pair, slot in slots if slot is worst)
    first = [worst.keras] if worst.keras in common else []
    found = Explained(parts=list(parts.values()))
    for part in parts.values():
        without = _exchanged_gap(keras, torch, common, [one for one in parts.values() if one is not part])
        if without <= max(100.0 * best, STRUCTURE):
            continue  # it makes no difference here
        path = next(p for p in (*first, *common) if part in differing_parts(rules.keras[p], rules.torch[p]))
        a, b = rules.keras[path], rules.torch[path]
        text, fix = _TEXTS[part.name](a, b)
        text += (
            f"; the step differs by {without:.2g} of the scale, and with torch's {part.name} in Keras "
            f"it agrees to {best:.1g}"
        )
        finding = Finding(pair.keras, ", ".join(pair.torch), Kind.TRAINING, part.cause, text, fix, True)
        (found.rules if is_framework_rule(part, a, b) else found.findings).append(finding)
    return found


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


def _does_what_it_says(steps: Sequence[OptimizerStep], paths: Sequence[str]) -> bool:
    """Whether the rules, read from the optimizer's attributes, give the parameters that it made."""
    gaps = _gaps(made_of(steps, [step.rules for step in steps]), steps[-1].after)
    return max(gaps[path] for path in paths) <= EXACT


Texts = Callable[[Rule, Rule], tuple[str, str]]


def _numbers(part: str) -> Texts:
    fields = {"learning rate": ("rate",), "momentum": ("momentum", "dampening", "nesterov"),
              "betas": ("beta1", "beta2", "rho", "centered", "amsgrad"), "direction": ("maximize",)}[part]  # fmt: skip

    def texts(a: Rule, b: Rule) -> tuple[str, str]:
        values = [
            f"{n}={getattr(a, n)} in Keras, {getattr(b, n)} in torch"
            for n in fields
            if getattr(a, n) != getattr(b, n)
        ]
        return "; ".join(values), f"the same {part} on both sides"

    return texts


def _rate_in_velocity(a: Rule, b: Rule) -> tuple[str, str]:
    text = (
        "Keras' velocity holds the learning rate (v = m*v - lr*g; w += v), torch's does not (v = m*v + g; w -= lr*v): "
        "the same while the learning rate stays, not in the step after it changed"
    )
    return text, (
        "scale the velocity by the ratio of the learning rates when it changes, or use an optimizer with one rule "
        "on both sides (tf_impl.optimizers)"
    )


def _epsilon(a: Rule, b: Rule) -> tuple[str, str]:
    where = {"corrected": "added to the bias-corrected root", "raw": "added to the root before the bias correction",
             "inside": "added under the root"}  # fmt: skip
    if a.algorithm == "rmsprop":
        where["corrected"] = "added to the root"
    text = f"epsilon={a.epsilon:g}, {where[a.epsilon_at]}, in Keras; {b.epsilon:g}, {where[b.epsilon_at]}, in torch"
    return (
        text,
        "an optimizer with one rule on both sides (tf_impl.optimizers); for Adam, torch eps = "
        "Keras epsilon / sqrt(1 - beta2**t)",
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
    def words(rule: Rule) -> str:
        if not rule.clip:
            return "no clipping"
        return f"{rule.clip} {rule.limit:g}" + (f", {rule.guard:g} added to the norm" if rule.guard else "")

    fix = (
        "clip alike: Keras' global_clipnorm is torch's clip_grad_norm_ but for 1e-6 on the norm; "
        "Keras' clipnorm is for each variable by itself"
    )
    return f"Keras: {words(a)}; torch: {words(b)}", fix


_TEXTS: dict[str, Texts] = {
    **{name: _numbers(name) for name in ("learning rate", "momentum", "betas", "direction")},
    "learning rate in the velocity": _rate_in_velocity,
    "epsilon": _epsilon,
    "weight decay": _decay,
    "clipping": _clipping,
}
