"""The text of the helper layers that a port carries with it, and of what they need."""

from __future__ import annotations

import ast
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from parity.porting.tidying.names import global_names

HELPERS = Path(__file__).parents[3] / "adapters" / "keras" / "helpers"


def helper_names() -> frozenset[str]:
    """The names of all helper layers and functions that a port may call."""
    return frozenset(name for name in _definitions() if not name.startswith("_"))


def carried(names: Iterable[str], package: str = "port") -> tuple[str, frozenset[str]]:
    """The source text of helpers with all that they need, what is needed first, and the modules that it imports.

    Args:
        names: helper layers or functions: PaddedConv2D, resize.
        package: under which the layers are registered with Keras.

    Raises:
        KeyError: there is no helper of that name.
    """
    definitions = _definitions()
    wanted: dict[str, None] = {}

    def take(name: str) -> None:
        if name in wanted:
            return
        for part in definitions[name][1]:
            if part != name:
                take(part)
        wanted[name] = None

    for name in sorted(names):
        take(name)
    texts = [definitions[name][0].replace('package="port"', f'package="{package}"') for name in wanted]
    modules = {module for name in wanted for module in definitions[name][2]}
    return "\n\n\n".join(texts), frozenset(modules)


@cache
def _definitions() -> dict[str, tuple[str, tuple[str, ...], tuple[str, ...]]]:
    """By name: the text of a class or function, the definitions that it needs, and the imports."""
    parts: dict[str, tuple[str, ast.stmt, dict[str, str]]] = {}
    for path in sorted(HELPERS.rglob("[!_]*.py")):
        text = path.read_text(encoding="utf-8")
        tree = ast.parse(text)
        imports = {
            alias.asname or alias.name: ast.unparse(node)
            for node in tree.body
            if isinstance(node, ast.Import | ast.ImportFrom)
            for alias in node.names
        }
        lines = text.splitlines()
        for node in tree.body:
            if isinstance(node, ast.ClassDef | ast.FunctionDef):
                first = min([node.lineno, *(item.lineno for item in node.decorator_list)])
                parts[node.name] = ("\n".join(lines[first - 1 : node.end_lineno]), node, imports)
    found = {}
    for name, (text, node, imports) in parts.items():
        free = global_names(text)
        used = [part.id for part in ast.walk(node) if isinstance(part, ast.Name) and part.id in free]
        needs = tuple(dict.fromkeys(part for part in used if part in parts))
        modules = {imports[part] for part in used if part in imports and "parity" not in imports[part]}
        found[name] = (text, needs, tuple(sorted(modules)))
    return found
