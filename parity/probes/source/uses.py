"""The uses of sizes, dtypes and modes in all of the models' own code that ran, in words."""

from __future__ import annotations

import ast
import linecache
from collections.abc import Collection, Mapping
from functools import lru_cache
from types import CodeType

from parity.probes.branches.code import LONGEST
from parity.probes.branches.files import shown
from parity.probes.source.reading import Reading
from parity.probes.source.words import DTYPE, MODE, SIZE, TRAINING, VALUE, Shared, Use
from parity.report.proof import Unproven, UnprovenKind

ROUNDS = 3
"""How often all functions are read: what one hands on to another is known in the next round."""

SAID: Mapping[str, tuple[UnprovenKind, str]] = {
    SIZE: (UnprovenKind.SIZES, "depends on a size without a branch, and other sizes may give another result"),
    DTYPE: (
        UnprovenKind.DTYPES,
        "depends on a dtype without a branch, and other dtypes may give another result",
    ),
    MODE: (UnprovenKind.BRANCHES, "depends on how the model is run, without a branch"),
    VALUE: (
        UnprovenKind.LIMITS,
        "depends on a value in Python without a branch, and other values may go another way",
    ),
    TRAINING: (UnprovenKind.TRAINING, "depends on training without a branch (training)"),
}

Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda


def uses(codes: Collection[CodeType]) -> list[Unproven]:
    """One entry for each place, in the order of the files.

    Args:
        codes: the models' own code that ran.
    """
    functions = [(file, node) for file, lines in _by_file(codes).items() for node in _functions(file, lines)]
    shared, found = Shared(), dict[tuple[str, int, str], Use]()
    for _ in range(ROUNDS):
        known = shared.copy()
        found = {
            (file, use.line, use.kind): use
            for file, node in functions
            for use in Reading(node, shared).read()
        }
        if shared == known:
            break
    return [_entry(file, found[file, line, kind]) for file, line, kind in sorted(found)]


def _by_file(codes: Collection[CodeType]) -> dict[str, set[tuple[int, str]]]:
    """First lines and names of the functions that ran, by file."""
    files: dict[str, set[tuple[int, str]]] = {}
    for code in codes:
        files.setdefault(code.co_filename, set()).add((code.co_firstlineno, code.co_name))
    return files


def _functions(file: str, wanted: set[tuple[int, str]]) -> list[Definition]:
    """The trees of the functions that ran; none of a file that is no Python any more."""
    definitions = _definitions("".join(linecache.getlines(file)))
    return [node for node in definitions if (_first(node), _name(node)) in wanted]


@lru_cache(maxsize=256)
def _definitions(source: str) -> list[Definition]:
    """The trees of all functions in a source; none where it is no Python any more."""
    try:
        return [node for node in ast.walk(ast.parse(source)) if isinstance(node, Definition)]
    except (SyntaxError, ValueError):
        return []


def _first(node: Definition) -> int:
    decorators = getattr(node, "decorator_list", [])
    return min([node.lineno, *(item.lineno for item in decorators)])


def _name(node: Definition) -> str:
    return getattr(node, "name", "<lambda>")


def _entry(file: str, use: Use) -> Unproven:
    kind, said = SAID[use.kind]
    place = f"{shown(file)}:{use.line}"
    text = use.text if len(use.text) <= LONGEST else f"{use.text[: LONGEST - 4]} ..."
    return Unproven(kind, f"{place}: `{text}` {said}", (place,))
