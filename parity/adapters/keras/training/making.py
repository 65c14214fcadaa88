"""Keras optimizers as a run needs them: made from hyperparameters, or renewed in float64 with an empty state."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from parity.adapters.keras.training.optimizer import algorithm_of, torch_like
from parity.core.errors import UsageError
from parity.core.rules import CLIPPINGS, Hyperparameters

WIDENED = ("momentum", "beta_1", "beta_2", "rho", "ema_momentum")
"""Numbers that TensorFlow rounds to float32 where they are Python's floats."""

BASE = {
    "name", "learning_rate", "lr", "weight_decay", *CLIPPINGS, "use_ema", "ema_momentum", "ema_overwrite_frequency",
    "loss_scale_factor", "gradient_accumulation_steps",
}  # fmt: skip
OWN = {
    "sgd": {"momentum", "nesterov"},
    "adam": {"beta_1", "beta_2", "epsilon", "amsgrad"},
    "rmsprop": {"rho", "momentum", "epsilon", "centered"},
}
TORCH_LIKE = {"betas", "eps", "amsgrad", "alpha", "momentum", "centered", "dampening", "nesterov"}
"""What the configuration of each kind of optimizer holds, and a rule knows."""


def from_hyperparameters(hyperparameters: Hyperparameters) -> Any:
    """Keras' own optimizer; np.float64, because TensorFlow rounds a Python float to float32 first."""
    options, rate = dict(hyperparameters.options), hyperparameters.rate(0)
    decay = options.get("weight_decay", 0.01 if hyperparameters.name == "adamw" else None) or None
    common = {"weight_decay": decay, **{name: options[name] for name in CLIPPINGS if options.get(name)}}
    if options.get("gradient_accumulation_steps", 1) > 1:
        common["gradient_accumulation_steps"] = options["gradient_accumulation_steps"]
    if options.get("ema_momentum"):
        common |= {"use_ema": True, "ema_momentum": np.float64(options["ema_momentum"]),
                   "ema_overwrite_frequency": options.get("ema_overwrite_frequency")}  # fmt: skip
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


def inner(optimizer: Any) -> Any:
    """The optimizer that makes the steps, out of one that scales the loss."""
    return (
        optimizer.inner_optimizer if isinstance(optimizer, keras.optimizers.LossScaleOptimizer) else optimizer
    )


def loss_scale(optimizer: Any) -> str:
    """By what the loss is multiplied, in words; "" where it is not."""
    if isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
        return f"dynamic from {float(optimizer.initial_scale):g}"
    return f"{float(optimizer.loss_scale_factor):g}" if optimizer.loss_scale_factor else ""


def unknown_settings(optimizer: Any) -> list[str]:
    """What an optimizer's configuration says that no rule holds: "name=value"."""
    found = []
    if isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
        plain = keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.1)).get_config()
        left = {"name", "inner_optimizer", "initial_scale", "dynamic_growth_steps", "learning_rate"}
        config = optimizer.get_config()
        found = [f"{k}={v!r}" for k, v in config.items() if k not in left and v != plain.get(k)]
        optimizer = optimizer.inner_optimizer
    algorithm = algorithm_of(optimizer)
    if algorithm is None and not torch_like(optimizer):
        return found
    known = BASE | (TORCH_LIKE if algorithm is None else OWN[algorithm])
    return found + [f"{k}={v!r}" for k, v in optimizer.get_config().items() if k not in known]


def renewed(optimizer: Any) -> Any:
    """The same optimizer with float64 variables and an empty state; the loss's scale, which cancels, is left out.

    Keras keeps the learning rate in float32: the shortest number that rounds to it is taken as the given one. A
    schedule computes in the type of its numbers: they become float64.

    Raises:
        UsageError: it is no Keras optimizer.
    """
    if not isinstance(optimizer, keras.optimizers.Optimizer):
        raise UsageError(
            f"Keras' optimizer must be a keras.optimizers.Optimizer; got {type(optimizer).__name__}. Give one."
        )
    optimizer = inner(optimizer)
    config = dict(optimizer.get_config())
    for name in ("learning_rate", "lr"):
        if isinstance(config.get(name), float):
            config[name] = float(str(np.float32(config[name])))
    for name in WIDENED:
        if isinstance(config.get(name), float):
            config[name] = np.float64(config[name])
    if "loss_scale_factor" in config:
        config["loss_scale_factor"] = None
    schedule = optimizer._learning_rate
    if isinstance(schedule, keras.optimizers.schedules.LearningRateSchedule):
        schedule = _widened(schedule)
    if callable(schedule) and not isinstance(schedule, keras.Variable):
        config["lr" if "lr" in config else "learning_rate"] = schedule
    made = type(optimizer).from_config(config)
    for name in ("_exclude_from_weight_decay", "_exclude_from_weight_decay_pattern"):
        if getattr(optimizer, name, None):
            setattr(made, name, getattr(optimizer, name))
    return made


def _widened(schedule: Any) -> Any:
    """The same schedule with float64 numbers; one that cannot be made anew stays as it is."""
    try:
        made = type(schedule).from_config(schedule.get_config())
    except (NotImplementedError, TypeError, ValueError):
        return schedule
    for name, value in list(vars(made).items()):
        if isinstance(value, keras.optimizers.schedules.LearningRateSchedule):
            setattr(made, name, _widened(value))
        else:
            setattr(made, name, _wide(value))
    return made


def _wide(value: Any) -> Any:
    """Python's floats as NumPy's float64, in lists and dictionaries too."""
    if isinstance(value, float):
        return np.float64(value)
    if isinstance(value, list | tuple):
        return type(value)(map(_wide, value))
    if isinstance(value, Mapping):
        return {key: _wide(item) for key, item in value.items()}
    return value
