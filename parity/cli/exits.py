"""What a command that gives no verdict returns to the shell; a verdict has an exit code of its own."""

from __future__ import annotations

from parity.cli import INTERRUPTED
from parity.core.verdict import Verdict

__all__ = ["DONE", "FAILED", "INTERRUPTED"]

DONE = Verdict.EQUAL.exit_code
FAILED = Verdict.INCONCLUSIVE.exit_code
