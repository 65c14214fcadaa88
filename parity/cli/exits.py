"""What a command that gives no verdict returns to the shell; a verdict has an exit code of its own."""

from __future__ import annotations

from parity.core.verdict import Verdict

DONE = Verdict.EQUAL.exit_code
FAILED = Verdict.INCONCLUSIVE.exit_code
INTERRUPTED = 130
"""From the keyboard; it is what shells give for a process that SIGINT ended."""
