"""Fill the figures of docs/trust.md from the recorded runs in docs/records: python docs/trust.py."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))
from house.pages import refreshed

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "trust.md"
RECORDS = ROOT / "docs" / "records"
NONE = "Not recorded yet."
OUTCOMES = ("stopped", "EQUAL, and the report names it", "false EQUAL")
VERDICTS = ("EQUAL", "DIVERGED", "INCONCLUSIVE")


def blocks(folder: Path = RECORDS) -> dict[str, str]:
    """The made parts of the page by name; a run that has no record says so."""
    attacks = _read(folder, "attacks")
    made = {
        "attempts": _counts("kind", attacks["attempts"], OUTCOMES) if attacks else NONE,
        "hostile": _counts("kind, dtype", attacks["hostile"], VERDICTS) if attacks else NONE,
        "open": _open(attacks["wrong"]) if attacks else NONE,
    }
    return {**made, **{name: _rows(_read(folder, name)) for name in ("fuzz", "kills")}}


def page(folder: Path = RECORDS) -> str:
    """docs/trust.md with its made parts as the records are now."""
    return refreshed(PAGE.read_text(encoding="utf-8"), blocks(folder))


def _read(folder: Path, name: str) -> Any:
    path = folder / f"{name}.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


def _table(heads: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    lines = [heads, ["---"] + ["---:"] * (len(heads) - 1), *rows]
    return "\n".join(f"| {' | '.join(str(cell) for cell in line)} |" for line in lines)


def _counts(head: str, counted: Mapping[str, Mapping[str, int]], columns: Sequence[str]) -> str:
    """A row for each kind, and their sum."""
    rows = [
        [kind, sum(found.values()), *(found.get(c, 0) for c in columns)] for kind, found in counted.items()
    ]
    total = [sum(row[i] for row in rows) for i in range(1, len(columns) + 2)]
    return _table([head, "rows", *columns], [*rows, ["all", *total]])


def _open(wrong: Sequence[str]) -> str:
    return "\n".join(f"- {name}" for name in wrong) or "None."


def _rows(record: Any) -> str:
    """The part of a record that holds figures by name, as a table; lists count as many as they hold."""
    named = [value for value in (record or {}).values() if isinstance(value, dict) and value]
    if not named:
        return NONE
    cells = [[name, *map(_cell, found.values())] for name, found in named[0].items()]
    table = _table(["", *next(iter(named[0].values()))], cells)
    return f"{table}\n\n{record['note']}" if record.get("note") else table


def _cell(value: Any) -> Any:
    return len(value) if isinstance(value, list) else value


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
