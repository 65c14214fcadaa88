"""Many runs of `parity check` as from the shell, each in a fork of one process that has the frameworks loaded already.

    python -m tests.attacks.forked CASES.json        {case: arguments} in, {case: [exit code, output]} out

The supervisor is the real one; only its child is forked, where it would be started anew and load the frameworks.
"""

from __future__ import annotations

import atexit
import contextlib
import io
import json
import os
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch  # noqa: F401  (in front of TensorFlow)


class Forked:
    """What the supervisor waits for, in place of a process that is started."""

    output: int = 1

    def __init__(self, command: Sequence[str], env: dict[str, str], **more: Any) -> None:
        self.pid = os.fork()
        if self.pid:
            return
        code: Any = 70
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})  # as the supervisor's child does
        try:
            atexit._clear()  # the parent's: they would remove its temporary folder
            os.dup2(Forked.output, 1)
            os.dup2(Forked.output, 2)
            sys.stdout, sys.stderr = (os.fdopen(number, "w", closefd=False, buffering=1) for number in (1, 2))
            os.environ.update(env)
            sys.argv = ["parity", *command[command.index("check") :]]
            from parity.cli.child import main

            code = main()
            atexit._run_exitfuncs()
        finally:
            os._exit(code if isinstance(code, int) else 70)

    def wait(self) -> int:
        """Its exit code, or minus the signal that ended it."""
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


def run(arguments: Sequence[str]) -> tuple[int, str]:
    """One command line: its exit code, and what it printed."""
    from parity.cli import supervisor

    with tempfile.TemporaryFile("w+") as output:
        Forked.output = output.fileno()
        supervisor.subprocess.Popen = Forked  # type: ignore[assignment,misc]
        said = io.StringIO()
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            code = supervisor.supervised(list(arguments))
        output.seek(0)
        return code, output.read() + said.getvalue()


def main() -> None:
    """Run every case of the file."""
    import keras  # noqa: F401

    # A shell that starts this in the background has it ignore SIGINT; a person's terminal has not.
    signal.signal(signal.SIGINT, signal.default_int_handler)

    import parity.cli.check
    import parity.verdict.compare  # noqa: F401

    cases = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    found = {name: run(arguments) for name, arguments in cases.items()}
    print(json.dumps(found))


if __name__ == "__main__":
    main()
