"""One pair on the page: its figures, findings, layers and graphs, and what it did in training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from parity.causes.table import CAUSES
from parity.core.finding import Finding, Fix
from parity.core.verdict import Verdict
from parity.report.data import Comparison, Result
from parity.report.groups import groups
from parity.report.page.layers import graphs, layer_table
from parity.report.page.pictures import Pictures, not_installed, pictures
from parity.report.page.proven import proven
from parity.report.rests import tolerated

UNFOLDED = 5
"""Findings that are shown without a click."""

ALONE = ""
"""The name of a comparison that is shown by itself, and not as one of a result's."""


def figure(value: float | None, form: str = ".1e") -> str:
    """A figure in the format, and a dash where there is none."""
    return "–" if value is None else format(value, form)


def section(number: int, item: Result, unfolded: bool) -> str:
    """Everything on one pair."""
    findings = item.findings
    traced, layers = _traced(item)
    listed = "".join(_finding(number, i, entry, i <= UNFOLDED) for i, entry in enumerate(findings, 1))
    notes = "".join(f"<p class=dim>{escape(note)}</p>" for note in [*tolerated(item), *_notes(item)])
    return (
        f'<details class=pair id="pair-{number}"{" open" if unfolded else ""}>'
        f'<summary><h2>{escape(item.name)} <span class="v {item.verdict}">{item.verdict}</span></h2></summary>'
        f"{_figures(item)}{notes}"
        f"<h3>{len(findings)} finding{'' if len(findings) == 1 else 's'}"
        f"{', in execution order' if len(findings) > 1 else ''}</h3>"
        f"{_causes(findings)}{listed or '<p class=dim>No difference found.</p>'}{proven(item)}"
        f"{layer_table(number, layers, findings) if layers else ''}"
        f"{graphs(number, traced.graphs, layers) if traced is not None and traced.graphs else ''}"
        f"{_training(item)}{_comparisons(item)}</details>"
    )


def _causes(findings: Sequence[Finding]) -> str:
    """The causes, the greatest effect first, where there is more than one finding."""
    if len(findings) < 2:
        return ""
    names: dict[str, int] = {}
    for entry in groups(findings):
        name = entry.main.cause or "no known cause"
        names[name] = names.get(name, 0) + len(entry.findings)
    listed = " · ".join(f"{count} × {escape(name)}" for name, count in names.items())
    return f"<p class=dim>{listed}</p>"


def _notes(item: Result) -> list[str]:
    """Notes of all comparisons, each once."""
    return list(dict.fromkeys(note for report in item.reports.values() for note in report.notes))


def _traced(item: Result) -> tuple[Comparison | None, list[dict[str, Any]]]:
    """The comparison whose layers and graphs are shown, and its layers: the first that is not EQUAL.

    A comparison counts its own findings. The result has those of all, each once, so that the indices change.
    """
    reports = [report for report in item.reports.values() if report.layers or report.graphs]
    chosen = next(
        (report for report in reports if report.verdict != Verdict.EQUAL), next(iter(reports), None)
    )
    if chosen is None:
        return None, []
    places: dict[tuple[Any, Any], int] = {}
    for i, finding in enumerate(item.findings):
        places.setdefault((finding.keras, finding.torch), i)
    numbers = {id(finding): i for i, finding in enumerate(item.findings)}

    def index(row: Mapping[str, Any]) -> int | None:
        if row.get("finding") is None:
            return None
        finding = chosen.findings[row["finding"]]
        return numbers.get(id(finding), places.get((row["keras"], row["torch"])))

    return chosen, [{**row, "finding": index(row)} for row in chosen.layers]


def _figures(item: Result) -> str:
    alone = item.reports.get(ALONE)
    figures = [
        ("greatest difference", f"{figure(item.max_abs_diff, '.3g')} absolute"),
        ("relative to the scale", figure(item.max_rel_diff, ".3g")),
        ("float32", figure(item.float32, ".3g")),
        ("parameters", f"{item.parameters:,}" if item.parameters else "–"),
        ("elements compared", f"{alone.elements:,}" if alone is not None and alone.elements else "–"),
        ("paired layers", f"{len(alone.pairs):,}" if alone is not None and alone.pairs else "–"),
        ("seconds", figure(item.seconds, ".1f")),
    ]
    shown = "".join(
        f"<span><span class=dim>{name}</span> <b>{value}</b></span>"
        for name, value in figures
        if value != "–"
    )
    return f"<div class=figures>{shown}</div>"


def _finding(pair: int, number: int, entry: Finding, unfolded: bool) -> str:
    """One finding: place, cause, evidence, fix, and pictures of the difference."""
    places = list(dict.fromkeys(filter(None, (entry.keras, entry.torch))))
    where = " / ".join(f"<code>{escape(path)}</code>" for path in places) or "output"
    cause = f" <span class=cause>{escape(entry.cause)}</span>" if entry.cause else ""
    known = CAUSES.get(entry.cause or "")
    mechanism = f"<p class=dim>{escape(known.mechanism)}</p>" if known else ""
    evidence = "".join(f"<li>{escape(part)}" for part in entry.evidence.split("; "))
    fix = ""
    if entry.fix:
        otherwise = (
            f"; or {escape(entry.fix.otherwise)}"
            if isinstance(entry.fix, Fix) and entry.fix.otherwise
            else ""
        )
        fix = (
            f'<p class="fix{" yes" if entry.fix_verified else ""}">'
            f"<b>Fix ({'verified' if entry.fix_verified else 'not verified'}):</b> {escape(entry.fix)}{otherwise}</p>"
        )
    shown = None if not_installed() else pictures(entry.tensors)
    return (
        f'<details class=finding id="pair-{pair}-finding-{number}"{" open" if unfolded else ""}>'
        f"<summary>{number}. <span class=dim>{escape(entry.kind)} at</span> {where}{cause}{_written(entry)}</summary>"
        f"<div class=body><div>{mechanism}<ul>{evidence}</ul>{fix}</div>{_pictures(shown)}</div></details>"
    )


def _written(entry: Finding) -> str:
    """file:line on both sides."""
    return f' <span class="dim small">{escape(entry.written)}</span>' if entry.written else ""


def _pictures(shown: Pictures | None) -> str:
    """The heat maps side by side, with a ring around the greatest difference."""
    if shown is None:
        return ""
    height, width = shown.shape
    left, top = shown.mark
    figures = "".join(
        f'<figure><div class=frame><img alt="{escape(image.name)}" src="{image.source}" '
        f'style="aspect-ratio:{width}/{height}"><span class=ring style="left:{left}%;top:{top}%"></span></div>'
        f"<figcaption>{escape(image.name)}: {escape(image.range)}</figcaption></figure>"
        for image in shown.images
    )
    text = f"{height} × {width}, {shown.plane}; greatest difference at {shown.at}"
    return f"<div><div class=pictures>{figures}</div><p class='dim small'>{escape(text)}</p></div>"


def _training(item: Result) -> str:
    """Figures of the comparison in training, of each comparison that has them."""
    rows = "".join(
        f"<tr><td>{escape(': '.join(filter(None, (name, key.replace('_', ', ')))))}<td>{escape(_words(value))}"
        for name, report in item.reports.items()
        for key, value in report.training.items()
    )
    return (
        f"<h3>Training</h3><div class=box tabindex=0 role=region aria-label=training><table><tbody>{rows}</table></div>"
        if rows
        else ""
    )


def _words(value: Any) -> str:
    """Nested figures in a line."""
    if isinstance(value, Mapping):
        return "; ".join(f"{key} {_words(item)}" for key, item in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(_words, value))
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _comparisons(item: Result) -> str:
    """Every comparison of a result: directions of the copy, and pictures."""
    rows = "".join(
        f"<tr><td>{escape(name)}</td><td class=n>{report.elements:,}</td><td class=n>{figure(report.structure)}</td>"
        + "".join(
            f"<td class=n>{figure(report.precision.get(key))}</td>"
            for key in ("keras_error", "torch_error", "disagreement", "allowed")
        )
        + f'<td class="v {report.verdict}">{report.verdict}</td></tr>'
        for name, report in item.reports.items()
        if name != ALONE
    )
    if not rows:
        return ""
    return (
        "<details><summary class=dim>Comparisons</summary><div class=box tabindex=0 role=region aria-label=comparisons>"
        "<table><thead><tr><th>weights copied, picture"
        "<th class=n>elements<th class=n>float64<th class=n>Keras float32 error<th class=n>torch float32 error"
        f"<th class=n>float32 difference<th class=n>allowed<th>verdict</thead><tbody>{rows}</table></div></details>"
    )
