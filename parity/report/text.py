"""Reports for a terminal: they fit one screen."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from parity.core.finding import Finding
from parity.pairing.messages import counted
from parity.report.data import Comparison, Result

SHOWN = 12
FEW_UNMATCHED = 3
"""Tensors without a counterpart that are still listed one by one."""
WIDTH = 100


def summary(report: Comparison) -> str:
    """Verdict, figures and findings of one comparison, in a few lines."""
    head = (
        f"{report.verdict}: {report.elements} output elements of {len(report.pairs)} paired layers, greatest difference "
        f"{report.max_abs_diff:.3g} absolute, {report.max_rel_diff:.3g} relative to the output's scale ({report.dtype})"
    )
    return "\n".join([head, *listed(report.findings), *(f"  note: {note}" for note in report.notes)])


def listed(findings: Sequence[Finding]) -> list[str]:
    """The findings, numbered from 1, in execution order; the first dozen, and what is unmatched by kind and counted."""
    unmatched = [finding.problem for finding in findings if finding.problem is not None]
    few = len(unmatched) <= FEW_UNMATCHED
    single = [(i, finding) for i, finding in enumerate(findings, 1) if few or finding.problem is None]
    lines = [f"  {i}. {finding}" for i, finding in single[:SHOWN]]
    left = len(single) - SHOWN
    lines += [f"  ... and {left} more (--json and --html hold all)"] if left > 0 else []
    return lines if few else [*lines, *(f"  {line}" for line in counted(unmatched))]


def short(name: str, most: int = 24) -> str:
    """A pair's name for the table: "FCN-8s(...)" where its arguments do not fit."""
    return name if len(name) <= most or "(" not in name else name.partition("(")[0] + "(...)"


def header(width: int) -> str:
    """The head of the table; differences are relative to the output's greatest magnitude."""
    return f"{'system':<{width}}  {'parameters':>11}  {'float64':>9}  {'float32':>9}  {'seconds':>7}  verdict"


def row(result: Result, width: int) -> str:
    """One line of the table."""
    single = f"{result.float32:9.1e}" if result.float32 is not None else f"{'-':>9}"
    return (
        f"{short(result.name):<{width}}  {result.parameters:>11,}  {result.max_rel_diff:9.1e}  {single}  "
        f"{result.seconds:7.1f}  {result.verdict}"
    )


def paragraphs(text: str, head: str, width: int = WIDTH) -> str:
    """The text after its head, wrapped and indented under itself; long words (paths) are not broken."""
    return textwrap.fill(
        text, width, initial_indent=head, subsequent_indent=" " * len(head),
        break_long_words=False, break_on_hyphens=False,
    )  # fmt: skip


def screen(report: Comparison, hint: Sequence[str] = (), height: int = 20, width: int = 72) -> str:
    """The report as it fits a terminal of 80 by 24, with room for pytest's margin and its own line or two.

    Args:
        report: what to tell: the verdict, and of the first findings the cause, the evidence and the fix.
        hint: lines for the end; they are not broken, so that paths and commands can be copied.
        height: lines at most.
        width: columns at most, of all but the hint.
    """
    figures = f"greatest difference {report.max_rel_diff:.2g} of the output's scale"
    head = [
        f"{report.verdict} ({report.dtype})",
        figures if report.elements else "no outputs could be compared",
    ]
    room = height - len(hint) - len(head) - 1
    lines: list[str] = []
    told = 0
    for number, finding in enumerate(report.findings, 1):
        block = _block(number, finding, width)
        if told and len(lines) + len(block) > room:
            break
        lines += block[:room]
        told = number
    more = len(report.findings) - told
    rest = [f"... and {more} more finding{'s' if more > 1 else ''}"] if more else []
    return "\n".join([*head, *lines, *rest, *hint])


def _block(number: int, finding: Finding, width: int) -> list[str]:
    """One finding in at most eight lines, six after the first: place and cause, evidence, fix."""
    cause = f" [{finding.cause}]" if finding.cause else ""
    place = f"{finding.kind} at {finding.place}{cause}"
    parts = [(f"{number}. ", place, 2), ("   ", finding.evidence, 4 if number == 1 else 2)]
    if finding.fix:
        parts.append(("   ", f"fix{' (verified)' if finding.fix_verified else ''}: {finding.fix}", 2))
    return [
        line
        for head, text, most in parts
        for line in textwrap.wrap(
            text, width, initial_indent=head, subsequent_indent="   ", max_lines=most, placeholder=" ..."
        )
    ]
