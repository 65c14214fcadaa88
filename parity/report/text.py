"""Reports for a terminal: they fit one screen."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from parity.check import Result
    from parity.finding import Finding
    from parity.verdict import Report

SHOWN = 12
WIDTH = 100


def summary(report: Report) -> str:
    """Verdict, figures and findings of one comparison, in a few lines."""
    head = (
        f"{report.verdict}: {report.elements} output elements of {len(report.pairs)} paired layers, greatest difference "
        f"{report.max_abs_diff:.3g} absolute, {report.max_rel_diff:.3g} relative to the output's scale ({report.dtype})"
    )
    return "\n".join([head, *listed(report.findings), *(f"  note: {note}" for note in report.notes)])


def listed(findings: Sequence[Finding]) -> list[str]:
    """The findings, numbered from 1, in execution order; the first dozen."""
    lines = [f"  {i}. {finding}" for i, finding in enumerate(findings[:SHOWN], 1)]
    if len(findings) > SHOWN:
        lines.append(f"  ... and {len(findings) - SHOWN} more (--json and --html hold all)")
    return lines


def header(width: int) -> str:
    """The head of the table; differences are relative to the output's greatest magnitude."""
    return f"{'system':<{width}}  {'parameters':>11}  {'float64':>9}  {'float32':>9}  {'seconds':>7}  verdict"


def row(result: Result, width: int) -> str:
    """One line of the table."""
    single = f"{result.float32:9.1e}" if result.float32 is not None else f"{'-':>9}"
    return (
        f"{result.name:<{width}}  {result.parameters:>11,}  {result.max_rel_diff:9.1e}  {single}  "
        f"{result.seconds:7.1f}  {result.verdict}"
    )


def paragraphs(text: str, head: str, width: int = WIDTH) -> str:
    """The text after its head, wrapped and indented under itself; long words (paths) are not broken."""
    return textwrap.fill(
        text, width, initial_indent=head, subsequent_indent=" " * len(head),
        break_long_words=False, break_on_hyphens=False,
    )  # fmt: skip
