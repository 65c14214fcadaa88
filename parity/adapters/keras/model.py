"""A Keras model, seen through parity's one interface. Imported only when a Keras model is in hand."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from typing import Any

import keras
import numpy as np
from keras import tree
from keras.src import backend

from parity.adapters.keras.exact import exact_float64, full_multiplication
from parity.adapters.keras.trace import framework, tensors_of, tracing
from parity.adapters.keras.tree import (
    children,
    declared_inputs,
    is_functional,
    may_flatten,
    own_variables,
    plain_tensors,
)
from parity.adapters.patching import restored
from parity.adapters.reorder import ALIGNED, SMALL, contiguous
from parity.adapters.trace_builder import TraceBuilder
from parity.core.adapter import Blueprint, Observer
from parity.core.errors import UsageError
from parity.core.trace import NodeObserver, Trace, flattened_images
from parity.core.types import Array, LayerInfo, Side, TensorInfo

L = keras.layers
FAMILIES: tuple[tuple[tuple[type, ...], str], ...] = (
    ((L.Conv1DTranspose, L.Conv2DTranspose, L.Conv3DTranspose), "conv_transpose"),
    ((L.SeparableConv1D, L.SeparableConv2D), "separable"),
    ((L.DepthwiseConv1D, L.DepthwiseConv2D), "depthwise"),
    ((L.Conv1D, L.Conv2D, L.Conv3D), "conv"),
    ((L.Dense,), "dense"),
    ((L.BatchNormalization,), "batchnorm"),
    ((L.LayerNormalization,), "layernorm"),
    ((L.GroupNormalization,), "groupnorm"),
    ((L.Embedding,), "embedding"),
    ((L.PReLU,), "prelu"),
    ((keras.Sequential,), "sequence"),
)
WITH_ACTIVATION = tuple(
    cls
    for classes, family in FAMILIES
    if family in {"conv", "conv_transpose", "depthwise", "separable", "dense"}
    for cls in classes
)
SETTINGS = (
    "strides", "stride", "padding", "output_padding", "dilation_rate", "dilation", "groups", "epsilon",
    "momentum", "axis", "negative_slope", "kernel_size", "pool_size", "size", "interpolation", "data_format",
    "depth_multiplier", "rate",
)  # fmt: skip


def to_numpy(tensor: Any) -> Array:
    """A copy of the tensor's values; bfloat16 widens to float32, which is exact."""
    return np.array(_looked_at(tensor), copy=True)


def _handed_over(value: Array, dtype: str) -> Any:
    """The value in fresh memory, since JAX may keep what it is given; TensorFlow is told to, which saves two copies."""
    if value.size < SMALL or str(value.dtype) != dtype:
        return np.array(value)
    if keras.config.backend() != "tensorflow":
        return contiguous(value)
    import tensorflow as tf

    order = sorted(range(value.ndim), key=lambda axis: -abs(value.strides[axis]))  # as it lies in memory
    whole = value.transpose(order)
    free = whole.flags.c_contiguous and whole.flags.writeable and whole.ctypes.data % ALIGNED == 0
    if order == sorted(order) or not free:
        return tf.experimental.dlpack.from_dlpack(contiguous(value).__dlpack__())
    # TensorFlow changes the order of the axes itself, into memory of its own: twice as fast as handing it over.
    return tf.transpose(tf.experimental.dlpack.from_dlpack(whole.__dlpack__()), np.argsort(order))


def _looked_at(tensor: Any) -> Array:
    """The tensor's values, which may be its own memory."""
    tensor = tensor._value if isinstance(tensor, keras.Variable) else tensor
    if hasattr(tensor, "read_value"):  # NumPy warns of a TensorFlow variable, not of its value
        tensor = tensor.read_value()
    if keras.backend.standardize_dtype(tensor.dtype) == "bfloat16":
        tensor = keras.ops.cast(tensor, "float32")
    return np.asarray(keras.ops.convert_to_numpy(tensor))


class KerasModel:
    """Adapter for `keras.Model` and `keras.layers.Layer`."""

    side: Side = "keras"

    def __init__(self, model: Any, device: str = "cpu") -> None:
        self.model = model
        self.device = device
        unbuilt = [
            layer.name
            for layer in model._flatten_layers()
            if not layer.built and not isinstance(layer, L.InputLayer)
        ]
        if not model.built:
            raise UsageError(
                f"every Keras model must be built; got {model.name} with unbuilt {', '.join(unbuilt)}. "
                "Call it once on a sample input, or pass inputs=."
            )
        self._layers: dict[str, Any] = {}
        self._aliases: dict[str, list[str]] = {}
        self._walk(model, "", ())
        self._variables = {
            _joined(path, name): variable
            for path, layer in self._layers.items()
            for name, _, variable in own_variables(layer)
        }

    def _walk(self, layer: Any, path: str, alias_stems: tuple[str, ...]) -> None:
        """Register a layer and its sublayers; a shared layer keeps its first path, later ones are aliases."""
        known = next((known for known, seen in self._layers.items() if seen is layer), None)
        if known is not None:
            self._aliases[known].extend([path, *alias_stems])
            return
        self._layers[path] = layer
        self._aliases[path] = list(alias_stems)
        for names, child in children(layer):
            stems = [path, *alias_stems]
            own, *others = [f"{stem}.{name}" if stem else name for name in names for stem in stems]
            self._walk(child, own, tuple(others))

    def layers(self) -> dict[str, LayerInfo]:
        """Every layer by path: attribute names, or layer names in functional and sequential models."""
        return {
            path: LayerInfo(
                path=path,
                kind=type(layer).__name__,
                family=next((family for classes, family in FAMILIES if isinstance(layer, classes)), None),
                tensors=tuple(
                    TensorInfo(
                        _joined(path, name),
                        name,
                        tuple(int(n) for n in variable.shape),
                        str(variable.dtype),
                        more,
                    )
                    for name, more, variable in own_variables(layer)
                ),
                leaf=not layer._layers,
                aliases=tuple(self._aliases[path]),
                settings={name: getattr(layer, name) for name in SETTINGS if hasattr(layer, name)},
            )
            for path, layer in self._layers.items()
        }

    def read(self, path: str) -> Array:
        """The value of a variable."""
        return to_numpy(self._variables[path])

    def peek(self, path: str) -> Array:
        """The same without a copy, where that can be."""
        value = self._variables[path]._value
        if (
            keras.config.backend() != "tensorflow"
            or keras.backend.standardize_dtype(value.dtype) == "bfloat16"
        ):
            return _looked_at(value)
        return np.asarray(memoryview(value.read_value()))

    def write(self, path: str, value: Array) -> None:
        """Set a variable in place."""
        self._variables[path].assign(_handed_over(value, str(self._variables[path].dtype)))

    def storage(self, path: str) -> int:
        """An identity that tied variables share."""
        return id(self._variables[path])

    def input_specs(self) -> list[list[tuple[tuple[int | None, ...], str]]]:
        """What the model declares of its inputs, most open first; empty where it says nothing."""
        return declared_inputs(self.model)

    def forward(self, inputs: Sequence[Array], *, training: bool = False) -> list[tuple[str, Array]]:
        """Evaluate the model eagerly."""
        tensors = [keras.ops.convert_to_tensor(value) for value in inputs]
        kept = nullcontext() if training else _statistics_kept(self.model)
        with kept, keras.device(f"{self.device}:0"):
            outputs = self._call(self.model, tensors, training)
        return _named_outputs(outputs)

    def trace(
        self, inputs: Sequence[Array], observer: NodeObserver | None = None
    ) -> tuple[list[tuple[str, Array]], Trace]:
        """Evaluate the model once, in inference mode, and record what is run."""
        tensors = [keras.ops.convert_to_tensor(value) for value in inputs]
        builder = TraceBuilder(framework(to_numpy, _replaced), observer, *tensors_of(self._layers))
        builder.feed(tensors)
        kept = _statistics_kept(self.model)  # opened first: no part of what is traced
        with kept, keras.device(f"{self.device}:0"), tracing(builder, self._layers, self.layers()):
            outputs = _named_tensors(self._call(self.model, tensors, False))
        trace = builder.finish(outputs)
        trace.flattened = flattened_images(trace)
        return [(name, to_numpy(tensor)) for name, tensor in outputs], trace

    def _call(self, layer: Any, tensors: list[Any], training: bool) -> Any:
        """Call with the structure that the layer takes: a functional model's own, a list, or one by one."""
        arguments = tensors
        if is_functional(layer) and len(layer.inputs) == len(tensors):
            arguments = [tree.pack_sequence_as(layer._inputs_struct, tensors)]
        elif len(tensors) > 1 and _positional(layer.call) == 1:
            arguments = [tensors]
        if layer._call_has_training_arg:
            return layer(*arguments, training=training)
        return layer(*arguments)

    def run_layer(self, path: str, inputs: Sequence[Array]) -> list[Array]:
        """Evaluate one layer alone, in inference mode."""
        tensors = [keras.ops.convert_to_tensor(value) for value in inputs]
        with _statistics_kept(self._layers[path]):
            return [value for _, value in _named_outputs(self._call(self._layers[path], tensors, False))]

    def trial(
        self, path: str, inputs: Sequence[Array], weights: Mapping[str, Array], settings: Mapping[str, Any]
    ) -> list[Array] | None:
        """Evaluate one layer with other weights and attributes, put back afterwards; None where it has no such."""
        layer = self._layers[path]
        if not all(hasattr(layer, name) for name in settings):
            return None
        before = {name: self.read(_joined(path, name)) for name in weights}
        with ExitStack() as stack:
            for name, value in settings.items():
                stack.enter_context(restored(layer, name, value))
            try:
                for name, value in weights.items():
                    self.write(_joined(path, name), value)
                return self.run_layer(path, inputs)
            except Exception:  # any layer, any error: the trial says nothing
                return None
            finally:
                for name, value in before.items():
                    self.write(_joined(path, name), value)

    @contextmanager
    def watched(self, observer: Observer, paths: set[str]) -> Iterator[None]:
        """Wrap `Layer.__call__`, so that any model is seen, however it was put together."""
        by_id = {id(self._layers[path]): path for path in paths}
        counts: dict[str, int] = {}
        original = L.Layer.__call__

        def call(layer: Any, *args: Any, **kwargs: Any) -> Any:
            path = by_id.get(id(layer))
            if path is None:
                return original(layer, *args, **kwargs)
            index = counts.get(path, 0)
            counts[path] = index + 1
            values = _arrays((args, kwargs))
            replacement = observer.before(path, index, values)
            if replacement is not None:
                args, kwargs = _replaced((args, kwargs), replacement)
            with _before_activation(layer) as linear:
                outputs = original(layer, *args, **kwargs)
            replacement = observer.after(path, index, values, _arrays(outputs), linear[-1:] or None)
            return outputs if replacement is None else _replaced(outputs, replacement)

        with restored(L.Layer, "__call__", call):
            yield

    def may_flatten(self) -> bool:
        """Whether an image may be flattened somewhere in the model."""
        return any(map(may_flatten, self._layers.values()))

    def flattened_images(self, inputs: Sequence[Array]) -> dict[str, tuple[int, ...]]:
        """(H, W, C) of the image whose flattening a layer receives, by path; found by one evaluation.

        Flattened tensors are followed by identity, through layers that keep the shape (dropout,
        activations, normalisation). One that went through plain operations is known by its size, once.
        """
        images: dict[int, tuple[int, ...]] = {}
        pending: dict[int, tuple[int, ...]] = {}
        made: set[int] = set()
        kept: list[Any] = []  # an id is only good while its tensor lives
        found: dict[str, tuple[int, ...]] = {}
        by_id = {id(layer): path for path, layer in self._layers.items()}
        original, plain_reshape = L.Layer.__call__, backend.numpy.reshape

        def reshape(x: Any, newshape: Any) -> Any:
            output = plain_reshape(x, newshape)
            before, after = tuple(getattr(x, "shape", ())), tuple(output.shape)
            if len(before) > 2 and len(after) == 2 and before[0] == after[0]:
                images[id(output)] = pending[after[1]] = before[1:]
                kept.append(output)
            return output

        def call(layer: Any, *args: Any, **kwargs: Any) -> Any:
            outputs = original(layer, *args, **kwargs)
            if id(layer) not in by_id or len(args) != 1 or not keras.ops.is_tensor(args[0]):
                return outputs
            shape = tuple(args[0].shape)
            image = images.get(id(args[0]))
            if image is None and len(shape) == 2 and id(args[0]) not in made and isinstance(layer, L.Dense):
                image = pending.get(shape[1])
            if image is not None:
                found[by_id[id(layer)]] = image
                pending.pop(shape[1], None)
            if keras.ops.is_tensor(outputs):
                if image is not None and tuple(outputs.shape) == shape and not isinstance(layer, L.Dense):
                    images[id(outputs)] = image
                elif id(outputs) not in images:
                    made.add(id(outputs))
                kept.extend([args[0], outputs])
            return outputs

        with restored(L.Layer, "__call__", call), restored(backend.numpy, "reshape", reshape):
            self.forward(inputs)
        return found

    def blueprint(self, path: str) -> Blueprint | None:
        """How to build one layer anew, and its weights; None for anything but the framework's own layers."""
        from parity.adapters.keras.blueprint import keras_blueprint

        return keras_blueprint(self._layers[path])

    @contextmanager
    def full_multiplication(self) -> Iterator[bool]:
        """Multiply without reduced precision (TF32); yields whether it was switched on."""
        with full_multiplication() as reduced:
            yield reduced

    @contextmanager
    def precision(self, dtype: str) -> Iterator[None]:
        """Hold and compute with the same weights in another dtype for the time being.

        The model itself is changed and put back, not a copy of it: whatever was done to the object
        (patched methods, edited attributes) is what gets measured.
        """
        with ExitStack() as stack:
            stack.enter_context(_backend_allows(dtype))
            stack.enter_context(keras.device(f"{self.device}:0"))
            floatx = keras.config.floatx()
            if dtype in ("float32", "float64"):
                keras.config.set_floatx(dtype)
                stack.callback(keras.config.set_floatx, floatx)
            if dtype == "float64":
                stack.enter_context(exact_float64())
            policy = keras.DTypePolicy(dtype)
            for layer in self._every_layer():
                if keras.backend.is_float_dtype(layer._dtype_policy.compute_dtype):
                    stack.enter_context(restored(layer, "_dtype_policy", policy))
                if isinstance(layer, L.InputLayer) and keras.backend.is_float_dtype(layer._dtype):
                    stack.enter_context(
                        restored(layer, "_dtype", dtype)
                    )  # Sequential casts its input to this
                for name in plain_tensors(layer):
                    stack.callback(vars(layer).__setitem__, name, vars(layer)[name])
                    vars(layer)[name] = keras.ops.cast(vars(layer)[name], dtype)
                for tensor in getattr(layer, "_inputs", None) or []:
                    if keras.backend.is_float_dtype(tensor.dtype):
                        stack.enter_context(restored(tensor, "_dtype", dtype))
            for variable in self._all_variables():
                if keras.backend.is_float_dtype(variable._dtype):
                    stack.callback(setattr, variable, "_value", variable._value)
                    value = keras.ops.cast(variable._value, dtype)
                    stack.enter_context(restored(variable, "_dtype", dtype))
                    variable._initialize(value)
            yield

    def _every_layer(self) -> Iterator[Any]:
        """All layers, and the graphs that Sequential models keep inside."""
        for layer in self.model._flatten_layers():
            yield layer
            graph = getattr(layer, "_functional", None)
            if graph is not None:
                yield graph

    def _all_variables(self) -> list[Any]:
        found = {id(variable): variable for variable in [*self.model.variables, *self._variables.values()]}
        return list(found.values())


@contextmanager
def _statistics_kept(layer: Any) -> Iterator[None]:
    """A layer that is told to train moves its statistics in a pass: they are put back."""
    kept = [(variable, to_numpy(variable)) for variable in layer.non_trainable_variables]
    try:
        yield
    finally:
        for variable, value in kept:
            if not np.array_equal(to_numpy(variable), value):
                variable.assign(value)


def _joined(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _positional(function: Any) -> int:
    """How many inputs a `call` method takes by position; a variable number counts as many."""
    parameters = [
        parameter
        for name, parameter in inspect.signature(function).parameters.items()
        if name not in {"training", "mask"}
    ]
    if any(parameter.kind is parameter.VAR_POSITIONAL for parameter in parameters):
        return len(parameters) + 1
    return sum(parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD)
               and parameter.default is parameter.empty for parameter in parameters)  # fmt: skip


@contextmanager
def _before_activation(layer: Any) -> Iterator[list[Array]]:
    """Collect what a convolution or dense layer gives before its built-in activation.

    torch keeps the two apart: `Conv2D(activation="relu")` corresponds to a Conv2d followed by a ReLU.
    """
    values: list[Array] = []
    activation = getattr(layer, "activation", None)
    if activation is None or activation is keras.activations.linear or not isinstance(layer, WITH_ACTIVATION):
        yield values
        return

    def record(tensor: Any, *args: Any, **kwargs: Any) -> Any:
        values.append(to_numpy(tensor))
        return activation(tensor, *args, **kwargs)

    with restored(layer, "activation", record):
        yield values


@contextmanager
def _backend_allows(dtype: str) -> Iterator[None]:
    """JAX computes in float64 only where 64-bit types are switched on."""
    if keras.config.backend() != "jax" or dtype != "float64":
        yield
        return
    import jax

    before = jax.config.jax_enable_x64
    jax.config.update("jax_enable_x64", True)
    try:
        yield
    finally:
        jax.config.update("jax_enable_x64", before)


def _is_tensor(value: Any) -> bool:
    return keras.ops.is_tensor(value) or isinstance(value, np.ndarray)


def _arrays(structure: Any) -> list[Array]:
    return [
        to_numpy(leaf) if keras.ops.is_tensor(leaf) else leaf
        for leaf in tree.flatten(structure)
        if _is_tensor(leaf)
    ]


def _replaced(structure: Any, values: Sequence[Array]) -> Any:
    remaining = iter(values)
    return tree.map_structure(
        lambda leaf: (
            keras.ops.convert_to_tensor(next(remaining), dtype=leaf.dtype) if _is_tensor(leaf) else leaf
        ),
        structure,
    )


def _named_outputs(outputs: Any) -> list[tuple[str, Array]]:
    return [(name, to_numpy(tensor)) for name, tensor in _named_tensors(outputs)]


def _named_tensors(outputs: Any) -> list[tuple[str, Any]]:
    if isinstance(outputs, dict):
        return [
            (f"{key}.{name}" if name else str(key), value)
            for key, item in outputs.items()
            for name, value in _named_tensors(item)
        ]
    if isinstance(outputs, list | tuple):
        return [
            (f"{i}.{name}" if name else str(i), value)
            for i, item in enumerate(outputs)
            for name, value in _named_tensors(item)
        ]
    return [("", outputs)] if keras.ops.is_tensor(outputs) else []
