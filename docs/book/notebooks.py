"""The notebooks as pages of the site: their sources, and what they showed when `make notebooks` ran them."""

from __future__ import annotations

import base64
import html
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any

SOURCES = Path("examples") / "notebooks"
RUN = Path("build") / "notebooks"
CELL = re.compile(r"^# %%(?P<kind> \[markdown\])?[^\n]*\n", re.MULTILINE)
COLOURS = re.compile(r"\x1b\[[0-9;]*m")
ELSEWHERE = re.compile(r"""<(?:link|script)[^>]*=["']https?://[^>]*>(?:</script>)?""")
SIGNS = {
    "minus": "\u2212", "plus": "+", "play": "\u25b6", "pause": "\u275a\u275a",
    "fast-backward": "\u00ab", "fast-forward": "\u00bb",
    "step-backward": "\u2039", "step-forward": "\u203a",
}  # fmt: skip
HEAD = "---\nhide: [toc]\n---\n\n"  # room for wide code
NOT_RUN = "!!! note\n    What the cells show is not here: run `make notebooks`, and build the site again.\n"


@dataclass(frozen=True)
class Cell:
    """One cell of a source, as text or as code, with its outputs where it was run."""

    text: str
    code: bool
    outputs: tuple[dict[str, Any], ...] = ()


@dataclass
class Rendered:
    """A page, and the files that it shows by their place in the site."""

    markdown: str
    files: dict[str, bytes] = field(default_factory=dict)


def cells(source: str) -> list[Cell]:
    """The cells of a source whose cells begin with `# %%`."""
    heads = list(CELL.finditer(source))
    ends = [head.start() for head in heads[1:]] + [len(source)]
    found = []
    for head, end in zip(heads, ends, strict=True):
        text = source[head.end() : end].strip("\n")
        if head["kind"]:
            text = "\n".join(line.removeprefix("#").removeprefix(" ") for line in text.splitlines())
        found.append(Cell(text, not head["kind"]))
    return found


def with_outputs(found: list[Cell], run: Path) -> list[Cell] | None:
    """The cells with what they showed; None where they were not run, or had another text when they were."""
    if not run.exists():
        return None
    ran = json.loads(run.read_text(encoding="utf-8"))["cells"]
    texts = ["".join(cell["source"]).strip("\n") for cell in ran]
    if texts != [cell.text for cell in found]:
        return None
    return [
        Cell(cell.text, cell.code, tuple(of.get("outputs", ()))) for cell, of in zip(found, ran, strict=True)
    ]


def notebook_page(root: Path, name: str) -> Rendered:
    """The page of one notebook.

    Args:
        root: the checkout; sources are read under examples/notebooks, results under build/notebooks.
        name: the source's name without ending.
    """
    found = cells((root / SOURCES / f"{name}.py").read_text(encoding="utf-8"))
    ran = with_outputs(found, root / RUN / f"{name}.ipynb")
    page = Rendered("")
    parts: list[str] = []
    for cell in ran or found:
        if not cell.code:
            parts.append(cell.text)
            continue
        parts.append(f"```python\n{cell.text}\n```")
        for output in _joined(cell.outputs):
            parts += (part.replace(f"{root}/", "") for part in _shown(output, name, page.files))
    if ran is None:
        parts.insert(1, NOT_RUN)
    page.markdown = HEAD + "\n\n".join(parts) + "\n"
    return page


def _joined(outputs: Sequence[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Outputs with what was printed in a row as one: a cell that prints for a while has many."""
    for printed, group in groupby(outputs, lambda output: output["output_type"] == "stream"):
        if printed:
            yield {"output_type": "stream", "text": [text for output in group for text in output["text"]]}
        else:
            yield from group


def _shown(output: dict[str, Any], name: str, files: dict[str, bytes]) -> Iterator[str]:
    """One output as Markdown; a picture or a page of its own becomes a file beside."""
    if output["output_type"] == "stream":
        yield _text("".join(output["text"]))
        return
    data = output.get("data", {})
    page = "".join(data.get("text/html", ""))
    if "image/png" in data:
        place = f"{name}-{len(files) + 1}.png"
        files[f"notebooks/{place}"] = base64.b64decode("".join(data["image/png"]))
        yield f"![What the cell draws]({place})"
    elif page:
        place = f"{name}-{len(files) + 1}.html"
        files[f"notebooks/{place}"] = _framed(page).encode()
        kind = "movie" if "animation" in page else "page"
        yield f'<iframe class="shown {kind}" src="{place}" title="What the cell shows"></iframe>'
    elif "text/plain" in data:
        yield _text("".join(data["text/plain"]))


def _text(text: str) -> str:
    """Lines as they were printed, without the colours of a terminal."""
    return f'<pre class="printed"><code>{html.escape(COLOURS.sub("", text).rstrip())}</code></pre>'


def _framed(page: str) -> str:
    """A page of its own, which loads nothing: a player's buttons are drawn as signs of the font that is there."""
    page = ELSEWHERE.sub("", page)
    signs = "".join(f'.fa-{name}::before {{ content: "{sign}" }} ' for name, sign in SIGNS.items())
    style = (
        "body { margin: 0; font-family: system-ui, sans-serif; background: #fff; color: #111 } "
        "i { font-style: normal; display: inline-block } .fa-flip-horizontal { transform: scaleX(-1) } "
        ".animation { display: block !important; width: 100% } "
        ".animation .anim-buttons button { width: auto; min-width: 1.7em } "
        f"img, input {{ max-width: 100% }} {signs}"
    )
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>What the cell shows</title>'
        f"<style>{style}</style></head><body>{page}</body></html>"
    )
