"""torch optimizers: made from hyperparameters, read as rules, and their state read and written."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from parity.adapters.sites.own import own_methods
from parity.adapters.torch.adapter import TorchAdapter
from parity.adapters.torch.training.recipe import Recipe
from parity.adapters.torch.weights import to_numpy
from parity.core.errors import UsageError
from parity.core.rules import TORCH_NAMES, Hyperparameters, Rule, State

KEYS = {
    "sgd": {"momentum", "dampening", "nesterov"},
    "adam": {"betas", "eps", "amsgrad", "decoupled_weight_decay"},
    "rmsprop": {"alpha", "eps", "momentum", "centered"},
}
"""What the groups of each algorithm hold, and `rules_of` reads."""
COMMON_KEYS = {
    "params", "param_names", "lr", "weight_decay", "maximize",
    "foreach", "fused", "capturable", "differentiable",  # how it is computed, not what
    "initial_lr", "max_lr", "min_lr", "base_momentum", "max_momentum",  # kept by schedulers, which change lr
}  # fmt: skip


def unknown_keys(optimizer: Any) -> list[str]:
    """What an optimizer's groups say that no rule holds: "name=value"."""
    algorithm = next((name for cls, name in _ALGORITHMS if isinstance(optimizer, cls)), None)
    known = COMMON_KEYS | (KEYS[algorithm] if algorithm else set())
    groups = getattr(optimizer, "param_groups", []) if algorithm else []
    return sorted(
        {f"{key}={value!r}" for group in groups for key, value in group.items() if key not in known}
    )


def own_updates(optimizer: Any) -> list[str]:
    """What an optimizer does in an update by code that is not torch's: methods of its own, and hooks."""
    name = type(optimizer).__name__
    found = [
        f"what {name}.{method} does with other gradients, and later"
        for method in own_methods(optimizer, "torch")
    ]
    if any(getattr(optimizer, f"_optimizer_step_{when}_hooks", None) for when in ("pre", "post")):
        found.append(f"what hooks of {name} do with other gradients, and later")
    return found


def rules_of(recipe: Recipe, parameters: Mapping[str, Any]) -> dict[str, Rule]:
    """The rule of each parameter, from the optimizer's groups; empty for an unknown kind of optimizer."""
    optimizer = recipe.optimizer
    algorithm = next((name for cls, name in _ALGORITHMS if isinstance(optimizer, cls)), None)
    if algorithm is None:
        return {}
    groups = {id(p): group for group in optimizer.param_groups for p in group["params"]}
    around = {
        "clip": recipe.clipping.name,
        "limit": recipe.clipping.limit,
        "guard": recipe.clipping.guard,
        "accumulate": recipe.accumulate,
        "average": recipe.average,
        "overwrite": recipe.overwrite,
    }
    return {
        path: _rule(algorithm, optimizer, groups[id(p)], around)
        for path, p in parameters.items()
        if id(p) in groups
    }


def read_state(optimizer: Any, parameters: Mapping[str, torch.Tensor]) -> dict[str, State]:
    """State of a torch optimizer by parameter path, under parity's names."""
    found = {}
    for path, parameter in parameters.items():
        kept = optimizer.state.get(parameter) or {}
        found[path] = {
            TORCH_NAMES[name]: to_numpy(torch.as_tensor(value)).astype(np.float64)
            for name, value in kept.items()
            if name in TORCH_NAMES and value is not None
        }
    rms = isinstance(optimizer, torch.optim.RMSprop)
    return {p: {k: v for k, v in s.items() if not (rms and k == "step")} for p, s in found.items()}


_ALGORITHMS: tuple[tuple[type, str], ...] = (
    (torch.optim.SGD, "sgd"),
    (torch.optim.Adam, "adam"),
    (torch.optim.AdamW, "adam"),
    (torch.optim.RMSprop, "rmsprop"),
)


def _rule(algorithm: str, optimizer: Any, group: Mapping[str, Any], around: dict[str, Any]) -> Rule:
    decoupled = bool(group.get("decoupled_weight_decay", isinstance(optimizer, torch.optim.AdamW)))
    beta1, beta2 = group.get("betas", (0.9, 0.999))
    return Rule(
        algorithm,
        rate=float(group["lr"]),
        momentum=float(group.get("momentum", 0.0)),
        dampening=float(group.get("dampening", 0.0)),
        nesterov=bool(group.get("nesterov", False)),
        beta1=float(beta1),
        beta2=float(beta2),
        rho=float(group.get("alpha", 0.99)),
        epsilon=float(group.get("eps", 0.0)),
        centered=bool(group.get("centered", False)),
        amsgrad=bool(group.get("amsgrad", False)),
        decay=float(group.get("weight_decay", 0.0)),
        decoupled=decoupled,
        maximize=bool(group.get("maximize", False)),
        **around,
    )


def from_hyperparameters(hyperparameters: Hyperparameters, parameters: list[Any]) -> Any:
    """torch's own optimizer."""
    options, rate = dict(hyperparameters.options), hyperparameters.rate(0)
    decay = options.get("weight_decay", 0.01 if hyperparameters.name == "adamw" else 0.0)
    epsilon = options.get("epsilon", 1e-8)
    if hyperparameters.name.startswith("sgd"):
        nesterov = options.get("nesterov", hyperparameters.name == "sgd-nesterov")
        momentum = options.get("momentum", 0.9)
        return torch.optim.SGD(parameters, rate, momentum, weight_decay=decay, nesterov=nesterov)
    if hyperparameters.name == "rmsprop":
        return torch.optim.RMSprop(
            parameters, rate, options.get("rho", 0.99), epsilon, decay, options.get("momentum", 0.0),
            options.get("centered", False),
        )  # fmt: skip
    cls = torch.optim.AdamW if hyperparameters.name == "adamw" else torch.optim.Adam
    betas = tuple(options.get("betas", (0.9, 0.999)))
    return cls(parameters, rate, betas, epsilon, decay, options.get("amsgrad", False))


def write_state(optimizer: Any, states: Mapping[str, State], parameters: Mapping[str, Any]) -> None:
    """Set the optimizer's state of these parameters; an empty state is none at all."""
    names = {known: name for name, known in TORCH_NAMES.items()}
    for path, parameter in parameters.items():
        state = states.get(path) or {}
        optimizer.state.pop(parameter, None)
        if state:
            kept = {names[name]: value for name, value in state.items()}
            if isinstance(optimizer, torch.optim.RMSprop):
                kept.setdefault("step", np.ones(()))
            optimizer.state[parameter] = {
                name: torch.tensor(float(value))
                if name == "step"
                else torch.from_numpy(np.array(value)).to(parameter)
                for name, value in kept.items()
            }


class TorchState:
    """The state of one torch module's optimizer, by path."""

    def __init__(self, adapter: TorchAdapter, optimizer: Any) -> None:
        if not any(isinstance(optimizer, cls) for cls, _ in _ALGORITHMS):
            raise UsageError(
                f"an optimizer's state must be known; got {type(optimizer).__name__} for the torch module. "
                "Take SGD, Adam, AdamW or RMSprop of torch.optim."
            )
        self.optimizer = optimizer
        held = {id(p) for group in optimizer.param_groups for p in group["params"]}
        self._parameters = {path: p for path, p in adapter.module.named_parameters() if id(p) in held}

    def velocity_factor(self) -> float:
        """1: this is torch's own meaning."""
        return 1.0

    def names(self) -> set[str]:
        """What is kept of every parameter once a step was made, from the hyperparameters."""
        (group, *_) = self.optimizer.param_groups
        kinds = {
            "sgd": {"velocity": group.get("momentum")},
            "adam": {"first": True, "second": True, "greatest": group.get("amsgrad")},
            "rmsprop": {"square": True, "velocity": group.get("momentum"), "mean": group.get("centered")},
        }
        algorithm = next(name for cls, name in _ALGORITHMS if isinstance(self.optimizer, cls))
        return {name for name, kept in kinds[algorithm].items() if kept}

    def read(self) -> dict[str, State]:
        """State by path."""
        return read_state(self.optimizer, self._parameters)

    def write(self, states: Mapping[str, State]) -> None:
        """Set the state."""
        write_state(self.optimizer, states, self._parameters)
