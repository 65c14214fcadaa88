"""Which functions of the user's code a run calls, and where their sources are."""

from __future__ import annotations

import ast
import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import CodeType, FrameType, FunctionType
from typing import Any

from parity.adapters.recording.records import SourceFile
from parity.adapters.sites.running import belongs_to_user


@contextmanager
def watched() -> Iterator[dict[CodeType, str]]:
    """While this is open, the code objects of the user's that start to run are noted, with their module's name.

    Garbage is not collected then: it calls functions of whoever asked for that (gc.callbacks), in the middle of a run.
    """
    found: dict[CodeType, str] = {}

    def started(frame: FrameType, event: str, argument: Any) -> None:
        if event == "call" and frame.f_code not in found and belongs_to_user(frame.f_code.co_filename):
            found[frame.f_code] = frame.f_globals.get("__name__", "")

    before, collects = sys.getprofile(), gc.isenabled()
    gc.disable()
    sys.setprofile(started)
    try:
        yield found
    finally:
        _profile_again(before)
        if collects:
            gc.enable()


def _profile_again(profiler: Any) -> None:
    """Give the thread back to whoever profiled it: cProfile's profiler is no function, and is enabled instead."""
    enable = getattr(profiler, "enable", None)
    if enable is None:
        sys.setprofile(profiler)
    else:
        sys.setprofile(None)
        enable()


def functions_of(codes: dict[CodeType, str]) -> list[tuple[FunctionType, str]]:
    """The function objects that have one of the code objects, each with its module's name."""
    holders = gc.get_referrers(*codes) if codes else []
    functions = [held for held in holders if isinstance(held, FunctionType) and held.__code__ in codes]
    return [(function, codes[function.__code__]) for function in functions]


class Sources:
    """The files that were read, each once, and the definitions in them."""

    def __init__(self) -> None:
        self.files: dict[str, SourceFile | None] = {}
        self._places: dict[str, list[tuple[Any, ast.ClassDef | None]]] = {}

    def file(self, name: str) -> SourceFile | None:
        """The source of a file, None where there is none."""
        if name not in self.files:
            path = Path(name)
            text = path.read_text(encoding="utf-8") if path.is_file() else None
            self.files[name] = None if text is None else SourceFile(name, text, ast.parse(text, name))
        return self.files[name]

    def definition(self, code: CodeType) -> tuple[SourceFile, Any, ast.ClassDef | None] | None:
        """(file, node, class around it) of a code object; None where its source is not at hand."""
        source = self.file(code.co_filename)
        if source is None:
            return None
        if source.file not in self._places:
            self._places[source.file] = list(_definitions(source.tree, None))
        fitting = [
            (node, owner)
            for node, owner in self._places[source.file]
            if first_line(node) == code.co_firstlineno and _named(node) == code.co_name
        ]
        if len(fitting) > 1:  # several lambdas on one line
            fitting = [(node, owner) for node, owner in fitting if _same_lambda(node, code)]
        return (source, *fitting[0]) if len(fitting) == 1 else None


def first_line(node: Any) -> int:
    """The line where a definition starts, with its decorators."""
    lines = [item.lineno for item in getattr(node, "decorator_list", [])]
    return min([*lines, node.lineno])


def _named(node: Any) -> str:
    return "<lambda>" if isinstance(node, ast.Lambda) else node.name


def _definitions(node: ast.AST, owner: ast.ClassDef | None) -> Iterator[tuple[Any, ast.ClassDef | None]]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            yield child, owner
        within = child if isinstance(child, ast.ClassDef) else owner
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            within = None
        yield from _definitions(child, within)


def _same_lambda(node: Any, code: CodeType) -> bool:
    compiled = compile(ast.Expression(node), code.co_filename, "eval")
    return any(
        isinstance(part, CodeType)
        and part.co_code == code.co_code
        and list(part.co_positions()) == list(code.co_positions())
        for part in compiled.co_consts
    )
