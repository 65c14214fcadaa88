"""Sees what a Keras model asks for in float32 of keras.ops or its backend, and gives float64 where that is wanted."""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import wraps
from importlib import import_module
from typing import Any

import keras
import numpy as np
from keras.src import backend

from parity.adapters.float32.log import Float32Log, with_float64
from parity.adapters.patching import restored

PARTS = ("core", "numpy", "nn", "math", "image", "linalg", "random")
"""Modules of a backend whose functions take a dtype."""
INQUIRIES = {"is_tensor", "shape", "convert_to_numpy", "device_scope", "name_scope", "compute_output_spec"}
"""Functions that make no tensor."""
TENSORFLOW = ("cast", "constant", "range", "zeros", "ones", "linspace", "convert_to_tensor", "one_hot", "eye")
"""TensorFlow's own functions with a dtype that a model may call."""


@contextmanager
def keras_requests(log: Float32Log) -> Iterator[None]:
    """While this is open, functions of the backend that are asked for float32 ask the log first."""
    name = keras.config.backend()
    wrapped: dict[int, Callable[..., Any]] = {}
    with ExitStack() as stack:
        for part in PARTS:
            module = import_module(f"keras.src.backend.{name}.{part}")
            for key, function in list(vars(module).items()):
                own = inspect.isfunction(function) and function.__module__ == module.__name__
                if own and not key.startswith("_") and key not in INQUIRIES:
                    wrapped[id(function)] = _asking(key, function, log)
                    stack.enter_context(restored(module, key, wrapped[id(function)]))
        for key, value in list(vars(backend).items()):
            if id(value) in wrapped:
                stack.enter_context(restored(backend, key, wrapped[id(value)]))
        if name == "tensorflow":
            import tensorflow as tf

            for key in TENSORFLOW:
                stack.enter_context(restored(tf, key, _asking(key, getattr(tf, key), log)))
        if name == "torch":
            from parity.adapters.float32.in_torch import TorchRequests

            stack.enter_context(TorchRequests(log))
        yield


def declared_float32(layers: Mapping[str, Any]) -> set[str]:
    """Paths of the layers with a float32 policy of their own, in a model whose other layers share one.

    A layer that was given dtype="float32" has a policy object of its own; where every layer has, that says nothing.
    """
    shared = Counter(id(layer._dtype_policy) for layer in layers.values())
    if max(shared.values(), default=0) < 2:
        return set()
    return {
        path
        for path, layer in layers.items()
        if shared[id(layer._dtype_policy)] == 1 and layer._dtype_policy.name == "float32"
    }


def _asking(name: str, function: Callable[..., Any], log: Float32Log) -> Callable[..., Any]:
    @wraps(function)
    def asked(*args: Any, **kwargs: Any) -> Any:
        if not log.active:
            return function(*args, **kwargs)
        wide = with_float64(args, kwargs, _asks, lambda value: "float64")
        if wide is None:
            return function(*args, **kwargs)
        lifts = log.lifts(name, args[0] if args else None)
        with restored(log, "held", False):  # what the function asks for in turn is the same request
            return function(*wide[0], **wide[1]) if lifts else function(*args, **kwargs)

    return asked


def _asks(value: Any) -> bool:
    """Whether a value is the dtype float32, in any spelling."""
    if isinstance(value, str):
        return value == "float32"
    if value is np.float32 or (isinstance(value, np.dtype) and value == np.float32):
        return True
    kind = type(value).__name__
    return (kind == "DType" and getattr(value, "name", "") == "float32") or (
        kind in {"dtype", "_ScalarMeta"} and str(value).rpartition(".")[2].rstrip("'>") == "float32"
    )
