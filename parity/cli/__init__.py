"""The command line: parity check | bisect | port | repro | convert | models | causes | doctor | completion.

Exit codes: 0 equal or done; 1 diverged; 2 usage error, or a comparison that could not be made; 130 interrupted.

This file imports next to nothing: what the keyboard interrupts while the rest loads ends in one line too.
"""

from __future__ import annotations

import os
import signal
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import FrameType

_INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code.

    From the shell (no arguments) a command that runs the models' own code runs in a process of its own, so that this
    code cannot end the command with a code that means EQUAL.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    if arguments is not None:
        return run(arguments)
    before = _ending_at_once()
    from parity.cli.parser import parser
    from parity.cli.supervisor import supervised
    from parity.cli.terminal import complain, open_standard_files

    open_standard_files()
    options = parser().parse_args(None)
    try:
        if before is not None:
            signal.signal(signal.SIGINT, before)
        return supervised(sys.argv[1:]) if options.models_run else run(None)
    except KeyboardInterrupt:
        complain("interrupted")
        return _INTERRUPTED
    finally:
        _ending_at_once()  # nothing is left to do that an interruption could leave undone


def run(arguments: Sequence[str] | None) -> int:
    """Run one command in this process; returns the exit code, whatever the models' own code raises."""
    from parity.cli.commands import carried_out
    from parity.cli.parser import parser

    return carried_out(parser().parse_args(arguments), sys.argv[1:] if arguments is None else arguments)


def _ending_at_once() -> Callable[[int, FrameType | None], object] | None:
    """From now on an interruption ends the process with one line, wherever it comes; returns what was done before.

    An exception would be swallowed, or shown with its traceback, by whatever is being imported.
    """
    try:
        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # a background job ignores it
            signal.signal(signal.SIGINT, _end)
            return signal.default_int_handler
    except ValueError:  # not the main thread
        pass
    return None


def _end(number: int, frame: object) -> None:
    try:
        os.write(2, b"parity: interrupted\n")
    finally:
        os._exit(_INTERRUPTED)
