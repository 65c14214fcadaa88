"""What the user gives for torch's side of training: an optimizer, and what goes on around its steps."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn

from parity.core.errors import UsageError
from parity.core.rules import CLIPPINGS, TORCH_CLIP_GUARD, Hyperparameters

KNOWN = (
    "optimizer", "scheduler", "clip", *CLIPPINGS, "gradient_accumulation_steps", "ema_momentum",
    "ema_overwrite_frequency", "loss_scale_factor", "after_step",
)  # fmt: skip


@dataclass(frozen=True)
class Clipping:
    """How gradients are clipped.

    Attributes:
        name: one of CLIPPINGS; "" for none.
        limit: its bound.
        guard: what is added to the norm.
        function: called with the parameters in place of the above, where its rule is not known; else None.
    """

    name: str = ""
    limit: float = 0.0
    guard: float = 0.0
    function: Callable[..., Any] | None = None

    def apply(self, parameters: Sequence[Any]) -> None:
        """Clip the gradients that the parameters hold."""
        if self.function is not None:
            self.function(list(parameters))
        elif self.name == "global_clipnorm":
            nn.utils.clip_grad_norm_(parameters, self.limit)
        elif self.name == "clipnorm":
            for parameter in parameters:
                nn.utils.clip_grad_norm_([parameter], self.limit)
        elif self.name == "clipvalue":
            nn.utils.clip_grad_value_(parameters, self.limit)


@dataclass(frozen=True)
class Recipe:
    """torch's side of training.

    Attributes:
        optimizer: of torch.optim, or what has its interface.
        scheduler: of the learning rate, stepped after every update; None for none.
        clipping: of the gradients, before every update.
        accumulate: how many batches' gradients are averaged for one update.
        average: share of the weights' moving average that is kept; 0 where none is kept.
        overwrite: after how many updates the average replaces the weights; 0 for never.
        loss_scale: by what the loss is multiplied, in words; "" where it is not.
        after_step: called after every update, with the module or without arguments; None for nothing.
    """

    optimizer: Any
    scheduler: Any = None
    clipping: Clipping = Clipping()
    accumulate: int = 1
    average: float = 0.0
    overwrite: int = 0
    loss_scale: str = ""
    after_step: Callable[..., Any] | None = None


def of_hyperparameters(hyperparameters: Hyperparameters, optimizer: Any) -> Recipe:
    """What both sides were given as one dictionary."""
    return _around(optimizer, hyperparameters.options)


def of_given(given: Any, parameters: list[Any]) -> Recipe:
    """What was given for torch alone.

    Args:
        given: an optimizer; a function of the parameters that makes one; (optimizer, scheduler); or a dictionary
            with "optimizer" and what else is done.
        parameters: of the module.

    Raises:
        UsageError: it holds an item that is not known, or no optimizer.
    """
    if isinstance(given, Mapping):
        unknown = sorted(map(str, set(given) - set(KNOWN)))
        if unknown or "optimizer" not in given:
            near = difflib.get_close_matches(unknown[0], KNOWN, n=1) if unknown else []
            hint = f"Did you mean {near[0]!r}?" if near else "Take these names."
            raise UsageError(
                f"torch's side must have 'optimizer', and items from {', '.join(KNOWN[1:])}; got "
                f"{', '.join(unknown) if unknown else 'no optimizer'}. {hint}"
            )
        inner = of_given(given["optimizer"], parameters)
        made = _around(inner.optimizer, given, inner.scheduler)
        clip = given.get("clip")
        return made if clip is None else replace(made, clipping=identified(clip))
    if isinstance(given, tuple):
        optimizer, scheduler = given
        return _around(of_given(optimizer, parameters).optimizer, {"scheduler": scheduler})
    if hasattr(given, "param_groups"):
        return Recipe(given)
    if callable(given):
        return of_given(given(list(parameters)), parameters)
    raise UsageError(
        f"torch's optimizer must be one of torch.optim, or a function of the parameters; got {type(given).__name__}. "
        "Give one of these, or a dictionary with 'optimizer'."
    )


def _around(optimizer: Any, options: Mapping[str, Any], scheduler: Any = None) -> Recipe:
    """The optimizer with what the options say."""
    name = next((name for name in CLIPPINGS if options.get(name)), "")
    guard = TORCH_CLIP_GUARD if "norm" in name else 0.0
    scale = options.get("loss_scale_factor")
    if scale is not None and hasattr(scale, "get_scale"):
        scale_text = f"dynamic from {float(scale.get_scale()):g}"
    else:
        scale_text = f"{float(scale):g}" if scale else ""
    return Recipe(
        optimizer,
        _scheduler(options.get("scheduler", scheduler), optimizer),
        Clipping(name, float(options[name]) if name else 0.0, guard),
        int(options.get("gradient_accumulation_steps") or 1),
        float(options.get("ema_momentum") or 0.0),
        int(options.get("ema_overwrite_frequency") or 0),
        scale_text,
        options.get("after_step"),
    )


def _scheduler(given: Any, optimizer: Any) -> Any:
    if isinstance(given, type) or (given is not None and not hasattr(given, "step")):
        given = given(optimizer)
    if isinstance(given, torch.optim.lr_scheduler.ReduceLROnPlateau):
        raise UsageError(
            "a scheduler must follow from the number of steps; got ReduceLROnPlateau, which needs a measured value. "
            "Give the learning rates as a list: {'name': ..., 'lr': [...]}."
        )
    return given


def identified(function: Callable[..., Any]) -> Clipping:
    """The rule of a function that clips, found by what it does to gradients that are great and small."""
    rng = torch.Generator().manual_seed(0)
    plain = [torch.randn(size, generator=rng, dtype=torch.float64) for size in (5, 3, 7)]
    great, small = (_after(function, [value * factor for value in plain]) for factor in (1e9, 1e-9))
    if any(not torch.equal(after, value * 1e-9) for after, value in zip(small, plain, strict=True)):
        return Clipping(function=function)
    limit = max(float(value.abs().max()) for value in great)
    ratios = [after / (value * 1e9) for after, value in zip(great, plain, strict=True)]
    if all(
        torch.equal(after, (value * 1e9).clamp(-limit, limit))
        for after, value in zip(great, plain, strict=True)
    ):
        return Clipping("clipvalue", limit)
    if any(not torch.allclose(ratio, ratio[:1].expand_as(ratio), rtol=1e-12, atol=0.0) for ratio in ratios):
        return Clipping(function=function)
    whole = float(torch.cat(great).norm())
    own = [float(after.norm()) for after in great]
    name, limit = ("clipnorm", own[0]) if max(own) - min(own) <= 1e-9 * own[0] else ("global_clipnorm", whole)
    chosen = Clipping(name, float(f"{limit:.10g}"), TORCH_CLIP_GUARD)
    middle = [value * chosen.limit for value in plain]
    if all(map(torch.equal, _after(function, middle), _after(chosen.apply, middle))):
        return chosen
    return Clipping(function=function)


def _after(function: Callable[..., Any], values: list[torch.Tensor]) -> list[torch.Tensor]:
    """Gradients after the function clipped them."""
    parameters = [nn.Parameter(torch.zeros_like(value)) for value in values]
    for parameter, value in zip(parameters, values, strict=True):
        parameter.grad = value.clone()
    function(parameters)
    return [parameter.grad for parameter in parameters if parameter.grad is not None]
