"""All public pairs, each in a process of its own with a limit: python -m tests.public [NAME...] [--json F].

One line a pair: what the strict transfer without hints did, the verdict, the causes, seconds and peak memory. The exit
code is 1 where a pair does not have what its row in the table says is true.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.public.process import row_of_process
from tests.public.table import PAIRS

LIMIT = 300.0
"""Seconds that one pair may take."""
DIRECTIONS = ("torch-to-keras", "keras-to-torch")


def measured(name: str, direction: str, limit: float) -> dict[str, Any]:
    """The row of one pair; where its process died or was stopped, what it said last."""
    started = time.perf_counter()
    row = row_of_process(["tests.public.one", name, "--direction", direction], limit, "transfer")
    plain = {"name": name, "direction": direction, "wanted": PAIRS[name].verdict, "right": False}
    return {**plain, **row, "seconds": round(time.perf_counter() - started, 1)}


def line(row: Mapping[str, Any]) -> str:
    """One row for a terminal."""
    found = row.get("verdict", row["transfer"])
    mark = "right" if row["right"] else f"WRONG, wanted {row['wanted']}"
    causes = ", ".join(row.get("causes", ())) or "-"
    memory = f"{row.get('memory_mb', 0):5d} MB"
    return f"{row['name']:<15} {row['transfer']:<8} {found:<12} {row['seconds']:6.1f} s {memory}  {causes}  {mark}"


def kept(row: Mapping[str, Any]) -> dict[str, Any]:
    """What the record keeps of a row."""
    left_out = {"report", "open", "message", "findings"}
    short = {key: value for key, value in row.items() if key not in left_out}
    if not row["right"]:
        open_ = row.get("message") or (row.get("open") or ["another cause than the table says"])[0]
        short["said"] = str(open_).partition("\n")[0][:160]
    return short


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the pairs; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.public", description=__doc__)
    parser.add_argument("names", nargs="*", help="pairs; all without any")
    parser.add_argument(
        "--direction", choices=DIRECTIONS, action="append", help="one way to copy; both without it"
    )
    parser.add_argument("--limit", type=float, default=LIMIT, help="seconds for one pair")
    parser.add_argument("--json", type=Path, help="where the record goes")
    asked = parser.parse_args(arguments)
    if strangers := set(asked.names) - set(PAIRS):
        parser.error(f"no pair is called {', '.join(sorted(strangers))}; there are {', '.join(PAIRS)}")
    rows = []
    for name in asked.names or PAIRS:
        for direction in asked.direction or DIRECTIONS:
            rows.append(measured(name, direction, asked.limit))
            print(f"{direction}  {line(rows[-1])}", flush=True)
    right = sum(row["right"] for row in rows)
    print(
        f"{right} of {len(rows)} as the table says; {sum(row['transfer'] == 'strict' for row in rows)} transferred"
    )
    if asked.json:
        record = {
            "command": "make zoo",
            "pairs": len(PAIRS),
            "right": right,
            "rows": [kept(row) for row in rows],
        }
        asked.json.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    return int(right < len(rows))


if __name__ == "__main__":
    sys.exit(main())
