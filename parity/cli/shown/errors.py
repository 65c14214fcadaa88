"""Any error in one line: what must hold, what was raised and where, and what to do."""

from __future__ import annotations

import sysconfig
import traceback
from pathlib import Path

from parity.core.errors import in_a_line

TRACEBACK = "SEGPARITY_TRACEBACK"
"""Environment variable: when it is not empty, tracebacks are shown."""
PACKAGE = Path(__file__).resolve().parents[2]


def told(error: BaseException) -> str:
    """What a command says of an error that its own code did not raise on purpose.

    The place is the innermost line of the user's own files; behind it lie the frameworks' lines alone.
    """
    if isinstance(error, OSError):  # it names its file
        return str(error) or type(error).__name__
    said = in_a_line(error)
    place = _of_the_user(error)
    if place:
        return f"the models' own code must run; got {said} at {place}. --verbose shows the traceback."
    return f"could not go on; got {said} at {_of_parity(error)}. --verbose shows the traceback."


def _of_the_user(error: BaseException) -> str:
    """ "file:line (the statement)" of the innermost frame in a file of the user's; empty where there is none."""
    if isinstance(error, SyntaxError) and error.filename and error.lineno:  # no line of it has run
        return f"{error.filename}:{error.lineno}" + (f" ({error.text.strip()})" if error.text else "")
    installed = [Path(sysconfig.get_paths()[name]).resolve() for name in ("purelib", "platlib", "stdlib")]
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        path = Path(frame.filename)
        if frame.filename.startswith("<") or not path.is_absolute():
            continue
        path = path.resolve()
        if {"site-packages", "dist-packages"} & set(path.parts):
            continue
        if path.is_relative_to(PACKAGE) or any(path.is_relative_to(folder) for folder in installed):
            continue
        shown = path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
        return f"{shown}:{frame.lineno}" + (f" ({frame.line})" if frame.line else "")
    return ""


def _of_parity(error: BaseException) -> str:
    """The innermost of our own lines that it came through."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if str(PACKAGE) in frame.filename]
    if not frames:
        return "an unknown place"
    return f"parity/{Path(frames[-1].filename).resolve().relative_to(PACKAGE).as_posix()}:{frames[-1].lineno}"
