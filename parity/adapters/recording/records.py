"""What a recording holds. No framework is needed to read it; modules and callables are the model's own objects."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from types import FunctionType
from typing import Any


@dataclass(frozen=True, eq=False)
class SourceFile:
    """A file of the user's code. Positions of nodes count from the start of the file."""

    file: str
    text: str
    tree: ast.Module

    @cached_property
    def _starts(self) -> list[int]:
        starts = [0]
        for line in self.text.splitlines(keepends=True):
            starts.append(starts[-1] + len(line))
        return starts

    def offset(self, line: int, column: int) -> int:
        """The position in `text` of a line (from 1) and a column, which the syntax tree counts in UTF-8 bytes."""
        start = self._starts[line - 1]
        content = self.text[start : self._starts[line]] if line < len(self._starts) else ""
        if content.isascii():
            return start + column
        return start + len(content.encode()[:column].decode())

    def span(self, node: ast.AST) -> tuple[int, int]:
        """Where the node's text starts and ends in `text`; decorators are not part of a function's or class's span."""
        where: Any = node
        return self.offset(where.lineno, where.col_offset), self.offset(
            where.end_lineno, where.end_col_offset
        )

    def of(self, node: ast.AST) -> str:
        """The text of a node."""
        start, end = self.span(node)
        return self.text[start:end]


@dataclass(frozen=True, eq=False)
class UserFunction:
    """A function or method of the user's code that ran. Nested functions and lambdas belong to the one around them."""

    name: str
    qualname: str
    module: str  # where it is defined: torchvision.models.resnet
    source: SourceFile
    node: Any  # ast.FunctionDef, ast.AsyncFunctionDef or ast.Lambda, a node of source.tree
    owner: ast.ClassDef | None  # the class in whose body it is written; None for plain functions
    function: FunctionType  # with its own code again, as before the recording
    argument_names: tuple[str, ...]  # in order, `*args` and `**kwargs` last


@dataclass(eq=False)
class SeenTensor:
    """A tensor of the run. Values are this very object wherever the tensor itself appears: compare with `is`.

    In-place operations give the same object again. Its shape is that of the moment when it was first seen.
    """

    key: int
    shape: tuple[int, ...]
    dtype: str  # float32, int64, bool, ...
    held: str | None = None  # the path of the parameter or buffer that it is: layer1.0.conv1.weight
    trainable: bool = False
    owner: Any = None  # the tensor itself

    def __repr__(self) -> str:
        return f"<{self.dtype}{list(self.shape)} #{self.key}{' ' + self.held if self.held else ''}>"


@dataclass(frozen=True, eq=False)
class SeenValue:
    """One value of one expression.

    Lists, tuples and dicts are copies from that moment, with `SeenTensor` in place of tensors; torch.Size is a tuple.
    All else is the object itself.
    The node is an expression of the function's source. Further nodes, whose value is not theirs in Python:
    `ast.AugAssign` has the target's value afterwards (its target has the one before), and the target of an
    `ast.For` has the value of each turn.
    """

    call: FunctionCall
    node: ast.AST
    value: Any
    callee: Any = None  # of an `ast.Call`: what was called, and with what
    positional: tuple[Any, ...] = ()  # starred arguments are spread
    named: Mapping[str, Any] = field(default_factory=dict)


@dataclass(eq=False)
class FunctionCall:
    """One call of a user's function, as it ran."""

    function: UserFunction
    phase: str  # "build"; then the passes: "first", "second" (other sizes) and "training"
    arguments: dict[str, Any]  # bound, defaults filled in; `self` is the object itself
    caller: FunctionCall | None  # the user's function that called, maybe through functions of torch
    site: ast.AST | None  # the node (`ast.Call` mostly) of the caller's source that was being evaluated
    module: Any = None  # the nn.Module whose method this is
    path: str | None = (
        None  # of that module in the model; None where it is not (or no longer) part of the model
    )
    seen: list[SeenValue] = field(default_factory=list)  # in order; without those of the functions called
    ran: set[ast.AST] = field(default_factory=set)  # statements (`ast.stmt`) that ran
    result: Any = None
    ended: bool = False  # False for one that an exception left, or a generator that was not used up

    @cached_property
    def values(self) -> dict[ast.AST, list[Any]]:
        """The values of each node in order; a node that never ran is missing."""
        found: dict[ast.AST, list[Any]] = {}
        for seen in self.seen:
            found.setdefault(seen.node, []).append(seen.value)
        return found

    def __repr__(self) -> str:
        return f"<{self.phase} {self.function.qualname} at {self.path!r}>"


@dataclass(frozen=True, eq=False)
class ModuleCall:
    """One call of a module, also of torch's own and also from within torch's own, such as in nn.Sequential."""

    module: Any
    phase: str
    positional: tuple[Any, ...]
    named: Mapping[str, Any]
    value: Any
    call: FunctionCall | None  # the innermost call of a user's function around it
    site: ast.AST | None  # and the node that this was evaluating
    at: int  # how many values of `Recording.seen` came before its end


@dataclass(frozen=True, eq=False)
class MadeModule:
    """A module of the model, and the call that made it."""

    module: Any
    path: str  # the first one where the model has several for it
    paths: tuple[str, ...]
    call: FunctionCall | None  # the user's function that made it; None where the user's code did not
    site: (
        ast.Call | None
    )  # the innermost call expression of the user's code that gave it: nn.Conv2d(...), norm_layer(planes)
    positional: tuple[Any, ...]  # what that call expression was given
    named: Mapping[str, Any]
    constructors: tuple[
        FunctionCall, ...
    ]  # its `__init__` calls of user's code, the most derived class first


@dataclass(eq=False)
class Recording:
    """All that was recorded of a model that was built and called."""

    module: Any  # the model, in evaluation mode
    calls: list[FunctionCall]  # in the order in which they started
    seen: list[
        SeenValue
    ]  # of all calls together, in order: a call's own value comes behind what ran within it
    module_calls: list[ModuleCall]  # of the passes, in the order in which they ended
    modules: dict[str, MadeModule]  # by path, the model itself at ""
    inputs: dict[str, tuple[Any, ...]]  # by phase: the `SeenTensor`s that the model was called with
    outputs: dict[str, Any]  # by phase
    notes: list[str]  # what could not be recorded, a sentence each
    same: frozenset[type] = frozenset()  # classes of the user's that ran as the layer that they derive from

    def calls_of(self, function: UserFunction, phase: str | None = None) -> Iterator[FunctionCall]:
        """The calls of one function, of all phases or of one."""
        return (
            call
            for call in self.calls
            if call.function is function and (phase is None or call.phase == phase)
        )
