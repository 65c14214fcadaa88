"""Which methods of an object are the user's own in place of a framework's."""

from __future__ import annotations

import inspect
from typing import Any

NO_WORK = frozenset({"__init__", "__repr__", "__str__", "__doc__", "get_config"})
"""Methods that make an object, or say what it is."""


def own_methods(value: Any, framework: str) -> list[str]:
    """Names of a framework's methods that a class of the user's replaces, or that were put into the object or the class.

    Args:
        value: an object of a framework's class, or of a class that derives from one.
        framework: the framework's package.
    """

    def is_own(code: Any) -> bool:
        home = str(getattr(inspect.unwrap(code), "__module__", None) or "")
        return home.partition(".")[0] != framework

    known = {
        name: code
        for base in reversed(type(value).__mro__)
        for name, code in vars(base).items()
        if inspect.isroutine(code) or isinstance(code, property)
    }
    library = {name for base in type(value).__mro__ if _from(base, framework) for name in vars(base)}
    classes = [name for name, code in known.items() if is_own(getattr(code, "fget", None) or code)]
    objects = [name for name, code in vars(value).items() if callable(code) and is_own(code)]
    return sorted(name for name in {*classes, *objects} if name in library and name not in NO_WORK)


def _from(base: type, framework: str) -> bool:
    return base.__module__.partition(".")[0] == framework
