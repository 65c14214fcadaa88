"""All ports of the list, each in a process of its own with a limit: python -m tests.public.porting [NAME...] [--json F].

One line a port: the verdict, what was proved, and how its text compares with the source's. With --json, rows of an
earlier run that are not run again stay in the record. The exit code is 1 where a port is wrong, or where fewer are EQUAL
than docs/results.md promises.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.public.ports import KERAS, TORCH
from tests.public.process import row_of_process

LIMIT = 900.0
PROMISED = {"to Keras": 36, "to torch": 17}


def row_of(name: str, keep: Path | None, limit: float, flags: Sequence[str]) -> dict[str, Any]:
    """The row of one port; where its process died or was stopped, what it said last."""
    started = time.perf_counter()
    kept = ["--keep", str(keep)] if keep else []
    row = row_of_process(["tests.public.port_one", name, *kept, *flags], limit, "verdict")
    return {"name": name, **row, "seconds": round(time.perf_counter() - started, 1)}


def line(row: dict[str, Any]) -> str:
    """One row for a terminal."""
    held = [name for name, (verdict, _) in row.get("proofs", {}).items() if verdict == "EQUAL"]
    counts = row.get("measures")
    size = (
        f"classes {counts['classes']}/{counts['source_classes']} arguments {counts['kept_arguments']}/"
        f"{counts['source_arguments']} lines {counts['lines']}/{counts['source_lines']}"
        if counts
        else ""
    )
    said = (
        row.get("message") or "; ".join(row.get("unwritten", ())[:2]) or "; ".join(row.get("wrong", ())[:1])
    )
    if not said and row["verdict"] != "EQUAL":
        said = next((text for verdict, text in row.get("proofs", {}).values() if verdict != "EQUAL"), "")
    return f"{row['name']:<20} {row['verdict']:<12} {row['seconds']:6.1f} s  {', '.join(held):<45} {size}  {said[:300]}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the ports; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.public.porting", description=__doc__)
    parser.add_argument("names", nargs="*", help="ports; all without any")
    parser.add_argument("--limit", type=float, default=LIMIT, help="seconds for one port")
    parser.add_argument("--keep", type=Path, help="folder for the texts")
    parser.add_argument("--unproved", action="store_const", const="--unproved", help="write alone")
    parser.add_argument("--quick", action="store_const", const="--quick", help="prove quickly: no training")
    parser.add_argument("--json", type=Path, help="where the record goes")
    asked = parser.parse_args(arguments)
    known = {**TORCH, **KERAS}
    if strangers := set(asked.names) - set(known):
        parser.error(f"no port is called {', '.join(sorted(strangers))}; there are {', '.join(known)}")
    rows = []
    flags = [flag for flag in (asked.unproved, asked.quick) if flag]
    for name in asked.names or known:
        rows.append(row_of(name, asked.keep, asked.limit, flags))
        print(line(rows[-1]), flush=True)
    counts = counted(rows)
    for way, those in counts.items():
        print(f"{way}: {those}")
    if asked.json:
        before = json.loads(asked.json.read_text(encoding="utf-8"))["rows"] if asked.json.exists() else []
        by_name = {row["name"]: row for row in [*before, *rows]}
        kept = [by_name[name] for name in known if name in by_name]
        record = {"command": "python -m tests.public.porting", "counts": counted(kept), "rows": kept}
        asked.json.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    few = not asked.names and any(counts[way]["equal"] < least for way, least in PROMISED.items())
    return int(few or any(one["wrong"] for one in counts.values()))


def counted(rows: Sequence[dict[str, Any]]) -> dict[str, dict[str, int]]:
    """How many ports each way: all, EQUAL, not equal, and equal in gradients and steps too."""
    counts = {}
    for way, table in (("to Keras", TORCH), ("to torch", KERAS)):
        those = [row for row in rows if row["name"] in table]
        counts[way] = {
            "models": len(those),
            "equal": sum(row["verdict"] == "EQUAL" for row in those),
            "wrong": sum(row["verdict"] == "DIVERGED" for row in those),
            "trained": sum(row.get("proofs", {}).get("training", [""])[0] == "EQUAL" for row in those),
        }
    return counts


if __name__ == "__main__":
    sys.exit(main())
