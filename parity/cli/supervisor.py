"""Runs a command in a process of its own, and believes nothing but the exit code that the command has reported.

A model's own code may end its process as it likes (os._exit(0) in a forward pass, a crash of a library). The code of
that process says nothing then: without a report the command has failed.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from parity.cli.exits import FAILED
from parity.cli.terminal import complain

REPORT = "PARITY_EXIT_CODE_FILE"
"""Environment variable: where the child reports its exit code."""


CHILD = "import json, sys; sys.path[:] = json.loads(sys.argv.pop(1)); from parity.cli.child import main; sys.exit(main())"
"""What the child runs: with the paths of this process, so that it finds the same parity and the same models."""


def supervised(arguments: Sequence[str]) -> int:
    """Run `parity ARGUMENTS` in a process of its own; returns the exit code that it reports.

    Args:
        arguments: of the command line, without the program's name.
    """
    with tempfile.TemporaryDirectory(prefix="parity-") as folder:
        report = Path(folder) / "exit-code"
        child = [sys.executable, "-P", "-c", CHILD, json.dumps(sys.path), *arguments]
        process = subprocess.Popen(child, env={**os.environ, REPORT: str(report)})
        while True:
            try:
                ended = process.wait()
                break
            except KeyboardInterrupt:  # the child gets it too, and says what it has to say
                continue
        text = report.read_text(encoding="utf-8") if report.exists() else ""
    if text.strip().isdigit():
        return int(text)
    complain(f"the models' own code must not end the process; it ended with code {ended} before a verdict.")
    return FAILED
