"""The layer table and the graphs of a report's page."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from parity.core.finding import Finding
from parity.core.tolerance import STRUCTURE

LOWEST = -17.0
"""log10 of the error at which a bar begins; it ends at 1."""


def layer_table(number: int, layers: Sequence[Mapping[str, Any]], findings: Sequence[Finding]) -> str:
    """Every call in execution order, with its own error and the error that arrived, as bars on a log scale.

    Args:
        number: of the pair in the page.
        layers: rows of the comparison; each "finding" is an index in `findings`, or None.
        findings: of the result.
    """
    first = next((i for i, row in enumerate(layers) if row.get("finding") is not None), None)
    rows = "".join(_row(number, i, row, findings, i == first) for i, row in enumerate(layers))
    return (
        f"<h3 id='pair-{number}-layers'>Layers in execution order</h3><div class=tools>"
        "<input class=search type=search placeholder='filter by path or kind' aria-label='filter the layers'>"
        "<label><input class=only type=checkbox> only divergent</label><span class='count dim small'></span></div>"
        "<p class='dim small'>Own error: of the layer's result, on identical inputs. Arrived: of its input, "
        "where every layer before it gave the values of the Keras side. "
        "Bars run from 1e-17 to 1 on a logarithmic scale; the mark is 1e-11, which rounding alone seldom reaches. "
        "Click a row to find it in the graphs.</p>"
        "<div class='box tall' tabindex=0 role=region aria-label=layers>"
        "<table class=layers><thead><tr><th class=n>#<th>Keras<th>torch<th class=kind>kind"
        f"<th class=shape>shape<th>own error<th>arrived<th>finding</thead><tbody>{rows}</table></div>"
    )


def _row(number: int, i: int, row: Mapping[str, Any], findings: Sequence[Finding], first: bool) -> str:
    finding = row.get("finding")
    link = ""
    if finding is not None and finding < len(findings):
        text = findings[finding].cause or findings[finding].kind
        link = f'<a href="#pair-{number}-finding-{finding + 1}">{finding + 1}. {escape(text)}</a>'
    kinds = " / ".join(
        dict.fromkeys(str(row[side]) for side in ("keras_kind", "torch_kind") if row.get(side))
    )
    shape = row.get("shape")
    sides = [_path(row.get("keras")), _path(row.get("torch"))]
    text = escape(" ".join([*sides, kinds]).lower(), quote=True)
    flag = "<span class=flag>▶ first divergence</span>" if first else ""
    return (
        f'<tr{" class=bad" if divergent(row) else ""} data-text="{text}"><td class=n>{i + 1}'
        f"<td>{flag}{_code(sides[0])}<td>{_code(sides[1])}<td class=kind>{escape(kinds)}"
        f"<td class='shape n'>{' × '.join(map(str, shape)) if shape else ''}"
        f"{_bar(row.get('own'), 'own')}{_bar(row.get('arrived'), 'arrived')}<td>{link}</tr>"
    )


def divergent(row: Mapping[str, Any]) -> bool:
    """Whether the call is at fault: it has a finding, or differs on identical inputs."""
    return row.get("finding") is not None or _beyond(row.get("own"))


def _beyond(value: float | None) -> bool:
    return value is not None and not value <= STRUCTURE


def _path(path: Any) -> str:
    return "" if path is None else path if isinstance(path, str) else ", ".join(map(str, path))


def _code(path: str) -> str:
    return f"<code>{escape(path).replace('.', '.<wbr>')}</code>" if path else "–"


def _bar(value: float | None, name: str) -> str:
    """A cell with a bar; green within the bound, then amber, then red."""
    if value is None:
        return "<td class=error>–"
    colour = " much" if not value <= 1e-6 else " some" if _beyond(value) else ""
    share = 1.0 if not math.isfinite(value) else 0.0
    if math.isfinite(value) and value > 0:
        share = min(max((math.log10(value) - LOWEST) / -LOWEST, 0.0), 1.0)
    text = "0" if value == 0 else f"{value:.1e}"
    return f'<td class="error {name}{colour}"><i><u style="width:{100 * share:.0f}%"></u></i>{text}'


def graphs(number: int, both: Mapping[str, Any], layers: Sequence[Mapping[str, Any]]) -> str:
    """Both graphs, as data that the page's script draws, each step with its row of the table and its state.

    Args:
        number: of the pair in the page.
        both: graphs of the comparison.
        layers: rows of the comparison.
    """
    data = {}
    for side in ("keras", "torch"):
        graph = both.get(side) or {"nodes": [], "edges": []}
        data[side] = {
            "nodes": _nodes(graph["nodes"], layers, side),
            "edges": [list(edge)[:2] for edge in graph["edges"]],
        }
    if not data["keras"]["nodes"] or not data["torch"]["nodes"]:
        return ""
    values = json.dumps(data, separators=(",", ":")).replace("<", "\\u003c")
    key = "".join(
        f"<span><span class=swatch style='border-color:var(--{colour})'></span>{text}</span>"
        for colour, text in (
            ("ok", "agrees"),
            ("some", "another input arrives"),
            ("bad", "diverges"),
            ("dim", "not paired"),
        )
    )
    sides = "".join(
        f"<div><h4>{name}, {len(data[side]['nodes'])} steps</h4><div class='box graph {side}' tabindex=0 role=region "
        f"aria-label='graph of the {name} side'></div></div>"
        for side, name in (("keras", "Keras"), ("torch", "torch"))
    )
    return (
        f"<h3 id='pair-{number}-graphs'>Graphs</h3><div class='tools small'>{key}"
        "<button class=unfold type=button>open or close all runs</button></div>"
        "<p class='dim small'>Long runs without branches are drawn as one box with a dashed edge; click it to open it. "
        "Click a layer to mark its partner and its row.</p>"
        f"<div class=graphs>{sides}</div><script type='application/json' class=graphs-data>{values}</script>"
    )


def _nodes(
    nodes: Sequence[Mapping[str, Any]], layers: Sequence[Mapping[str, Any]], side: str
) -> list[list[Any]]:
    """[id, label, kind, path, shape, row of the table, state]; the n-th call of a path is its n-th row."""
    rows: dict[str, list[int]] = {}
    for i, layer in enumerate(layers):
        for path in _path(layer.get(side)).split(", "):
            rows.setdefault(path, []).append(i)
    met: dict[str, int] = {}
    found = []
    for node in nodes:
        path = str(node.get("path") or "")
        calls = rows.get(path, []) if path else []
        call = met[path] = met.get(path, -1) + 1
        row = calls[call] if call < len(calls) else -1
        shape = node.get("shape")
        text = "×".join(map(str, shape)) if isinstance(shape, list | tuple) else str(shape or "")
        state = _state(layers[row]) if row >= 0 else ""
        found.append([node["id"], str(node["label"]), str(node["kind"]), path, text, row, state])
    return found


def _state(row: Mapping[str, Any]) -> str:
    if divergent(row):
        return "bad"
    return "some" if _beyond(row.get("arrived")) else "ok"
