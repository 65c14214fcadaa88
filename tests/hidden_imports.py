"""Finds the imports that import-linter cannot see: modules named by a string at run time.

A call is reported where its module lies behind a wall, or where the source does not say which module it is. The
functions that import by a string are known under every name that a file gives them. A file that passes one of them
on without calling it is reported too.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path

IMPORTERS = {
    "importlib.import_module",
    "importlib.__import__",
    "builtins.__import__",
    "builtins.exec",
    "builtins.eval",
    "pkgutil.resolve_name",
    "runpy.run_module",
    "datasets.files.extra",
}
"""What imports the module that a string names, by its full name."""
CODE = {"builtins.exec", "builtins.eval"}
"""What may import anything."""
UNKNOWN = "…"
Scopes = tuple[ast.AST, ...]


@dataclass(frozen=True, order=True)
class Hidden:
    """An import by a string.

    Attributes:
        place: "file:function", the file relative to the root.
        module: its text, as far as the source gives it; "…" stands for the rest.
    """

    place: str
    module: str


def hidden_imports(root: Path, package: str, walls: set[str]) -> set[Hidden]:
    """The imports by a string, in all files of a package, that reach behind a wall or may reach anywhere.

    Args:
        root: the folder that holds the package.
        package: its name; it may import itself.
        walls: names of the packages that it must not import.
    """
    found = set()
    for path in sorted((root / package).rglob("*.py")):
        place = path.relative_to(root)
        module = ".".join(place.with_suffix("").parts).removesuffix(".__init__")
        for function, text in _File(ast.parse(path.read_text(encoding="utf-8")), module).imports():
            top = text.partition(".")[0]
            if not top or UNKNOWN in top or top in walls - {package}:
                found.add(Hidden(f"{place.as_posix()}:{function}", text))
    return found


class _File:
    """One file: what its names stand for, and its imports by a string."""

    def __init__(self, tree: ast.Module, module: str) -> None:
        self.tree, self.module = tree, module
        self.called = {id(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
        self.names = {name.rpartition(".")[2]: name for name in IMPORTERS if name.startswith("builtins.")}
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                for item in node.names:
                    top = item.name.partition(".")[0]
                    self.names[item.asname or top] = item.name if item.asname else top
            elif isinstance(node, ast.ImportFrom) and node.module:
                self.names |= {item.asname or item.name: f"{node.module}.{item.name}" for item in node.names}

    def imports(self) -> Iterator[tuple[str, str]]:
        """Function and module of each import by a string."""
        yield from self._within(self.tree, "", (self.tree,))

    def _within(self, node: ast.AST, function: str, scopes: Scopes) -> Iterator[tuple[str, str]]:
        for child in ast.iter_child_nodes(node):
            inner, around = function, scopes
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                inner, around = f"{function}.{child.name}".lstrip("."), (*scopes, child)
            for text in self._at(child, scopes):
                yield function, text
            yield from self._within(child, inner, around)

    def _at(self, node: ast.AST, scopes: Scopes) -> set[str]:
        """The modules that one expression imports."""
        if isinstance(node, ast.Call) and self._full(node.func) in IMPORTERS - CODE:
            given = [*node.args, *(item.value for item in node.keywords if item.arg in ("name", "mod_name"))]
            return self._texts(given[0], scopes) if given else {UNKNOWN}
        if isinstance(node, ast.Call) and self._full(node.func) == "builtins.getattr":
            gets = self._full(node.args[0]) in {name.partition(".")[0] for name in IMPORTERS}
            return {UNKNOWN} if gets else set()
        if not isinstance(node, ast.Name | ast.Attribute) or self._full(node) not in IMPORTERS:
            return set()
        handed_on = id(node) not in self.called
        return {UNKNOWN} if handed_on or self._full(node) in CODE else set()

    def _full(self, node: ast.AST) -> str:
        """The full name that a name or an attribute stands for."""
        if isinstance(node, ast.Name):
            return "builtins.getattr" if node.id == "getattr" else self.names.get(node.id, "")
        return f"{self._full(node.value)}.{node.attr}" if isinstance(node, ast.Attribute) else ""

    def _texts(self, node: ast.AST, scopes: Scopes) -> set[str]:
        """Each text that an expression can give, as far as the source says it; then "…"."""
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            return {node.value.replace(":", ".")}
        if isinstance(node, ast.FormattedValue):
            return self._texts(node.value, scopes)
        if isinstance(node, ast.JoinedStr):
            return self._joined(node.values, scopes)
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
            return self._joined([node.left, node.right], scopes)
        return self._values(node.id, scopes) if isinstance(node, ast.Name) else {UNKNOWN}

    def _joined(self, parts: list[ast.expr], scopes: Scopes) -> set[str]:
        texts = product(*(sorted(self._texts(part, scopes)) for part in parts))
        return {before + mark for before, mark, _ in ("".join(each).partition(UNKNOWN) for each in texts)}

    def _values(self, name: str, scopes: Scopes) -> set[str]:
        """What a name holds: the strings that it is assigned or that a loop gives it, in the innermost scope."""
        if name in ("__name__", "__package__"):
            return {self.module}
        for scope in reversed(scopes):
            given: list[ast.expr | None] = []
            for node in _own_nodes(scope):
                if isinstance(node, ast.Assign) and any(_is(target, name) for target in node.targets):
                    given.append(node.value)
                elif isinstance(node, ast.For | ast.comprehension) and _is(node.target, name):
                    given += node.iter.elts if isinstance(node.iter, ast.Tuple | ast.List) else [None]
                elif isinstance(node, ast.arg) and node.arg == name:
                    given.append(None)
            if given:
                return {
                    text for value in given for text in (self._texts(value, scopes) if value else {UNKNOWN})
                }
        return {UNKNOWN}


def _own_nodes(scope: ast.AST) -> Iterator[ast.AST]:
    """The nodes of a scope, without those of the functions and classes in it."""
    for child in ast.iter_child_nodes(scope):
        yield child
        if not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Lambda):
            yield from _own_nodes(child)


def _is(node: ast.AST, name: str) -> bool:
    return isinstance(node, ast.Name) and node.id == name
