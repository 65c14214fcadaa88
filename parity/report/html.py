"""Reports as one self-contained HTML page: style, script and pictures are in it, and nothing is fetched."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from html import escape
from importlib.resources import files
from typing import Any

from parity.causes.table import CAUSES
from parity.report.layers import graphs, layer_table

VERDICTS = ("EQUAL", "DIVERGED", "INCONCLUSIVE")
UNFOLDED = 5
"""Findings, and pairs, that are shown without a click."""

WATCH = (
    "addEventListener('error',(e)=>{document.documentElement.dataset.errors="
    "(document.documentElement.dataset.errors||'')+e.message+';'})"
)


def page(results: Sequence[Mapping[str, Any]]) -> str:
    """The page for a list of results as plain values (Result.to_dict or Report.to_dict, with a "name").

    A finding's "pictures", where there are any, come from `parity.report.pictures`.
    """
    counts = {verdict: sum(item["verdict"] == verdict for item in results) for verdict in VERDICTS}
    head = " · ".join(
        f'<span class="v {name}">{count} {name}</span>' for name, count in counts.items() if count
    )
    facts: Mapping[str, str] = next((item["environment"] for item in results if item.get("environment")), {})
    rows = "".join(f"<tr><td>{escape(name)}<td>{escape(value)}" for name, value in facts.items())
    unequal = [i for i, item in enumerate(results) if item["verdict"] != "EQUAL"]
    unfolded = set(unequal[:UNFOLDED]) if len(results) > 1 else {0}
    folder = files("parity.report")
    style, script = ((folder / name).read_text(encoding="utf-8") for name in ("page.css", "page.js"))
    sections = "".join(_pair(i, item, i in unfolded) for i, item in enumerate(results))
    return (
        "<!doctype html><html lang=en><head><meta charset=utf-8>"
        '<meta name=viewport content="width=device-width,initial-scale=1">'
        f"<title>Parity report</title><style>{style}</style><script>{WATCH}</script></head><body>"
        f"<h1>Parity report</h1><p>{head or 'nothing was compared'}</p>"
        "<p class=dim>Differences are the greatest of any output element, relative to the output's greatest magnitude. "
        "float64 judges the structure (bound 1e-11); float32 is judged against each side's own float64 result.</p>"
        f"{_table(results) if len(results) > 1 else ''}{sections}"
        f"<h3>Environment</h3><table class=small style='width:auto'><tbody>{rows}</table>"
        f"<script>{script}</script></body></html>\n"
    )


def _number(value: float | None, form: str = ".1e") -> str:
    return "–" if value is None else format(value, form)


def _table(results: Sequence[Mapping[str, Any]]) -> str:
    """One line a pair."""
    rows = "".join(
        f'<tr><td><a href="#pair-{i}">{escape(item["name"])}</a></td>'
        f"<td class=n>{item.get('parameters', 0):,}</td><td class=n>{_number(item['max_rel_diff'])}</td>"
        f"<td class=n>{_number(item.get('float32_rel_diff'))}</td><td class=n>{len(item['findings']) or '–'}</td>"
        f'<td class=n>{item["seconds"]:.1f}</td><td class="v {item["verdict"]}">{item["verdict"]}</td></tr>'
        for i, item in enumerate(results)
    )
    return (
        "<div class=box><table class=pairs><thead><tr><th>system<th class=n>parameters<th class=n>float64"
        f"<th class=n>float32<th class=n>findings<th class=n>seconds<th>verdict</thead><tbody>{rows}</table></div>"
    )


def _pair(number: int, item: Mapping[str, Any], unfolded: bool) -> str:
    """Everything on one pair."""
    name, verdict = escape(item["name"]), item["verdict"]
    traced = _traced(item)
    findings = item["findings"]
    listed = "".join(_finding(number, i, entry, i <= UNFOLDED) for i, entry in enumerate(findings, 1))
    notes = "".join(f"<p class=dim>{escape(note)}</p>" for note in _notes(item))
    return (
        f'<details class=pair id="pair-{number}"{" open" if unfolded else ""}>'
        f'<summary><h2>{name} <span class="v {verdict}">{verdict}</span></h2></summary>'
        f"{_figures(item)}{notes}"
        f"<h3>{len(findings)} finding{'' if len(findings) == 1 else 's'}"
        f"{', in execution order' if len(findings) > 1 else ''}</h3>"
        f"{_causes(findings)}{listed or '<p class=dim>No difference found.</p>'}"
        f"{layer_table(number, traced['layers'], findings) if traced.get('layers') else ''}"
        f"{graphs(number, traced['graphs'], traced.get('layers') or []) if traced.get('graphs') else ''}"
        f"{_training(item)}{_comparisons(item)}</details>"
    )


def _causes(findings: Sequence[Mapping[str, Any]]) -> str:
    """How often each cause was found, where there is more than one finding."""
    names = Counter(entry["cause"] or "no known cause" for entry in findings)
    if len(findings) < 2:
        return ""
    listed = " · ".join(f"{count} × {escape(name)}" for name, count in names.most_common())
    return f"<p class=dim>{listed}</p>"


def _notes(item: Mapping[str, Any]) -> list[str]:
    """Notes of the report, or of all comparisons, each once."""
    notes = list(item.get("notes", []))
    for report in item.get("comparisons", {}).values():
        notes += report.get("notes", [])
    return list(dict.fromkeys(notes))


def _traced(item: Mapping[str, Any]) -> Mapping[str, Any]:
    """The layers and graphs to show: the report's own, or those of the first comparison that is not EQUAL.

    A comparison counts its own findings; the result has them all, each once, so that the indices change.
    """
    if item.get("layers") or item.get("graphs"):
        return item
    reports = [report for report in item.get("comparisons", {}).values() if report.get("layers")]
    chosen = next((report for report in reports if report["verdict"] != "EQUAL"), next(iter(reports), None))
    if chosen is None:
        return {}
    found: dict[tuple[Any, Any], int] = {}
    for i, finding in enumerate(item["findings"]):
        found.setdefault((finding["keras"], finding["torch"]), i)
    layers = [
        {
            **row,
            "finding": found.get((row["keras"], row["torch"])) if row.get("finding") is not None else None,
        }
        for row in chosen["layers"]
    ]
    return {"layers": layers, "graphs": chosen.get("graphs")}


def _figures(item: Mapping[str, Any]) -> str:
    figures = [
        ("greatest difference", f"{_number(item['max_abs_diff'], '.3g')} absolute"),
        ("relative to the scale", _number(item["max_rel_diff"], ".3g")),
        ("float32", _number(item.get("float32_rel_diff"), ".3g")),
        ("parameters", f"{item['parameters']:,}" if item.get("parameters") else "–"),
        ("elements compared", f"{item['elements']:,}" if item.get("elements") else "–"),
        ("paired layers", f"{len(item['pairs']):,}" if item.get("pairs") else "–"),
        ("seconds", _number(item.get("seconds"), ".1f")),
    ]
    shown = "".join(
        f"<span><span class=dim>{name}</span> <b>{value}</b></span>"
        for name, value in figures
        if value != "–"
    )
    return f"<div class=figures>{shown}</div>"


def _finding(pair: int, number: int, entry: Mapping[str, Any], unfolded: bool) -> str:
    """One finding: place, cause, evidence, fix, and pictures of the difference."""
    places = list(dict.fromkeys(filter(None, (entry["keras"], entry["torch"]))))
    where = " / ".join(f"<code>{escape(path)}</code>" for path in places) or "output"
    cause = f" <span class=cause>{escape(entry['cause'])}</span>" if entry["cause"] else ""
    known = CAUSES.get(entry["cause"] or "")
    mechanism = f"<p class=dim>{escape(known.mechanism)}</p>" if known else ""
    evidence = "".join(f"<li>{escape(part)}" for part in entry["evidence"].split("; "))
    fix = ""
    if entry["fix"]:
        verified = entry["fix_verified"]
        fix = (
            f'<p class="fix{" yes" if verified else ""}"><b>Fix ({"verified" if verified else "not verified"}):</b> '
            f"{escape(entry['fix'])}</p>"
        )
    return (
        f'<details class=finding id="pair-{pair}-finding-{number}"{" open" if unfolded else ""}>'
        f"<summary>{number}. <span class=dim>{escape(entry['kind'])} at</span> {where}{cause}</summary>"
        f"<div class=body><div>{mechanism}<ul>{evidence}</ul>{fix}</div>{_pictures(entry.get('pictures'))}</div></details>"
    )


def _pictures(pictures: Mapping[str, Any] | None) -> str:
    """The heat maps side by side, with a ring around the greatest difference."""
    if not pictures:
        return ""
    height, width = pictures["shape"]
    left, top = pictures["mark"]
    figures = "".join(
        f'<figure><div class=frame><img alt="{escape(image["name"])}" src="{image["src"]}" '
        f'style="aspect-ratio:{width}/{height}"><span class=ring style="left:{left}%;top:{top}%"></span></div>'
        f"<figcaption>{escape(image['name'])}: {escape(image['range'])}</figcaption></figure>"
        for image in pictures["images"]
    )
    text = f"{height} × {width}, {pictures['plane']}; greatest difference at {pictures['at']}"
    return f"<div><div class=pictures>{figures}</div><p class='dim small'>{escape(text)}</p></div>"


def _training(item: Mapping[str, Any]) -> str:
    """Figures of the comparison in training, of the report or of each comparison that has them."""
    reports = {"": item, **item.get("comparisons", {})}
    rows = "".join(
        f"<tr><td>{escape(': '.join(filter(None, (name, key.replace('_', ', ')))))}<td>{escape(_plain(value))}"
        for name, report in reports.items()
        for key, value in (report.get("training") or {}).items()
    )
    return f"<h3>Training</h3><div class=box><table><tbody>{rows}</table></div>" if rows else ""


def _plain(value: Any) -> str:
    """Nested figures in a line."""
    if isinstance(value, Mapping):
        return "; ".join(f"{key} {_plain(item)}" for key, item in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(_plain, value))
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _comparisons(item: Mapping[str, Any]) -> str:
    """Every comparison of a result: directions of the copy, and pictures."""
    rows = "".join(
        f"<tr><td>{escape(name)}</td><td class=n>{report['elements']:,}</td><td class=n>{_number(report['structure'])}</td>"
        + "".join(
            f"<td class=n>{_number(report['precision'].get(key))}</td>"
            for key in ("keras_error", "torch_error", "disagreement", "allowed")
        )
        + f'<td class="v {report["verdict"]}">{report["verdict"]}</td></tr>'
        for name, report in item.get("comparisons", {}).items()
    )
    if not rows:
        return ""
    return (
        "<details><summary class=dim>Comparisons</summary><div class=box><table><thead><tr><th>weights copied, picture"
        "<th class=n>elements<th class=n>float64<th class=n>Keras float32 error<th class=n>torch float32 error"
        f"<th class=n>float32 apart<th class=n>allowed<th>verdict</thead><tbody>{rows}</table></div></details>"
    )
