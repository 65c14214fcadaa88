"""Branches that end in an error and never ran: what the source refuses, the port refuses too."""

from __future__ import annotations

import ast
import builtins
import textwrap
from typing import Any

from parity.adapters.recording.records import UserFunction

_ERROR = "ValueError"


def refusal(function: UserFunction, statements: list[ast.stmt]) -> list[str]:
    """The lines of a branch that ends in `raise`: the source's own, or the error alone where these need torch.

    Args:
        function: in which the branch stands.
        statements: of the branch.
    """
    if all(_is_plain(statement, function) for statement in statements):
        return [line for statement in statements for line in _source(function, statement).splitlines()]
    error: Any = statements[-1]
    called = error.exc.func if isinstance(error.exc, ast.Call) else error.exc
    name = called.id if isinstance(called, ast.Name) and hasattr(builtins, called.id) else _ERROR
    said = f"{function.qualname} refuses this input"
    return [f'raise {name}("{said}")']


def _source(function: UserFunction, statement: ast.stmt) -> str:
    start, end = function.source.span(statement)
    column = len(function.source.text[:start].rpartition("\n")[2])
    return textwrap.dedent(" " * column + function.source.text[start:end])


def _is_plain(statement: ast.stmt, function: UserFunction) -> bool:
    """Whether a statement needs Python alone: no module, no function of the user's, no method of a tensor."""
    if not isinstance(statement, ast.Assign | ast.Raise):
        return False
    for part in ast.walk(statement):
        if isinstance(part, ast.Call):
            called = part.func
            if isinstance(called, ast.Attribute) and called.attr in ("format", "join"):
                continue
            if not (isinstance(called, ast.Name) and hasattr(builtins, called.id)):
                return False
        elif isinstance(part, ast.Name) and isinstance(part.ctx, ast.Load):
            known = function.function.__globals__.get(part.id, None)
            if known is not None and not isinstance(known, int | float | str | tuple):
                return False
    return True
