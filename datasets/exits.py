"""What becomes of a command's errors: one line on stderr and exit code 2, the same for every command here.

| error | said |
|---|---|
| RunError | its own text |
| OSError | the file, what the system says of it, and what to do |
| MemoryError | that there is too little memory |
| anything else | its type and text, and the place in this project's own code |

`SEGPARITY_TRACEBACK=1` shows the traceback too.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

from datasets.errors import RunError

FAILED = 2
INTERRUPTED = 130
"""What shells give for a process that SIGINT ended."""
TRACEBACK = "SEGPARITY_TRACEBACK"
"""Environment variable: when it is not empty, tracebacks are shown."""
OWN = ("datasets", "tf_impl", "torch_impl", "parity")
ADVICE = {
    "Make room, or choose another disk": (errno.ENOSPC, errno.EDQUOT, errno.EFBIG),
    "Give permission, or choose another folder": (errno.EACCES, errno.EPERM, errno.EROFS),
    "Choose another name: a file is where a folder should be, or the reverse": (
        errno.EEXIST,
        errno.ENOTDIR,
        errno.EISDIR,
    ),
}


def exit_code(command: Callable[[argparse.Namespace], int | None], options: argparse.Namespace) -> int:
    """Run a command; returns its own exit code (None is 0), or 2 after one line that says what is wrong.

    Args:
        command: takes the options.
        options: of the command line.
    """
    open_standard_files()
    try:
        code = command(options) or 0
        sys.stdout.flush()  # what could not be written is an error here, not at the end of the process
        return code
    except KeyboardInterrupt:
        _complain("interrupted")
        return INTERRUPTED
    except Exception as error:  # the last place where an error can become one line
        if os.environ.get(TRACEBACK):
            _complain(traceback.format_exc())
        _complain(f"error: {' '.join(said(error).split())}")
        _let_go()
        return FAILED


def open_standard_files() -> None:
    """Open what is closed of standard input, output and errors: the next file would get the number, and the messages."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # it gets the lowest number that is free
        if getattr(sys, name) is None:  # as it was when Python started
            setattr(sys, name, open(os.devnull, "w" if number else "r"))  # noqa: SIM115  (to the end)


def _complain(text: str) -> None:
    """Write to standard error; on a full disk the exit code alone is left."""
    with contextlib.suppress(OSError, ValueError):
        print(text, file=sys.stderr, flush=True)


def said(error: Exception) -> str:
    """What a command says of an error: what must hold, what came, and what to do."""
    if isinstance(error, RunError):
        return str(error)
    if isinstance(error, BrokenPipeError):
        return "the reader of the output must stay to its end; got a closed pipe. Write to a file instead."
    if isinstance(error, OSError):
        return _of_system(error)
    if isinstance(error, MemoryError):
        return (
            f"memory must hold what is read; got too little: {error or 'no size given'}. Give less at a time."
        )
    place = _own_place(error)
    return (
        f"a command must end well or with an error that it knows; got {type(error).__name__}: {str(error)[:500]} at "
        f"{place}. Report it; {TRACEBACK}=1 shows the whole traceback."
    )


def _of_system(error: OSError) -> str:
    advice = next((text for text, numbers in ADVICE.items() if error.errno in numbers), "Check the path")
    reason = error.strerror or str(error) or type(error).__name__
    names = [str(name) for name in (error.filename, error.filename2) if name is not None]
    return f"files must be readable and writable; got {reason}: {', '.join(names) or 'no name'}. {advice}."


def _own_place(error: Exception) -> str:
    """The innermost line of this project that an error came through."""
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if set(OWN) & set(Path(frame.filename).parts)
    ]
    if not frames:
        return "an unknown place"
    parts = Path(frames[-1].filename).parts
    start = max(index for index, part in enumerate(parts) if part in OWN)
    return f"{'/'.join(parts[start:])}:{frames[-1].lineno}"


def _let_go() -> None:
    """Drop what stdout still holds where it cannot be written: Python would complain of it at its end."""
    try:
        sys.stdout.flush()
    except (OSError, ValueError):
        with open(os.devnull, "w") as nothing:
            os.dup2(nothing.fileno(), sys.__stdout__.fileno() if sys.__stdout__ else 1)
