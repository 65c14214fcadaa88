"""TensorFlow's functions on symbolic tensors: while a model is recorded, each is what keras.ops has for it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import keras
from keras import ops

from parity.adapters.patching import restored

SAME = {
    "abs": "abs", "add": "add", "argmax": "argmax", "argmin": "argmin", "cast": "cast", "concat": "concatenate",
    "convert_to_tensor": "convert_to_tensor", "cos": "cos", "divide": "divide", "einsum": "einsum", "equal": "equal",
    "exp": "exp", "expand_dims": "expand_dims", "greater": "greater", "greater_equal": "greater_equal",
    "identity": "copy", "less": "less", "less_equal": "less_equal", "linalg.matmul": "matmul", "math.abs": "abs",
    "math.add": "add", "math.cos": "cos", "math.divide": "divide", "math.exp": "exp", "math.log": "log",
    "math.maximum": "maximum", "math.minimum": "minimum", "math.multiply": "multiply", "math.pow": "power",
    "math.reduce_max": "max", "math.reduce_mean": "mean", "math.reduce_min": "min", "math.reduce_std": "std",
    "math.reduce_sum": "sum", "math.reduce_variance": "var", "math.rsqrt": "rsqrt", "math.sigmoid": "sigmoid",
    "math.sin": "sin", "math.softplus": "softplus", "math.sqrt": "sqrt", "math.square": "square",
    "math.subtract": "subtract", "math.tanh": "tanh", "matmul": "matmul", "maximum": "maximum", "minimum": "minimum",
    "multiply": "multiply", "nn.elu": "elu", "nn.leaky_relu": "leaky_relu", "nn.log_softmax": "log_softmax",
    "nn.relu": "relu", "nn.relu6": "relu6", "nn.selu": "selu", "nn.sigmoid": "sigmoid", "nn.silu": "silu",
    "nn.softmax": "softmax", "nn.softplus": "softplus", "nn.swish": "silu", "nn.tanh": "tanh",
    "not_equal": "not_equal", "ones_like": "ones_like", "pow": "power", "reduce_max": "max", "reduce_mean": "mean",
    "reduce_min": "min", "reduce_prod": "prod", "reduce_sum": "sum", "repeat": "repeat", "reshape": "reshape",
    "reverse": "flip", "sigmoid": "sigmoid", "sin": "sin", "split": "split", "sqrt": "sqrt", "square": "square",
    "squeeze": "squeeze", "stack": "stack", "stop_gradient": "stop_gradient", "subtract": "subtract", "tanh": "tanh",
    "tile": "tile", "transpose": "transpose", "unstack": "unstack", "where": "where", "zeros_like": "zeros_like",
}  # fmt: skip
"""TensorFlow's name and that of keras.ops."""
KERAS = str(Path(keras.__file__).parent)
NAMES = {"perm": "axes", "multiples": "repeats", "num_or_size_splits": "indices_or_sections", "input": "x"}
"""Arguments that the two call otherwise."""


@contextmanager
def tensorflow_as_ops(open_: Callable[[], bool]) -> Iterator[None]:
    """While this is entered, and `open_` says so, TensorFlow's functions take symbolic tensors."""
    tensorflow = sys.modules.get("tensorflow")
    with ExitStack() as stack:
        for path, name in SAME.items() if tensorflow is not None else ():
            home: Any = tensorflow
            *rooms, last = path.split(".")
            for room in rooms:
                home = getattr(home, room)
            stack.enter_context(restored(home, last, _either(getattr(home, last), getattr(ops, name), open_)))
        if tensorflow is not None:
            for name, function in (
                ("shape", ops.shape),
                ("gather", _gathered),
                ("pad", _padded),
                ("range", ops.arange),
            ):
                stack.enter_context(
                    restored(
                        tensorflow,
                        name,
                        _either(getattr(tensorflow, name), function, open_, always=name == "range"),
                    )
                )
        yield


def _either(
    before: Any, function: Callable[..., Any], open_: Callable[[], bool], always: bool = False
) -> Any:
    def call(*args: Any, **kwargs: Any) -> Any:
        values = keras.tree.flatten([args, kwargs])
        symbolic = any(isinstance(value, keras.KerasTensor | keras.Variable) for value in values)
        if not open_() or not (symbolic or (always and not _keras_calls())):
            return before(*args, **kwargs)
        return function(*args, **_renamed(function, kwargs))

    return call


def _keras_calls() -> bool:
    """Whether Keras itself is the caller, whose backend asks TensorFlow for numbers."""
    return sys._getframe(2).f_code.co_filename.startswith(KERAS)


def _renamed(function: Callable[..., Any], kwargs: dict[str, Any]) -> dict[str, Any]:
    """The arguments as keras.ops calls them."""
    names = {
        **NAMES,
        "values": "xs" if function in (ops.concatenate,) else "x",
        "tensor": "x",
        "a": "x1",
        "b": "x2",
    }
    names = {**names, "input_tensor": "x", "features": "x", "logits": "x", "alpha": "negative_slope"}
    return {names.get(key, key): value for key, value in kwargs.items() if key != "name"}


def _gathered(params: Any, indices: Any, axis: int = 0, **_: Any) -> Any:
    return ops.take(params, indices, axis=axis)


def _padded(tensor: Any, paddings: Any, mode: str = "CONSTANT", constant_values: Any = 0, **_: Any) -> Any:
    more = {"constant_values": constant_values} if mode.lower() == "constant" and constant_values else {}
    return ops.pad(tensor, keras.tree.map_structure(int, paddings), mode=mode.lower(), **more)
