"""JSON files that others may have written: read within bounds, and every fault of theirs is one kind of error."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from parity.core.errors import UsageError

LARGEST = 256 * 2**20
"""Bytes of the largest JSON file that is read."""
ROOM = 2 * 2**30
"""Bytes that its values may take in memory, by an estimate from its text."""
DEVICES = "/dev/"
"""Where a person names a pipe on purpose: /dev/stdin, or a shell's <(command)."""
COSTS = {b"{": 240, b"[": 64, b",": 64}
"""Bytes that each of these marks stands for at most: an object, a list, a further value."""


def read_json(path: Path, what: str) -> Any:
    """What a JSON file holds. Its size is checked before it is read, and its values' size before they are made.

    Args:
        path: of the file, at most 256 MiB. Its values may take 2 GiB.
        what: the file's role, for errors: "a report", "--mapping".

    Raises:
        UsageError: it is too large, or no JSON.
        OSError: it cannot be read.
    """
    if path.is_fifo() and not str(path).startswith(DEVICES):
        raise UsageError(
            f"{what} must be a file; got a pipe at {path}. Whoever opens it waits for its other end."
        )
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size  # 0 of a device or a pipe
        content = file.read(min(size or LARGEST, LARGEST) + 1)
    room = len(content) + sum(content.count(mark) * cost for mark, cost in COSTS.items())
    if len(content) > LARGEST or room > ROOM:
        raise UsageError(
            f"{what} must be at most {LARGEST // 2**20} MiB, and its values {ROOM // 2**20} MiB; got more in {path}. "
            "Give a smaller file."
        )
    try:
        return json.loads(content, parse_constant=_refused)
    except (ValueError, RecursionError) as error:
        text = " ".join(str(error).split())[:200]
        raise UsageError(f"{what} must be a JSON file; got {path}: {text}. Write it anew.") from error


def _refused(constant: str) -> None:
    """NaN and Infinity are no JSON, though Python reads them."""
    raise ValueError(f"{constant} is no number of JSON")
