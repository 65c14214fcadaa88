"""Where a finding is written, as files and lines below a folder."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from parity.core.finding import Finding

LINE = re.compile(r"(.+?):(\d+)(?: or .*)?")
"""A file and its line; further lines that it may be as well are left out."""


@dataclass(frozen=True)
class SourceLine:
    """A line of a file.

    Attributes:
        side: "keras" or "torch".
        file: with slashes, relative to the checkout where it lies in it.
        line: counted from 1.
    """

    side: str
    file: str
    line: int


def places(finding: Finding, reference: str | None = None) -> list[SourceLine]:
    """The lines that a finding names; the one to change comes first.

    Args:
        finding: may name a line on either side.
        reference: the side that is right, so that the other one is to change; None for Keras first.
    """
    found = []
    for side, text in (("keras", finding.keras_at), ("torch", finding.torch_at)):
        known = LINE.fullmatch(text or "")
        if known is not None:
            found.append(SourceLine(side, relative(known[1]), int(known[2])))
    return sorted(found, key=lambda place: place.side == reference)


def relative(file: str) -> str:
    """A file's path in its checkout: the workspace of a GitHub action, or the nearest folder with .git."""
    path = Path(file).resolve()
    roots = [Path(os.environ["GITHUB_WORKSPACE"])] if os.environ.get("GITHUB_WORKSPACE") else []
    roots += [folder for folder in path.parents if (folder / ".git").exists()][:1]
    for root in [*roots, Path.cwd()]:
        if path.is_relative_to(root.resolve()):
            return path.relative_to(root.resolve()).as_posix()
    return path.as_posix()
