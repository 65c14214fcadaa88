"""One row of a record, measured in a process of its own with a limit."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

QUIET = {
    "OMP_NUM_THREADS": "1",
    "TF_NUM_INTRAOP_THREADS": "1",
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "HF_HUB_OFFLINE": "1",
}


def row_of_process(arguments: Sequence[str], limit: float, key: str) -> dict[str, Any]:
    """The JSON behind "ROW " in what `python -m ARGUMENTS` prints; where it died or was stopped, what it said last.

    Args:
        arguments: of the module, its name first.
        limit: seconds.
        key: where the row says that there is no result: "error" or "no end".
    """
    try:
        done = subprocess.run(
            [sys.executable, "-m", *arguments],
            capture_output=True,
            text=True,
            timeout=limit,
            check=False,
            env={**os.environ, **QUIET},
        )
    except subprocess.TimeoutExpired:
        return {key: "no end", "message": f"stopped after {limit:.0f} s"}
    lines = [line for line in done.stdout.splitlines() if line.startswith("ROW ")]
    last = (done.stderr.strip().splitlines() or ["nothing"])[-1]
    row: dict[str, Any] = {key: "error", "message": f"exit code {done.returncode}: {last}"}
    return json.loads(lines[-1][4:]) if lines else row
