"""Receives what instrumented functions report, and keeps it as calls and values."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import CodeType, FunctionType
from typing import Any

from parity.adapters.recording.discover import Sources, functions_of
from parity.adapters.recording.instrument import ENTER, argument_names, instrumented
from parity.adapters.recording.records import FunctionCall, ModuleCall, SeenValue, UserFunction

BETWEEN = "between"
"""The phase of what runs between the passes, such as a `train` of the user's: it is not kept."""


class Recorder:
    """Keeps the calls of the functions that are instrumented while it is open.

    Args:
        snapshot: gives what is kept of a value at this moment.
        module_of: the module or layer that a call's first argument is, else None.
    """

    def __init__(self, snapshot: Callable[[Any], Any], module_of: Callable[[Any], Any]) -> None:
        self.snapshot = snapshot
        self.module_of = module_of
        self.phase = "build"
        self.calls: list[FunctionCall] = []
        self.seen: list[SeenValue] = []
        self.module_calls: list[ModuleCall] = []
        self.notes: list[str] = []
        self.functions: list[UserFunction] = []
        self._nodes: list[list[ast.AST]] = []
        self._stack: list[_Frame] = []

    @contextmanager
    def instrumenting(self, codes: dict[CodeType, str]) -> Iterator[None]:
        """While this is open, all functions that have one of the code objects report to this recorder."""
        sources = Sources()
        before: list[tuple[FunctionType, CodeType]] = []
        entered: list[dict[str, Any]] = []
        try:
            for function, module in functions_of(codes):
                code = self._instrumented(function, module, sources)
                if code is not None:
                    before.append((function, function.__code__))
                    function.__code__ = code
                    if ENTER not in function.__globals__:
                        function.__globals__[ENTER] = self._enter
                        entered.append(function.__globals__)
            yield
        finally:
            for function, code in before:
                function.__code__ = code
            for variables in entered:
                variables.pop(ENTER, None)

    def _instrumented(self, function: FunctionType, module: str, sources: Sources) -> CodeType | None:
        code = function.__code__
        found = sources.definition(code)
        if found is None:
            self.notes.append(
                f"{module}.{function.__qualname__} has no source: {code.co_filename}:{code.co_firstlineno}"
            )
            return None
        source, node, owner = found
        try:
            made, nodes = instrumented(node, len(self.functions), code)
        except (ValueError, SyntaxError) as error:
            place = f"{code.co_filename}:{code.co_firstlineno}"
            self.notes.append(f"{module}.{function.__qualname__} ({place}) cannot be recorded: {error}")
            return None
        twin = next((known for known in self.functions if known.node is node), None)
        names = argument_names(node.args)
        self.functions.append(
            twin
            or UserFunction(function.__name__, code.co_qualname, module, source, node, owner, function, names)
        )
        self._nodes.append(nodes)
        return made

    def _enter(self, number: int, arguments: dict[str, Any]) -> _Frame:
        function = self.functions[number]
        around = self._stack[-1] if self._stack else None
        kept = {name: self.snapshot(value) for name, value in arguments.items()}
        first = next(iter(arguments.values()), None)
        call = FunctionCall(
            function,
            self.phase,
            kept,
            around.record if around is not None else None,
            around.pending if around is not None else None,
            module=self.module_of(first),
        )
        if self.phase != BETWEEN:
            self.calls.append(call)
        return _Frame(self, call, self._nodes[number])

    def keep(self, seen: SeenValue) -> None:
        """Keep one value, in its call and in the order of the whole run."""
        if seen.call.phase == BETWEEN:
            return
        seen.call.seen.append(seen)
        self.seen.append(seen)

    def module_called(self, module: Any, positional: Any, named: Any, value: Any) -> None:
        """Keep one call of a module, which has just ended."""
        around = self._stack[-1] if self._stack else None
        record, site = (around.record, around.pending) if around is not None else (None, None)
        given = self.snapshot(tuple(positional)), self.snapshot(dict(named)), self.snapshot(value)
        self.module_calls.append(ModuleCall(module, self.phase, *given, record, site, len(self.seen)))


class _Frame:
    """What instrumented code holds of its own call."""

    def __init__(self, recorder: Recorder, record: FunctionCall, nodes: list[ast.AST]) -> None:
        self.recorder, self.record, self.nodes = recorder, record, nodes
        self.pending: ast.AST | None = None

    def seen(self, number: int, value: Any) -> Any:
        recorder = self.recorder
        recorder.keep(SeenValue(self.record, self.nodes[number], recorder.snapshot(value)))
        return value

    def call(self, number: int, function: Any, /, *positional: Any, **named: Any) -> Any:
        recorder, node = self.recorder, self.nodes[number]
        given = recorder.snapshot(positional), recorder.snapshot(named)
        before, self.pending = self.pending, node
        recorder._stack.append(self)
        try:
            value = function(*positional, **named)
        finally:
            recorder._stack.pop()
            self.pending = before
        recorder.keep(SeenValue(self.record, node, recorder.snapshot(value), function, *given))
        return value

    def ran(self, number: int) -> None:
        self.record.ran.add(self.nodes[number])

    def result(self, value: Any) -> Any:
        self.record.result = self.recorder.snapshot(value)
        self.record.ended = True
        return value
