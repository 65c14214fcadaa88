"""The command line: parity check | port | repro | convert | models | causes | doctor.

Exit codes: 0 equal or done; 1 diverged; 2 usage error, or a comparison that could not be made; 130 interrupted.
"""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence
from contextlib import suppress

from parity.cli.exits import FAILED, INTERRUPTED
from parity.cli.parser import parser
from parity.cli.supervisor import supervised
from parity.cli.terminal import complain, open_standard_files
from parity.core.errors import UsageError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code.

    From the shell (no arguments) a command that runs the models' own code runs in a process of its own, so that this
    code cannot end the command with a code that means EQUAL.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    if arguments is not None:
        return run(arguments)
    open_standard_files()
    options = parser().parse_args(None)
    try:
        return supervised(sys.argv[1:]) if options.models_run else run(None)
    except KeyboardInterrupt:
        complain("interrupted")
        return INTERRUPTED


def run(arguments: Sequence[str] | None) -> int:
    """Run one command in this process; returns the exit code, whatever the models' own code raises."""
    options = parser().parse_args(arguments)
    try:
        return int(options.run(options))
    except (UsageError, OSError) as error:
        complain(str(error) or type(error).__name__)
    except SystemExit as error:  # the models' code, not ours: argparse has done its work before
        complain(
            f"the models' own code must not end the process; got sys.exit({error.code!r}) before a verdict."
        )
    except Exception as error:  # a model's own code raises what it likes: its traceback says where
        with suppress(OSError, ValueError):
            traceback.print_exc()
        complain(f"could not go on; got {type(error).__name__}: {error}")
    return FAILED
