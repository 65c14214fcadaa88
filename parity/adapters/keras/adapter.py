"""A Keras model behind the adapters' interface. Imported only for a Keras model."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from typing import Any

import keras

from parity.adapters.devices import keras_device
from parity.adapters.float32.in_keras import declared_float32, keras_requests
from parity.adapters.float32.log import Float32Log
from parity.adapters.keras.blueprint import keras_blueprint
from parity.adapters.keras.calls.composite import outputs_of
from parity.adapters.keras.calls.watch import watched
from parity.adapters.keras.flattening import flattened_images, may_flatten
from parity.adapters.keras.forward import call, statistics_kept, taken
from parity.adapters.keras.layers import attributes, declared_inputs, layer_info, layers_of, own_variables
from parity.adapters.keras.precision import full_multiplication, precision
from parity.adapters.keras.recurrent.lowered import passed, step_by_step
from parity.adapters.keras.recurrent.part import cells_of
from parity.adapters.keras.tensors import arrays, as_array, named_arrays, named_leaves, replaced
from parity.adapters.keras.trace import framework, tensors_of, tracing
from parity.adapters.keras.weights import held, looked_at, peek, to_numpy, values_of, write
from parity.adapters.patching import restored
from parity.adapters.sites.making import made_at
from parity.adapters.sites.unwatched import aside, resumed
from parity.adapters.trace_builder import TraceBuilder
from parity.adapters.trial import trial
from parity.core.adapter import Blueprint, Form, Observer, Takes, joined
from parity.core.errors import UsageError
from parity.core.trace import CodePlace, Look, NodeObserver, Trace
from parity.core.trace import flattened_images as flattened_in
from parity.core.types import Array, LayerInfo, Side


class KerasAdapter:
    """Adapter for `keras.Model` and `keras.layers.Layer`.

    Attributes:
        model: the model or layer itself.
        device: where it is evaluated, as `keras.device` takes it.
        objects: its layers by path.
        variables: the variables that its layers own, by path.
    """

    side: Side = "keras"
    form: Form
    keys: tuple[Any, ...]
    orders: tuple[tuple[int, ...], ...]
    said: tuple[str, ...]

    def __init__(self, model: Any, device: str = "cpu") -> None:
        self.model = model
        self.device = keras_device(device)
        unbuilt = [
            layer.name
            for layer in model._flatten_layers()
            if not layer.built and not isinstance(layer, keras.layers.InputLayer)
        ]
        if not model.built:
            raise UsageError(
                f"every Keras model must be built; got {model.name} with unbuilt {', '.join(unbuilt)}. "
                "Call it once on a sample input, or pass inputs=."
            )
        self.form, self.keys, self.orders, self.said = Form(), (), (), ()
        self.float32 = Float32Log()
        self.objects, self._aliases = layers_of(model)
        self._passing = {id(cell): layer for layer in self.objects.values() for cell in cells_of(layer)}
        self.variables = {
            joined(path, name): variable
            for path, layer in self.objects.items()
            for name, _, variable in own_variables(layer)
        }
        self.said = tuple(
            f"Keras {path} is in a SpectralNormalization: it is copied and compared as inference uses it, and each step of "
            "training divides it by its norm first"
            for path in self.computed()
        )

    # --- layers and weights -----------------------------------------------------------------------------

    def layers(self) -> dict[str, LayerInfo]:
        """Every layer by path: attribute names, or layer names in functional and sequential models."""
        return {path: layer_info(path, layer, self._aliases[path]) for path, layer in self.objects.items()}

    def read(self, path: str) -> Array:
        """The value of a variable."""
        return to_numpy(self.variables[path])

    def peek(self, path: str) -> Array:
        """The same without a copy, where that can be."""
        return peek(self.variables[path])

    def write(self, path: str, value: Array, fresh: bool = False) -> None:
        """Set a variable in place; a fresh array is the caller's no more."""
        write(self.variables[path], value, fresh)

    def held(self, path: str) -> Callable[[], None]:
        """What puts a variable's value back; it is not copied, because writing gives a variable another value."""
        return held(self.variables[path])

    def storage(self, path: str) -> int:
        """An identity that tied variables share."""
        return id(self.variables[path])

    def computed(self) -> dict[str, str]:
        """What computes a weight anew in every step of training, by the weight's path."""
        return {
            path: "SpectralNormalization"
            for layer in self.objects.values()
            if isinstance(layer, keras.layers.SpectralNormalization) and hasattr(layer, "kernel")
            for path, variable in self.variables.items()
            if variable is layer.kernel
        }

    def refuses(self, path: str, value: Array) -> str:
        """Nothing: every variable takes every value."""
        return ""

    def every_variable(self) -> list[Any]:
        """The variables of the model and of its layers, each once."""
        return list({id(v): v for v in [*self.model.variables, *self.variables.values()]}.values())

    def blueprint(self, path: str) -> Blueprint | None:
        """How to rebuild one layer, and its weights; None unless it is one of the framework's own layers."""
        layer = self.objects[path]
        return None if id(layer) in self._passing else keras_blueprint(layer)

    # --- inputs and evaluation --------------------------------------------------------------------------

    def takes(self) -> Takes:
        """The names of the model's inputs."""
        return taken(self.model)

    def input_specs(self) -> list[list[tuple[tuple[int | None, ...], str]]]:
        """What the model declares of its inputs, most open first; empty where it says nothing."""
        return declared_inputs(self.model)

    def forward(self, inputs: Sequence[Array], *, training: bool = False) -> list[tuple[str, Array]]:
        """Evaluate the model eagerly."""
        kept = nullcontext() if training else statistics_kept(self.model)
        with kept, keras.device(self.device):
            outputs = call(self.model, _tensors(inputs), training, self.form)
        return named_arrays(outputs)

    def in_turn(
        self, inputs: Sequence[Sequence[Array]], after: Callable[[int], None] | None = None
    ) -> list[list[tuple[str, Array]]]:
        """Evaluate the model on one input after the other; what it keeps from call to call stays until the last."""
        found = []
        with statistics_kept(self.model), keras.device(self.device):
            for number, values in enumerate(inputs):
                found.append(named_arrays(call(self.model, _tensors(values), False, self.form)))
                if after is not None:
                    after(number)
        return found

    def in_modes(self, inputs: Sequence[Array]) -> dict[str, list[tuple[str, Array]]]:
        """None: Keras has no such modes."""
        return {}

    def unfused(self) -> AbstractContextManager[None]:
        """Nothing: Keras takes no such short cuts."""
        return nullcontext()

    # --- what a call may leave behind -------------------------------------------------------------------

    def kept(self) -> list[tuple[str, Any, dict[str, Any]]]:
        """The layers with their paths, and the attributes that are not every layer's own."""
        return [(path, layer, attributes(layer)) for path, layer in self.objects.items()]

    def values(self, value: Any) -> Array | None:
        """The values of a Keras variable or a tensor of the backend; None for anything else."""
        return values_of(value)

    def random_state(self) -> dict[str, Any]:
        """A mark of Keras' own generator, where it has drawn already."""
        generator = keras.src.backend.common.global_state.get_global_attribute("global_seed_generator")
        return {} if generator is None else {"keras": to_numpy(generator.state).tobytes()}

    def trace(
        self,
        inputs: Sequence[Array],
        observer: NodeObserver | None = None,
        attention: bool = False,
        last: bool = False,
    ) -> tuple[list[tuple[str, Array]], Trace]:
        """Evaluate the model once, in inference mode, and record what is run; Keras' last steps are not kept."""
        outputs, (trace,) = self.traces(inputs, [Look(observer, attention=attention)])
        return outputs, trace

    def traces(
        self, inputs: Sequence[Array], looks: Sequence[Look]
    ) -> tuple[list[tuple[str, Array]], list[Trace]]:
        """The same with several graphs of one evaluation, whose observers change nothing."""
        with aside(), ExitStack() as stack:
            tensors = _tensors(inputs)
            known = framework(to_numpy, looked_at, replaced)
            tensors_known = tensors_of(self.variables, self.objects)
            builders = [TraceBuilder(known, look.observer, *tensors_known) for look in looks]
            stack.enter_context(statistics_kept(self.model))  # opened first: no part of what is traced
            stack.enter_context(keras.device(self.device))
            for builder, look in zip(builders, looks, strict=True):
                builder.feed(tensors)
                stack.enter_context(
                    tracing(builder, self.objects, self.layers(), look.inside, look.attention)
                )
            with resumed():
                training = any(look.training for look in looks)
                outputs = named_leaves(call(self.model, tensors, training, self.form))
            stack.close()
            traces = [builder.finish(outputs) for builder in builders]
            for trace in traces:
                trace.flattened = flattened_in(trace)
        return [(name, as_array(leaf)) for name, leaf in outputs], traces

    def made_at(self, path: str) -> CodePlace | None:
        """Where in the user's sources the layer at a path is made; None where they do not say it."""
        return made_at(self.objects, path)

    def run_layer(self, path: str, inputs: Sequence[Array]) -> list[Array]:
        """Evaluate one layer alone, in inference mode."""
        layer = self.objects[path]
        if id(layer) in self._passing:
            return arrays(list(passed(self._passing[id(layer)], layer, _tensors(inputs))))
        with statistics_kept(layer):
            return outputs_of(layer, call(layer, _tensors(inputs), False))

    def trial(
        self, path: str, inputs: Sequence[Array], weights: Mapping[str, Array], settings: Mapping[str, Any]
    ) -> list[Array] | None:
        """Evaluate one layer with other weights and attributes, then put its own back; None where it lacks one of them."""
        return trial(self, path, self.objects[path], inputs, weights, settings)

    def watched(self, observer: Observer, paths: set[str]) -> AbstractContextManager[None]:
        """Show the calls of the layers at `paths` to the observer, while this is open."""
        layers = {path: self.objects[path] for path in paths}
        return watched(layers, observer, list(self.objects.values()))

    def step_by_step(self, paths: set[str]) -> AbstractContextManager[None]:
        """Show the cells at `paths` step by step, while this is open, because torch calls its cells so."""
        return step_by_step([self.objects[path] for path in paths])

    # --- flattened images -------------------------------------------------------------------------------

    def may_flatten(self) -> bool:
        """Whether an image may be flattened somewhere in the model."""
        return any(map(may_flatten, self.objects.values()))

    def flattened_images(self, inputs: Sequence[Array]) -> tuple[dict[str, tuple[int, ...]], set[str]]:
        """(H, W, C) of the image whose flattening a layer receives, by path, and what else may be in doubt."""

        def in_training() -> None:
            with statistics_kept(self.model):
                self.forward(inputs, training=True)

        return flattened_images(self.objects, lambda: self.forward(inputs), in_training)

    # --- precision --------------------------------------------------------------------------------------

    def full_multiplication(self) -> AbstractContextManager[bool]:
        """Multiply without reduced precision (TF32); yields whether it was switched on."""
        return full_multiplication()

    @contextmanager
    def precision(self, dtype: str) -> Iterator[None]:
        """Hold and compute with the same weights in another dtype, while this is open."""
        with (
            precision(self.model, self.every_variable(), self.device, dtype),
            restored(self.float32, "held", dtype == "float64"),
            self.float32_seen() if self.float32.lifting else nullcontext(),
        ):
            yield

    def float32_seen(self) -> AbstractContextManager[None]:
        """While this is open, what the model asks for in float32 goes past `self.float32`."""
        return keras_requests(self.float32)

    def declared_float32(self) -> set[str]:
        """Paths of the layers that were made to compute in float32 where others were not asked to."""
        return declared_float32(self.objects)

    def like(self, value: Any, array: Array) -> Any:
        """An array as a tensor in the place of another."""
        return replaced(value, [array])


def _tensors(inputs: Sequence[Array]) -> list[Any]:
    return [keras.ops.convert_to_tensor(value) for value in inputs]
