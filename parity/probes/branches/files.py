"""Which Python files are the models' own: the user's, and those that define the two models."""

from __future__ import annotations

import linecache
import os
import sys
import sysconfig
from collections.abc import Iterable
from pathlib import Path

FRAMEWORKS = ("torch", "keras", "tensorflow", "jax")


def _installed() -> tuple[str, ...]:
    folders = {sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    folders.add(str(Path(__file__).parents[2]))  # parity itself
    return tuple(f"{folder}{os.sep}" for folder in folders if folder)


class OwnFiles:
    """Says of a file whether it is the models' own.

    Args:
        models: the files that define their classes count wherever they are installed.
    """

    def __init__(self, models: Iterable[object]) -> None:
        self._installed = _installed()
        self._defining = {file for model in models for file in [defining(model)] if file}
        self._known: dict[str, bool] = {}

    def __contains__(self, file: str) -> bool:
        if file not in self._known:
            self._known[file] = self._is_own(file)
        return self._known[file]

    def _is_own(self, file: str) -> bool:
        if file in self._defining:
            return True
        parts = Path(file).parts
        if file.startswith(self._installed) or "site-packages" in parts or "dist-packages" in parts:
            return False
        linecache.checkcache(file)
        return bool(linecache.getlines(file))  # code that was made from a text has none


def defining(model: object) -> str | None:
    """The file that defines a model's class; None where a framework does."""
    for cls in type(model).__mro__:
        name = cls.__module__
        if name.partition(".")[0] in FRAMEWORKS:
            return None
        file = getattr(sys.modules.get(name), "__file__", None)
        if file:
            return str(file)
    return None


def shown(file: str) -> str:
    """A file's path as a reader knows it: from the working folder where it lies there."""
    try:
        return str(Path(file).relative_to(Path.cwd()))
    except (ValueError, OSError):
        return file
