"""Constants and named tuples of the source's modules, as text."""

from __future__ import annotations

import ast
import builtins
import inspect
import textwrap
from typing import Any

PLAIN = (bool, int, float, str, bytes, type(None))


def is_constant(value: Any) -> bool:
    """Whether a value is plain: a number, a text, None, or a container of such."""
    if isinstance(value, dict):
        return all(is_constant(item) for pair in value.items() for item in pair)
    if type(value) in (tuple, list):
        return all(map(is_constant, value))
    return isinstance(value, PLAIN)


def constant_text(value: Any) -> str:
    """A plain value as an expression.

    >>> print(constant_text({"pool4": (5, "a")}))
    {"pool4": (5, "a")}
    """
    if isinstance(value, dict):
        return f"{{{', '.join(f'{constant_text(k)}: {constant_text(v)}' for k, v in value.items())}}}"
    if isinstance(value, tuple):
        return f"({', '.join(map(constant_text, value))}{',' if len(value) == 1 else ''})"
    if isinstance(value, list):
        return f"[{', '.join(map(constant_text, value))}]"
    text = repr(value)
    return f'"{value}"' if isinstance(value, str) and '"' not in text and "\\" not in text else text


def is_named_tuple(value: Any) -> bool:
    """Whether a value is a class of tuples whose items have names."""
    return isinstance(value, type) and issubclass(value, tuple) and hasattr(value, "_fields")


def named_tuple_text(cls: Any, name: str) -> tuple[str, str]:
    """(the definition of a class of named tuples, the import that it needs): the source's own where it stands alone.

    Args:
        cls: the class.
        name: what the source calls it where it is read; it may be another than the class's own.
    """
    try:
        text = textwrap.dedent(inspect.getsource(cls))
        node = ast.parse(text).body[0]
    except (OSError, TypeError, SyntaxError):
        node = None
    if isinstance(node, ast.ClassDef) and [ast.unparse(base) for base in node.bases] == ["NamedTuple"]:
        names = {part.id for part in ast.walk(node) if isinstance(part, ast.Name)} - {"NamedTuple"}
        plain = all(isinstance(part, ast.AnnAssign | ast.Expr) for part in node.body)
        targets = {ast.unparse(part.target) for part in node.body if isinstance(part, ast.AnnAssign)}
        if plain and names - targets <= set(dir(builtins)):
            alias = "" if name == cls.__name__ else f"\n\n\n{name} = {cls.__name__}"
            return text.strip() + alias, "from typing import NamedTuple"
    defaults = f", defaults={tuple(cls._field_defaults.values())!r}" if cls._field_defaults else ""
    fields = constant_text(list(cls._fields))
    return (
        f'{name} = namedtuple("{cls.__name__}", {fields}{defaults})',
        "from collections import namedtuple",
    )
