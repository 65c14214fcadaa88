"""Rebuild the pages of the networks: python docs/build.py [--report parity.json] [--models models.json].

A page is made of docs/models/NAME.md, the two sources that it names, and docs/models/measured.json. That file is what
`parity check --all --json parity.json` and `parity models --json models.json` found, as far as pages show it; with
--report and --models it is written anew, and without it the columns stay away.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parent))
from model_pages.page import index_page, model_page
from model_pages.texts import read

from parity.catalog import entries

ROOT = Path(__file__).resolve().parents[1]
MEASURED = "measured.json"
VERSIONS = ("keras", "tensorflow", "torch")


def pages(root: Path = ROOT) -> dict[str, str]:
    """Every page's content by its name, from the texts and sources under `root`."""
    folder = root / "docs" / "models"
    known, texts = entries(), [read(path) for path in sorted(folder.glob("*.md"))]
    path = folder / MEASURED
    measured: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    made = {"index.html": index_page(texts, known, measured)}
    for text in texts:
        names = [name for name, _ in text.files] + ([text.choices] if text.choices else [])
        sources = {
            f"{half}/{name}": (root / half / name).read_text(encoding="utf-8")
            for name in names
            for half in ("tf_impl", "torch_impl")
        }
        made[f"{text.name}.html"] = model_page(text, known, measured, sources)
    return made


def condensed(report: Path | None, models: Path | None) -> dict[str, Any]:
    """What pages show of the two files that `parity` writes."""
    found: dict[str, Any] = {}
    if report:
        checks = json.loads(report.read_text(encoding="utf-8"))
        environment = checks[0]["environment"]
        found["environment"] = {name: environment[name] for name in VERSIONS if name in environment}
        found["parity"] = {
            check["name"].partition("(")[0]: {
                "checked": check["name"],
                "verdict": check["verdict"],
                "float64": check["max_rel_diff"],
                "float32": check.get("float32_rel_diff"),
            }
            for check in checks
        }
    if models:
        listed = json.loads(models.read_text(encoding="utf-8"))
        found["parameters"] = {model["name"]: model["parameters"] for model in listed}
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the pages that have changed, and remove those without a text."""
    parser = argparse.ArgumentParser(description="Rebuild docs/models.")
    parser.add_argument("--report", type=Path, help="what `parity check --all --json` wrote")
    parser.add_argument("--models", type=Path, help="what `parity models --json` wrote")
    options = parser.parse_args(arguments)
    folder = ROOT / "docs" / "models"
    if options.report or options.models:
        path = folder / MEASURED
        before = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        content = {**before, **condensed(options.report, options.models)}
        path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    made = pages()
    for old in folder.glob("*.html"):
        if old.name not in made:
            old.unlink()
    for name, content in made.items():
        path = folder / name
        if not path.exists() or path.read_text(encoding="utf-8") != content:
            path.write_text(content, encoding="utf-8")
            print(path.relative_to(ROOT))
    return 0


if __name__ == "__main__":
    sys.exit(main())
