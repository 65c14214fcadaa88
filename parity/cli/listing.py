"""parity models and parity causes: what is known, as lists."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.text import Text

from parity import catalog
from parity.adapters.frameworks import import_frameworks
from parity.adapters.spec import load_model
from parity.causes import CAUSES
from parity.cli.exits import DONE
from parity.cli.terminal import Column, Screen, named, table, waiting
from parity.core.files.whole_file import whole_file


def models(options: argparse.Namespace) -> int:
    """List every pair: generation, trainable parameters, and source."""
    rows = []
    with waiting("building the torch side of every pair"):
        import_frameworks()
        for entry in catalog.entries().values():
            module = load_model(entry.torch)
            count = sum(parameter.numel() for parameter in module.parameters() if parameter.requires_grad)
            rows.append({"name": entry.name, "generation": entry.generation, "source": entry.source,
                         "parameters": count, "keras": entry.keras, "torch": entry.torch})  # fmt: skip
    columns = (Column("name"), Column("generation"), Column("parameters", number=True), Column("source"))
    cells = [[row["name"], row["generation"], f"{row['parameters']:,}", row["source"]] for row in rows]
    Screen().show(table(columns, cells))
    _write(options.json, rows)
    return DONE


def causes(options: argparse.Namespace) -> int:
    """List every known cause: its identifier, what was done, what the difference looks like, and what fixes it."""
    rows = [asdict(cause) for cause in CAUSES.values()]
    screen = Screen()
    for row in rows:
        screen.show(Text(row["name"], "bold"))
        screen.show(named({name: row[name] for name in ("mechanism", "signature", "fix")}))
    _write(options.json, rows)
    return DONE


def _write(path: Path | None, rows: Sequence[dict[str, Any]]) -> None:
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(path) as partial:
            partial.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")
