"""The update rules of both frameworks' optimizers, in NumPy: what a rule says, and what it makes of a step.

An optimizer of either framework is read into one `Rule` a parameter. Where two optimizers differ, one part of
the rule after another is exchanged. The parts that change the result are the causes; an exchanged rule that gives the
other side's result is the proof.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

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
        tensor: the tensor of which this is a part, where its norm is taken of the whole tensor; else "".
        accumulate: how many batches' gradients are averaged for one update.
        average: share of the weights' moving average that is kept at each step; 0 where none is kept.
        overwrite: after how many updates the average replaces the weights; 0 for never.
        average_each: whether the average moves with every batch (Keras), or with every update.
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
    tensor: str = ""
    accumulate: int = 1
    average: float = 0.0
    overwrite: int = 0
    average_each: bool = False


@dataclass(frozen=True)
class Hyperparameters:
    """What both frameworks' own optimizers are made from.

    Attributes:
        name: one of NAMES.
        rates: learning rate of each step; the last one stays.
        options: what else is given, by the names that parity.training.requests knows.
    """

    name: str
    rates: tuple[float, ...] = ()
    options: dict[str, Any] = field(default_factory=dict)

    def rate(self, step: int) -> float:
        """Learning rate of a step, counted from 0."""
        return self.rates[min(step, len(self.rates) - 1)]


def clipped(rules: Mapping[str, Rule], gradients: Mapping[str, Array]) -> dict[str, Array]:
    """Gradients after clipping: each by itself, each tensor, or all together."""
    squares: dict[str, float] = {}
    for path, gradient in gradients.items():
        whole = rules[path].tensor or path
        squares[whole] = squares.get(whole, 0.0) + float(np.sum(np.square(gradient)))
    total = float(np.sqrt(sum(squares.values())))
    result = {}
    for path, gradient in gradients.items():
        rule = rules[path]
        own = float(np.sqrt(squares[rule.tensor or path]))
        norm = {"global_clipnorm": total, "clipnorm": own}.get(rule.clip)
        if norm is not None:
            gradient = gradient * min(rule.limit / (norm + rule.guard), 1.0) if norm > 0.0 else gradient
        elif rule.clip == "clipvalue":
            gradient = np.clip(gradient, -rule.limit, rule.limit)
        result[path] = gradient
    return result


def advance(
    rules: Mapping[str, Rule],
    weights: Mapping[str, Array],
    gradients: Mapping[str, Array],
    states: Mapping[str, State],
) -> tuple[dict[str, Array], dict[str, State]]:
    """All parameters after one batch, and their new states: gathered, clipped, updated and averaged.

    Args:
        rules: of each parameter that has a gradient.
        weights: before the batch.
        gradients: of this batch.
        states: after the batch before; empty before the first.
    """
    ready: dict[str, Array] = {}
    new = {path: dict(states.get(path, {})) for path in gradients}
    after = {path: weights[path] for path in gradients}
    for path, gradient in gradients.items():
        gathered = _gather(rules[path], gradient, new[path])
        if gathered is not None:
            ready[path] = gathered
    for path, gradient in clipped(rules, ready).items():
        after[path], new[path] = update(rules[path], weights[path], gradient, new[path])
    for path in gradients:
        if rules[path].average and (path in ready or rules[path].average_each):
            after[path] = _average(rules[path], after[path], new[path])
    return after, new


def _gather(rule: Rule, gradient: Array, state: State) -> Array | None:
    """The gradient of this update; None where more batches are to come. The state counts them, in place."""
    if rule.accumulate <= 1:
        return gradient
    total = state.pop("gathered", np.zeros_like(gradient)) + gradient
    batches = state.pop("batches", np.zeros(())) + 1
    if batches < rule.accumulate:
        state |= {"gathered": total, "batches": batches}
        return None
    return np.asarray(total / rule.accumulate)


def _average(rule: Rule, weight: Array, state: State) -> Array:
    """Move the average, in place; the weight, which is the average where it is to be overwritten."""
    seen = int(state.get("averaged", np.zeros(())))
    updates = (seen // rule.accumulate) if rule.average_each else seen
    share = rule.average if updates else 0.0
    state["average"] = share * state.get("average", weight) + (1.0 - share) * weight
    state["averaged"] = np.asarray(float(seen + 1))
    return state["average"] if rule.overwrite and (updates + 1) % rule.overwrite == 0 else weight


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
        return weight + change, {**state, "velocity": velocity}
    first = "velocity" not in state
    velocity = gradient if first else rule.momentum * state["velocity"] + (1.0 - rule.dampening) * gradient
    change = gradient + rule.momentum * velocity if rule.nesterov else velocity
    return weight - rule.rate * change, {**state, "velocity": velocity}


def _adam(rule: Rule, weight: Array, gradient: Array, state: State) -> tuple[Array, State]:
    step = state.get("step", np.zeros(())) + 1
    zero = np.zeros_like(gradient)
    first = rule.beta1 * state.get("first", zero) + (1.0 - rule.beta1) * gradient
    second = rule.beta2 * state.get("second", zero) + (1.0 - rule.beta2) * np.square(gradient)
    new = {**state, "step": step, "first": first, "second": second}
    if rule.amsgrad:
        second = new["greatest"] = np.maximum(state.get("greatest", zero), second)
    corrections = 1.0 - rule.beta1**step, np.sqrt(1.0 - rule.beta2**step)
    epsilon = rule.epsilon / corrections[1] if rule.epsilon_at == "raw" else rule.epsilon
    return weight - rule.rate * (first / corrections[0]) / (np.sqrt(second) / corrections[1] + epsilon), new


def _rmsprop(rule: Rule, weight: Array, gradient: Array, state: State) -> tuple[Array, State]:
    zero = np.zeros_like(gradient)
    square = rule.rho * state.get("square", zero) + (1.0 - rule.rho) * np.square(gradient)
    new, spread = {**state, "square": square}, square
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
