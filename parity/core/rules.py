"""The update rules of both frameworks' optimizers, in NumPy: what a rule says, and what it makes of a step.

An optimizer of either framework is read into one `Rule` a parameter. Where two optimizers differ, one part of
the rule after another is exchanged. The parts that change the result are the causes; an exchanged rule that gives the
other side's result is the proof.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from parity.core.errors import UsageError
from parity.core.types import Array

NAMES = ("sgd", "sgd-nesterov", "adam", "adamw", "rmsprop")
CLIPPINGS = ("clipnorm", "global_clipnorm", "clipvalue")
TORCH_CLIP_GUARD = 1e-6
"""What torch's clip_grad_norm_ adds to the norm; Keras adds nothing."""

State = dict[str, Array]

TORCH_NAMES = {
    "momentum_buffer": "velocity",
    "exp_avg": "first",
    "exp_avg_sq": "second",
    "max_exp_avg_sq": "greatest",
    "square_avg": "square",
    "grad_avg": "mean",
    "step": "step",
}
"""torch's names for what an optimizer keeps of a parameter, and the names here."""


@dataclass(frozen=True)
class Rule:
    """How one parameter is updated.

    Attributes:
        algorithm: "sgd", "adam" or "rmsprop".
        rate: learning rate of this step.
        momentum: share of the velocity that is kept.
        dampening: share of the gradient kept out of the velocity (torch).
        nesterov: whether the step looks ahead.
        rate_in_velocity: whether the velocity holds the learning rate (Keras) or not (torch).
        beta1: share of Adam's first moment that is kept; `beta2` likewise of the second.
        rho: share of RMSprop's mean square that is kept.
        epsilon: the number that keeps the denominator from zero.
        epsilon_at: "corrected" (added to the bias-corrected root: torch), "raw" (to the root itself:
            Keras' Adam) or "inside" (under the root: Keras' RMSprop).
        centered: whether RMSprop subtracts the squared mean.
        amsgrad: whether Adam keeps the greatest second moment.
        decay: weight decay.
        decoupled: whether the decay shrinks the weight by itself, or is added to the gradient.
        maximize: whether the objective is to grow.
        clip: one of CLIPPINGS, or "".
        limit: the clipping's bound.
        guard: what is added to the norm before the bound is divided by it.
    """

    algorithm: str
    rate: float
    momentum: float = 0.0
    dampening: float = 0.0
    nesterov: bool = False
    rate_in_velocity: bool = False
    beta1: float = 0.9
    beta2: float = 0.999
    rho: float = 0.99
    epsilon: float = 1e-8
    epsilon_at: str = "corrected"
    centered: bool = False
    amsgrad: bool = False
    decay: float = 0.0
    decoupled: bool = False
    maximize: bool = False
    clip: str = ""
    limit: float = 0.0
    guard: float = 0.0


@dataclass(frozen=True)
class Hyperparameters:
    """What both frameworks' own optimizers are made from.

    Attributes:
        name: one of NAMES.
        rates: learning rate of each step; the last one stays.
        options: what else is given: momentum, weight_decay, epsilon, betas, rho, and one of CLIPPINGS.
    """

    name: str
    rates: tuple[float, ...] = ()
    options: dict[str, Any] = field(default_factory=dict)

    def rate(self, step: int) -> float:
        """Learning rate of a step, counted from 0."""
        return self.rates[min(step, len(self.rates) - 1)]


DEFAULT_RATES = {"adam": 1e-3, "adamw": 1e-3, "rmsprop": 1e-3}
OPTIONS = {
    "momentum",
    "nesterov",
    "weight_decay",
    "epsilon",
    "betas",
    "rho",
    "amsgrad",
    "centered",
    *CLIPPINGS,
}


def hyperparameters_of(wanted: str | Mapping[str, Any], sgd_rate: float) -> Hyperparameters:
    """The hyperparameters that a name stands for, or {"name": ..., "lr": number or list, option: value} holds.

    Raises:
        UsageError: an optimizer or option that is not known.
    """
    given = {"name": wanted} if isinstance(wanted, str) else dict(wanted)
    name, rates = given.pop("name", None), given.pop("lr", None)
    unknown = sorted(set(given) - OPTIONS)
    if name not in NAMES or unknown:
        raise UsageError(
            f"optimizer must be one of {', '.join(NAMES)}, with options from {', '.join(sorted(OPTIONS))}; "
            f"got name={name!r}{', ' + ', '.join(unknown) if unknown else ''}. Give a pair (Keras optimizer, "
            "torch optimizer or function of the parameters) for any other."
        )
    if sum(key in given for key in CLIPPINGS) > 1:
        raise UsageError(f"one clipping at a time must be given; got {sorted(set(given) & set(CLIPPINGS))}.")
    if rates is None:
        rates = DEFAULT_RATES.get(name, sgd_rate)
    rates = tuple(float(rate) for rate in (rates if isinstance(rates, list | tuple) else (rates,)))
    return Hyperparameters(name, rates, given)


def clipped(rules: Mapping[str, Rule], gradients: Mapping[str, Array]) -> dict[str, Array]:
    """Gradients after clipping, one by one or all together."""
    total = float(np.sqrt(sum(float(np.sum(np.square(value))) for value in gradients.values())))
    result = {}
    for path, gradient in gradients.items():
        rule = rules[path]
        norm = {"global_clipnorm": total, "clipnorm": float(np.sqrt(np.sum(np.square(gradient))))}.get(
            rule.clip
        )
        if norm is not None:
            gradient = gradient * min(rule.limit / (norm + rule.guard), 1.0) if norm > 0.0 else gradient
        elif rule.clip == "clipvalue":
            gradient = np.clip(gradient, -rule.limit, rule.limit)
        result[path] = gradient
    return result


def update(rule: Rule, weight: Array, gradient: Array, state: State) -> tuple[Array, State]:
    """One parameter after one step, and its new state; `gradient` is clipped already."""
    if rule.maximize:
        gradient = -gradient
    if rule.decay and rule.decoupled:
        weight = weight - weight * (rule.rate * rule.decay)
    elif rule.decay:
        gradient = gradient + rule.decay * weight
    return _ALGORITHMS[rule.algorithm](rule, weight, gradient, dict(state))


def _sgd(rule: Rule, weight: Array, gradient: Array, state: State) -> tuple[Array, State]:
    if not rule.momentum:
        return weight - rule.rate * gradient, state
    if rule.rate_in_velocity:
        velocity = rule.momentum * state.get("velocity", 0.0) - rule.rate * gradient
        change = rule.momentum * velocity - rule.rate * gradient if rule.nesterov else velocity
        return weight + change, {"velocity": velocity}
    first = "velocity" not in state
    velocity = gradient if first else rule.momentum * state["velocity"] + (1.0 - rule.dampening) * gradient
    change = gradient + rule.momentum * velocity if rule.nesterov else velocity
    return weight - rule.rate * change, {"velocity": velocity}


def _adam(rule: Rule, weight: Array, gradient: Array, state: State) -> tuple[Array, State]:
    step = state.get("step", np.zeros(())) + 1
    zero = np.zeros_like(gradient)
    first = rule.beta1 * state.get("first", zero) + (1.0 - rule.beta1) * gradient
    second = rule.beta2 * state.get("second", zero) + (1.0 - rule.beta2) * np.square(gradient)
    new = {"step": step, "first": first, "second": second}
    if rule.amsgrad:
        second = new["greatest"] = np.maximum(state.get("greatest", zero), second)
    corrections = 1.0 - rule.beta1**step, np.sqrt(1.0 - rule.beta2**step)
    epsilon = rule.epsilon / corrections[1] if rule.epsilon_at == "raw" else rule.epsilon
    return weight - rule.rate * (first / corrections[0]) / (np.sqrt(second) / corrections[1] + epsilon), new


def _rmsprop(rule: Rule, weight: Array, gradient: Array, state: State) -> tuple[Array, State]:
    zero = np.zeros_like(gradient)
    square = rule.rho * state.get("square", zero) + (1.0 - rule.rho) * np.square(gradient)
    new, spread = {"square": square}, square
    if rule.centered:
        new["mean"] = rule.rho * state.get("mean", zero) + (1.0 - rule.rho) * gradient
        spread = square - np.square(new["mean"])
    inside = rule.epsilon_at == "inside"
    root = np.sqrt(spread + rule.epsilon) if inside else np.sqrt(spread) + rule.epsilon
    if not rule.momentum:
        return weight - rule.rate * gradient / root, new
    share = rule.rate if rule.rate_in_velocity else 1.0
    new["velocity"] = rule.momentum * state.get("velocity", zero) + share * gradient / root
    return weight - (1.0 if rule.rate_in_velocity else rule.rate) * new["velocity"], new


_ALGORITHMS = {"sgd": _sgd, "adam": _adam, "rmsprop": _rmsprop}


def in_torch_terms(rule: Rule, state: State) -> State:
    """A state as torch keeps it: the velocity without the learning rate."""
    if not rule.rate_in_velocity or "velocity" not in state:
        return state
    return {**state, "velocity": state["velocity"] / velocity_factor(rule)}


def velocity_factor(rule: Rule) -> float:
    """The Keras velocity divided by torch's."""
    return -rule.rate if rule.algorithm == "sgd" else rule.rate


@dataclass(frozen=True)
class Part:
    """One part of a rule: its cause where a difference has a known name, and the fields it is made of."""

    cause: str | None
    name: str
    fields: tuple[str, ...]


PARTS = (
    Part(None, "learning rate", ("rate",)),
    Part("sgd-learning-rate-in-buffer", "learning rate in the velocity", ("rate_in_velocity",)),
    Part(None, "momentum", ("momentum", "dampening", "nesterov")),
    Part(None, "betas", ("beta1", "beta2", "rho", "centered", "amsgrad")),
    Part("adam-epsilon", "epsilon", ("epsilon", "epsilon_at")),
    Part("weight-decay-coupling", "weight decay", ("decay", "decoupled")),
    Part("gradient-clipping", "clipping", ("clip", "limit", "guard")),
    Part(None, "direction", ("maximize",)),
)


def differing_parts(keras: Rule, torch: Rule) -> list[Part]:
    """Parts of two rules that are not the same, whether or not it has an effect."""
    return [part for part in PARTS if any(getattr(keras, f) != getattr(torch, f) for f in part.fields)]


def exchanged(keras: Rule, torch: Rule, parts: list[Part]) -> Rule:
    """The Keras rule with these parts of torch's."""
    names = [name for part in parts for name in part.fields]
    return replace(keras, **{name: getattr(torch, name) for name in names})


def is_framework_rule(part: Part, keras: Rule, torch: Rule) -> bool:
    """Whether the numbers given are the same on both sides, so that only the frameworks' rules differ."""
    numbers = {"adam-epsilon": ("epsilon",), "weight-decay-coupling": ("decay",),
               "gradient-clipping": ("clip", "limit"), "sgd-learning-rate-in-buffer": ()}  # fmt: skip
    if part.cause not in numbers:
        return False
    return all(getattr(keras, name) == getattr(torch, name) for name in numbers[part.cause])
