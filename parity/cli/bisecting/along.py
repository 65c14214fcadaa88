"""Where a pair's files lie while a commit is checked: in the worktree what commits hold, else where the user has them."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from parity.cli.asked import Pair
from parity.cli.bisecting.repository import Commit, Repository

INSTALLED = {"site-packages", "dist-packages"}
"""Folders of installed packages, which may lie in the user's own tree."""


class Along:
    """What a pair names, for each commit anew.

    Args:
        repository: of the user.
        ends: the good and the bad commit; what neither holds is the user's own and no part of history.
    """

    def __init__(self, repository: Repository, ends: Sequence[Commit]) -> None:
        self.repository, self.ends = repository, ends

    def pair(self, pair: Pair, settings: Mapping[str, Any], top: Path) -> tuple[Pair, dict[str, Any]]:
        """A pair and its settings, with the places of its models and weights in a checked-out commit.

        Args:
            pair: as it was asked for.
            settings: that `check_pair` takes.
            top: the folder in which the commit lies.
        """
        settings = dict(settings if pair.settings is None else pair.settings)
        if "weights" in settings:
            weights = settings["weights"].items()
            settings["weights"] = {side: Path(self._path(str(file), top)) for side, file in weights}
        moved = replace(
            pair, keras=self._spec(pair.keras, top), torch=self._spec(pair.torch, top), settings=None
        )
        return moved, settings

    def search_path(self, top: Path) -> list[str]:
        """`sys.path` with the commit's folders where the user's own were, and those that hold its packages first."""
        here = top / self.repository.inside
        first = [str(folder) for folder in (here, top, here / "src", top / "src") if folder.is_dir()]
        rest = [self._entry(entry, top) for entry in sys.path if entry]
        return list(dict.fromkeys([*first, *rest]))

    def _entry(self, entry: str, top: Path) -> str:
        path = Path(os.path.realpath(entry))
        if not path.is_relative_to(self.repository.top) or installed(path, self.repository.top):
            return entry
        return str(top / path.relative_to(self.repository.top))

    def _spec(self, spec: str, top: Path) -> str:
        """A model's name; one that names a file or folder gets its place."""
        location, colon, attribute = spec.partition(":")
        if location.endswith(".py"):
            return f"{self._path(location, top)}{colon}{attribute}"
        return self._path(spec, top) if Path(spec).exists() else spec

    def _path(self, text: str, top: Path) -> str:
        """A file or folder. A Python file that no commit holds is copied, so that it imports what the commit has."""
        path = Path(text)
        path = Path(os.path.realpath(path.parent)) / path.name
        if not path.is_relative_to(self.repository.top):
            return str(path)
        relative = path.relative_to(self.repository.top)
        place = top / relative
        if any(self.repository.has(end, relative) for end in self.ends):
            return str(place)
        if path.suffix != ".py":
            return str(path)
        if path.is_file() and not place.exists():
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, place)
        return str(place)


def installed(path: Path, project: Path) -> bool:
    """Whether a file or folder belongs to an environment, and not to the project, in which the environment may lie."""
    prefix = Path(os.path.realpath(sys.prefix))
    return bool(INSTALLED & set(path.parts)) or (
        prefix.is_relative_to(project) and path.is_relative_to(prefix)
    )
