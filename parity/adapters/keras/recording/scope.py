"""The record of one call: scopes (a model, a layer with a `call` of its own), and the steps in them."""

from __future__ import annotations

import inspect
import re
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class CallPlace:
    """Where a step was written: a file, the first and last line, and the columns of the expression."""

    file: str
    function: str
    line: int
    end_line: int
    column: int
    end_column: int


@dataclass(eq=False)
class RecordedCall:
    """One call: of a layer, of an operation of keras.ops, or of a layer that is a scope of its own.

    Attributes:
        operation: the layer or operation; its attributes are its settings.
        args, kwargs: what it was called with; tensors are `keras.KerasTensor`, weights `keras.Variable`.
        outputs: what it gave: a tensor, or a structure of them.
        places: where the user's code wrote it, the innermost function first.
        scope: the steps inside, where the layer is a scope.
        short: its name in the group that it was put into, if it was.
    """

    operation: Any
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    outputs: Any
    places: tuple[CallPlace, ...] = ()
    scope: CallScope | None = None
    short: str = ""

    @property
    def name(self) -> str:
        """The name of the layer or operation."""
        return str(self.operation.name)


@dataclass(eq=False)
class CallScope:
    """What ran inside one call of a model or of a layer with a `call` of its own."""

    owner: Any
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    outputs: Any = None
    steps: list[RecordedCall] = field(default_factory=list)

    def title(self) -> str:
        """The name of the class that stands for it: the user's class, or the name of a graph of layers."""
        if self.owner is None:
            return "Group"
        name = type(self.owner).__name__
        if name not in ("Functional", "Sequential", "Model"):
            return name
        stem = re.sub(r"([\W_]+(\d+|None))+$", "", str(self.owner.name))
        return "".join(part[:1].upper() + part[1:] for part in re.split(r"[\W_]+", stem)) or "Model"

    def inputs_named(self) -> list[tuple[str, Any]]:
        """The arguments of the call by name, structures taken apart; the first one comes first."""
        graph = getattr(self.owner, "inputs", None)
        if graph and hasattr(self.owner, "_nodes_by_depth"):
            if isinstance(self.args[0], dict):
                return [(re.sub(r"\W", "_", str(name)), value) for name, value in self.args[0].items()]
            return list(zip(_graph_names(graph), _leaves(self.args), strict=False))
        if type(self.owner).__name__ == "Sequential":
            return [("x", self.args[0])]
        bound = inspect.signature(self.owner.call).bind(*self.args, **self.kwargs)
        named: list[tuple[str, Any]] = []
        for name, value in bound.arguments.items():
            if isinstance(value, dict):
                named += [(str(key), item) for key, item in value.items()]
            elif isinstance(value, list | tuple):
                named += [(f"{name}_{number}", item) for number, item in enumerate(_leaves(value), 1)]
            else:
                named.append((name, value))
        return named


def _graph_names(inputs: Any) -> list[str]:
    """Names of a graph's inputs: the user's, or x."""
    leaves = _leaves([inputs])
    names = [re.sub(r"\W", "_", str(tensor.name)) for tensor in leaves]
    made_up = [re.fullmatch(r"(keras_tensor|input_layer|input)(_?\d+)?", name) is not None for name in names]
    if len(names) == 1:
        return ["x" if made_up[0] or "input" in names[0] else names[0]]
    return [
        f"x{number}" if auto else name
        for number, (name, auto) in enumerate(zip(names, made_up, strict=True), 1)
    ]


def _leaves(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return [leaf for item in value.values() for leaf in _leaves(item)]
    if isinstance(value, list | tuple):
        return [leaf for item in value for leaf in _leaves(item)]
    return [value]
