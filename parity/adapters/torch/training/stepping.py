"""Steps of a torch module's training: batches gathered, gradients clipped, the update, and what follows it."""

from __future__ import annotations

import copy
import inspect
import warnings
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from parity.adapters.torch.training.recipe import Recipe
from parity.adapters.torch.weights import to_numpy
from parity.core.types import Array


class Stepping:
    """One run of a recipe from an empty state; the optimizer and scheduler come back as they were.

    Attributes:
        recipe: what is done.
    """

    def __init__(self, recipe: Recipe, module: nn.Module, parameters: Mapping[str, Any]) -> None:
        self.recipe, self.module, self._parameters = recipe, module, parameters
        optimizer, scheduler = recipe.optimizer, recipe.scheduler
        self._before = optimizer.state, [dict(group) for group in optimizer.param_groups]
        self._scheduled = copy.deepcopy(scheduler.state_dict()) if scheduler is not None else None
        optimizer.state = defaultdict(dict)
        self._gathered: dict[str, torch.Tensor] = {}
        self._batches = self._updates = 0
        self._averages: dict[str, torch.Tensor] = {}

    def close(self) -> None:
        """Give the optimizer and the scheduler back what they had."""
        optimizer = self.recipe.optimizer
        state, groups = self._before
        optimizer.state = state
        for group, before in zip(optimizer.param_groups, groups, strict=True):
            group.update(before)
        if self._scheduled is not None:
            self.recipe.scheduler.load_state_dict(self._scheduled)

    def held(self) -> list[str]:
        """The state that the optimizer had, in words: a run begins without any."""
        name = type(self.recipe.optimizer).__name__
        return (
            [f"the state that {name} held already; the updates begin without any"] if self._before[0] else []
        )

    def set_rate(self, rate: float) -> None:
        """The learning rate of the next update."""
        for group in self.recipe.optimizer.param_groups:
            group["lr"] = rate

    def take(self, gradients: Mapping[str, Array]) -> None:
        """The gradients of one batch; an update where enough batches have been gathered."""
        for path, value in gradients.items():
            gradient = torch.from_numpy(np.array(value)).to(self._parameters[path].device)
            known = self._gathered.get(path)
            self._gathered[path] = gradient if known is None else known + gradient
        self._batches += 1
        if self._batches < self.recipe.accumulate:
            return
        self._update()
        self._gathered, self._batches = {}, 0

    def _update(self) -> None:
        for parameter in self.module.parameters():
            parameter.grad = None
        for path, gradient in self._gathered.items():
            self._parameters[path].grad = gradient / self.recipe.accumulate
        self.recipe.clipping.apply([self._parameters[path] for path in self._gathered])
        self.recipe.optimizer.step()
        if self.recipe.scheduler is not None:
            self.recipe.scheduler.step()
        for parameter in self.module.parameters():
            parameter.grad = None
        constrain(self.recipe.after_step, self.module)
        self._average()
        self._updates += 1

    def _average(self) -> None:
        """Move the average of the weights, as torch.optim.swa_utils does: the first one is a copy."""
        if not self.recipe.average:
            return
        overwrite = self.recipe.overwrite and (self._updates + 1) % self.recipe.overwrite == 0
        with torch.no_grad():
            for path, parameter in self._parameters.items():
                share, known = self.recipe.average, self._averages.get(path)
                now = parameter.detach().clone()
                self._averages[path] = now if known is None else share * known + (1.0 - share) * now
                if overwrite:
                    parameter.copy_(self._averages[path])

    def rates(self, updates: Sequence[int]) -> list[float]:
        """The scheduler's learning rates of these updates, in rising order; the scheduler has gone on then."""
        scheduler, found = self.recipe.scheduler, list[float]()
        if scheduler is None:
            return found
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # no update was made in between
            for update in range(max(updates) + 1):
                if update in updates:
                    found.append(float(self.recipe.optimizer.param_groups[0]["lr"]))
                try:
                    scheduler.step()
                except ValueError:  # a schedule of so many steps is over
                    break
        return found

    def averages(self) -> dict[str, Array]:
        """The averages of the weights by path; empty where none are kept."""
        return {path: to_numpy(value) for path, value in self._averages.items()}


def constrain(function: Callable[..., Any] | None, module: nn.Module) -> None:
    """Call what the user calls after an update: with the module where it takes one argument."""
    if function is not None:
        with torch.no_grad():
            function(module) if inspect.signature(function).parameters else function()
