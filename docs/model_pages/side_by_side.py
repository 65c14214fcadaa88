"""The page of ports next to their sources: piece by piece, with what to notice."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from model_pages.page import shell
from model_pages.texts import markdown
from model_pages.twins import Part, coloured, paired, parts

STYLE = """<style>
@media (max-width: 60rem) { .pair td::before, .pair td + td::before { content: attr(data-side) } }
details { margin: .5rem 0; }
</style>"""
"""Where the two sides stand one below the other, each says which it is."""


@dataclass(frozen=True)
class Sample:
    """One source and its port.

    Attributes:
        name: of its files in docs/ported.
        title: for readers.
        notes: what to notice, in Markdown.
        record: what docs/records/side_by_side.json says of it.
        source: the source's text, of the classes that are shown.
        origin: where the source is from, as HTML.
        licence: the licence of a source that is not ours; empty for ours.
        port: the text that `parity port` wrote.
    """

    name: str
    title: str
    notes: str
    record: Mapping[str, Any]
    source: str
    origin: str
    licence: str
    port: str


def side_by_side_page(samples: Sequence[Sample], command: str) -> str:
    """The whole page."""
    links = (f'<li><a href="#{one.name}">{html.escape(one.title)}</a></li>' for one in samples)
    body = [
        STYLE,
        "<h1>Three ports next to their sources</h1>",
        f"<p>Each text on the right was written by <code>parity port</code> and proved equal to the text on its left. "
        f"Nothing was changed by hand. Both come from <code>{command}</code>. The helper layers that a port brings "
        "with it are in the whole file, and not shown here.</p>",
        f"<ul>{''.join(links)}</ul>",
    ]
    for one in samples:
        body += _sample(one)
    return shell("Three ports next to their sources", "\n".join(body))


def _sample(one: Sample) -> list[str]:
    record = one.record
    proofs = "; ".join(
        f"{name} ({text})" if verdict == "EQUAL" else f"{name} {verdict} ({text})"
        for name, (verdict, text) in record["proofs"].items()
    )
    lines = len(one.port.splitlines())
    licence = (
        f"<details><summary>The licence of the source</summary><pre>{html.escape(one.licence)}</pre></details>"
        if one.licence
        else ""
    )
    return [
        f'<h2 id="{one.name}">{html.escape(one.title)}</h2>',
        f"<p>The command: <code>{html.escape(record['command'])}</code></p>",
        f"<p>The verdict is {record['verdict']}. {html.escape(proofs[:1].upper() + proofs[1:])}. "
        f"{html.escape(record['versions'])}.</p>",
        f'<p>Source: {one.origin}. Whole port: <a href="{one.name}.py"><code>docs/ported/{one.name}.py</code></a>, '
        f"{lines} lines.</p>",
        markdown(one.notes),
        licence,
        f'<div class="code">{_table(one)}</div>',
    ]


def _table(one: Sample) -> str:
    sides = _sides(one.record)
    columns = _chosen(parts(one.source), parts(one.port))
    lines = [
        '<table class="twins pair">',
        f"<thead><tr>{''.join(f'<th>{side}</th>' for side in sides)}</tr></thead>",
        "<tbody>",
    ]
    for left, right in paired(*columns):
        key = (left or right).key  # type: ignore[union-attr]
        cells = "".join(
            f'<td data-side="{side}"><pre>{coloured(part.code)}</pre></td>'
            if part
            else f'<td class="none" data-side="{side}">nothing on this side</td>'
            for side, part in zip(sides, (left, right), strict=True)
        )
        lines += [f'<tr class="key"><th colspan="2">{html.escape(key)}</th></tr>', f"<tr>{cells}</tr>"]
    return "\n".join([*lines, "</tbody>", "</table>"])


def _sides(record: Mapping[str, Any]) -> tuple[str, str]:
    names = ("PyTorch, the source", "Keras, the port")
    return names if record["to"] == "keras" else ("Keras, the source", "PyTorch, the port")


def _chosen(source: list[Part], port: list[Part]) -> tuple[list[Part], list[Part]]:
    """The pieces of the classes and functions that the source's text has, and build()."""
    known = {part.key.partition(".")[0] for part in source}
    port = [Part(part.key, part.code.removeprefix("# The network.").lstrip("\n")) for part in port]
    return (
        [part for part in source if part.key not in ("imports and names", "names at the end")],
        [part for part in port if part.key.partition(".")[0] in known | {"build"}],
    )
