"""A process of its own reads a file first. If it dies, or takes more than it may, this process never opens the file.

Compiled libraries have endless loops, crashes and huge requests for memory in them that no check from outside foresees:
HDF5 alone has lists and heaps that a few changed bytes close to a circle. So one helper process is started with the
first file, and kept for the next ones. The system limits its processor time and its memory anew for every file.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import signal
import stat
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

from datasets.bounds.damaged import DamagedFile

SECONDS = 4
"""Seconds of the processor that reading a file may take."""
PACE = 5 * 2**20
"""Bytes of a file for which there is one second more."""
MEMORY = 512 * 2**20
"""Bytes of memory that reading may take."""
COPIES = 4
"""Times its own size that a file may take more."""
PATIENCE = 20
"""Seconds by the clock for each second of the processor: the machine may be busy with something else."""
HELPER = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from datasets.bounds.helper import main; main()"
)


class _Helper:
    """The helper process; one for each process that reads files."""

    def __init__(self) -> None:
        self.owner = os.getpid()
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-c", HELPER, json.dumps(sys.path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},
        )

    def ask(self, request: dict[str, Any], seconds: float) -> str:
        """What the helper says of a file; nothing where it died of it or was stopped."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        timer = threading.Timer(seconds, self.process.kill)
        timer.start()
        try:
            self.process.stdin.write(json.dumps(request).encode() + b"\n")
            self.process.stdin.flush()
            return self.process.stdout.readline().decode()
        except BrokenPipeError:
            return ""
        finally:
            timer.cancel()

    def close(self) -> int:
        """End the helper; returns its code, or minus the signal that ended it. A parent's helper is only let go."""
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()
        if self.owner != os.getpid():
            self.process.returncode = 0
        return self.process.wait()


_LOCK = threading.Lock()
_HELPERS: list[_Helper] = []


def check_survival(path: Path, reader: str, seconds: int = 0, memory: int = 0, **arguments: Any) -> None:
    """See that a process of its own reads a file to its end, within bounds.

    A file may take 4 seconds of the processor, and one more for each 5 MiB of its size; 512 MiB of memory, and four
    times its size. Windows has no such limits: there it may take 80 seconds by the clock, and more for its size.

    Args:
        path: of the file.
        reader: "module:function" that is called with the path in the helper; it reads all that is read later.
        seconds, memory: what this file may take more; bytes.
        arguments: more for the function; values of JSON.

    Raises:
        DamagedFile: no regular file; or the reader raised an error, took more than it may, or ended its process.
        OSError: there is no such file, or no process can be started.
    """
    size = size_of_file(path)
    seconds += SECONDS + size // PACE
    request = {
        "path": str(path.absolute()),
        "reader": reader,
        "arguments": arguments,
        "seconds": seconds,
        "memory": memory + MEMORY + COPIES * size,
    }
    with _LOCK:
        helper = _started()
        answer = helper.ask(request, PATIENCE * seconds)
        if not answer:
            _HELPERS.clear()
            raise DamagedFile(_death(helper.close(), seconds))
    if (reason := json.loads(answer)) is not None:
        raise DamagedFile(str(reason))


def size_of_file(path: Path) -> int:
    """Bytes of a regular file. A pipe in the place of one would keep its reader waiting for ever.

    Raises:
        DamagedFile: a folder, a device or a pipe.
        OSError: there is no such file.
    """
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise DamagedFile("no regular file")
    return status.st_size


def _started() -> _Helper:
    """This process's helper: one that a forked process has from its parent is the parent's."""
    if not (_HELPERS and _HELPERS[0].owner == os.getpid() and _HELPERS[0].process.poll() is None):
        _end()
        _HELPERS.append(_Helper())
    return _HELPERS[0]


@atexit.register
def _end() -> None:
    """End the helper with this process."""
    while _HELPERS:
        _HELPERS.pop().close()


def _death(code: int, seconds: int) -> str:
    """What a helper's end says of the file that it was reading."""
    if -code in {getattr(signal, "SIGXCPU", None), getattr(signal, "SIGKILL", None)}:
        return f"reading it takes more than {seconds} s"
    return f"reading it ended a process with code {code}"
