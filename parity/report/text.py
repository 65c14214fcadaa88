"""Reports for a terminal: they fit one screen."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from parity.verdict import Report

SHOWN = 12


def summary(report: Report) -> str:
    """Verdict, figures and findings of one comparison, in a few lines."""
    head = (
        f"{report.verdict}: {report.elements} output elements of {len(report.pairs)} paired layers, greatest difference "
        f"{report.max_abs_diff:.3g} absolute, {report.max_rel_diff:.3g} relative to the output's scale ({report.dtype})"
    )
    lines = [head, *(f"  {i}. {finding}" for i, finding in enumerate(report.findings[:SHOWN], 1))]
    if len(report.findings) > SHOWN:
        lines.append(f"  ... and {len(report.findings) - SHOWN} more findings (see the JSON or HTML report)")
    lines += [f"  note: {note}" for note in report.notes]
    return "\n".join(lines)
