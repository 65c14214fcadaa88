"""One command in a process of its own, whose exit code goes to the file that the supervisor names."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from parity.cli import run
from parity.cli.exits import INTERRUPTED
from parity.cli.signals import let_through
from parity.cli.supervisor import REPORT
from parity.cli.terminal import complain, keep_output


def main() -> int:
    """Run the command and report its exit code; the file's name is out of the models' sight before they load."""
    report = Path(os.environ.pop(REPORT))
    try:
        let_through()
        keep_output()
        code = run(sys.argv[1:])
    except KeyboardInterrupt:
        code = INTERRUPTED
        complain("interrupted")
    report.write_text(str(code), encoding="utf-8")
    return code
