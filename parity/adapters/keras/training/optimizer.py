"""Keras optimizers: made from hyperparameters, read as rules, and their state read and written."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from parity.adapters.keras.adapter import KerasAdapter
from parity.adapters.keras.weights import to_numpy
from parity.core.errors import UsageError
from parity.core.rules import CLIPPINGS, TORCH_NAMES, Hyperparameters, Rule, State


def rules_of(optimizer: Any, variables: Mapping[str, Any]) -> dict[str, Rule]:
    """The rule of each variable, from the optimizer's attributes; empty for an unknown kind of optimizer."""
    kinds = (
        (keras.optimizers.SGD, "sgd"),
        (keras.optimizers.RMSprop, "rmsprop"),
        (keras.optimizers.Adam, "adam"),
    )
    algorithm = next((name for cls, name in kinds if isinstance(optimizer, cls)), None)
    if algorithm is None or isinstance(optimizer, keras.optimizers.Nadam):
        return {}
    clip = next((name for name in CLIPPINGS if getattr(optimizer, name)), "")
    rule = Rule(
        algorithm,
        rate=float(to_numpy(keras.ops.convert_to_tensor(optimizer.learning_rate))),
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
        clip=clip,
        limit=float(getattr(optimizer, clip)) if clip else 0.0,
    )
    plain = Rule(**{**vars(rule), "decay": 0.0})
    decayed = optimizer._use_weight_decay
    return {path: rule if decayed(variable) else plain for path, variable in variables.items()}


def read_state(optimizer: Any, variables: Mapping[str, Any]) -> dict[str, State]:
    """State of a Keras optimizer by variable path, under parity's names."""
    lists = state_variables(optimizer)
    adam = "first" in lists
    found = {}
    for path, variable in variables.items():
        index = optimizer._get_variable_index(variable)
        found[path] = {name: to_numpy(values[index]).astype(np.float64) for name, values in lists.items()}
        if adam:
            found[path]["step"] = to_numpy(optimizer._iterations).astype(np.float64)
    return found


def state_variables(optimizer: Any) -> dict[str, list[Any]]:
    """The lists of variables in which Keras' optimizers keep their state, by parity's names."""
    kept = getattr(optimizer, "slots", None)
    if isinstance(kept, dict):  # an optimizer that keeps torch's state, under torch's names
        return {TORCH_NAMES[name]: values for name, values in kept.items() if name in TORCH_NAMES}
    names = {"momentums": "velocity"}
    if isinstance(optimizer, keras.optimizers.Adam):
        names = {"_momentums": "first", "_velocities": "second", "_velocity_hats": "greatest"}
    elif isinstance(optimizer, keras.optimizers.RMSprop):
        names = {"_velocities": "square", "_momentums": "velocity", "_average_gradients": "mean"}
    return {kept: getattr(optimizer, name) for name, kept in names.items() if getattr(optimizer, name, None)}


def from_hyperparameters(hyperparameters: Hyperparameters) -> Any:
    """Keras' own optimizer; np.float64, because TensorFlow rounds a Python float to float32 first."""
    options, rate = dict(hyperparameters.options), hyperparameters.rate(0)
    decay = options.get("weight_decay", 0.01 if hyperparameters.name == "adamw" else None) or None
    common = {"weight_decay": decay, **{name: options[name] for name in CLIPPINGS if options.get(name)}}
    epsilon = options.get("epsilon", 1e-8)
    if hyperparameters.name.startswith("sgd"):
        nesterov = options.get("nesterov", hyperparameters.name == "sgd-nesterov")
        return keras.optimizers.SGD(
            rate, momentum=np.float64(options.get("momentum", 0.9)), nesterov=nesterov, **common
        )
    if hyperparameters.name == "rmsprop":
        return keras.optimizers.RMSprop(
            rate, rho=options.get("rho", 0.99), momentum=np.float64(options.get("momentum", 0.0)), epsilon=epsilon,
            centered=options.get("centered", False), **common,
        )  # fmt: skip
    cls = keras.optimizers.AdamW if hyperparameters.name == "adamw" else keras.optimizers.Adam
    beta_1, beta_2 = (np.float64(value) for value in options.get("betas", (0.9, 0.999)))
    common["weight_decay"] = (decay or 0.0) if hyperparameters.name == "adamw" else decay
    amsgrad = options.get("amsgrad", False)
    return cls(rate, beta_1=beta_1, beta_2=beta_2, epsilon=epsilon, amsgrad=amsgrad, **common)


def renewed(optimizer: Any) -> Any:
    """The same optimizer with float64 variables and an empty state.

    Keras keeps the learning rate in float32: the shortest number that rounds to it is taken as the given one.
    """
    config = dict(optimizer.get_config())
    for name in ("learning_rate", "lr"):
        if isinstance(config.get(name), float):
            config[name] = float(str(np.float32(config[name])))
    for name in ("momentum", "beta_1", "beta_2", "rho"):
        if isinstance(config.get(name), float):
            config[name] = np.float64(config[name])
    return type(optimizer).from_config(config)


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
        self._torch_like = isinstance(getattr(optimizer, "slots", None), dict)
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
