"""The pages that are made from code: networks, handbook, and API reference."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from model_pages.texts import read

from book.api import api_pages
from book.causes import cause_pages


@cache
def made_pages(root: Path) -> dict[str, str]:
    """Markdown by its place in the site."""
    return {"networks.md": networks(root), **cause_pages(root), **api_pages(root)}


def networks(root: Path) -> str:
    """The list of the networks' pages, which are HTML files of their own."""
    lines = [
        "# Networks", "",
        "Each is written twice, in Keras and in PyTorch, with the same files, classes, arguments and attributes. Every "
        "page has the idea, a drawing, both sources side by side, and what had to be pinned for them to compute the same.",
        "", "| network | idea |", "|---|---|",
    ]  # fmt: skip
    for path in sorted((root / "docs" / "models").glob("*.md")):
        text = read(path)
        lines.append(f"| [{text.title}](models/{text.name}.html) | {text.summary} |")
    return "\n".join(lines) + "\n"
