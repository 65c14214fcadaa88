"""Results as one self-contained HTML page: style, script and pictures are in it, and nothing is fetched."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from importlib.resources import files

from parity.core.verdict import Verdict
from parity.report.data import Comparison, Result
from parity.report.page.pair import ALONE, figure, section
from parity.report.page.pictures import not_installed

UNFOLDED = 5
"""Pairs that are shown without a click."""

WATCH = (
    "addEventListener('error',(e)=>{document.documentElement.dataset.errors="
    "(document.documentElement.dataset.errors||'')+e.message+';'})"
)


def page(reports: Comparison | Sequence[Result]) -> str:
    """The page for one comparison, or for a sequence of results."""
    results = [_alone(reports)] if isinstance(reports, Comparison) else list(reports)
    counts = {verdict: sum(item.verdict == verdict for item in results) for verdict in Verdict}
    head = " · ".join(
        f'<span class="v {name}">{count} {name}</span>' for name, count in counts.items() if count
    )
    facts: Mapping[str, str] = next((item.environment for item in results if item.environment), {})
    rows = "".join(f"<tr><td>{escape(name)}<td>{escape(value)}" for name, value in facts.items())
    unequal = [i for i, item in enumerate(results) if item.verdict != Verdict.EQUAL]
    unfolded = set(unequal[:UNFOLDED]) if len(results) > 1 else {0}
    folder = files("parity.report.page")
    style, script = ((folder / name).read_text(encoding="utf-8") for name in ("page.css", "page.js"))
    sections = "".join(section(i, item, i in unfolded) for i, item in enumerate(results))
    return (
        "<!doctype html><html lang=en><head><meta charset=utf-8>"
        '<meta name=viewport content="width=device-width,initial-scale=1">'
        f"<title>Parity report</title><style>{style}</style><script>{WATCH}</script></head><body>"
        f"<h1>Parity report</h1><p>{head or 'nothing was compared'}</p>"
        "<p class=dim>Differences are the greatest of any output element, relative to the output's greatest magnitude. "
        "In float64 every element is judged by its own rounding; in float32, by each side's own float64 result.</p>"
        f"{_without_pictures(results)}"
        f"{_table(results) if len(results) > 1 else ''}{sections}"
        f"<h3>Environment</h3><table class=small style='width:auto'><tbody>{rows}</table>"
        f"<script>{script}</script></body></html>\n"
    )


def _alone(report: Comparison) -> Result:
    """A comparison as the result of a pair that was compared once."""
    return Result(
        "comparison",
        verdict=report.verdict,
        max_abs_diff=report.max_abs_diff,
        max_rel_diff=report.max_rel_diff,
        findings=report.findings,
        reports={ALONE: report},
        seconds=report.seconds,
        environment=report.environment,
        unproven=report.unproven,
        proof=report.proof,
    )


def _without_pictures(results: Sequence[Result]) -> str:
    """A line that says what to install, where there are tensors to show and no package that draws them."""
    lacking = not_installed()
    if not lacking or not any(finding.tensors for item in results for finding in item.findings):
        return ""
    return (
        f"<p class=dim>The tensors are not shown as pictures, because {' and '.join(lacking)} cannot be found here. "
        "Install them with <code>pip install 'segparity[report]'</code>.</p>"
    )


def _table(results: Sequence[Result]) -> str:
    """One line a pair."""
    rows = "".join(
        f'<tr><td><a href="#pair-{i}">{escape(item.name)}</a></td>'
        f"<td class=n>{item.parameters:,}</td><td class=n>{figure(item.max_rel_diff)}</td>"
        f"<td class=n>{figure(item.float32)}</td><td class=n>{len(item.findings) or '–'}</td>"
        f'<td class=n>{item.seconds:.1f}</td><td class="v {item.verdict}">{item.verdict}</td></tr>'
        for i, item in enumerate(results)
    )
    return (
        "<div class=box tabindex=0 role=region aria-label=pairs>"
        "<table class=pairs><thead><tr><th>system<th class=n>parameters<th class=n>float64"
        f"<th class=n>float32<th class=n>findings<th class=n>seconds<th>verdict</thead><tbody>{rows}</table></div>"
    )
