"""Holds a Keras model in another dtype temporarily, and multiplies without reduced precision."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import keras

from parity.adapters.keras.exact import exact_float64
from parity.adapters.keras.layers import plain_tensors
from parity.adapters.patching import restored

L = keras.layers


@contextmanager
def precision(model: Any, variables: Iterable[Any], device: Any, dtype: str) -> Iterator[None]:
    """Hold and compute with the same weights in another dtype while this is open.

    The model itself is changed and put back, not a copy of it: whatever was done to the object
    (patched methods, edited attributes) is what gets measured.

    Args:
        model: the model or layer.
        variables: every variable of it, each once.
        device: as `keras.device` takes it.
        dtype: "float64", "float32", "float16" or "bfloat16".
    """
    with ExitStack() as stack:
        stack.enter_context(_backend_allows(dtype))
        stack.enter_context(keras.device(device))
        floatx = keras.config.floatx()
        if dtype in ("float32", "float64"):
            keras.config.set_floatx(dtype)
            stack.callback(keras.config.set_floatx, floatx)
        if dtype == "float64":
            stack.enter_context(exact_float64())
        for layer in _every_layer(model):
            _change_layer(layer, dtype, stack)
        for variable in variables:
            if keras.backend.is_float_dtype(variable._dtype):
                stack.callback(setattr, variable, "_value", variable._value)
                value = keras.ops.cast(variable._value, dtype)
                stack.enter_context(restored(variable, "_dtype", dtype))
                variable._initialize(value)
        yield


def _change_layer(layer: Any, dtype: str, stack: ExitStack) -> None:
    """Let a layer compute in this dtype until the stack closes; its variables are not touched."""
    if keras.backend.is_float_dtype(layer._dtype_policy.compute_dtype):
        stack.enter_context(restored(layer, "_dtype_policy", keras.DTypePolicy(dtype)))
    if isinstance(layer, L.InputLayer) and keras.backend.is_float_dtype(layer._dtype):
        stack.enter_context(restored(layer, "_dtype", dtype))  # Sequential casts its input to this
    for name in plain_tensors(layer):
        stack.callback(vars(layer).__setitem__, name, vars(layer)[name])
        vars(layer)[name] = keras.ops.cast(vars(layer)[name], dtype)
    for tensor in getattr(layer, "_inputs", None) or []:
        if keras.backend.is_float_dtype(tensor.dtype):
            stack.enter_context(restored(tensor, "_dtype", dtype))


def _every_layer(model: Any) -> Iterator[Any]:
    """All layers, and the graphs that Sequential models keep inside."""
    for layer in model._flatten_layers():
        yield layer
        graph = getattr(layer, "_functional", None)
        if graph is not None:
            yield graph


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


@contextmanager
def full_multiplication() -> Iterator[bool]:
    """Multiply float32 without TF32 while this is open; yields whether the backend was allowed to use it."""
    name = keras.config.backend()
    if name == "tensorflow":
        import tensorflow as tf

        config = tf.config.experimental
        reduced = bool(config.tensor_float_32_execution_enabled())
        config.enable_tensor_float_32_execution(False)
        try:
            yield reduced
        finally:
            config.enable_tensor_float_32_execution(reduced)
    elif name == "jax":
        import jax

        before = jax.config.jax_default_matmul_precision
        with jax.default_matmul_precision("highest"):
            yield before != "highest"
    else:
        yield False
