"""The table of other tools in docs/peers.md, from docs/records/peers.json: python docs/peers.py."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "peers.md"
RECORD = ROOT / "docs" / "records" / "peers.json"
START, END = "<!-- made: peers -->\n", "<!-- end: peers -->"
COLUMNS = ("tool", "model", "what comes out", "trainable", "equal", "second size", "trains", "seconds")
LONGEST = 90


def row_text(row: dict[str, Any]) -> str:
    """One row of the table."""
    if "failed" in row:
        return f"| {row['peer']} | {row['model']} | nothing: `{_short(row['failed'])}` | | | | | |"
    difference = row["difference"]
    equal = (
        f"{'yes' if row['equal'] else 'no'}, {difference:.0e}"
        if isinstance(difference, float)
        else _said(difference)
    )
    cells = [
        row["peer"], row["model"], row["kind"], row["trainable"], equal, _said(row.get("second size", "")),
        _said(row["trains"]), str(row["seconds"]),
    ]  # fmt: skip
    return f"| {' | '.join(cells)} |"


def _said(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"no: `{_short(value)}`" if value else "not tried"


def _short(text: str) -> str:
    plain = " ".join(text.replace("`", "'").replace("|", "/").split())
    return plain if len(plain) <= LONGEST else f"{plain[: LONGEST - 4]} ..."


def table(rows: Sequence[dict[str, Any]]) -> str:
    """The table, tool by tool."""
    head = [f"| {' | '.join(COLUMNS)} |", f"|{'---|' * len(COLUMNS)}"]
    return "\n".join([*head, *map(row_text, sorted(rows, key=lambda row: row["peer"].lower()))])


def page() -> str:
    """docs/peers.md with the table of the record."""
    text = PAGE.read_text(encoding="utf-8")
    before, _, rest = text.partition(START)
    behind = rest.partition(END)[2]
    made = table(json.loads(RECORD.read_text(encoding="utf-8")))
    return f"{before}{START}\n{made}\n\n{END}{behind}"


def main() -> int:
    """Write the table anew."""
    PAGE.write_text(page(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
