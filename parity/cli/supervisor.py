"""Runs a command in a process of its own, and believes nothing but the exit code that the command has reported.

A model's own code may end its process as it likes (os._exit(0) in a forward pass, a crash of a library). The code of
that process says nothing then: without a report the command has failed.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NoReturn

from parity.cli.exits import FAILED, INTERRUPTED
from parity.cli.signals import held_back
from parity.cli.terminal import complain

REPORT = "PARITY_EXIT_CODE_FILE"
"""Environment variable: where the child reports its exit code."""


CHILD = """
import json, sys
sys.path[:] = json.loads(sys.argv.pop(1))
from parity.cli.child import main
sys.exit(main())
"""
"""What the child runs: with the paths of this process, so that it finds the same parity and the same models.

It starts with the keyboard's signal held back, and takes it once an interruption ends it in order.
"""
ENDS = ("SIGTERM", "SIGHUP")
"""Signals that ask this process to end: the child ends with it."""


def supervised(arguments: Sequence[str]) -> int:
    """Run `parity ARGUMENTS` in a process of its own; returns the exit code that it reports.

    The keyboard interrupts both processes, at any time: without a report the code is 130 then.

    Args:
        arguments: of the command line, without the program's name.
    """
    with tempfile.TemporaryDirectory(prefix="parity-") as folder:
        report = Path(folder) / "exit-code"
        child = [sys.executable, "-P", "-c", CHILD, json.dumps(sys.path), *arguments]
        with held_back():
            process = subprocess.Popen(child, env={**os.environ, REPORT: str(report)}, **_replaced())
        interrupted = False
        with _ending_together(process):
            while True:
                try:
                    ended = process.wait()
                    break
                except KeyboardInterrupt:  # the child gets it too, and says what it has to say
                    interrupted = True
        text = report.read_text(encoding="utf-8") if report.exists() else ""
    if text.strip().isdigit():
        return int(text)
    if interrupted or -ended == signal.SIGINT:
        complain("interrupted")
        return INTERRUPTED
    complain(f"the models' own code must not end the process; it ended with code {ended} before a verdict.")
    return FAILED


def _replaced() -> dict[str, Any]:
    """Those of the standard files that `open_standard_files` put others in the place of: the child gets these."""
    found = {}
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        stream = getattr(sys, name)
        with suppress(AttributeError, OSError, ValueError):  # a test's has no number
            if stream.name == os.devnull and stream.fileno() != number:
                found[name] = subprocess.DEVNULL
    return found


@contextmanager
def _ending_together(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """While the block runs, a signal that asks this process to end does the same to its child."""

    def end(number: int, _: object) -> NoReturn:
        process.kill()  # not waited for: the wait that this signal broke into holds the lock of another
        sys.exit(128 + number)

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = [getattr(signal, name) for name in ENDS if hasattr(signal, name)]
    before = {
        number: signal.signal(number, end) for number in numbers if signal.getsignal(number) == signal.SIG_DFL
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
