"""Which ways the conditions of a function went in all its recorded calls, and which hang on sizes."""

from __future__ import annotations

import ast
import functools
import inspect
import textwrap
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from parity.adapters.recording.records import FunctionCall, SeenTensor, UserFunction


class Ways:
    """What ran of each function, and what its conditions were."""

    def __init__(self, calls: Iterable[FunctionCall]) -> None:
        self.ran: dict[UserFunction, set[ast.AST]] = {}
        self.truth: dict[ast.AST, set[bool]] = {}
        self._by_size: dict[UserFunction, set[str]] = {}
        self._calls: dict[UserFunction, list[FunctionCall]] = {}
        for call in calls:
            self._calls.setdefault(call.function, []).append(call)
            self.ran.setdefault(call.function, set()).update(call.ran)
            for seen in call.seen:
                if not isinstance(seen.value, SeenTensor) and not hasattr(seen.value, "forward"):
                    self.truth.setdefault(seen.node, set()).add(_true(seen.value))

    def always(self, node: ast.AST, function: UserFunction) -> bool | None:
        """The truth of a condition that was the same in every call and does not hang on sizes; else None."""
        if isinstance(node, ast.Constant):
            return bool(node.value)
        found = self.truth.get(node, set())
        if len(found) != 1 or self.hangs_on_sizes(node, function) or mentions_training(node):
            return None
        return next(iter(found))

    def is_option(self, test: ast.AST, function: UserFunction) -> bool:
        """Whether a condition asks for plain arguments of the module's constructor alone, which the port keeps.

        Each must be an attribute that the constructor sets to the argument as it was given.
        """
        parts = [part for part in ast.walk(test) if isinstance(part, ast.Attribute)]
        calls = self._calls.get(function, [])
        return (
            bool(parts)
            and all(isinstance(part, _OF_OPTIONS) for part in ast.walk(test))
            and all(ast.unparse(part.value) == "self" for part in parts)
            and all(part.attr in _options(type(call.module).__init__) for part in parts for call in calls)
            and all(call.values.get(part) for part in parts for call in calls if call.values.get(test))
            and all(
                isinstance(value, bool | int | float | str | None)
                for part in parts
                for call in calls
                for value in call.values.get(part, ())
            )
        )

    def hangs_on_sizes(self, node: ast.AST, function: UserFunction) -> bool:
        """Whether an expression reads the shape of a tensor, directly or through local names."""
        if function not in self._by_size:
            self._by_size[function] = _sized_names(function.node)
        names = self._by_size[function]
        return any(
            _reads_shape(part) or (isinstance(part, ast.Name) and part.id in names) for part in ast.walk(node)
        )


_OF_OPTIONS = (
    ast.Attribute, ast.Name, ast.Constant, ast.BoolOp, ast.UnaryOp, ast.Compare, ast.boolop, ast.unaryop, ast.cmpop,
    ast.expr_context,
)  # fmt: skip
"""What a condition on options consists of."""


@functools.cache
def _options(constructor: Callable[..., None]) -> frozenset[str]:
    """The attributes that a constructor sets to arguments as they were given: self.bias = bias."""
    try:
        made: Any = ast.parse(textwrap.dedent(inspect.getsource(constructor))).body[0]
    except (OSError, TypeError, SyntaxError):
        return frozenset()
    arguments = {one.arg for one in (*made.args.posonlyargs, *made.args.args, *made.args.kwonlyargs)}
    return frozenset(
        target.attr
        for node in ast.walk(made)
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Name) and node.value.id in arguments
        for target in node.targets
        if isinstance(target, ast.Attribute) and ast.unparse(target) == f"self.{target.attr}"
    )


def mentions_training(node: ast.AST) -> bool:
    """Whether an expression reads the mode."""
    return any(
        (isinstance(part, ast.Attribute) and part.attr == "training")
        or (isinstance(part, ast.Name) and part.id == "training")
        for part in ast.walk(node)
    )


def _true(value: object) -> bool:
    try:
        return bool(value)
    except (RuntimeError, TypeError, ValueError):
        return True


def _reads_shape(node: ast.AST) -> bool:
    if isinstance(node, ast.Attribute):
        return node.attr == "shape"
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "size"


def _sized_names(function: ast.AST) -> set[str]:
    """Local names that are computed from shapes alone."""
    names: set[str] = set()
    before = -1
    while len(names) != before:
        before = len(names)
        for node in ast.walk(function):
            if not isinstance(node, ast.Assign | ast.AugAssign):
                continue
            if any(isinstance(part, ast.Call) and not _plain_call(part) for part in ast.walk(node.value)):
                continue
            if any(
                _reads_shape(p) or (isinstance(p, ast.Name) and p.id in names) for p in ast.walk(node.value)
            ):
                names.update(_targets(node))
    return names


def _plain_call(call: ast.Call) -> bool:
    if _reads_shape(call):
        return True
    name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    return name in {
        "int",
        "float",
        "max",
        "min",
        "round",
        "ceil",
        "floor",
        "sqrt",
        "len",
        "abs",
        "tuple",
        "list",
        "range",
    }


def _targets(node: ast.Assign | ast.AugAssign) -> Iterator[str]:
    for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
        for part in ast.walk(target):
            if isinstance(part, ast.Name):
                yield part.id
