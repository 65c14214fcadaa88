"""The attacks as a table: python -m tests.attacks [--json F] [--rows] [--kind WORD].

Each attempt at a false EQUAL is stopped (DIVERGED, INCONCLUSIVE, or refused), is EQUAL with the thing named in
`report.unproven`, or succeeds. Each equal and hostile pair is EQUAL, or is called different.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import Counter
from pathlib import Path

import torch  # noqa: F401  (in front of TensorFlow)

from tests.attacks import table
from tests.attacks.attempt import EQUAL, EXCUSED, STOPPED

LINE = "{:<32}{:>10}{:>10}{:>18}{:>14}"


def attempted(word: str, shown: bool, wrong: list[str]) -> dict[str, Counter[str]]:
    """Outcomes of the attempts, by kind; names of those that succeed go to `wrong`."""
    counts: dict[str, Counter[str]] = {}
    for row in table.rows():
        if word in row.id:
            outcome = row.outcome()
            counts.setdefault(row.kind, Counter())[outcome] += 1
            wrong += [row.id] if outcome == EQUAL else []
            if shown or outcome == EQUAL:
                print(f"{outcome}: {row.id}", flush=True)
    return counts


def compared(word: str, shown: bool, wrong: list[str]) -> dict[str, Counter[str]]:
    """Verdicts of the hostile pairs, by kind and dtype; names of those that are not EQUAL go to `wrong`."""
    counts: dict[str, Counter[str]] = {}
    for row, dtype in table.hostile():
        name = f"{row.id}, {dtype}"
        if word in name:
            verdict = str(row.report(dtype).verdict)
            counts.setdefault(f"{row.kind}, {dtype}", Counter())[verdict] += 1
            wrong += [name] if verdict != "EQUAL" else []
            if shown or verdict != "EQUAL":
                print(f"{verdict}: {name}", flush=True)
    return counts


def main() -> int:
    """Run every row and print the counts; the exit code is 1 where a row succeeds that must not."""
    parser = argparse.ArgumentParser(prog="python -m tests.attacks", description=main.__doc__)
    parser.add_argument("--json", type=Path, metavar="F", help="write the counts as JSON")
    parser.add_argument("--rows", action="store_true", help="show every row")
    parser.add_argument("--kind", default="", metavar="WORD", help="only rows whose name holds the word")
    options = parser.parse_args()
    started = time.perf_counter()
    wrong: list[str] = []
    attempts = attempted(options.kind, options.rows, wrong)
    pairs = compared(options.kind, options.rows, wrong)
    seconds = time.perf_counter() - started
    print(LINE.format("attempts at a false EQUAL", "attempts", "stopped", "EQUAL, named", "false EQUAL"))
    for kind, found in [*attempts.items(), ("all", sum(attempts.values(), Counter()))]:
        print(LINE.format(kind, found.total(), found[STOPPED], found[EXCUSED], found[EQUAL]))
    print(LINE.format("\nequal and hostile pairs", "pairs", "EQUAL", "false DIVERGED", "INCONCLUSIVE"))
    for kind, found in [*pairs.items(), ("all", sum(pairs.values(), Counter()))]:
        print(LINE.format(kind, found.total(), found["EQUAL"], found["DIVERGED"], found["INCONCLUSIVE"]))
    if options.json:
        record = {"attempts": attempts, "hostile": pairs, "wrong": wrong, "seconds": round(seconds, 1)}
        options.json.write_text(json.dumps(record, indent=1, default=dict) + "\n", encoding="utf-8")
    return int(bool(wrong))


if __name__ == "__main__":
    raise SystemExit(main())
