"""Objects of plain values that constructors are given, such as the configuration of a model: their classes and text."""

from __future__ import annotations

import ast
import dataclasses
import functools
import inspect
import sys
from collections.abc import Callable, Iterable
from types import FunctionType
from typing import Any

from parity.adapters.recording.records import Recording

BASE = "Attributes"
"""The helper that the classes of such objects derive from."""
MOST = 16
"""Attributes that are written of an object whether they are read or not."""
_CONSTANTS = (bool, int, float, str, type(None))


def is_plain_object(value: Any) -> bool:
    """Whether a value is an object of a class of the user's that holds plain values, and is no module."""
    cls = type(value)
    if hasattr(value, "forward") or isinstance(
        value, type | FunctionType | tuple | list | dict | BaseException
    ):
        return False
    package = cls.__module__.partition(".")[0]
    foreign = package in sys.stdlib_module_names or package in ("torch", "numpy", "builtins")
    return not foreign and bool(vars(value)) if hasattr(value, "__dict__") else False


def attributes_of(value: Any, read: Iterable[str] = ()) -> dict[str, Any]:
    """The plain values that an object holds; of many those alone that are read."""
    if dataclasses.is_dataclass(value):
        names: Iterable[str] = (
            field.name for field in dataclasses.fields(value) if field.name in vars(value)
        )
    else:
        names = vars(value)
        names = names if len(vars(value)) <= MOST else [name for name in names if name in set(read)]
    return {name: vars(value)[name] for name in names if _plain(vars(value)[name])}


def _plain(value: Any) -> bool:
    if isinstance(value, tuple | list):
        return all(map(_plain, value))
    if isinstance(value, dict):
        return all(map(_plain, value.values()))
    known = isinstance(value, (*_CONSTANTS, type, FunctionType, functools.partial))
    return known or is_plain_object(value)


def reads_of_objects(recording: Recording) -> dict[type, set[str]]:
    """The attributes that the user's code read of plain objects, by class."""
    found: dict[type, set[str]] = {}
    for call in recording.calls:
        for node in call.values:
            if isinstance(node, ast.Attribute):
                for holder in call.values.get(node.value, ()):
                    if is_plain_object(holder):
                        found.setdefault(type(holder), set()).add(node.attr)
        for seen in call.seen:
            if seen.callee is getattr and len(seen.positional) > 1 and is_plain_object(seen.positional[0]):
                found.setdefault(type(seen.positional[0]), set()).add(seen.positional[1])
    return found


def _has_own_fields(cls: type) -> bool:
    """Whether a class is a dataclass whose constructor is the one that its fields give."""
    code = getattr(cls.__init__, "__code__", None)  # type: ignore[misc]
    return dataclasses.is_dataclass(cls) and code is not None and code.co_filename.startswith("<")


def object_text(value: Any, read: Iterable[str], text: Callable[[Any], str]) -> str:
    """The expression that makes an object; a field with its default is left out.

    Args:
        value: the object.
        read: the attributes that the source reads of objects of its class.
        text: gives the expression of a value.

    Raises:
        NoCounterpartError: a value that it holds has none.
    """
    given = attributes_of(value, read)
    if _has_own_fields(type(value)):
        fields = {field.name: field for field in dataclasses.fields(value)}
        given = {name: item for name, item in given.items() if not _is_default(fields[name], item)}
    return f"{type(value).__name__}({', '.join(f'{name}={text(item)}' for name, item in given.items())})"


def _default(field: Any) -> Any:
    return field.default if field.default_factory is dataclasses.MISSING else field.default_factory()


def _is_default(field: Any, value: Any) -> bool:
    default = _default(field)
    return default is not dataclasses.MISSING and type(default) is type(value) and default == value


def class_text(cls: type, text: Callable[[Any], str], registered: str) -> tuple[str, frozenset[str]]:
    """(the class of plain objects in the port, the imports that it needs).

    Args:
        cls: of the source.
        text: gives the expression of a value.
        registered: the decorator that lets Keras save its objects.
    """
    plain = _has_own_fields(cls)
    own = vars(cls).get("__doc__") or ""
    doc = own if own and not own.startswith(f"{cls.__name__}(") else f"{cls.__name__} of {cls.__module__}."
    lines = [registered, *(["@dataclass"] if plain else []), f"class {cls.__name__}({BASE}):"]
    lines.append(f'    """{inspect.cleandoc(doc)}"""')
    if not plain:
        return "\n".join(lines), frozenset()
    imports = {"from dataclasses import dataclass"}
    comments = _comments(cls)
    lines.append("")
    for field in dataclasses.fields(cls):  # type: ignore[arg-type]
        default = _default(field)
        made = "" if default is dataclasses.MISSING else text(default)
        if field.default_factory is not dataclasses.MISSING:
            imports.add("from dataclasses import field")
            made = f"field(default_factory=lambda: {made})"
        kind = _annotation(field.type)
        said = f"  {comments[field.name]}" if field.name in comments else ""
        lines.append(f"    {field.name}: {kind}{' = ' + made if made else ''}{said}")
    return "\n".join(lines), frozenset(imports)


def _annotation(kind: Any) -> str:
    """The type of a field, where Python's own names say it."""
    name = kind if isinstance(kind, str) else getattr(kind, "__name__", "") if isinstance(kind, type) else ""
    try:
        parts = list(ast.walk(ast.parse(name, mode="eval")))
    except SyntaxError:
        return "object"
    names = {part.id for part in parts if isinstance(part, ast.Name)}
    plain = {"bool", "int", "float", "str", "tuple", "list", "dict", "None", "object"}
    return name if names <= plain and not any(isinstance(part, ast.Attribute) for part in parts) else "object"


def _comments(cls: type) -> dict[str, str]:
    """The comments behind the fields of a class, by the names of these."""
    try:
        lines, _ = inspect.getsourcelines(cls)
    except (OSError, TypeError):
        return {}
    found = {}
    for line in lines:
        name, colon, rest = line.strip().partition(":")
        _, mark, comment = rest.partition("#")
        if colon and mark and name.isidentifier() and not {'"', "'"} & set(rest):
            found[name] = f"# {comment.strip()}"
    return found
