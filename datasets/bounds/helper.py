"""The helper process: reads files that others name, each within its own limits, and says how it went."""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import pkgutil
import signal
import sys
from pathlib import Path
from typing import Any


def main() -> None:
    """Answer each line of the input, a request, by a line: null, or what is wrong with the file."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the keyboard's: who asked ends this process too
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a library prints is no answer
    for line in sys.stdin:
        print(json.dumps(_answer(**json.loads(line))), file=answers, flush=True)
        _limit("RLIMIT_AS", None)


def _answer(path: str, reader: str, arguments: dict[str, Any], seconds: int, memory: int) -> str | None:
    read = pkgutil.resolve_name(reader)  # imports cost nothing of the file's time
    _limit("RLIMIT_CORE", 0)
    _limit("RLIMIT_CPU", int(sum(os.times()[:2])) + 1 + seconds)
    _limit("RLIMIT_AS", _taken() + memory)
    try:
        read(Path(path), **arguments)
    except MemoryError:
        return f"reading it takes more than {memory // 2**20} MiB of memory"
    except Exception as error:  # readers raise anything on a damaged file
        return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
    return None


def _taken() -> int:
    """Bytes of addresses that this process has; 2 GiB where the system does not say."""
    with contextlib.suppress(OSError):
        return int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    return 2 * 2**30


def _limit(name: str, most: int | None) -> None:
    """Set a limit of the system where it has one; None takes it away."""
    try:
        system: Any = importlib.import_module("resource")
    except ModuleNotFoundError:  # Windows: the clock alone limits it there
        return
    number = getattr(system, name)
    hard = system.getrlimit(number)[1]
    soft = hard if most is None else most if hard == system.RLIM_INFINITY else min(most, hard)
    with contextlib.suppress(ValueError, OSError):  # macOS refuses some
        system.setrlimit(number, (soft, hard))
