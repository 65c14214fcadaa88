"""The porting handbook: a page for each cause, from the table in the code and what was measured."""

from __future__ import annotations

import ast
import html
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from book.signatures import drawn
from parity.causes.known.fixes import fix_of
from parity.causes.known.pictures.drawing import picture_of

RECORD = Path("docs") / "records" / "causes.json"
TABLE = Path("parity") / "causes" / "table.py"


def table(root: Path) -> list[tuple[str, list[tuple[str, ...]]]]:
    """The causes by section, in the order of the code, read without importing it."""
    source = (root / TABLE).read_text(encoding="utf-8")
    body = next(
        node.value for node in ast.parse(source).body
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id == "_ROWS"
    )  # fmt: skip
    assert isinstance(body, ast.Tuple)
    heads = {
        number: line.strip()[6:]
        for number, line in enumerate(source.splitlines(), 1)
        if line.strip().startswith("# --- ")
    }
    sections: dict[str, list[tuple[str, ...]]] = {head: [] for head in heads.values()}
    for row in body.elts:
        head = heads[max(number for number in heads if number < row.lineno)]
        sections[head].append(ast.literal_eval(row))
    return list(sections.items())


def cause_pages(root: Path) -> dict[str, str]:
    """The handbook's index and one page a cause."""
    path = root / RECORD
    measured = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    sections = table(root)
    pages = {"handbook/index.md": index(sections)}
    for _, rows in sections:
        for row in rows:
            pages[f"handbook/cause-{row[0]}.md"] = page(row, measured.get(row[0]))
    return pages


def index(sections: list[tuple[str, list[tuple[str, ...]]]]) -> str:
    """All causes, by what they concern."""
    count = sum(len(rows) for _, rows in sections)
    lines = [
        "# Porting handbook", "",
        f"`parity` knows {count} causes of a difference between a Keras model and its PyTorch port. Each has a page: what "
        "was done, what the difference looks like, how `parity` sees it, and the fix for either side. "
        "`parity causes NAME` prints the same in a terminal.", "",
    ]  # fmt: skip
    for head, rows in sections:
        lines += [f"## {head.capitalize()}", "", "| cause | what was done |", "|---|---|"]
        lines += [f"| [`{name}`](cause-{name}.md) | {capital(text)} |" for name, text, *_ in rows]
        lines.append("")
    return "\n".join(lines)


def page(row: tuple[str, ...], found: Mapping[str, Any] | None) -> str:
    """One cause."""
    name, mechanism, signature, fix = row
    lines = [
        "---", f"title: {name}", f"description: {json.dumps(mechanism)}", "---", f"# `{name}`", "", f"**What was done.** "
        f"{capital(mechanism)}.", "", f"**What it looks like.** {capital(signature)}.", "",
    ]  # fmt: skip
    lines += [drawn(picture_of(name)), "", "## The fix", "", f"{capital(fix)}.", ""]
    ways = fix_of(name)
    lines += [f"- **PyTorch is right.** In Keras: {literal(ways.keras)}."]
    lines += [f"- **Keras is right.** In PyTorch: {literal(ways.torch)}.", ""]
    if found:
        lines += [*seen(name, found)]
    return "\n".join(lines)


def seen(name: str, found: Mapping[str, Any]) -> list[str]:
    """What `parity` said of a pair that has the cause."""
    lines = ["## How parity sees it", ""]
    if found.get("source"):
        keras, torch = (wrapped(side) for side in found["source"])
        held = (
            " (`KerasOf` and `TorchOf` compute the function of their layers)"
            if "lambda" in keras + torch
            else ""
        )
        lines += [
            f"A pair that people write, with equal weights{held}:",
            "",
            "```python",
            "# Keras",
            keras,
            "",
        ]
        lines += ["# PyTorch", torch, "```", "", "`parity.compare` says:", ""]
    else:
        lines += [
            "The fault was put into a model of the tests. `parity.compare` says:",
            "",
        ]
    place = " ~ ".join(str(found[side]) for side in ("keras", "torch") if found[side])
    kind = found["kind"] + (f" at {place}" if place else "")
    lines += ["``` { .text .wrap }", f"{kind} [{name}]", *folded(found["evidence"])]
    if isinstance(found.get("fix"), dict) and found["verified"]:
        texts = dict.fromkeys(
            [found["fix"]["keras"], found["fix"]["torch"]]
        )  # once, where one text serves both
        lines += ["", *folded("Fix (verified): " + ", or ".join(texts))]
    lines += ["```", ""]
    return [*lines, pictures(found["pictures"]), ""] if found.get("pictures") else lines


def pictures(images: Mapping[str, Any]) -> str:
    """Both sides' tensors and their difference."""
    height, width = images["shape"]
    figures = [
        f'<figure><img src="{image["source"]}" alt="{called(image)}, {height} by {width} values" '
        f'style="aspect-ratio: {max(width, 1)} / {max(height, 1)}">'
        f"<figcaption><b>{called(image)}</b><br>{html.escape(image['range'])}</figcaption></figure>"
        for image in images["images"]
    ]
    plane = html.escape(images["plane"])
    text = (
        f"Measured: {plane}, the same input to both. Both sides' colours are on one scale. The difference's are on a "
        "logarithmic one over six powers of ten: brighter is greater."
    )
    return f'<div class="signature">{"".join(figures)}</div>\n\n<small>{text}</small>'


def called(image: Mapping[str, Any]) -> str:
    """The image's name as the page says it."""
    return "PyTorch" if image["name"] == "torch" else html.escape(image["name"])


def literal(text: str) -> str:
    """Markdown's marks stand for themselves."""
    return re.sub(r"([*_|<\[\]])", r"\\\1", text)


def capital(text: str) -> str:
    """With a capital letter, unless it begins with a name of the code; marks of Markdown stand for themselves."""
    text = literal(text)
    first = text.split()[0]
    return text if re.search(r"[\\().=]", first) else text[0].upper() + text[1:]


def folded(text: str) -> list[str]:
    """A line for each statement; the page wraps them."""
    return re.split(r"; (?![^()]*\))", text)  # not within brackets


def wrapped(code: str) -> str:
    """One layer a line where the whole is too long for a phone."""
    if len(code) <= 48:
        return code
    listed = re.fullmatch(r"([\w.]+)\(\[(.*)\]\)", code, re.DOTALL)
    head, opening, closing = (listed[1], "([", "])") if listed else (code.partition("(")[0], "(", ")")
    inner = listed[2] if listed else code.partition("(")[2][:-1]
    depth, parts = 0, [""]
    for character in inner:
        named = re.search(r"\blambda\b[^:]*$", parts[-1])  # its arguments have commas too
        if character == "," and depth == 0 and not named:
            parts.append("")
            continue
        depth += {"(": 1, "[": 1, ")": -1, "]": -1}.get(character, 0)
        parts[-1] += character
    return "\n".join([f"{head}{opening}", *(f"    {part.strip()}," for part in parts), closing])
