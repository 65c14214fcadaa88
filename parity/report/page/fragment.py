"""A report within another page, such as a notebook: verdict, figures, and a row for each cause with its details."""

from __future__ import annotations

from html import escape

from parity.core.verdict import Verdict
from parity.report.data import Comparison
from parity.report.groups import CauseGroup
from parity.report.rests import first, rests_on, tolerated
from parity.report.text import parted, said

COLOURS = {Verdict.EQUAL: "#1a7f37", Verdict.DIVERGED: "#c62828", Verdict.INCONCLUSIVE: "#9a6700"}
SEVERITIES = {"error": "#d93f3f", "warning": "#b07500"}
"""Legible on light and on dark pages."""
CELL = "text-align:left;vertical-align:top;padding:.2em .8em .2em 0"
DIM = "opacity:.75"


def fragment(report: Comparison) -> str:
    """HTML without scripts, styled in place; texts keep the colour of the page around, so light and dark ones do.

    Args:
        report: of one comparison.
    """
    verdict = Verdict(report.verdict)  # type: ignore[call-arg]
    figures = (
        f"{report.elements:,} output elements of {len(report.pairs)} paired layers, greatest difference "
        f"{report.max_abs_diff:.3g} absolute, {report.max_rel_diff:.3g} relative to the output's scale ({report.dtype})"
    )
    parts = [
        f'<p><b style="color:#fff;background:{COLOURS[verdict]};padding:.1em .6em;border-radius:.3em">{verdict}</b> '
        f"{escape(figures if report.elements else 'no outputs could be compared')}</p>",
        *(f"<p>{escape(line)}</p>" for line in tolerated(report)),
    ]
    single, rest = parted(report.findings)
    if single:
        rows = "".join(_row(group) for group in single)
        heads = "".join(
            f'<th style="{CELL}">{head}</th>' for head in ("severity", "cause", "place", "effect", "")
        )
        parts.append(f'<table style="border:0"><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table>')
    parts += [f"<p>{escape(line)}</p>" for line in rest]
    line = rests_on(report)
    if line:
        parts.append(f'<p style="{DIM}">rests on: {escape(line)}</p>')
        shown, more = first(report.unproven)
        parts.append(
            _folded(f"{len(report.unproven)} not proven", [*map(str, shown), *([more] if more else [])])
        )
    parts.append(_folded(f"{len(report.notes)} note{'' if len(report.notes) == 1 else 's'}", report.notes))
    return f'<div style="font-size:.95em;max-width:70em">{"".join(parts)}</div>'


def _row(group: CauseGroup) -> str:
    """Severity, cause, place with file and line, effect; what was measured and the fix behind a click."""
    finding = group.main
    effect = f"{group.effect:.1e}" if 0.0 < group.effect < float("inf") else ""
    written = f'<br><span style="{DIM}">{escape(finding.written)}</span>' if finding.written else ""
    cells = (
        f'<b style="color:{SEVERITIES[group.severity]}">{group.severity}</b>',
        f'<code style="white-space:nowrap">{escape(group.name)}</code>',
        f"{escape(finding.kind)} at <b>{escape(finding.place)}</b>{written}",
        effect,
        _folded("details", said(group)),
    )
    columns = "".join(f'<td style="{CELL}">{cell}</td>' for cell in cells)
    return f"<tr>{columns}</tr>"


def _folded(head: str, lines: list[str]) -> str:
    if not lines:
        return ""
    listed = "".join(f"<li>{escape(line)}</li>" for line in lines)
    summary = f'<summary style="cursor:pointer">{escape(head)}</summary>'
    return f'<details>{summary}<ul style="margin:.2em 0">{listed}</ul></details>'
