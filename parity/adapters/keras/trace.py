"""Traces a Keras model: its leaf layers, and every keras operation, backend operation and operator between them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import cache
from importlib import import_module
from types import ModuleType
from typing import Any

import keras
from keras import tree
from keras.src import backend

from parity.adapters.keras.calls.alone import quiet_calls, quietly
from parity.adapters.keras.layers import ATTENTION, is_composite, plain_tensors
from parity.adapters.keras.recurrent.lowered import lowered
from parity.adapters.patching import all_restored, restored
from parity.adapters.trace_builder import Framework, TraceBuilder
from parity.core.trace import canonical
from parity.core.types import LayerInfo

L = keras.layers
INQUIRIES = {
    "is_tensor",
    "shape",
    "convert_to_numpy",
    "device_scope",
    "name_scope",
    "compute_output_spec",
    "Variable",
}
"""Backend functions that make no tensor."""
TENSORFLOW_INQUIRIES = {"Shape", "ShapeN", "Rank", "Size"}
OPERATORS = (
    "add", "radd", "sub", "rsub", "mul", "rmul", "truediv", "rtruediv", "floordiv", "rfloordiv", "mod", "rmod",
    "pow", "rpow", "matmul", "rmatmul", "neg", "abs", "getitem", "lt", "le", "gt", "ge", "and", "or", "invert",
)  # fmt: skip
REVERSED = {"__rsub__", "__rtruediv__", "__rfloordiv__", "__rmod__", "__rpow__", "__rmatmul__"}


def is_tensor(value: Any) -> bool:
    """Whether a value is a tensor or a variable of the backend (Keras' symbolic tensors hold no values)."""
    if isinstance(value, keras.KerasTensor):
        return False
    return isinstance(value, keras.Variable) or bool(keras.ops.is_tensor(value))


def framework(to_numpy: Any, looked_at: Any, replaced: Any) -> Framework:
    """What the builder needs to know of Keras on its backend."""
    if keras.config.backend() == "torch":
        from parity.adapters.torch import trace as torch_trace

        known = torch_trace.framework(to_numpy, looked_at, replaced)

        def held(tensor: Any) -> Any:
            return tensor._value if isinstance(tensor, keras.Variable) else tensor

        return Framework(
            "keras",
            is_tensor,
            tree.flatten,
            to_numpy,
            looked_at,
            replaced,
            lambda tensor: known.version(held(tensor)),
            lambda tensor: known.storage(held(tensor)),
        )
    return Framework("keras", is_tensor, tree.flatten, to_numpy, looked_at, replaced)


def tensors_of(variables: Mapping[str, Any], layers: Mapping[str, Any]) -> tuple[dict[int, str], set[int]]:
    """Identities of all variables (and of their values) with their paths, and of tensors that are plain attributes."""
    parameters: dict[int, str] = {}
    for path, variable in variables.items():
        value = variable._value
        for held in (variable, value, getattr(value, "handle", value)):
            parameters.setdefault(id(held), path)
    constants = {id(vars(layer)[name]) for layer in layers.values() for name in plain_tensors(layer)}
    return parameters, constants


@contextmanager
def tracing(
    builder: TraceBuilder,
    layers: Mapping[str, Any],
    infos: Mapping[str, LayerInfo],
    inside: bool = False,
    attention: bool = False,
) -> Iterator[None]:
    """While this is open, whatever Keras runs goes into the builder's graph."""
    by_id = {id(layer): path for path, layer in layers.items()}
    watched = L.Layer.__call__
    unwatched = quietly(watched)

    def call(layer: Any, *args: Any, **kwargs: Any) -> Any:
        path = by_id.get(id(layer))
        original = unwatched if path is not None and alone(layer) else watched
        if builder.opaque or path is None:
            return original(layer, *args, **kwargs)
        if not is_step(layer, infos[path], inside, attention):
            with builder.scope(path):
                return original(layer, *args, **kwargs)

        def run(*args: Any, **kwargs: Any) -> Any:
            return original(layer, *args, **kwargs)

        kind, settings = infos[path].family or canonical(infos[path].kind), dict(infos[path].settings)
        activation = getattr(layer, "activation", None)
        if isinstance(layer, L.Activation):
            kind = canonical(_name(activation))
        elif isinstance(layer, L.ReLU):
            kind = "relu6" if layer.max_value == 6 else "leaky_relu" if layer.negative_slope else kind
            if layer.max_value is not None:
                settings["max_value"] = float(layer.max_value)
        elif callable(activation) and activation is not keras.activations.linear:
            settings["activation"] = canonical(_name(activation))
        return builder.layer(path, kind, settings, run, args, kwargs)

    def around(cell: Any, mask: Any, run: Callable[..., Any]) -> Callable[..., Any]:
        path = by_id[id(cell)]
        if builder.opaque:
            return run

        def step(*args: Any) -> Any:
            kind = infos[path].family or infos[path].kind
            return builder.layer(path, kind, dict(infos[path].settings), run, args, {})

        return step

    with ExitStack() as stack:
        alone = stack.enter_context(quiet_calls(layers.values()))
        stack.enter_context(restored(L.Layer, "__call__", call))
        stack.enter_context(lowered(layers.values(), around))
        stack.enter_context(_backend_functions(builder))
        stack.enter_context(_operators(builder))
        yield


def is_step(layer: Any, info: LayerInfo, inside: bool = False, attention: bool = False) -> bool:
    """Whether a call is one step: a leaf with weights of one step, or a leaf that Keras itself defines.

    With `inside`, a leaf with weights whose class is not known is none: what it runs are the steps. Nor is an
    attention layer, with `inside` or `attention`.
    """
    if is_composite(layer):
        return not ((inside or attention) and isinstance(layer, ATTENTION))
    if inside and info.family is None and info.tensors:
        return False
    own = type(layer).__module__.startswith("keras.") and not isinstance(layer, L.Lambda)
    if isinstance(layer, L.Embedding) and info.several_steps:  # the table, and a head of its own
        return False
    return info.leaf and (own or (bool(info.tensors) and not info.several_steps))


def _name(function: Any) -> str:
    return getattr(function, "__name__", None) or str(
        getattr(function, "name", None) or type(function).__name__
    )


@contextmanager
def _backend_functions(builder: TraceBuilder) -> Iterator[None]:
    """Wrap the functions through which keras.ops and layers reach the backend."""
    wrapped: dict[int, Callable[..., Any]] = {}
    changes: list[tuple[ModuleType, str, Callable[..., Any]]] = []
    for module, name in _public_functions(keras.config.backend()):
        function = getattr(module, name)
        wrapped[id(function)] = _as_op(builder, name, function)
        changes.append((module, name, wrapped[id(function)]))
    changes += [
        (backend, name, wrapped[id(value)]) for name, value in vars(backend).items() if id(value) in wrapped
    ]
    with all_restored(changes):
        yield


@cache
def _public_functions(name: str) -> list[tuple[ModuleType, str]]:
    """Where a backend's own functions are: module and name."""
    parts = ("nn", "numpy", "core", "math", "image", "linalg", "random", "rnn")
    modules = [import_module(f"keras.src.backend.{name}.{part}") for part in parts]
    return [
        (module, name)
        for module in modules
        for name, value in vars(module).items()
        if inspect.isfunction(value)
        and not name.startswith("_")
        and name not in INQUIRIES
        and value.__module__ == module.__name__
    ]


def _as_op(builder: TraceBuilder, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    def step(*args: Any, **kwargs: Any) -> Any:
        return builder.op(name, function, args, kwargs)

    step.__module__, step.__name__, step.__qualname__ = function.__module__, name, function.__qualname__
    step.__wrapped__ = function  # type: ignore[attr-defined]
    return step


@contextmanager
def _operators(builder: TraceBuilder) -> Iterator[None]:
    """Record what is written with Python's operators, or with the backend's own functions."""
    name = keras.config.backend()
    if name == "tensorflow":
        with _tensorflow_ops(builder):
            yield
    elif name == "torch":
        from parity.adapters.torch.trace import Functions

        with Functions(builder):
            yield
    else:
        with _operator_methods(builder):
            yield


@contextmanager
def _tensorflow_ops(builder: TraceBuilder) -> Iterator[None]:
    """TensorFlow reports every operation that it runs; operations within a step are part of that step."""
    from tensorflow.python.framework import op_callbacks

    def callback(
        kind: Any, inputs: Any, attrs: Any, outputs: Any, op_name: Any = None, graph: Any = None
    ) -> list[Any] | None:
        if builder.opaque or graph is not None:
            return None
        name = kind.decode() if isinstance(kind, bytes) else str(kind)
        if name == "ReadVariableOp":
            builder.alias(inputs[0], outputs[0])
        elif name not in TENSORFLOW_INQUIRIES:
            names = [item.decode() if isinstance(item, bytes) else item for item in attrs[::2]]
            settings = {
                key: value.decode() if isinstance(value, bytes) else value
                for key, value in zip(names, attrs[1::2], strict=True)
                if isinstance(value, int) or key == "equation"
            }
            small = [i for i, tensor in enumerate(inputs) if not builder.knows(tensor) and _is_small(tensor)]
            settings |= {str(i): inputs[i].numpy().tolist() for i in small}
            data = [tensor for i, tensor in enumerate(inputs) if i not in small]
            return builder.seen(name, data, list(outputs), settings)
        return None

    def watch(on: bool) -> None:
        (op_callbacks.add_op_callback if on else op_callbacks.remove_op_callback)(callback)

    watch(True)
    builder.watch = watch  # without a callback TensorFlow runs each operation in fewer steps
    try:
        yield
    finally:
        watch(False)


def _is_small(tensor: Any) -> bool:
    """Whether it is a number, a size or a position rather than data."""
    return tensor.dtype.name != "resource" and tensor.shape.num_elements() <= 16


@contextmanager
def _operator_methods(builder: TraceBuilder) -> Iterator[None]:
    """Wrap the operators of the backend's tensor class; the backend's own functions stay unseen."""
    cls = type(keras.ops.zeros(1))
    with ExitStack() as stack:
        for plain in OPERATORS:
            name = f"__{plain}__"
            method = getattr(cls, name, None)
            if method is not None:
                stack.enter_context(restored(cls, name, _as_method(builder, name, method)))
        yield


def _as_method(builder: TraceBuilder, name: str, method: Any) -> Any:
    def step(self: Any, *args: Any) -> Any:
        return builder.op(name, method, (self, *args), {}, name in REVERSED)

    return step
