"""Work for the processes of benchmarks.gpu in tests: rows, faults and an end that no exception sees; and how to start it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]


def work(what: str, count: int) -> Iterator[dict[str, Any]]:
    """Give `count` rows, then do what is asked."""
    for number in range(count):
        yield {"what": what, "number": number, "process": os.getpid(), "expected": what != "unexpected"}
    if what == "raise":
        raise ValueError("of any\nkind")
    if what == "die":
        os._exit(7)
    if what == "sleep":
        time.sleep(600)


def started(*arguments: str, timeout: float = 60.0) -> subprocess.CompletedProcess[str]:
    """Run this Python in the checkout, with Keras' backend left to the program."""
    environment = {name: value for name, value in os.environ.items() if name != "KERAS_BACKEND"}
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env={**environment, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
