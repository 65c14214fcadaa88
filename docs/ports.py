"""Draw the table of ports in docs/results.md from the record docs/records/ports.json: python docs/ports.py."""

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
GOALS = (
    ("classes of the source's", "classes", "source_classes", False, 1.5),
    ("arguments that keep their names", "kept_arguments", "source_arguments", True, 0.9),
    ("lines of code of the source's", "lines", "source_lines", False, 1.3),
)
"""What is measured, the two counts, whether the share is to be great, and its bound."""


def table(record: Mapping[str, Any]) -> str:
    """A row for each port, and the counts above them."""
    counts = [
        f"{way}: {one['equal']} of {one['models']} EQUAL, {one['wrong']} written and not equal, "
        f"{one['trained']} equal in gradients and steps too."
        for way, one in record["counts"].items()
    ]
    counts += ["", goals(record["rows"])]
    lines = [f"| {' | '.join(HEADS)} |", f"|{'---|' * len(HEADS)}"]
    lines += [f"| {' | '.join(_cells(row))} |" for row in record["rows"]]
    return "\n".join([*counts, "", *lines])


def goals(rows: Sequence[Mapping[str, Any]]) -> str:
    """The goals, each with its total over all rows that have measures, and how many rows reach it by themselves."""
    known = [row["measures"] for row in rows if row.get("measures", {}).get("source_classes")]
    lines = ["| measure | goal | over all ports | ports that reach it |", "|---|---|---|---|"]
    for said, port, source, least, bound in GOALS:
        sums = [sum(row[name] for row in known) for name in (port, source)]
        rates = [row[port] / row[source] for row in known if row[source]]
        reached = sum(rate >= bound if least else rate <= bound for rate in rates)
        total = f"{sums[0]} of {sums[1]}, {sums[0] / sums[1]:.2f}" if sums[1] else "-"
        bounds = f"at {'least' if least else 'most'} {bound}"
        lines.append(f"| {said} | {bounds} | {total} | {reached} of {len(rates)} |")
    return "\n".join(lines)


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
