"""Weights that torch computes anew in every pass (weight_norm, spectral_norm, any parametrization), held as plain ones.

While `plain` is open, such a module has the effective weight as a parameter, so that everything sees what it computes
with in inference. Afterwards the module is what it was. Values that were written are set through the parametrization.
"""

from __future__ import annotations

import weakref
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn
from torch.nn.utils import parametrize
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm

from parity.core.adapter import joined
from parity.core.errors import UsageError
from parity.core.types import Array

ROUNDING = 64
"""Roundoffs of the greatest value by which the effective weight may miss what it was set to: norms are long sums."""


@dataclass
class PlainWeights:
    """A module whose weights are plain for the time being.

    Attributes:
        module: the module itself.
        how: for each weight, what computes it.
        stays: whether values that are written are set through the parametrization afterwards.
        weights: the plain weights.
        values: what they were at first.
        cls: the module's class with its parametrizations.
        parts: its attributes that were replaced, as they were.
    """

    module: nn.Module
    how: dict[str, str]
    stays: bool = False
    weights: dict[str, nn.Parameter] = field(default_factory=dict)
    values: dict[str, torch.Tensor] = field(default_factory=dict)
    cls: type | None = None
    parts: dict[str, Any] = field(default_factory=dict)

    def unwrap(self) -> None:
        """Make the weights plain."""
        module = self.module
        effective = {name: _effective(module, name).detach().clone() for name in self.how}
        self.cls = type(module)
        self.parts = {
            name: vars(module)[name].copy()
            for name in ("_parameters", "_buffers", "_modules", "_forward_pre_hooks")
        }
        self.parts["plain"] = {name: vars(module)[name] for name in self.how if name in vars(module)}
        for name in self.how:
            vars(module).pop(name, None)
            for old in _sources(module, name):
                module._parameters.pop(old, None)
                module._buffers.pop(old, None)
        if parametrize.is_parametrized(module):
            del module._modules["parametrizations"]
            module.__class__ = self.cls.__mro__[1]
        hooks = {key: hook for key, hook in module._forward_pre_hooks.items() if not isinstance(hook, HOOKS)}
        module._forward_pre_hooks = OrderedDict(hooks)
        for name, value in effective.items():
            self.weights[name] = module._parameters[name] = nn.Parameter(value, requires_grad=True)
            self.values[name] = value.clone()
        _flattened(module)

    def wrap(self) -> None:
        """Give the module its parametrizations back."""
        module, parts = self.module, self.parts
        for name in ("_parameters", "_buffers", "_modules", "_forward_pre_hooks"):
            vars(module)[name] = parts[name]
        if self.cls is not None and type(module) is not self.cls:
            module.__class__ = self.cls
        vars(module).update(parts["plain"])
        _flattened(module)

    def written(self) -> dict[str, torch.Tensor]:
        """The plain weights that are not what they were."""
        return {
            name: weight.detach().clone()
            for name, weight in self.weights.items()
            if not torch.equal(weight.detach(), self.values[name])
        }

    def refusal(self, name: str, value: Array) -> str:
        """Why the parametrization cannot hold a value; empty where it can. Nothing is changed."""
        now = {key: weight.detach().clone() for key, weight in self.weights.items()}
        self.wrap()
        try:
            before = _snapshot(self.module)
            text = _set(self.module, name, torch.from_numpy(value.copy()))
            _restore(self.module, before)
        finally:
            self.unwrap()
            with torch.no_grad():
                for key, weight in now.items():
                    self.weights[key].copy_(weight)
        return text


HOOKS = (WeightNorm, SpectralNorm)
_HELD: weakref.WeakKeyDictionary[nn.Module, PlainWeights] = weakref.WeakKeyDictionary()


def held_plain(module: nn.Module) -> PlainWeights | None:
    """What is known of a module whose weights are plain for the time being."""
    return _HELD.get(module)


@contextmanager
def plain(root: nn.Module, write_back: bool) -> Iterator[None]:
    """While this is open, every weight that a pass computes anew is a plain parameter, in its own dtype.

    Args:
        root: the model.
        write_back: whether values that were written stay, set through the parametrizations; else all is as before.

    Raises:
        UsageError: a parametrization gives another weight each time.
    """
    opened: list[PlainWeights] = []
    try:
        for module in root.modules():
            how = {} if module in _HELD else computed(module)
            if how:
                held = PlainWeights(module, how, write_back)
                held.unwrap()
                _HELD[module] = held
                opened.append(held)
        yield
    finally:
        for held in opened:
            written = held.written() if write_back else {}
            held.wrap()
            _HELD.pop(held.module, None)
            for name, value in written.items():
                _set(held.module, name, value)


def held_weights(modules: Mapping[str, nn.Module]) -> dict[str, str]:
    """What computes each weight that is plain for the time being, by its path."""
    found: dict[str, str] = {}
    for path, module in modules.items():
        held = held_plain(module)
        found |= {joined(path, name): how for name, how in (held.how if held else {}).items()}
    return found


def refusal(path: str, module: nn.Module, name: str, value: Array) -> str:
    """Why a weight cannot become this value; empty where it can, or where the value does not stay."""
    held = held_plain(module)
    if held is None or name not in held.how or not held.stays:
        return ""
    why = held.refusal(name, value)
    return why and (
        f"torch {path}, which {held.how[name]} computes in every pass, must be able to hold the source's values; got: "
        f"{why}. Remove it (torch.nn.utils.parametrize.remove_parametrizations), and copy again."
    )


def computed(module: nn.Module) -> dict[str, str]:
    """The weights of a module that a pass computes anew, and what computes each."""
    found: dict[str, str] = {}
    if parametrize.is_parametrized(module):
        for name, steps in module.parametrizations.items():  # type: ignore[operator, union-attr]
            found[name] = " and ".join(type(step).__name__.lstrip("_") for step in steps)
    for hook in module._forward_pre_hooks.values():
        if isinstance(hook, HOOKS):
            found[hook.name] = type(hook).__name__
    return found


def _flattened(module: nn.Module) -> None:
    """Let a recurrent module, which keeps a list of its weights, have the present ones in it."""
    if isinstance(module, nn.RNNBase):
        module._flat_weights = [getattr(module, name, None) for name in module._flat_weights_names]


def _sources(module: nn.Module, name: str) -> list[str]:
    """Names of what an old hook computes a weight from."""
    old = any(isinstance(hook, HOOKS) and hook.name == name for hook in module._forward_pre_hooks.values())
    return [f"{name}_{part}" for part in ("g", "v", "orig", "u")] if old else []


def _hook(module: nn.Module, name: str) -> Any:
    hooks = module._forward_pre_hooks.values()
    return next((hook for hook in hooks if isinstance(hook, HOOKS) and hook.name == name), None)


def _effective(module: nn.Module, name: str) -> torch.Tensor:
    """What a pass in inference computes with."""
    hook = _hook(module, name)
    with torch.no_grad():
        if isinstance(hook, WeightNorm):
            return torch.as_tensor(hook.compute_weight(module))
        if isinstance(hook, SpectralNorm):
            return hook.compute_weight(module, do_power_iteration=False)
        steps: Any = module.parametrizations[name]  # type: ignore[index]
        modes = [(step, step.training) for step in steps.modules()]
        for step, _ in modes:
            step.training = False
        try:
            first, second = steps(), steps()
        finally:
            for step, mode in modes:
                step.training = mode
    if not torch.equal(torch.nan_to_num(first), torch.nan_to_num(second)):
        raise UsageError(
            f"a weight must be the same in every pass of inference; got another {name} each time from "
            f"{computed(module)[name]}. Remove the parametrization, or switch its noise off."
        )
    return torch.as_tensor(first)


Snapshot = list[tuple[nn.Module, dict[str, Any], dict[str, Any], list[tuple[torch.Tensor, torch.Tensor]]]]


def _snapshot(root: nn.Module) -> Snapshot:
    """The parameters and buffers of a module and all in it, with their values."""
    found: Snapshot = []
    for module in root.modules():
        own = [
            value for value in (*module._parameters.values(), *module._buffers.values()) if value is not None
        ]
        values = [(value, value.detach().clone()) for value in own]
        found.append((module, dict(module._parameters), dict(module._buffers), values))
    return found


def _restore(root: nn.Module, before: Snapshot) -> None:
    with torch.no_grad():
        for module, parameters, buffers, values in before:
            vars(module)["_parameters"], vars(module)["_buffers"] = parameters, buffers
            for tensor, value in values:
                tensor.copy_(value)
        for hook in root._forward_pre_hooks.values():
            if isinstance(hook, HOOKS):
                setattr(root, hook.name, _effective(root, hook.name))


def _set(module: nn.Module, name: str, value: torch.Tensor) -> str:
    """Let the effective weight be this one; why that cannot be, or nothing."""
    hook, before = _hook(module, name), _snapshot(module)
    with torch.no_grad():
        value = value.to(_effective(module, name))
        try:
            if isinstance(hook, WeightNorm):
                _set_norm(module, f"{name}_g", f"{name}_v", value, hook.dim)
            elif isinstance(hook, SpectralNorm):
                getattr(module, f"{name}_orig").copy_(value)
                _set_vectors(module, f"{name}_u", f"{name}_v", hook.reshape_weight_to_matrix(value))
            else:
                _set_parametrized(module, name, value)
            found = _effective(module, name)
            if hook is not None:
                setattr(module, name, found)
        except Exception as error:  # any parametrization, any error
            _restore(module, before)
            return f"{type(error).__name__}: {str(error).partition(chr(10))[0][:120]}"
        allowed = ROUNDING * torch.finfo(value.dtype).eps * float(value.abs().max() if value.numel() else 0.0)
        if torch.allclose(found, value, rtol=0.0, atol=allowed):
            return ""
        _restore(module, before)
        return "it can hold only some weights, and this is none of them"


def _set_norm(module: nn.Module, norm: str, direction: str, value: torch.Tensor, dim: int) -> None:
    """A weight as its norm and its direction; a row of zeros keeps a direction, so that it is no 0 / 0."""
    size = torch.norm_except_dim(value, 2, dim)
    getattr(module, norm).copy_(size)
    getattr(module, direction).copy_(torch.where(size == 0, torch.ones_like(value), value))


def _set_parametrized(module: nn.Module, name: str, value: torch.Tensor) -> None:
    steps: Any = module.parametrizations[name]  # type: ignore[index]
    kinds = [type(step).__name__ for step in steps]
    if kinds == ["_WeightNorm"]:
        _set_norm(steps, "original0", "original1", value, steps[0].dim)
        return
    setattr(module, name, value)
    if kinds == ["_SpectralNorm"] and hasattr(steps[0], "_u"):
        _set_vectors(steps[0], "_u", "_v", steps[0]._reshape_weight_to_matrix(value))


def _set_vectors(owner: nn.Module, left: str, right: str, matrix: torch.Tensor) -> None:
    """Vectors by which the norm of this very matrix is estimated as one, so that dividing by it changes nothing."""
    u, _, v = torch.linalg.svd(matrix.double(), full_matrices=False)
    first, second = u[:, 0].to(matrix), v[0].to(matrix)
    norm = torch.dot(first, torch.mv(matrix, second))
    getattr(owner, left).copy_(first / norm if norm else first)
    getattr(owner, right).copy_(second)
