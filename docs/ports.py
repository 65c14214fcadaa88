"""Draw the table of ports in docs/results.md from the record docs/records/ports.json: python docs/ports.py."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))
from house.pages import refreshed

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "results.md"
RECORD = ROOT / "docs" / "records" / "ports.json"
HEADS = (
    "model",
    "verdict",
    "proved",
    "classes",
    "arguments kept",
    "lines",
    "seconds",
    "what stands in the way",
)
SHOWN = 140


def table(record: Mapping[str, Any]) -> str:
    """A row for each port, and the counts above them."""
    counts = [
        f"{way}: {one['equal']} of {one['models']} EQUAL, {one['wrong']} written and not equal, "
        f"{one['trained']} equal in gradients and steps too."
        for way, one in record["counts"].items()
    ]
    lines = [f"| {' | '.join(HEADS)} |", f"|{'---|' * len(HEADS)}"]
    lines += [f"| {' | '.join(_cells(row))} |" for row in record["rows"]]
    return "\n".join([*counts, "", *lines])


def _cells(row: Mapping[str, Any]) -> list[str]:
    proofs = row.get("proofs", {})
    held = ", ".join(name for name, (verdict, _) in proofs.items() if verdict == "EQUAL")
    sizes = row.get("measures", {})
    wrong = next((f"{name}: {text}" for name, (verdict, text) in proofs.items() if verdict != "EQUAL"), "")
    said = "; ".join(
        [
            *row.get("unwritten", ())[:1],
            *([row["message"]] if "message" in row else []),
            *([wrong] if wrong else []),
        ]
    )
    said = " ".join(said.replace("|", "/").split())
    return [
        row["name"], row["verdict"], held or "-",
        f"{sizes['classes']} for {sizes['source_classes']}" if sizes else "",
        f"{sizes['kept_arguments']} of {sizes['source_arguments']}" if sizes else "",
        f"{sizes['lines']} for {sizes['source_lines']}" if sizes else "",
        f"{row['seconds']:.0f}", said[:SHOWN],
    ]  # fmt: skip


def page() -> str:
    """docs/results.md with its table as the record is now."""
    record = json.loads(RECORD.read_text(encoding="utf-8"))
    return refreshed(PAGE.read_text(encoding="utf-8"), {"ports": table(record)})


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
