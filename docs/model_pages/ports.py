"""Pages of ports: each network's source, its port and the twin written by hand, piece by piece."""

from __future__ import annotations

import ast
import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from model_pages.page import shell
from model_pages.texts import markdown
from model_pages.twins import Part, coloured, parts

COMMAND = "python docs/twin_ports.py --record"
ABSENT = "not in this file"
MEASURES = (
    ("classes", "source_classes", "classes"),
    ("kept_arguments", "source_arguments", "arguments kept"),
    ("lines", "source_lines", "lines of code"),
)


@dataclass(frozen=True)
class PortedNetwork:
    """One network three times.

    Attributes:
        name: of its files in docs/ports.
        title: for readers.
        file: where it stands in both halves.
        record: what docs/records/twin_ports.json says of it.
        port: the text that `parity port` wrote.
        notes: what the hand does better, in Markdown.
        source: the file in torch_impl.
        hand: the file in tf_impl.
    """

    name: str
    title: str
    file: str
    record: Mapping[str, Any]
    port: str
    notes: str
    source: str
    hand: str


def port_page(network: PortedNetwork) -> str:
    """The page of one network."""
    record, measures = network.record, network.record["measures"]
    spec, size = html.escape(record["spec"]), record["input"]
    proofs = "; ".join(f"{name}: {verdict}, {text}" for name, (verdict, text) in record["proofs"].items())
    counts = ", ".join(f"{measures[a]} {said} for {measures[b]}" for a, b, said in MEASURES)
    links = ", ".join(
        f'<a href="../../{path}"><code>{path}</code></a>'
        for path in (f"torch_impl/{network.file}", f"docs/ports/{network.name}.py", f"tf_impl/{network.file}")
    )
    body = [
        '<p class="up"><a href="index.html">All ports</a></p>',
        f"<h1>{html.escape(network.title)}: source, port, and the twin written by hand</h1>",
        f"<p>Written by <code>parity port --torch \"{spec}\" --input {size}</code>. The verdict is {record['verdict']}. "
        f"{html.escape(proofs[:1].upper() + proofs[1:])}.</p>",
        f"<p>{counts} of the source. {measures['helpers']} helper layers come in addition.</p>",
        "<h2>What the hand does better</h2>",
        markdown(network.notes),
        "<h2>The three texts</h2>",
        f"<p>Whole files: {links}. Below are the pieces that the source's file has, next to one another.</p>",
        f'<div class="code">{_table(network)}</div>',
    ]  # fmt: skip
    return shell(f"{network.title}: port", "\n".join(body))


def ports_page(networks: Sequence[PortedNetwork]) -> str:
    """The list of all pages."""
    heads = (
        "network",
        "ported",
        "verdict",
        "greatest difference",
        "classes",
        "arguments kept",
        "lines of code",
    )
    body = [
        "<h1>Ports beside their hand-written twins</h1>",
        "<p><code>parity port</code> wrote each network of <code>torch_impl</code> in Keras. <code>tf_impl</code> has the "
        "same network written by hand. Every page shows the source, the port and the twin, and says what the hand does "
        f"better. The figures and the ports come from <code>{COMMAND}</code>; a number of the port stands in front of "
        "the source's.</p>",
        '<div class="wide">', '<table class="ported">', f"<tr>{''.join(f'<th>{head}</th>' for head in heads)}</tr>",
    ]  # fmt: skip
    for one in networks:
        measures, proofs = one.record["measures"], one.record["proofs"]
        difference = proofs.get("outputs", ["", ""])[1].partition("greatest difference ")[2].partition(";")[0]
        cells = [
            f'<a href="{one.name}.html">{html.escape(one.title)}</a>',
            f"<code>{html.escape(one.record['spec'].partition(':')[2])}</code>",
            one.record["verdict"], difference,
            *(f"{measures[a]} for {measures[b]}" for a, b, _ in MEASURES),
        ]  # fmt: skip
        body.append(f"<tr>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>")
    return shell("Ports beside their twins", "\n".join([*body, "</table>", "</div>"]))


def _table(network: PortedNetwork) -> str:
    known = _names(network.source)
    columns = [
        [part for part in parts(text) if part.key.partition(".")[0] in known]
        for text in (network.source, network.port, network.hand)
    ]
    ported = {part.key.partition(".")[0] for part in columns[1]}
    heads = (f"torch_impl/{network.file}", "the port", f"tf_impl/{network.file}")
    lines = [
        '<table class="twins three">',
        f"<thead><tr>{''.join(f'<th>{head}</th>' for head in heads)}</tr></thead>",
        "<tbody>",
    ]
    by_key = [{part.key: part for part in column} for column in columns]
    keys = [part.key for part in columns[0]]
    for column in columns[1:]:
        keys += [part.key for part in column if part.key not in keys]
    order = {name: place for place, name in enumerate(known)}
    for key in sorted(keys, key=lambda key: order[key.partition(".")[0]]):
        if key.partition(".")[0] not in ported:
            continue  # of another network in the same file
        cells = "".join(_cell(column.get(key)) for column in by_key)
        lines += [f'<tr class="key"><th colspan="3">{html.escape(key)}</th></tr>', f"<tr>{cells}</tr>"]
    return "\n".join([*lines, "</tbody>", "</table>"])


def _cell(part: Part | None) -> str:
    return f"<td><pre>{coloured(part.code)}</pre></td>" if part else f'<td class="none">{ABSENT}</td>'


def _names(source: str) -> list[str]:
    """The classes and functions of a file."""
    return [node.name for node in ast.parse(source).body if isinstance(node, ast.ClassDef | ast.FunctionDef)]
