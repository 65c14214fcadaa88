"""Weights as part of the record: keras.ops on a `keras.Variable` alone are steps too while a model is recorded."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import keras

from parity.adapters.patching import restored

OPERATORS = {
    "__add__": "add", "__sub__": "subtract", "__mul__": "multiply", "__truediv__": "true_divide",
    "__floordiv__": "floor_divide", "__mod__": "mod", "__pow__": "power", "__matmul__": "matmul",
    "__getitem__": "get_item",
}  # fmt: skip
MADE = ("arange", "ones", "zeros", "full", "eye", "linspace")
"""What keras.ops make of numbers alone."""


@contextmanager
def recorded_weights(open_: Callable[[], bool]) -> Iterator[None]:
    """While this is entered, and `open_` says so, what is computed from weights or numbers alone is symbolic."""

    def any_symbolic(args: Any = None, kwargs: Any = None) -> bool:
        values = keras.tree.flatten([args or (), kwargs or {}])
        kinds = (keras.KerasTensor, keras.Variable) if open_() else (keras.KerasTensor,)
        return any(isinstance(value, kinds) for value in values)

    base = next(cls for cls in reversed(keras.Variable.__mro__) if "__matmul__" in vars(cls))
    with ExitStack() as stack:
        for name, module in list(sys.modules.items()):
            if name.startswith("keras.src.ops.") and hasattr(module, "any_symbolic_tensors"):
                stack.enter_context(restored(module, "any_symbolic_tensors", any_symbolic))
        for method, name in OPERATORS.items():
            turned = f"__r{method[2:]}"
            stack.enter_context(restored(base, method, _operator(getattr(base, method), name, open_)))
            if hasattr(base, turned):
                operator = _operator(getattr(base, turned), name, open_, turned=True)
                stack.enter_context(restored(base, turned, operator))
        for name in MADE:
            stack.enter_context(restored(keras.ops, name, _maker(getattr(keras.ops, name), name, open_)))
        yield


def _operator(
    before: Callable[..., Any], name: str, open_: Callable[[], bool], turned: bool = False
) -> Callable[..., Any]:
    def operate(self: Any, operand: Any) -> Any:
        if not open_():
            return before(self, operand)
        function = getattr(keras.ops, name)
        return function(operand, self) if turned else function(self, operand)

    return operate


class MadeTensor:
    """A tensor of numbers alone, as an operation: `arange`, `ones`, ... with the arguments that made it."""

    def __init__(self, name: str) -> None:
        self.name = name


def _maker(before: Callable[..., Any], name: str, open_: Callable[[], bool]) -> Callable[..., Any]:
    def make(*args: Any, **kwargs: Any) -> Any:
        value = before(*args, **kwargs)
        record = getattr(open_, "record", None)
        if record is None or not open_() or isinstance(value, keras.KerasTensor):
            return value
        spec = keras.KerasTensor(value.shape, keras.backend.standardize_dtype(value.dtype))
        return record(MadeTensor(name), args, kwargs, spec)

    return make
