"""Reads [tool.parity] of pyproject.toml: pairs by name, and what holds for all of them."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from parity.core.errors import UsageError

NAME = "pyproject.toml"
LARGEST = 2**24
"""Bytes of a pyproject.toml that is read."""


@dataclass(frozen=True)
class Project:
    """What a pyproject.toml says of parity.

    Attributes:
        file: it; None where there is none.
        pairs: the keys of each pair by its name, those for all pairs included.
        common: the keys for all pairs.
    """

    file: Path | None = None
    pairs: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    common: Mapping[str, Any] = field(default_factory=dict)

    @property
    def folder(self) -> Path:
        """Where the file lies: paths and modules of its pairs are found from there."""
        return Path.cwd() if self.file is None else self.file.parent


def project_of(folder: Path | None = None) -> Project:
    """The project that a folder belongs to: the nearest pyproject.toml in it or above that has [tool.parity].

    Args:
        folder: to begin with; None is the current one.

    Raises:
        UsageError: a file that is no TOML, or a table of another form.
        OSError: it cannot be read.
    """
    start = (folder or Path.cwd()).resolve()
    for place in (start, *start.parents):
        file = place / NAME
        if file.is_file():
            found = read(file)
            if found is not None:
                return found
    return Project()


def read(file: Path) -> Project | None:
    """What one file says of parity; None where it says nothing.

    Raises:
        UsageError: a file that is no TOML, or a table of another form.
        OSError: it cannot be read.
    """
    if file.stat().st_size > LARGEST:
        raise UsageError(f"{file} must have at most {LARGEST} bytes; got {file.stat().st_size}.")
    text = file.read_text(encoding="utf-8", errors="replace")
    if "parity" not in text:  # most files: not even parsed
        return None
    try:
        tool = tomllib.loads(text).get("tool", {})
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise UsageError(f"{file} must be TOML; got {error}.") from error
    if "parity" not in tool:
        return None
    table = tool["parity"]
    if not isinstance(table, dict) or not isinstance(table.get("pairs", {}), dict):
        raise UsageError(f"[tool.parity] of {file} must be a table with pairs in [tool.parity.pairs.NAME].")
    common = {key: value for key, value in table.items() if key != "pairs"}
    pairs = {}
    for name, keys in table.get("pairs", {}).items():
        if not isinstance(keys, dict):
            raise UsageError(
                f"[tool.parity.pairs] of {file} must hold a table for each pair; got {name} = {keys!r}. "
                f"Write [tool.parity.pairs.{name}] with keras = and torch = in it."
            )
        pairs[name] = {**common, **keys}
    return Project(file, pairs, common)
