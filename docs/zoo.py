"""Draw the table of public pairs in docs/results.md from the recorded run docs/records/zoo.json: python docs/zoo.py."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))
from house.pages import refreshed

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "results.md"
RECORD = ROOT / "docs" / "records" / "zoo.json"
HEADS = ("pair", "strict transfer", "verdict", "causes", "true", "difference", "seconds", "peak MB")


def table(record: Mapping[str, Any]) -> str:
    """A row for each pair: both ways to copy, and the verdict of the first that was compared."""
    by_name: dict[str, list[Mapping[str, Any]]] = {}
    for row in record["rows"]:
        by_name.setdefault(row["name"], []).append(row)
    lines = [f"| {' | '.join(HEADS)} |", f"|{'---|' * len(HEADS)}"]
    lines += [f"| {' | '.join(_cells(name, rows))} |" for name, rows in by_name.items()]
    true = sum(all(row["right"] for row in rows) for rows in by_name.values())
    strict = sum(all(row["transfer"] == "strict" for row in rows) for rows in by_name.values())
    return "\n".join(
        [f"{strict} of {len(by_name)} transfer strictly; {true} have the true verdict.", "", *lines]
    )


def _cells(name: str, rows: Sequence[Mapping[str, Any]]) -> list[str]:
    first = next((row for row in rows if "verdict" in row), rows[0])
    ways = ", ".join(
        row["direction"] if row["transfer"] == "strict" else f"{row['direction']}: {row['transfer']}"
        for row in rows
    )
    if len(rows) > 1 and all(row["transfer"] == "strict" for row in rows):
        ways = "both ways"
    right = all(row["right"] for row in rows)
    said = "" if right else f"no, {first['wanted']}"
    return [
        name, ways, first.get("verdict", "none"), ", ".join(first.get("causes", ())) or "none", said or "yes",
        f"{first['difference']:.1e}" if "difference" in first else "",
        f"{sum(row['seconds'] for row in rows):.0f}", f"{max(row.get('memory_mb', 0) for row in rows)}",
    ]  # fmt: skip


def page() -> str:
    """docs/results.md with its table as the record is now."""
    record = json.loads(RECORD.read_text(encoding="utf-8"))
    return refreshed(PAGE.read_text(encoding="utf-8"), {"zoo": table(record)})


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
