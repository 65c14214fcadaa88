"""The notebooks of examples/notebooks, run and written with what they show: python docs/notebooks.py [--out F] [NAME ...].

A source is a Python file whose cells begin with `# %%`. Each becomes NAME.ipynb and NAME.html. A cell that fails stops
the command with its traceback, and nothing is written for that notebook.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
SOURCES = ROOT / "examples" / "notebooks"
ORDER = (
    "transposed_convolution", "convolution_as_a_matrix", "sizes", "upsampling", "bilinear_initialisation",
    "skip_blocks_and_munet", "fcn_on_voc", "port_your_model",
)  # fmt: skip
"""The notebooks in the order in which they are read; each name is a file in SOURCES."""
LIMIT = 600
"""Seconds that one cell may take."""

NATIVE = re.compile(
    r"[IWE]\d{4} \d\d|WARNING: All log messages before absl|To enable the following instructions"
)


def write(name: str, out: Path) -> list[Path]:
    """Run a notebook, and write it with its results.

    Args:
        name: one of ORDER.
        out: the folder; it is made where it is absent.

    Returns:
        The files: NAME.ipynb and NAME.html.

    Raises:
        nbclient.exceptions.CellExecutionError: a cell failed.
    """
    import jupytext
    from nbclient import NotebookClient
    from nbconvert import HTMLExporter

    notebook = jupytext.read(SOURCES / f"{name}.py", fmt="py:percent")
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    NotebookClient(
        notebook, timeout=LIMIT, kernel_name="python3", resources={"metadata": {"path": SOURCES}}
    ).execute()
    for cell in notebook.cells:
        cell["outputs"] = [each for each in map(_without_native_log, cell.get("outputs", ())) if each]
    out.mkdir(parents=True, exist_ok=True)
    files = [out / f"{name}.ipynb", out / f"{name}.html"]
    jupytext.write(notebook, files[0])
    page, _ = HTMLExporter(template_name="lab", embed_images=True).from_notebook_node(notebook)
    files[1].write_text(page, encoding="utf-8")
    return files


def _without_native_log(output: Any) -> Any:
    """A cell's output without the lines that TensorFlow's own runtime writes; None if nothing is left."""
    if output.get("name") != "stderr":
        return output
    lines = [line for line in output["text"].splitlines(keepends=True) if not NATIVE.match(line)]
    return {**output, "text": "".join(lines)} if lines else None


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the notebooks that are named, or all."""
    parser = argparse.ArgumentParser(prog="python docs/notebooks.py", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(ORDER)}; all without any")
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "notebooks")
    asked = parser.parse_args(arguments)
    if strangers := set(asked.names) - set(ORDER):
        parser.error(f"no notebook is called {', '.join(sorted(strangers))}; there are {', '.join(ORDER)}")
    for name in asked.names or ORDER:
        for path in write(name, asked.out):
            print(path, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
