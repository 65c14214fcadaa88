"""What the expressions of a function were in its calls, and what the names around each of them were."""

from __future__ import annotations

import ast
import builtins
from collections.abc import Sequence
from functools import cached_property
from typing import Any

from parity.adapters.recording.records import FunctionCall, SeenTensor, SeenValue, UserFunction
from parity.porting.to_keras.leaves.setting import NoCounterpartError
from parity.porting.to_keras.names import argument

_MISSING = object()


class FunctionValues:
    """A function of the user's that ran while the model was built, with all of its calls."""

    def __init__(self, function: UserFunction, calls: Sequence[FunctionCall]) -> None:
        self.function, self.calls = function, list(calls)
        self.seen: dict[ast.AST, list[SeenValue]] = {}
        self.ran: set[ast.AST] = set()
        for call in self.calls:
            self.ran |= call.ran
            for seen in call.seen:
                self.seen.setdefault(seen.node, []).append(seen)

    def of(self, node: ast.AST) -> list[Any]:
        """The values of a node, call by call and in order; empty where it never ran."""
        return [seen.value for seen in self.seen.get(node, ())]

    def named(self, name: str) -> list[Any]:
        """All values that a local name had where it was read."""
        return [
            value
            for node in self.seen
            if isinstance(node, ast.Name) and node.id == name
            for value in self.of(node)
        ]

    @cached_property
    def local(self) -> frozenset[str]:
        """The names that the function binds itself: arguments, assigned names, names of loops."""
        found = set(self.function.argument_names)
        for node in ast.walk(self.function.node):
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                found.add(node.id)
            elif isinstance(node, ast.Lambda | ast.FunctionDef) and node is not self.function.node:
                found |= {arg.arg for arg in ast.walk(node.args) if isinstance(arg, ast.arg)}
                found |= {node.name} if isinstance(node, ast.FunctionDef) else set()
        return frozenset(found)

    @cached_property
    def _of_inner(self) -> frozenset[str]:
        """The arguments of the functions inside the function."""
        nodes = [node for node in ast.walk(self.function.node) if isinstance(node, ast.FunctionDef)]
        inner = [arg.arg for node in nodes for arg in ast.walk(node.args) if isinstance(arg, ast.arg)]
        return frozenset(inner) - set(self.function.argument_names)

    @cached_property
    def renamed(self) -> dict[str, str]:
        """The arguments of a constructor that have another name in the port, with that name."""
        if self.function.owner is None or getattr(self.function.node, "name", "") != "__init__":
            return {}
        return {name: argument(name) for name in self.function.argument_names if name != argument(name)}

    def static(self, node: ast.AST) -> Any:
        """What a global name, or an attribute of one, is.

        Raises:
            NoCounterpartError: it is none, or it is not known.
        """
        if isinstance(node, ast.Name) and node.id not in self.local:
            function = self.function.function
            closure = dict(zip(function.__code__.co_freevars, function.__closure__ or (), strict=False))
            if node.id in closure:
                return closure[node.id].cell_contents
            found = function.__globals__.get(node.id, vars(builtins).get(node.id, _MISSING))
            if found is not _MISSING:
                return found
        if isinstance(node, ast.Attribute):
            found = getattr(self.static(node.value), node.attr, _MISSING)
            if found is not _MISSING:
                return found
        raise NoCounterpartError(f"{ast.unparse(node)} is not known before the model runs")

    def around(self, node: ast.AST) -> dict[str, list[Any]]:
        """The values of the local names, each time when a node was evaluated."""
        rows = []
        for call in self.calls:
            names = {
                name: value
                for name, value in call.arguments.items()
                if name not in ("self", "device", "dtype")
            }
            for seen in call.seen:
                if seen.node is node:
                    rows.append(dict(names))
                _bind(names, seen, self._targets)
        shared = set.intersection(*map(set, rows)) if rows else set()
        return {
            self.renamed.get(name, name): [row[name] for row in rows]
            for name in sorted(shared, key=lambda name: (name not in self.function.argument_names, name))
            if name in self.local - self._of_inner and not any(_runs(row[name]) for row in rows)
        }

    @cached_property
    def _targets(self) -> dict[ast.AST, list[ast.expr]]:
        found: dict[ast.AST, list[ast.expr]] = {}
        for node in ast.walk(self.function.node):
            if isinstance(node, ast.Assign):
                found[node.value] = node.targets
        return found


def _runs(value: Any) -> bool:
    """Whether a value is a tensor or a module; its class is a plain value."""
    return isinstance(value, SeenTensor) or (hasattr(value, "forward") and not isinstance(value, type))


def _bind(names: dict[str, Any], seen: SeenValue, targets: dict[ast.AST, list[ast.expr]]) -> None:
    """Note what a local name is from here on."""
    node: Any = seen.node
    if isinstance(node, ast.AugAssign):
        node = node.target
    for target in targets.get(node, [node]):
        _store(names, target, seen.value)


def _store(names: dict[str, Any], target: Any, value: Any) -> None:
    if isinstance(target, ast.Name) and target.id not in ("self", "device", "dtype"):
        names[target.id] = value
    elif isinstance(target, ast.Tuple) and isinstance(value, list | tuple) and len(value) == len(target.elts):
        for part, item in zip(target.elts, value, strict=True):
            _store(names, part, item)
