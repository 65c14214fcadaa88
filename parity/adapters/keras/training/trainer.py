"""A Keras model in training, on any backend: gradients, steps of an optimizer, everything put back afterwards."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import keras
import numpy as np

from parity.adapters.keras.adapter import KerasAdapter
from parity.adapters.keras.forward import arguments_of
from parity.adapters.keras.tensors import is_floating, named_tensors
from parity.adapters.keras.training.gradient import differentiate
from parity.adapters.keras.training.optimizer import from_hyperparameters, read_state, renewed, rules_of
from parity.adapters.keras.training.watch import KerasWatcher
from parity.adapters.keras.weights import to_numpy
from parity.adapters.patching import restored
from parity.core.rules import Hyperparameters, Rule, State
from parity.core.trainer import Evaluation
from parity.core.types import Array, Side


class KerasTrainer:
    """Trainer for a Keras model or layer."""

    side: Side = "keras"

    def __init__(self, adapter: KerasAdapter, loss: Callable[..., Any] | None = None) -> None:
        self.adapter, self.model, self.loss = adapter, adapter.model, loss
        self.trained_by_fit = bool(self.model._call_has_training_arg)
        self._variables = dict(adapter.variables)
        self._optimizer: Any = None
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
    ) -> Evaluation:
        """Run forward and, with targets, backward; gradients are not replaced on this side."""
        tensors = [keras.ops.convert_to_tensor(value) for value in inputs]
        watcher = KerasWatcher(self.adapter, watch)
        if targets is None:
            with watcher.on():
                outputs = [(name, to_numpy(tensor)) for name, tensor in self._outputs(tensors, training)]
            return Evaluation(0.0, outputs, {}, [], watcher.finish(watcher.tensors, {}), watcher.dropped)
        probes = self._probes(tensors, training, watch) if watch else {}
        trained = {path: v for path, v in self._floating().items() if v.trainable}
        unique = {id(v): v for v in trained.values()}
        names: list[str] = []

        def function(tensors: list[Any], values: list[Any]) -> tuple[Any, Any]:
            watcher.restart(dict(zip(probes, values, strict=True)))
            with watcher.on():
                named = self._outputs(tensors, training)
            names[:] = [name for name, _ in named]
            outputs = [tensor for _, tensor in named]
            return self._loss(outputs, targets), (outputs, watcher.tensors)

        loss, (values, seen), (by_variable, by_input, by_probe) = differentiate(
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
        )

    def _floating(self) -> dict[str, Any]:
        """Variables that hold floating-point numbers, by path."""
        return {path: v for path, v in self._variables.items() if keras.backend.is_float_dtype(v.dtype)}

    def _outputs(self, tensors: list[Any], training: bool) -> list[tuple[str, Any]]:
        """The model's floating outputs by name."""
        return [(name, t) for name, t in named_tensors(self._call(tensors, training)) if is_floating(t)]

    def _call(self, tensors: list[Any], training: bool) -> Any:
        """The model on its inputs, with the mode that is asked for, even where its own `call` has no such argument."""
        return self.model(*arguments_of(self.model, tensors), training=training)

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
        wanted = [keras.ops.convert_to_tensor(value) for value in targets]
        if self.loss is None:
            terms = [
                keras.ops.sum(keras.ops.square(output - target)) / np.float64(value.size)
                for output, target, value in zip(outputs, wanted, targets, strict=True)
            ]
            total = terms[0]
            for term in terms[1:]:
                total = total + term
            return total
        single = len(outputs) == 1
        value = self.loss(wanted[0] if single else wanted, outputs[0] if single else outputs)
        size = int(np.prod(value.shape))
        return keras.ops.sum(value) / np.float64(size) if len(value.shape) else value  # as compile() would

    def loss_of(self, outputs: Sequence[Array], targets: Sequence[Array]) -> float:
        """The loss of these outputs."""
        return float(to_numpy(self._loss([keras.ops.convert_to_tensor(value) for value in outputs], targets)))

    def state(self) -> dict[str, Array]:
        """Weights and statistics by path."""
        return {path: to_numpy(v) for path, v in self._floating().items()}

    def load(self, state: Mapping[str, Array]) -> None:
        """Set weights and statistics."""
        for path, value in state.items():
            self._variables[path].assign(value)

    def trainable(self) -> set[str]:
        """Paths of the variables that training changes."""
        known = {id(v) for v in self.model.trainable_variables}
        return {path for path, v in self._variables.items() if id(v) in known and v.trainable}

    def penalties(self) -> dict[str, Array]:
        """Gradient of each variable's regulariser."""
        paths = [
            p
            for p, v in self._variables.items()
            if getattr(v, "regularizer", None) is not None and v.trainable
        ]
        if not paths:
            return {}
        variables = [self._variables[path] for path in paths]

        def function(tensors: list[Any], probes: list[Any]) -> tuple[Any, Any]:
            total = variables[0].regularizer(variables[0])
            for variable in variables[1:]:
                total = total + variable.regularizer(variable)
            return total, ([], [])

        _, _, gradients = differentiate(function, variables, [], [], self.adapter.every_variable())
        return {p: g for p, g in zip(paths, gradients[0], strict=True) if g is not None and np.any(g)}

    # --- the optimizer ------------------------------------------------------------------------------

    def start(self, optimizer: Hyperparameters | Any) -> None:
        """Make a new optimizer in float64, from the hyperparameters or from the given optimizer's configuration."""
        self._hyperparameters = optimizer if isinstance(optimizer, Hyperparameters) else None
        self._optimizer = (
            from_hyperparameters(optimizer) if isinstance(optimizer, Hyperparameters) else renewed(optimizer)
        )
        trainable = self.trainable()
        self._optimizer.build([self._variables[path] for path in self._unique(trainable)])
        excluded = getattr(optimizer, "_exclude_from_weight_decay", None)
        if excluded:
            self._optimizer._exclude_from_weight_decay = excluded
        patterns = getattr(optimizer, "_exclude_from_weight_decay_pattern", None)
        if patterns:
            self._optimizer._exclude_from_weight_decay_pattern = patterns

    def _unique(self, paths: set[str]) -> list[str]:
        """One path for each variable, in the model's order."""
        found: dict[int, str] = {}
        for path, variable in self._variables.items():
            if path in paths:
                found.setdefault(id(variable), path)
        return list(found.values())

    def stop(self) -> None:
        """Drop the optimizer."""
        self._optimizer = self._hyperparameters = None

    def apply(self, gradients: Mapping[str, Array], step: int) -> None:
        """One step with these gradients."""
        paths = self._unique(set(gradients))
        if self._hyperparameters is not None:
            self._optimizer.learning_rate = self._hyperparameters.rate(step)
        values = [keras.ops.convert_to_tensor(gradients[path]) for path in paths]
        self._optimizer.apply(values, [self._variables[path] for path in paths])

    def rules(self) -> dict[str, Rule]:
        """The rule of each variable, from the optimizer's attributes."""
        return rules_of(self._optimizer, {path: self._variables[path] for path in self.trainable()})

    def optimizer_state(self) -> dict[str, State]:
        """The optimizer's state of each variable, as Keras keeps it."""
        return read_state(self._optimizer, {path: self._variables[path] for path in self.trainable()})

    @contextmanager
    def batchnorm(self, path: str, **changes: Any) -> Iterator[None]:
        """While this is open the layer follows another rule for its statistics, or does not use the batch's."""
        layer = self.adapter.objects[path]
        original, had = layer.call, "call" in vars(layer)
        momentum, unbiased = changes.get("momentum"), changes.get("unbiased")

        def call(inputs: Any, training: Any = None, **kwargs: Any) -> Any:
            if changes.get("frozen"):
                with restored(
                    layer, "_trainable", False
                ):  # whatever mode the layer is given, or gives itself
                    return original(inputs, training=training, **kwargs)
            statistics = (layer.moving_mean, layer.moving_variance)
            before = [keras.ops.convert_to_tensor(value) + 0.0 for value in statistics]
            outputs = original(inputs, training=training, **kwargs)
            if not (training and layer.trainable):
                return outputs
            count = int(np.prod(inputs.shape)) // int(layer.moving_mean.shape[0])
            wide = {None: 1.0, True: count / (count - 1), False: (count - 1) / count}[unbiased]
            for variable, old, factor in zip(statistics, before, (1.0, wide), strict=True):
                keep = layer.momentum if momentum is None else momentum
                batch = (keras.ops.convert_to_tensor(variable) - old * layer.momentum) / (
                    1.0 - layer.momentum
                )
                variable.assign(old * keep + batch * ((1.0 - keep) * factor))
            return outputs

        vars(layer)["call"] = call
        try:
            yield
        finally:
            vars(layer).pop("call")
            if had:
                vars(layer)["call"] = original
