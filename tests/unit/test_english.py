"""Documents are written in short sentences, without the words that a glossary or a plainer one replaces."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = sorted(
    path.relative_to(ROOT).as_posix()
    for path in (*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *(ROOT / "docs" / "models").glob("*.md"))
)
LONGEST = 25  # words of a sentence
REPLACED = {
    "beside": "next to, or in addition to",
    "besides": "in addition",
    "told": "reported",
    "but for": "except for",
    "how-many-th": "number",
    "be it": "whether",
    "mend": "fix",
    "mends": "fixes",
    "mended": "fixed",
    "to the bit": "bit for bit",
    "in place of": "instead of",
    "lest": "so that ... not",
    "whatsoever": "any",
    "one's own": "your own",
    "likewise": "in the same way",
    "theirs": "the torch or the Keras side",
}
EXCEPT = re.compile(r"trained in place|put in place")


def prose(text: str) -> Iterator[str]:
    """Paragraphs, list items, and the parts of table cells; code blocks, drawings and comments are left out."""
    text = re.sub(r"```.*?```|<!--.*?-->|^## Drawing$.*?(?=^## )", "", text, flags=re.DOTALL | re.MULTILINE)
    text = re.sub(r"^(title|generation|entries|files|choices): .*$", "", text, flags=re.MULTILINE)
    gathered: list[str] = []
    for line in [*text.splitlines(), ""]:
        line = line.strip()
        starts = re.match(r"(?:[-*]|\d+\.) |#+ |\||summary: ", line)
        if (starts or not line) and gathered:
            yield " ".join(gathered)
            gathered = []
        if line.startswith("|"):
            yield from (part for cell in re.split(r"(?<!\\)\|", line) for part in cell.split(";"))
        elif line:
            gathered.append(line)


def plain(block: str) -> str:
    """Without marks, pictures and addresses; code counts as one word."""
    block = re.sub(r"!\[[^\]]*\]\([^)]*\)", "", block)
    block = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", block)
    return re.sub(r"\*\*|^(?:[-*]|\d+\.|#+) ", "", re.sub(r"`[^`]*`", "CODE", block)).replace(
        "et al.", "et al"
    )


def sentences(text: str) -> list[str]:
    found = (re.split(r"(?<=[.?!])\s+|(?<=[.?!]\))\s+", plain(block)) for block in prose(text))
    return [sentence for block in found for sentence in block if sentence.strip()]


def too_long(text: str) -> list[str]:
    counts = ((len(re.findall(r"\S*[A-Za-z0-9]\S*", sentence)), sentence) for sentence in sentences(text))
    return [f"{count} words: {sentence}" for count, sentence in counts if count > LONGEST]


def replaced_words(text: str) -> list[str]:
    pattern = re.compile(rf"\b({'|'.join(map(re.escape, REPLACED))})\b", re.IGNORECASE)
    return [
        f"{match[0]!r}: say {REPLACED[match[0].lower()]!r} in: {sentence}"
        for sentence in sentences(text)
        for match in pattern.finditer(EXCEPT.sub("", sentence))
    ]


@pytest.mark.parametrize("document", DOCUMENTS)
def test_sentences_are_short(document: str) -> None:
    assert not too_long((ROOT / document).read_text(encoding="utf-8"))


@pytest.mark.parametrize("document", DOCUMENTS)
def test_words_that_plainer_ones_replace_are_not_used(document: str) -> None:
    assert not replaced_words((ROOT / document).read_text(encoding="utf-8"))


def test_a_long_sentence_is_found_and_a_long_list_is_not() -> None:
    long = " ".join(["word"] * 26)
    assert too_long(f"Short. {long}. Short.") == [f"26 words: {long}."]
    assert not too_long(f"Short.\n\n- {' '.join(['word'] * 25)}\n- more words\n\n```sh\n{long}\n```\n")
    assert too_long(f"| a | b; {long} |")
    assert not too_long("| a " * 30 + "|")
    assert not too_long(f"`{long}` is one word.")


def test_a_replaced_word_is_found() -> None:
    assert len(replaced_words("It lies beside the file. All but for two. `beside` is code.")) == 2
