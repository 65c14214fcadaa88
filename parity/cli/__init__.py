"""The command line: parity check | repro | convert | models | causes | doctor.

Exit codes: 0 equal or done; 1 diverged; 2 usage error, or a comparison that could not be made.
"""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence

from parity.cli.exits import DONE, FAILED
from parity.cli.parser import parser
from parity.cli.terminal import complain
from parity.core.errors import UsageError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    options = parser().parse_args(arguments)
    try:
        code = int(options.run(options))
        sys.stdout.flush()
        return code
    except BrokenPipeError:  # the reader (head, less) has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE
    except (UsageError, OSError) as error:
        complain(str(error))
    except Exception as error:  # a model's own code raises what it likes: its traceback says where
        traceback.print_exc()
        complain(f"could not go on; got {type(error).__name__}: {error}")
    return FAILED
