"""One process at a time in one place: a second one that would write there is refused.

The lock is the system's own on a small file that names the process. When a process ends, however it ends, the system
lets go of its lock: what a killed process left behind blocks nobody. Where the system has no such locks (Windows, some
network file systems), nothing is locked.
"""

from __future__ import annotations

import contextlib
import errno
import importlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from datasets.errors import SettingsError

NAME = ".writing"
"""The lock's file in a folder; of a single file it lies next to it and has its name too."""
_HELD: set[str] = set()
"""The locks of this process: the system would grant it the same one twice."""


@contextlib.contextmanager
def claimed(out: Path, *, folder: bool = True) -> Iterator[None]:
    """Hold the place that a command writes to, until the block ends.

    Args:
        out: a folder, which is made where there is none, or a file.
        folder: which of the two it is.
    Raises:
        SettingsError: another process writes there.
        OSError: nothing can be written there.
    """
    home = out if folder else out.parent
    home.mkdir(parents=True, exist_ok=True)
    path = home / (NAME if folder else f".{out.name}{NAME}")
    key = str(path.resolve())
    if key in _HELD:
        raise _refused(out, str(os.getpid()))
    file = _locked(path, out)
    _HELD.add(key)
    try:
        yield
    finally:
        _HELD.discard(key)
        with contextlib.suppress(OSError):
            path.unlink()  # before it is let go: whoever opens it later makes a new one
        os.close(file)


def _locked(path: Path, out: Path) -> int:
    """The lock's file, open and locked."""
    while True:
        file = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            _lock(file)
        except BlockingIOError as error:
            holder = os.read(file, 20).decode("ascii", "replace").strip()
            os.close(file)
            raise _refused(out, holder or "unknown") from error
        except BaseException:
            os.close(file)
            raise
        if _is_there(path, file):
            os.ftruncate(file, 0)
            os.write(file, f"{os.getpid()}\n".encode())
            return file
        os.close(file)  # its holder took it away between the two calls


def _lock(file: int) -> None:
    """Lock a file for this process alone; children do not share it.

    Raises:
        BlockingIOError: another process holds it.
    """
    try:
        system: Any = importlib.import_module("fcntl")
    except ModuleNotFoundError:
        return
    try:
        system.lockf(file, system.LOCK_EX | system.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EAGAIN):
            raise BlockingIOError(error.errno, error.strerror) from error
        if error.errno not in (errno.ENOLCK, errno.ENOTSUP, errno.EINVAL, errno.ENOSYS):
            raise


def _is_there(path: Path, file: int) -> bool:
    """Whether a file that is open still has its name."""
    try:
        return os.path.samestat(os.stat(path), os.fstat(file))
    except FileNotFoundError:
        return False


def _refused(out: Path, holder: str) -> SettingsError:
    return SettingsError(
        f"--out must be one process's at a time; got {out}, where process {holder} writes. "
        "Wait for its end, or choose another place."
    )
