"""The pages that are made from code: networks, handbook, notebooks, and API reference."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from model_pages.texts import read
from notebooks import ORDER

from book.api import api_pages
from book.causes import cause_pages
from book.notebooks import Rendered, notebook_page


@cache
def made_pages(root: Path) -> dict[str, str]:
    """Markdown by its place in the site."""
    notes = {place: page.markdown for place, page in notebooks(root).items()}
    return {"networks.md": networks(root), **cause_pages(root), **notes, **api_pages(root)}


@cache
def notebooks(root: Path) -> dict[str, Rendered]:
    """The notebooks' pages by their place in the site, in the order in which they are read."""
    return {f"notebooks/{name}.md": notebook_page(root, name) for name in ORDER}


def networks(root: Path) -> str:
    """The list of the networks' pages, which are HTML files of their own."""
    lines = [
        "# Networks", "",
        "Each is written twice, in Keras and in PyTorch, with the same files, classes, arguments and attributes. Every "
        "page has the idea, a drawing, both sources side by side, and what had to be pinned for them to compute the same.",
        "", "| network | idea |", "|---|---|",
    ]  # fmt: skip
    texts = [read(path) for path in (root / "docs" / "models").glob("*.md")]
    for text in sorted(texts, key=lambda text: text.title):
        lines.append(f"| [{text.title}](models/{text.name}.html) | {text.summary} |")
    return "\n".join(lines) + "\n"
