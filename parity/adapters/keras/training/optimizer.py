"""Keras optimizers read as rules, and their state read and written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import keras
import numpy as np

from parity.adapters.keras.adapter import KerasAdapter
from parity.adapters.keras.weights import to_numpy
from parity.adapters.sites.own import own_methods
from parity.core.errors import UsageError
from parity.core.rules import CLIPPINGS, TORCH_CLIP_GUARD, TORCH_NAMES, Rule, State


def rules_of(optimizer: Any, variables: Mapping[str, Any]) -> dict[str, Rule]:
    """The rule of each variable, from the optimizer's attributes; empty for an unknown kind of optimizer."""
    if torch_like(optimizer):
        rule = _torch_rule(optimizer)
        return dict.fromkeys(variables, rule)
    algorithm = algorithm_of(optimizer)
    if algorithm is None:
        return {}
    rule = Rule(
        algorithm,
        momentum=float(getattr(optimizer, "momentum", 0.0)),
        nesterov=bool(getattr(optimizer, "nesterov", False)),
        rate_in_velocity=bool(getattr(optimizer, "momentum", 0.0)),
        beta1=float(getattr(optimizer, "beta_1", 0.9)),
        beta2=float(getattr(optimizer, "beta_2", 0.999)),
        rho=float(getattr(optimizer, "rho", 0.99)),
        epsilon=float(getattr(optimizer, "epsilon", 0.0)),
        epsilon_at={"sgd": "corrected", "adam": "raw", "rmsprop": "inside"}[algorithm],
        centered=bool(getattr(optimizer, "centered", False)),
        amsgrad=bool(getattr(optimizer, "amsgrad", False)),
        decay=float(optimizer.weight_decay or 0.0),
        decoupled=True,
        average_each=True,
        **_around(optimizer),
    )
    plain = replace(rule, decay=0.0)
    decayed = optimizer._use_weight_decay
    return {path: rule if decayed(variable) else plain for path, variable in variables.items()}


def own_updates(optimizer: Any) -> list[str]:
    """What an optimizer does in an update by code that is not Keras' own, and the state that it had."""
    name = type(optimizer).__name__
    own = [] if torch_like(optimizer) else own_methods(optimizer, "keras")
    found = [f"what {name}.{method} does with other gradients, and later" for method in own]
    held = [one for one in optimizer.variables if one is not getattr(optimizer, "_learning_rate", None)]
    if any(np.any(to_numpy(variable)) for variable in held):
        found.append(f"the state that {name} held already; the updates begin without any")
    return found


def algorithm_of(optimizer: Any) -> str | None:
    """The algorithm of one of Keras' own optimizers, None for another."""
    kinds = (
        (keras.optimizers.SGD, "sgd"),
        (keras.optimizers.RMSprop, "rmsprop"),
        (keras.optimizers.Adam, "adam"),
    )
    if isinstance(optimizer, keras.optimizers.Nadam):
        return None
    return next((name for cls, name in kinds if isinstance(optimizer, cls)), None)


def torch_like(optimizer: Any) -> bool:
    """Whether it keeps torch's state under torch's names, and follows torch's rule (tf_impl.optimizers)."""
    return isinstance(getattr(optimizer, "slots", None), dict)


def _torch_rule(optimizer: Any) -> Rule:
    """The rule of an optimizer with torch's arguments."""
    beta1, beta2 = getattr(optimizer, "betas", (0.9, 0.999))
    algorithm = next(
        (n for a, n in (("betas", "adam"), ("alpha", "rmsprop")) if hasattr(optimizer, a)), "sgd"
    )
    around = _around(optimizer)
    return Rule(
        algorithm,
        momentum=float(getattr(optimizer, "momentum", 0.0)),
        dampening=float(getattr(optimizer, "dampening", 0.0)),
        nesterov=bool(getattr(optimizer, "nesterov", False)),
        beta1=float(beta1),
        beta2=float(beta2),
        rho=float(getattr(optimizer, "alpha", 0.99)),
        epsilon=float(getattr(optimizer, "eps", 0.0)),
        centered=bool(getattr(optimizer, "centered", False)),
        amsgrad=bool(getattr(optimizer, "amsgrad", False)),
        decay=float(getattr(optimizer, "decay", 0.0)),
        decoupled=bool(getattr(optimizer, "_decoupled", False)),
        guard=TORCH_CLIP_GUARD if around["clip"] == "global_clipnorm" else 0.0,
        **around,
    )


def _around(optimizer: Any) -> dict[str, Any]:
    """What Keras' base class does around every optimizer's update, and the learning rate of this step."""
    clip = next((name for name in CLIPPINGS if getattr(optimizer, name)), "")
    return {
        "rate": float(to_numpy(keras.ops.convert_to_tensor(optimizer.learning_rate))),
        "clip": clip,
        "limit": float(getattr(optimizer, clip)) if clip else 0.0,
        "accumulate": int(optimizer.gradient_accumulation_steps or 1),
        "average": float(optimizer.ema_momentum) if optimizer.use_ema else 0.0,
        "overwrite": int(optimizer.ema_overwrite_frequency or 0) if optimizer.use_ema else 0,
    }


def averages_of(optimizer: Any, variables: Mapping[str, Any]) -> dict[str, Any]:
    """The moving averages of the weights by path; empty where none are kept."""
    if not optimizer.use_ema:
        return {}
    kept = optimizer._model_variables_moving_average
    found = {path: kept[optimizer._get_variable_index(variable)] for path, variable in variables.items()}
    return {path: to_numpy(value) for path, value in found.items() if value is not None}


def read_state(optimizer: Any, variables: Mapping[str, Any]) -> dict[str, State]:
    """State of a Keras optimizer by variable path, under parity's names."""
    lists = state_variables(optimizer)
    adam = "first" in lists
    found = {}
    for path, variable in variables.items():
        index = optimizer._get_variable_index(variable)
        found[path] = {name: to_numpy(values[index]).astype(np.float64) for name, values in lists.items()}
        if adam:
            found[path]["step"] = to_numpy(keras.ops.convert_to_tensor(optimizer.iterations)).astype(
                np.float64
            )
    return found


def state_variables(optimizer: Any) -> dict[str, list[Any]]:
    """The lists of variables in which Keras' optimizers keep their state, by parity's names."""
    if torch_like(optimizer):
        kept = optimizer.slots
        return {TORCH_NAMES[name]: values for name, values in kept.items() if name in TORCH_NAMES}
    names = {"momentums": "velocity"}
    if isinstance(optimizer, keras.optimizers.Adam):
        names = {"_momentums": "first", "_velocities": "second", "_velocity_hats": "greatest"}
    elif isinstance(optimizer, keras.optimizers.RMSprop):
        names = {"_velocities": "square", "_momentums": "velocity", "_average_gradients": "mean"}
    return {kept: getattr(optimizer, name) for name, kept in names.items() if getattr(optimizer, name, None)}


def write_state(optimizer: Any, states: Mapping[str, State], variables: Mapping[str, Any]) -> None:
    """Set the optimizer's state of these variables; what a state does not name becomes zero."""
    lists = state_variables(optimizer)
    for path, variable in variables.items():
        index = optimizer._get_variable_index(variable)
        for name, kept in lists.items():
            value = states.get(path, {}).get(name)
            kept[index].assign(np.zeros(tuple(variable.shape)) if value is None else value)
    counts = {int(state["step"]) for state in states.values() if "step" in state}
    stepped = any(state for state in states.values())
    optimizer._iterations.assign(max(counts, default=max(int(to_numpy(optimizer._iterations)), int(stepped))))


class KerasState:
    """The state of one Keras model's optimizer, by path."""

    def __init__(self, adapter: KerasAdapter, optimizer: Any) -> None:
        self.optimizer = optimizer
        known = (keras.optimizers.SGD, keras.optimizers.Adam, keras.optimizers.RMSprop)
        self._torch_like = torch_like(optimizer)
        if not isinstance(optimizer, keras.optimizers.Optimizer) or not (
            self._torch_like or isinstance(optimizer, known)
        ):
            raise UsageError(
                f"an optimizer's state must be known; got {type(optimizer).__name__} for the Keras model. "
                "Take SGD, Adam, AdamW or RMSprop of Keras or of tf_impl.optimizers."
            )
        variables = adapter.model.trainable_variables
        if not optimizer.built:
            optimizer.build(variables)
        indices = optimizer._trainable_variables_indices
        trained = {id(v) for v in variables if optimizer._var_key(v) in indices}
        self._variables = {path: v for path, v in adapter.variables.items() if id(v) in trained}

    def velocity_factor(self) -> float:
        """The Keras velocity divided by torch's."""
        if self._torch_like:
            return 1.0
        rate = float(to_numpy(keras.ops.convert_to_tensor(self.optimizer.learning_rate)))
        return rate if isinstance(self.optimizer, keras.optimizers.RMSprop) else -rate

    def names(self) -> set[str]:
        """What is kept of every variable."""
        return set(state_variables(self.optimizer))

    def read(self) -> dict[str, State]:
        """State by path; none where no step was made."""
        stepped = int(to_numpy(self.optimizer._iterations)) > 0
        return read_state(self.optimizer, self._variables) if stepped else {}

    def write(self, states: Mapping[str, State]) -> None:
        """Set the state."""
        write_state(self.optimizer, states, self._variables)
