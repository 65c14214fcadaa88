"""Values of Keras variables and tensors: copied, looked at without a copy, and set."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import keras
import numpy as np

from parity.adapters.reorder import ALIGNED, SMALL, contiguous
from parity.core.types import Array


def to_numpy(tensor: Any) -> Array:
    """A copy of the tensor's values; bfloat16 widens to float32, which is exact."""
    return np.array(looked_at(tensor), copy=True)


def peek(variable: Any) -> Array:
    """The values without a copy, where the backend's memory can be looked at."""
    return looked_at(variable)


def looked_at(tensor: Any) -> Array:
    """A tensor's values without a copy, where the backend's memory can be looked at; bfloat16 widens to float32."""
    tensor = tensor._value if isinstance(tensor, keras.Variable) else tensor
    if hasattr(tensor, "read_value"):  # NumPy warns of a TensorFlow variable, not of its value
        tensor = _value_of(tensor)
    if keras.backend.standardize_dtype(tensor.dtype) == "bfloat16":
        tensor = keras.ops.cast(tensor, "float32")
    if keras.config.backend() == "tensorflow":
        try:
            return np.asarray(memoryview(tensor))
        except (TypeError, BufferError, ValueError):  # of strings, or of another class
            pass
    return np.asarray(keras.ops.convert_to_numpy(tensor))


def _value_of(variable: Any) -> Any:
    """The value of a TensorFlow variable; the operation alone costs a tenth of what `read_value` does around it."""
    if not hasattr(variable, "handle"):
        return variable.read_value()
    import tensorflow as tf

    return tf.raw_ops.ReadVariableOp(resource=variable.handle, dtype=variable.dtype)


def write(variable: Any, value: Array, fresh: bool = False) -> None:
    """Set a variable in place; TensorFlow keeps a fresh array itself."""
    variable.assign(_handed_over(value, str(variable.dtype), fresh))


def held(variable: Any) -> Callable[[], None]:
    """What puts the variable's value back: on TensorFlow and JAX the value itself, which no writing changes."""
    if keras.config.backend() == "torch":
        return partial(write, variable, to_numpy(variable))
    value = variable._value
    return partial(variable.assign, _value_of(value) if hasattr(value, "read_value") else value)


def _handed_over(value: Array, dtype: str, fresh: bool) -> Any:
    """The value in fresh memory, since JAX may keep what it is given; TensorFlow keeps it, which saves two copies."""
    if value.size < SMALL or str(value.dtype) != dtype:
        return np.array(value)
    if keras.config.backend() != "tensorflow":
        return contiguous(value)
    import tensorflow as tf

    order = sorted(range(value.ndim), key=lambda axis: -abs(value.strides[axis]))  # as it lies in memory
    whole = value.transpose(order)
    free = whole.flags.c_contiguous and whole.flags.writeable and whole.ctypes.data % ALIGNED == 0
    if fresh and free and order == sorted(order):
        return tf.experimental.dlpack.from_dlpack(value.__dlpack__())
    if order == sorted(order) or not free:
        return tf.experimental.dlpack.from_dlpack(contiguous(value).__dlpack__())
    # TensorFlow changes the order of the axes itself, into memory of its own: twice as fast as handing it over.
    return tf.transpose(tf.experimental.dlpack.from_dlpack(whole.__dlpack__()), np.argsort(order))


def values_of(value: Any) -> Array | None:
    """The values of a variable or a tensor of the backend, without a copy where that can be; None for anything else."""
    if isinstance(value, keras.Variable):
        return peek(value)
    if type(value).__module__.partition(".")[0] in {"keras", "builtins"}:  # to ask the backend costs more
        return None
    try:
        return looked_at(value) if keras.ops.is_tensor(value) else None
    except Exception:  # a tensor of a graph holds no values
        return None
