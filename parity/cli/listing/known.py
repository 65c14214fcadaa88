"""parity models and parity causes: what is known, as lists, and one cause at a time."""

from __future__ import annotations

import argparse
import difflib
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.padding import Padding
from rich.text import Text

from parity import catalog
from parity.causes import CAUSES
from parity.cli.exits import DONE
from parity.cli.terminal import Column, Screen, named, table, waiting
from parity.core.errors import UsageError
from parity.core.files.whole_file import whole_file


def models(options: argparse.Namespace) -> int:
    """List every pair: generation, trainable parameters, and source. Only pairs of other packages are built for it."""
    rows: list[dict[str, Any]] = []
    for entry in catalog.entries().values():
        count = _counted(entry) if entry.parameters is None else entry.parameters
        rows.append({"name": entry.name, "generation": entry.generation, "source": entry.source,
                     "parameters": count, "keras": entry.keras, "torch": entry.torch})  # fmt: skip
    columns = (Column("name"), Column("generation"), Column("parameters", number=True), Column("source"))
    cells = [[row["name"], row["generation"], f"{row['parameters']:,}", row["source"]] for row in rows]
    if not _to_output(options.json, rows):
        Screen().show(table(columns, cells))
    return DONE


def _counted(entry: catalog.Entry) -> int:
    from parity.adapters.frameworks import import_frameworks
    from parity.adapters.spec import load_model

    with waiting(f"building {entry.name}"):
        import_frameworks()
        module = load_model(entry.torch)
    return sum(parameter.numel() for parameter in module.parameters() if parameter.requires_grad)


def causes(options: argparse.Namespace) -> int:
    """List every known cause, or explain those that are named.

    Raises:
        UsageError: a name that is no cause.
    """
    for name in options.names:
        if name not in CAUSES:
            near = difflib.get_close_matches(name, CAUSES, 3, 0.4)
            said = f"Nearest: {', '.join(near)}" if near else "parity causes lists them"
            raise UsageError(f"a cause must be one that parity knows; got {name!r}. {said}.")
    rows = [asdict(CAUSES[name]) for name in options.names or CAUSES]
    if options.names:
        from parity.causes.known.fixes import fix_of

        for row in rows:
            row["fixes"] = {"keras": fix_of(row["name"]).keras, "torch": fix_of(row["name"]).torch}
    if _to_output(options.json, rows):
        return DONE
    screen = Screen()
    for number, row in enumerate(rows):
        if number and options.names:
            screen.show("")
        screen.show(Text(row["name"], "bold"))
        if options.names:
            _explain(row, screen)
        else:
            screen.show(named({name: row[name] for name in ("mechanism", "signature", "fix")}))
    return DONE


def _explain(row: dict[str, Any], screen: Screen) -> None:
    """One cause: what was done, what it looks like, a picture, and the fix on either side."""
    from parity.causes.known.pictures.drawing import drawing, picture_of

    screen.show(named({name: row[name] for name in ("mechanism", "signature")}))
    plain = not screen.encoding.lower().startswith("utf")
    lines = drawing(picture_of(row["name"]), plain)
    picture = Text("\n".join(lines), no_wrap=True, overflow="crop")
    picture.highlight_regex(r"\A[^\n]+|[^\n]+\Z", "dim")
    screen.show(Padding(picture, (1, 0, 1, 2)))
    keras, torch = row["fixes"]["keras"], row["fixes"]["torch"]
    screen.show(named({"fix in general": row["fix"], "in Keras": keras, "in torch": torch}))


def _to_output(path: Path | None, rows: Sequence[dict[str, Any]]) -> bool:
    """Write the rows as JSON where that is asked for; returns whether they went to standard output."""
    if path is None:
        return False
    text = json.dumps(rows, indent=2) + "\n"
    if str(path) == "-":
        Screen().file.write(text)
        return True
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as partial:
        partial.write_text(text, encoding="utf-8")
    return False
