"""Work for the processes of benchmarks.gpu in tests: rows, faults and an end that no exception sees."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from typing import Any


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
