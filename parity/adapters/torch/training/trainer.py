"""A torch module in training: gradients, steps of an optimizer, and everything put back afterwards."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import nn

from parity.adapters.torch.adapter import TorchAdapter
from parity.adapters.torch.forward import modes_kept, renamed, set_mode, uncompiled
from parity.adapters.torch.tensors import named_tensors
from parity.adapters.torch.training.optimizer import (
    from_hyperparameters,
    own_updates,
    read_state,
    rules_of,
    unknown_keys,
)
from parity.adapters.torch.training.recipe import Recipe, of_given, of_hyperparameters
from parity.adapters.torch.training.stepping import Stepping, constrain
from parity.adapters.torch.training.watch import Neutral, TorchWatcher
from parity.adapters.torch.weights import to_numpy
from parity.core.errors import UsageError
from parity.core.rules import Hyperparameters, Rule, State
from parity.core.trainer import Cuts, Drops, Evaluation
from parity.core.types import Array, Side


class TorchTrainer:
    """Trainer for a torch module."""

    side: Side = "torch"
    trained_by_fit = True

    def __init__(self, adapter: TorchAdapter, loss: Callable[..., Any] | None = None) -> None:
        self.adapter, self.module = adapter, adapter.module
        self.loss = (
            copy.deepcopy(loss).to(adapter.device, torch.float64) if isinstance(loss, nn.Module) else loss
        )
        self._parameters = dict(self.module.named_parameters(remove_duplicate=False))
        self._without_batch: set[int] = set()
        self._stepping: Stepping | None = None
        self._after_step: Callable[..., Any] | None = None
        self._hyperparameters: Hyperparameters | None = None
        self.with_extras = self.with_penalties = False
        self.cuts = Cuts()
        self.drops: Drops | None = None

    def statistics(self) -> Callable[[], None]:
        """Keep what a pass may change of the module, even in eval mode; returns a function that puts it back."""
        kept = [(buffer, buffer.detach().clone()) for buffer in self.module.buffers()]

        def restore() -> None:
            with torch.no_grad():
                for buffer, value in kept:
                    buffer.copy_(value)

        return restore

    @contextmanager
    def session(self) -> Iterator[None]:
        """Hold the module in float64; tensors, gradients, flags and the random state are put back."""
        gradients = [(p, p.grad) for p in self.module.parameters()]
        buffers = [(m, dict(m._buffers)) for m in self.module.modules()]
        random = torch.get_rng_state()
        for parameter, _ in gradients:
            parameter.grad = None
        try:
            with modes_kept(self.module), self.adapter.precision("float64"), torch.enable_grad():
                before = {id(t): (t, t.detach().clone()) for t in self._tensors()}
                try:
                    yield
                finally:
                    self.stop()
                    for module, held in buffers:
                        module._buffers.update(held)
                    with torch.no_grad():
                        for tensor, value in before.values():
                            tensor.copy_(value)
                    for parameter, _ in gradients:
                        parameter.grad = None
        finally:
            for parameter, gradient in gradients:
                parameter.grad = gradient
            torch.set_rng_state(random)

    def _tensors(self) -> list[torch.Tensor]:
        return [*self.module.parameters(), *self.module.buffers()]

    @contextmanager
    def _mode(self, training: bool) -> Iterator[None]:
        """Train or eval mode; where the caller trains with some modules frozen by eval(), these stay so."""
        frozen_by_hand = self.module.training and not all(m.training for m in self.module.modules())
        with modes_kept(self.module):
            if not (training and frozen_by_hand):
                set_mode(self.module, training)
            yield

    def evaluate(
        self,
        inputs: Sequence[Array],
        targets: Sequence[Array] | None,
        *,
        training: bool,
        watch: Sequence[str] = (),
        forced: Mapping[tuple[str, int], Array] | None = None,
        shake: np.random.Generator | None = None,
    ) -> Evaluation:
        """Run forward and, with targets, backward."""
        leaves = self.adapter.tensors(inputs)
        for leaf in leaves:
            leaf.requires_grad_(leaf.is_floating_point())
        watcher = TorchWatcher(watch, forced or {})
        with (
            self._mode(training),
            uncompiled(),
            Neutral(self.module, self._without_batch, shake, self.cuts, self.drops) as neutral,
            watcher.on(self.module),
        ):
            # A copy goes in: the module may change its input in place, which a leaf of the graph forbids.
            args, kwargs = self.adapter.form.arguments([leaf.clone() for leaf in leaves])
            outputs = named_tensors(renamed(self.module(*args, **kwargs), self.adapter.form))
            named = [(name, tensor) for name, tensor in outputs if tensor.is_floating_point()]
            loss = self._loss([tensor for _, tensor in named], targets) if targets is not None else None
        gradients: list[torch.Tensor | None] = [None] * (len(self._parameters) + len(leaves))
        if loss is not None and loss.requires_grad:
            sources = [*self._parameters.values(), *leaves]
            wanted = [i for i, source in enumerate(sources) if source.requires_grad]
            found = torch.autograd.grad(loss, [sources[i] for i in wanted], allow_unused=True)
            for i, gradient in zip(wanted, found, strict=True):
                gradients[i] = gradient
        arrays = [None if g is None else to_numpy(g.to_dense() if g.is_sparse else g) for g in gradients]
        return Evaluation(
            loss=float(loss.detach()) if loss is not None else 0.0,
            outputs=[(name, to_numpy(tensor)) for name, tensor in named],
            parameters=dict(zip(self._parameters, arrays[: len(self._parameters)], strict=True)),
            inputs=arrays[len(self._parameters) :],
            calls=watcher.calls,
            dropped=neutral.dropped,
        )

    def _loss(self, outputs: list[torch.Tensor], targets: Sequence[Array]) -> torch.Tensor:
        wanted = [torch.from_numpy(np.ascontiguousarray(value)).to(self.adapter.device) for value in targets]
        if self.loss is None:
            terms = [
                ((output - target) ** 2).sum() / target.numel()
                for output, target in zip(outputs, wanted, strict=True)
            ]
            return torch.stack(terms).sum()
        single = len(outputs) == 1
        value = self.loss(outputs[0] if single else outputs, wanted[0] if single else wanted)
        if not isinstance(value, torch.Tensor) or value.dim():
            shape = tuple(getattr(value, "shape", ()))
            raise UsageError(
                f"a torch loss must give one number; got {type(value).__name__} of shape {shape}. Reduce it."
            )
        return value

    def loss_of(self, outputs: Sequence[Array], targets: Sequence[Array]) -> float:
        """The loss of these outputs."""
        tensors = [torch.from_numpy(np.ascontiguousarray(v)).to(self.adapter.device) for v in outputs]
        return float(self._loss(tensors, targets).detach())

    def state(self) -> dict[str, Array]:
        """Parameters and statistics by path."""
        return {
            t.path: self.adapter.read(t.path)
            for layer in self.adapter.layers().values()
            for t in layer.tensors
        }

    def load(self, state: Mapping[str, Array]) -> None:
        """Set parameters and statistics."""
        for path, value in state.items():
            self.adapter.write(path, value)

    def trainable(self) -> set[str]:
        """Paths of the parameters that require a gradient."""
        return {path for path, parameter in self._parameters.items() if parameter.requires_grad}

    def penalties(self) -> dict[str, Array]:
        """None: torch's modules have no regularisers."""
        return {}

    def penalty(self) -> float:
        """Zero: torch's modules have no regularisers."""
        return 0.0

    # --- the optimizer ------------------------------------------------------------------------------

    def start(self, optimizer: Hyperparameters | Any) -> None:
        """Make a new optimizer, or take the given one, with an empty state."""
        self.stop()
        self._hyperparameters = optimizer if isinstance(optimizer, Hyperparameters) else None
        self._stepping = Stepping(self._recipe(optimizer), self.module, self._parameters)
        self._after_step = self._stepping.recipe.after_step

    def _recipe(self, wanted: Hyperparameters | Any) -> Recipe:
        parameters = list(self.module.parameters())
        if isinstance(wanted, Hyperparameters):
            return of_hyperparameters(wanted, from_hyperparameters(wanted, parameters))
        return of_given(wanted, parameters)

    def stop(self) -> None:
        """Drop the optimizer; a given one gets its state and hyperparameters back."""
        if self._stepping is not None:
            self._stepping.close()
        self._stepping = self._hyperparameters = None

    def apply(self, gradients: Mapping[str, Array], step: int) -> None:
        """One batch with these gradients; an update where enough batches have been gathered."""
        if self._hyperparameters is not None:
            self._steps.set_rate(self._hyperparameters.rate(step))
        self._steps.take(gradients)

    @property
    def _steps(self) -> Stepping:
        assert self._stepping is not None, "start() comes first"
        return self._stepping

    def count_step(self) -> None:
        """Nothing: every step of torch's side is made by its optimizer."""

    def rates(self, updates: Sequence[int]) -> list[float]:
        """The scheduler's learning rates of these updates."""
        return self._steps.rates(updates)

    def adopt_rate(self, rate: float) -> None:
        """Nothing: torch's learning rates are Python's floats."""

    def rules(self) -> dict[str, Rule]:
        """The rule of each parameter, from the groups that the optimizer keeps."""
        return rules_of(self._steps.recipe, self._parameters)

    def optimizer_state(self) -> dict[str, State]:
        """The optimizer's state of each parameter that it has seen, and the average of its weights."""
        found = read_state(self._steps.recipe.optimizer, self._parameters)
        for path, average in self._steps.averages().items():
            found.setdefault(path, {})["average"] = average
        return found

    def constraints(self) -> dict[str, str]:
        """What the user calls after every update, for the module as a whole; known once a run was started."""
        function = self._after_step
        return {} if function is None else {"": getattr(function, "__name__", type(function).__name__)}

    def constrained(self, weights: Mapping[str, Array]) -> dict[str, Array]:
        """These weights after what the user calls after an update; the module keeps its own."""
        before = self.state()
        self.load(weights)
        constrain(self._after_step, self.module)
        after = {path: self.adapter.read(path) for path in weights}
        self.load(before)
        return after

    @contextmanager
    def unconstrained(self) -> Iterator[None]:
        """Nothing changes: what the user calls after an update stays."""
        yield

    def loss_scale(self) -> str:
        """By what the loss is multiplied, in words."""
        return self._steps.recipe.loss_scale

    def unknown(self) -> list[str]:
        """What changes the training and is not compared."""
        recipe = self._steps.recipe
        name = type(recipe.optimizer).__name__
        found = [f"{name}: {item}" for item in unknown_keys(recipe.optimizer)]
        if not self.rules():
            found.append(f"the rule of {name} is not known to parity: its numbers, and what it keeps")
        if recipe.clipping.function is not None:
            found.append("the function that clips gradients follows no known rule")
        hooked = [p for p, t in self._parameters.items() if getattr(t, "_post_accumulate_grad_hooks", None)]
        if hooked:
            found.append(f"hooks after the gradient of {', '.join(hooked[:3])}")
        return found

    def own_hooks(self) -> list[str]:
        """Hooks on gradients: of parameters, and of modules."""
        hooked = [path for path, tensor in self._parameters.items() if tensor._backward_hooks]
        hooked += [
            path or "the module"
            for path, module in self.module.named_modules()
            if module._backward_hooks or module._backward_pre_hooks
        ]
        return [f"what hooks do to other gradients of {', '.join(hooked[:3])}"] if hooked else []

    def own_updates(self) -> list[str]:
        """What the optimizer does by code of the user's, and the state that it had."""
        return [*own_updates(self._steps.recipe.optimizer), *self._steps.held()]

    @contextmanager
    def batchnorm(self, path: str, **changes: Any) -> Iterator[None]:
        """While this is open the layer normalises by its running statistics in training, too."""
        mean = getattr(self.adapter.objects[path], "running_mean", None)
        if not changes.get("frozen") or mean is None:
            yield
            return
        self._without_batch.add(id(mean))
        try:
            yield
        finally:
            self._without_batch.discard(id(mean))
