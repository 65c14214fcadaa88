"""Where the step that runs now is written: the innermost line that belongs to no framework."""

from __future__ import annotations

import linecache
import sys
import sysconfig
from functools import cache
from pathlib import Path
from types import CodeType, FrameType

from parity.core.trace import CodePlace, Node

FRAMEWORKS = ("torch", "keras", "tensorflow", "jax", "jaxlib", "numpy", "functorch")
"""Packages whose lines are nobody's model."""
LONGEST = 120
"""Characters of an expression that are shown."""
OWN = str(Path(__file__).parents[2])
STANDARD = tuple(sysconfig.get_paths()[name] for name in ("stdlib", "platstdlib"))
ENDS = ("adapter.py",)
"""Files of parity below which the frames are those of whoever asked for the comparison."""

Spot = tuple[CodeType, int]
"""Compiled code, and the instruction in it that ran."""


def running() -> Spot | None:
    """The innermost instruction outside of the frameworks that runs now, inside of the model."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        name = frame.f_code.co_filename
        if belongs_to_user(name):
            return frame.f_code, frame.f_lasti
        if name.startswith(OWN) and name.endswith(ENDS):
            return None
        frame = frame.f_back
    return None


def called_at(above: int) -> str | None:
    """file:line from which the user's own code calls the framework now; None where somebody else does.

    Args:
        above: how many functions of parity's stand between, the caller of this one counted.
    """
    frame: FrameType | None = sys._getframe(above + 1)
    while frame is not None and not belongs_to_user(frame.f_code.co_filename):
        parts = Path(frame.f_code.co_filename).parts
        if frame.f_code.co_filename.startswith(OWN) or not set(parts) & set(FRAMEWORKS):
            return None
        frame = frame.f_back
    return None if frame is None else str(CodePlace(frame.f_code.co_filename, frame.f_lineno))


@cache
def belongs_to_user(filename: str) -> bool:
    """Whether a file is neither a framework's nor Python's own nor parity's."""
    if filename.startswith(("<", OWN)):
        return False
    parts = Path(filename).parts
    if "site-packages" in parts or "dist-packages" in parts:
        at = max(i for i, part in enumerate(parts) if part in {"site-packages", "dist-packages"})
        return at + 1 < len(parts) and parts[at + 1] not in FRAMEWORKS
    return not filename.startswith(STANDARD)


def site_of(node: Node) -> CodePlace | None:
    """Where a step is written, with its expression; None where no line of the user's runs it."""
    return None if node.spot is None else place_of(node.spot)


def place_of(spot: Spot) -> CodePlace:
    """Where an instruction is written, with its expression."""
    return _site(*spot)


def site_of_spot(spot: Spot) -> CodePlace:
    """Where an instruction is written, with its expression."""
    return _site(*spot)


@cache
def _site(code: CodeType, instruction: int) -> CodePlace:
    place = list(code.co_positions())[instruction // 2]
    line, end, first, last = place
    if line is None:
        return CodePlace(code.co_filename, code.co_firstlineno)
    lines = linecache.getlines(code.co_filename)
    if end is None or first is None or last is None or end > len(lines):
        return CodePlace(code.co_filename, line)
    part = [text.encode() for text in lines[line - 1 : end]]
    part[-1] = part[-1][:last]
    part[0] = part[0][first:]
    text = " ".join(b" ".join(part).decode(errors="replace").split())
    return CodePlace(code.co_filename, line, text if len(text) <= LONGEST else f"{text[: LONGEST - 4]} ...")
