"""A Keras model in training, on any backend: gradients, steps of an optimizer, everything put back afterwards."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any

import keras
import numpy as np

from parity.adapters.keras.adapter import KerasAdapter
from parity.adapters.keras.forward import arguments_of
from parity.adapters.keras.tensors import is_floating, named_tensors
from parity.adapters.keras.training.batchnorm import another_rule
from parity.adapters.keras.training.extras import (
    described,
    exact_regularisers,
    extra_losses,
    own_training,
    penalty_gradients,
    penalty_terms,
)
from parity.adapters.keras.training.gradient import differentiate
from parity.adapters.keras.training.losses import loss_value
from parity.adapters.keras.training.making import (
    from_hyperparameters,
    inner,
    loss_scale,
    renewed,
    unknown_settings,
)
from parity.adapters.keras.training.optimizer import averages_of, own_updates, read_state, rules_of
from parity.adapters.keras.training.watch import KerasWatcher, cutting, shaking
from parity.adapters.keras.weights import to_numpy
from parity.adapters.patching import restored
from parity.core.rules import Hyperparameters, Rule, State
from parity.core.trainer import Cuts, Drops, Evaluation
from parity.core.types import Array, Side


class KerasTrainer:
    """Trainer for a Keras model or layer."""

    side: Side = "keras"

    def __init__(self, adapter: KerasAdapter, loss: Callable[..., Any] | None = None) -> None:
        self.adapter, self.model, self.loss = adapter, adapter.model, loss
        self.trained_by_fit = bool(self.model._call_has_training_arg)
        self.with_extras = self.with_penalties = False
        self.cuts = Cuts()
        self.drops: Drops | None = None
        self._variables = dict(adapter.variables)
        self._optimizer: Any = None
        self._given: Any = None
        self._adopted: float | None = None
        self._hyperparameters: Hyperparameters | None = None

    def statistics(self) -> Callable[[], None]:
        """Keep what a pass may change of the model, even in inference mode; returns a function that puts it back."""
        kept = [(v, to_numpy(v)) for v in self.model.non_trainable_variables]

        def restore() -> None:
            for variable, value in kept:
                variable.assign(value)

        return restore

    @contextmanager
    def session(self) -> Iterator[None]:
        """Hold the model in float64; variables of every type are put back."""
        discrete = [v for v in self.model.variables if not keras.backend.is_float_dtype(v.dtype)]
        whole = [(v, to_numpy(v)) for v in discrete]
        with ExitStack() as stack:
            for variable, value in whole:
                stack.callback(variable.assign, value)
            stack.enter_context(self.adapter.precision("float64"))
            stack.enter_context(exact_regularisers(self.model, self._variables))
            if isinstance(self.loss, keras.losses.Loss):  # it casts what it gets to the type it was made in
                for name, exact in (("_dtype_policy", keras.DTypePolicy("float64")), ("_dtype", "float64")):
                    if hasattr(self.loss, name):
                        stack.enter_context(restored(self.loss, name, exact))
            try:
                yield
            finally:
                self.stop()

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
        """Run forward and, with targets, backward; gradients are not replaced on this side."""
        tensors = [keras.ops.convert_to_tensor(value) for value in inputs]
        watcher = KerasWatcher(self.adapter, watch, self.drops)
        if targets is None:
            with watcher.on(), shaking(shake):
                outputs = [(name, to_numpy(tensor)) for name, tensor in self._outputs(tensors, training)]
            extras = [(s, float(to_numpy(t))) for s, t in extra_losses(self.model, self.adapter.objects)]
            calls = watcher.finish(watcher.tensors, {})
            return Evaluation(0.0, outputs, {}, [], calls, watcher.dropped, extras)
        probes = self._probes(tensors, training, watch) if watch else {}
        trained = {path: v for path, v in self._floating().items() if v.trainable}
        unique = {id(v): v for v in trained.values()}
        names: list[str] = []
        sources: list[str] = []

        def function(tensors: list[Any], values: list[Any]) -> tuple[Any, Any]:
            watcher.restart(dict(zip(probes, values, strict=True)))
            with watcher.on(), shaking(shake):
                named = self._outputs(tensors, training)
            names[:] = [name for name, _ in named]
            outputs = [tensor for _, tensor in named]
            extras = extra_losses(self.model, self.adapter.objects)
            sources[:] = [source for source, _ in extras]
            terms = [term for _, term in extras] if self.with_extras else []
            terms += [term for _, term in penalty_terms(self._regularised())] if self.with_penalties else []
            loss = self._loss(outputs, targets)
            for term in terms:
                loss = loss + term
            return loss, (outputs, watcher.tensors, [term for _, term in extras])

        with cutting(self.cuts):
            loss, (values, seen, terms), (by_variable, by_input, by_probe) = differentiate(
                function, list(unique.values()), tensors, list(probes.values()), self.adapter.every_variable()
            )
        gradients = dict(zip(unique, by_variable, strict=True))
        return Evaluation(
            loss=float(to_numpy(loss)),
            outputs=[(name, to_numpy(value)) for name, value in zip(names, values, strict=True)],
            parameters={path: gradients[id(v)] for path, v in trained.items()},
            inputs=by_input,
            calls=watcher.finish(seen, dict(zip(probes, by_probe, strict=True))),
            dropped=watcher.dropped,
            extras=[(s, float(to_numpy(t))) for s, t in zip(sources, terms, strict=True)],
        )

    def _floating(self) -> dict[str, Any]:
        """Variables that hold floating-point numbers, by path."""
        return {path: v for path, v in self._variables.items() if keras.backend.is_float_dtype(v.dtype)}

    def _outputs(self, tensors: list[Any], training: bool) -> list[tuple[str, Any]]:
        """The model's floating outputs by name."""
        return [(name, t) for name, t in named_tensors(self._call(tensors, training)) if is_floating(t)]

    def _call(self, tensors: list[Any], training: bool) -> Any:
        """The model on its inputs, with the mode that is asked for, even where its own `call` has no such argument."""
        form = self.adapter.form
        args, kwargs = form.arguments(tensors) if form.names else (arguments_of(self.model, tensors), {})
        return self.model(*args, **kwargs, training=training)

    def _probes(self, tensors: list[Any], training: bool, watch: Sequence[str]) -> dict[tuple[str, int], Any]:
        """A zero for each output of a watched layer: the gradient with respect to it is the output's."""
        state = {id(v): (v, to_numpy(v)) for v in self.adapter.every_variable()}
        watcher = KerasWatcher(self.adapter, watch)
        with watcher.on():
            self._call(tensors, training)
        for variable, value in state.values():
            variable.assign(value)
        seen = zip(watcher.keys, watcher.tensors, strict=True)
        return {key: keras.ops.zeros_like(output) for key, (_, output) in seen}

    def _loss(self, outputs: list[Any], targets: Sequence[Array]) -> Any:
        return loss_value(self.loss, outputs, targets)

    def loss_of(self, outputs: Sequence[Array], targets: Sequence[Array]) -> float:
        """The loss of these outputs."""
        return float(to_numpy(self._loss([keras.ops.convert_to_tensor(value) for value in outputs], targets)))

    def state(self) -> dict[str, Array]:
        """Weights and statistics by path."""
        return {path: to_numpy(v) for path, v in self._variables.items()}

    def load(self, state: Mapping[str, Array]) -> None:
        """Set weights and statistics."""
        for path, value in state.items():
            self._variables[path].assign(value)

    def trainable(self) -> set[str]:
        """Paths of the variables that training changes."""
        known = {id(v) for v in self.model.trainable_variables}
        return {path for path, v in self._variables.items() if id(v) in known and v.trainable}

    def _regularised(self) -> dict[str, Any]:
        """Trained variables with a regulariser, by path."""
        return {
            p: v
            for p, v in self._variables.items()
            if getattr(v, "regularizer", None) is not None and v.trainable
        }

    def penalty(self) -> float:
        """What the regularisers add to the loss, at the present weights."""
        return sum(float(to_numpy(term)) for _, term in penalty_terms(self._regularised()))

    def penalties(self) -> dict[str, Array]:
        """Gradient of each variable's regulariser; none where the loss holds the regularisers already."""
        held = {} if self.with_penalties else self._regularised()
        return penalty_gradients(held, self.adapter.every_variable()) if held else {}

    # --- the optimizer ------------------------------------------------------------------------------

    def start(self, optimizer: Hyperparameters | Any) -> None:
        """Make a new optimizer in float64, from the hyperparameters or from the given optimizer's configuration."""
        self._hyperparameters = optimizer if isinstance(optimizer, Hyperparameters) else None
        self._given = optimizer
        made = from_hyperparameters if isinstance(optimizer, Hyperparameters) else renewed
        self._optimizer = made(optimizer)
        trainable = self.trainable()
        self._optimizer.build([self._variables[path] for path in self._unique(trainable)])

    def _unique(self, paths: set[str]) -> list[str]:
        """One path for each variable, in the model's order."""
        found: dict[int, str] = {}
        for path, variable in self._variables.items():
            if path in paths:
                found.setdefault(id(variable), path)
        return list(found.values())

    def stop(self) -> None:
        """Drop the optimizer."""
        self._optimizer = self._hyperparameters = self._given = self._adopted = None

    def apply(self, gradients: Mapping[str, Array], step: int) -> None:
        """One step with these gradients."""
        paths = self._unique(set(gradients))
        if self._hyperparameters is not None:
            self._optimizer.learning_rate = self._hyperparameters.rate(step)
        values = [keras.ops.convert_to_tensor(gradients[path]) for path in paths]
        with ExitStack() as stack:
            if self._adopted is not None:
                rate = np.float64(self._adopted)
                stack.enter_context(restored(self._optimizer, "_learning_rate", rate))
            self._optimizer.apply(values, [self._variables[path] for path in paths])
        self._adopted = None

    def count_step(self) -> None:
        """Count a step that was made without the optimizer, so that a schedule goes on."""
        self._optimizer._iterations.assign_add(1)
        self._adopted = None

    def rates(self, updates: Sequence[int]) -> list[float]:
        """The schedule's learning rates of these updates."""
        schedule = getattr(inner(self._optimizer), "_learning_rate", None)
        if not isinstance(schedule, keras.optimizers.schedules.LearningRateSchedule):
            return []
        return [float(to_numpy(keras.ops.convert_to_tensor(schedule(update)))) for update in updates]

    def adopt_rate(self, rate: float) -> None:
        """Take this learning rate in the next step: a schedule's own is rounded to float32."""
        self._adopted = rate

    def rules(self) -> dict[str, Rule]:
        """The rule of each variable, from the optimizer's attributes."""
        return rules_of(self._optimizer, {path: self._variables[path] for path in self.trainable()})

    def optimizer_state(self) -> dict[str, State]:
        """The optimizer's state of each variable, as Keras keeps it, and the average of its values."""
        variables = {path: self._variables[path] for path in self.trainable()}
        found = read_state(self._optimizer, variables)
        for path, average in averages_of(self._optimizer, variables).items():
            found[path]["average"] = average
        return found

    def constraints(self) -> dict[str, str]:
        """What keeps trained variables within bounds after every step, in words, by path."""
        return {path: described(variable.constraint) for path, variable in self._constrained().items()}

    def _constrained(self) -> dict[str, Any]:
        return {p: v for p, v in self._variables.items() if v.trainable and v.constraint is not None}

    def constrained(self, weights: Mapping[str, Array]) -> dict[str, Array]:
        """These weights after the variables' constraints."""
        held = {path: v.constraint for path, v in self._constrained().items() if path in weights}
        convert = keras.ops.convert_to_tensor
        return {**weights, **{path: to_numpy(held[path](convert(weights[path]))) for path in held}}

    @contextmanager
    def unconstrained(self) -> Iterator[None]:
        """While this is open no constraint acts."""
        with ExitStack() as stack:
            for variable in self._constrained().values():
                stack.enter_context(restored(variable, "_constraint", None))
            yield

    def loss_scale(self) -> str:
        """By what the loss is multiplied, in words."""
        options = getattr(self._given, "options", None)
        if options is not None:
            return f"{float(options['loss_scale_factor']):g}" if options.get("loss_scale_factor") else ""
        return loss_scale(self._given)

    def unknown(self) -> list[str]:
        """What changes the training and is not compared."""
        found = own_training(self.model, self._variables)
        if isinstance(self._given, Hyperparameters):
            return found
        name = type(inner(self._given)).__name__
        if not self.rules():
            found.append(f"the rule of {name} is not known to parity: its numbers, and what it keeps")
        return found + [f"{name}: {item}" for item in unknown_settings(self._given)]

    def own_hooks(self) -> list[str]:
        """None: Keras has no hooks on gradients."""
        return []

    def own_updates(self) -> list[str]:
        """What the optimizer does by code of the user's, and the state that it had."""
        if isinstance(self._given, Hyperparameters):
            return []
        return own_updates(inner(self._given))

    def batchnorm(self, path: str, **changes: Any) -> AbstractContextManager[None]:
        """While this is open the layer follows another rule for its statistics, or does not use the batch's."""
        return another_rule(self.adapter.objects[path], **changes)
