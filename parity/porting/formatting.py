"""The format of the emitted text: ruff's, where it is installed."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path


def formatted(text: str) -> str:
    """The text as `ruff format` leaves it; unchanged where ruff is not installed, or the text is no Python.

    The proof says that a port is no Python, and its text shows where.
    """
    beside = Path(sys.executable).with_name("ruff")
    ruff = str(beside) if beside.is_file() else shutil.which("ruff")
    if ruff is None:
        return text
    command = [ruff, "format", "--isolated", "--line-length", "110", "-"]
    run = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    return text if run.returncode else run.stdout
