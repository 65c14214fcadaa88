"""The text of a page: a head of "name: value" lines, sections that begin with "## ", and a little Markdown."""

from __future__ import annotations

import html
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markdown_it import MarkdownIt
from markdown_it.token import Token

HEAD = ("title", "summary", "generation", "entries", "files", "choices")
SECTIONS = ("Idea", "Drawing", "Differences")
TEST = re.compile(r"(tests/[\w/]+\.py)(?:::(\w+))?")


@dataclass(frozen=True)
class Text:
    """What a page says.

    Attributes:
        name: of the file, without its suffix.
        title: of the page.
        summary: one sentence for the list of pages.
        generation: the lecture's, or "backbone" or "block".
        entries: names in the catalogue.
        files: (file, names in it to show; all where there are none), the same in both packages.
        choices: a file whose numbered comments are listed, or "".
        sections: the rest, by title.
    """

    name: str
    title: str
    summary: str
    generation: str
    entries: tuple[str, ...]
    files: tuple[tuple[str, tuple[str, ...]], ...]
    choices: str
    sections: dict[str, str]


def read(path: Path) -> Text:
    """The text of one page.

    Raises:
        ValueError: a part is missing or unknown.
    """
    head, *parts = re.split(r"^## ", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    values = dict(line.split(": ", 1) for line in head.strip().splitlines())
    sections = {part.partition("\n")[0].strip(): part.partition("\n")[2].strip() for part in parts}
    unknown = sorted(values.keys() - set(HEAD)) + sorted(sections.keys() - set(SECTIONS))
    missing = sorted(set(HEAD[:-1]) - values.keys()) + sorted(set(SECTIONS) - sections.keys())
    if unknown or missing:
        raise ValueError(f"{path} must have {HEAD} and {SECTIONS}; got missing={missing}, unknown={unknown}")
    return Text(
        name=path.stem,
        title=values["title"],
        summary=values["summary"],
        generation=values["generation"],
        entries=tuple(values["entries"].split(", ")),
        files=tuple(_file(each) for each in values["files"].split("; ")),
        choices=values.get("choices", ""),
        sections=sections,
    )


def _file(text: str) -> tuple[str, tuple[str, ...]]:
    name, _, chosen = text.partition(":")
    return name, tuple(chosen.split(",")) if chosen else ()


def inline(text: str) -> str:
    """One line's code, links and bold words; a test's name is a link to its file."""
    return MARKDOWN.renderInline(text)


def markdown(text: str) -> str:
    """Paragraphs and lists."""
    return MARKDOWN.render(text).rstrip("\n")


def choices(source: str) -> str:
    """The numbered comments of a source file, as a list."""
    items = re.findall(r"^# \d+\. (.*(?:\n#    .*)*)", source, flags=re.MULTILINE)
    if not items:
        raise ValueError("the file must have comments that begin with a number; got none")
    texts = [" ".join(item.replace("\n#", " ").split()) for item in items]
    return markdown("\n".join(f"{number}. {text}" for number, text in enumerate(texts, 1)))


def _code(tokens: Sequence[Token], number: int, options: Any, environment: Any) -> str:
    """Code within a line; the name of a test leads to its file."""
    text = tokens[number].content
    code, test = f"<code>{html.escape(text)}</code>", TEST.fullmatch(text)
    return f'<a href="../../{test[1]}">{code}</a>' if test else code


MARKDOWN = MarkdownIt("commonmark", {"html": False})
MARKDOWN.renderer.rules["code_inline"] = _code  # type: ignore[attr-defined]
