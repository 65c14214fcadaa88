"""Regular files and others: a pipe among data keeps its reader waiting, and a new file must not replace a device."""

from __future__ import annotations

import errno
import os
import stat
from io import BufferedReader
from pathlib import Path

DEVICES = "/dev/"
"""Where a person names a pipe or a device on purpose: /dev/stdin, or a shell's <(command)."""


def open_regular(path: Path) -> BufferedReader:
    """Open a file to read its bytes.

    Args:
        path: of a regular file; under /dev/ also of a pipe or a device.

    Raises:
        OSError: there is no such file, or it is a pipe or a device in another place.
    """
    if os.name != "posix" or str(path).startswith(DEVICES):
        return path.open("rb")
    number = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    kind = os.fstat(number).st_mode
    if not stat.S_ISREG(kind):
        os.close(number)
        code = errno.EISDIR if stat.S_ISDIR(kind) else errno.EINVAL
        raise OSError(code, os.strerror(code) if code == errno.EISDIR else "A pipe or a device", str(path))
    return os.fdopen(number, "rb")


def check_place(path: Path) -> None:
    """See that a file that is written whole would replace a file or nothing.

    Raises:
        OSError: a pipe or a device is there. Where the user may, a new file would take its place: /dev/null too.
    """
    try:
        kind = path.stat().st_mode  # once: others may replace and remove the file all the time
    except OSError:
        return
    if not stat.S_ISREG(kind) and not stat.S_ISDIR(kind):
        raise OSError(errno.EINVAL, "A pipe or a device", str(path))
