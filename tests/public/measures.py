"""How a port's text compares with its source's: classes, names of arguments, lines of code."""

from __future__ import annotations

import ast
import inspect
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from parity.porting.written import WrittenPort


@dataclass(frozen=True)
class PortMeasures:
    """Counts of one port.

    Attributes:
        source_classes: classes of the source that ran, and that the port has something for.
        classes: classes of the port, without helper layers.
        helpers: helper layers in the file.
        source_arguments: arguments of the source classes' constructors.
        kept_arguments: those that the port's classes have by the same name.
        source_lines: lines of code of the source's classes, and of the functions that the port has by the same name.
        lines: lines of code of the port, without its helpers.
    """

    source_classes: int
    classes: int
    helpers: int
    source_arguments: int
    kept_arguments: int
    source_lines: int
    lines: int

    def to_dict(self) -> dict[str, int]:
        """The counts by name."""
        return asdict(self)


def measured(written: WrittenPort, source: Any) -> PortMeasures:
    """The measures of a port of a torch module, or of a Keras model whose classes are written in Python.

    Args:
        written: the port.
        source: the model that was ported.
    """
    tree = ast.parse(written.text)
    classes = {node.name: node for node in tree.body if isinstance(node, ast.ClassDef)}
    own = {name: node for name, node in classes.items() if name not in written.helpers}
    kinds = {type(part) for part in parts(source) if type(part).__name__ in written.classes}
    kept = wanted = 0
    for kind in kinds:
        names = _arguments(ast.parse(_text(kind)).body[0])
        port = own.get(written.classes[kind.__name__])
        found = _arguments(port) if port is not None else []
        wanted += len(names)
        kept += sum(name in found for name in names)
    functions = [
        node.name for node in tree.body if isinstance(node, ast.FunctionDef) and node.name != "build"
    ]
    modules = {sys.modules[kind.__module__] for kind in kinds if kind.__module__ in sys.modules}
    written_out = {
        found
        for name in functions
        for module in modules
        if inspect.isfunction(found := getattr(module, name, None))
    }
    return PortMeasures(
        source_classes=len(kinds),
        classes=len(own),
        helpers=len(classes) - len(own),
        source_arguments=wanted,
        kept_arguments=kept,
        source_lines=sum(code_lines(_text(one)) for one in (*kinds, *written_out)),
        lines=sum(
            code_lines(ast.get_source_segment(written.text, node) or "")
            for node in (*own.values(), *(n for n in tree.body if isinstance(n, ast.FunctionDef)))
            if getattr(node, "name", "") not in ("build", *written.helpers)
        ),
    )


def parts(model: Any) -> Iterator[Any]:
    """The model and everything in it."""
    return iter(model.modules() if hasattr(model, "named_modules") else model._flatten_layers())


def code_lines(text: str) -> int:
    """Lines that hold code: no docstrings, comments or blank lines."""
    tree = ast.parse(textwrap.dedent(text))
    said: set[int] = set()
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Expr)
            and isinstance(node.value, ast.Constant)
            and isinstance(node.value.value, str)
        ):
            said.update(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    lines = textwrap.dedent(text).splitlines()
    return sum(
        bool(line.strip()) and not line.strip().startswith("#") and number not in said
        for number, line in enumerate(lines, 1)
    )


def _text(thing: Any) -> str:
    return textwrap.dedent(inspect.getsource(thing))


def _arguments(node: ast.AST) -> list[str]:
    """The names of the constructor's arguments; those of a dataclass-like class without one are none."""
    made = next(
        (
            one
            for one in ast.iter_child_nodes(node)
            if isinstance(one, ast.FunctionDef) and one.name == "__init__"
        ),
        None,
    )
    if made is None:
        return []
    return [
        one.arg
        for one in (*made.args.posonlyargs, *made.args.args, *made.args.kwonlyargs)
        if one.arg != "self"
    ]
