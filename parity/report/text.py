"""Reports as text."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from parity.core.finding import Finding, Fix, Kind
from parity.pairing.problems.grouped import counted
from parity.report.data import Comparison, Result
from parity.report.groups import CauseGroup, groups
from parity.report.rests import first, rests_on, tolerated

SHOWN = 12
FEW_UNMATCHED = 3
"""Tensors without a counterpart that are still listed one by one."""


def summary(report: Comparison) -> str:
    """Verdict, figures and findings of one comparison, in a few lines."""
    head = (
        f"{report.verdict}: {report.elements} output elements of {len(report.pairs)} paired layers, greatest difference "
        f"{report.max_abs_diff:.3g} absolute, {report.max_rel_diff:.3g} relative to the output's scale ({report.dtype})"
    )
    notes = [f"  note: {note}" for note in report.notes]
    given = [f"  {line}" for line in tolerated(report)]
    return "\n".join([head, *given, *listed(report.findings), *notes, *proven_lines(report)])


def proven_lines(report: Comparison | Result) -> list[str]:
    """What an EQUAL verdict rests on, and what it does not rest on, a line each; nothing for other verdicts."""
    line = rests_on(report)
    if not line:
        return []
    shown, more = first(report.unproven)
    return [
        f"  rests on: {line}",
        *(f"  unproven: {entry}" for entry in shown),
        *([f"  {more}"] if more else []),
    ]


def listed(findings: Sequence[Finding], every: bool = False) -> list[str]:
    """The causes, the greatest effect first: a dozen of them, and what is unmatched by kind and counted.

    The numbers are those of the findings in execution order. No line is wrapped.

    Args:
        findings: of one comparison or pair.
        every: all of them, each with its own evidence.
    """
    single, rest = parted(findings, every)
    lines = []
    for group in single:
        severity = "" if group.main.kind is Kind.ERROR else f"{group.severity}: "
        lines += [f"  {group.number}. {severity}{headline(group)}", *(f"     {line}" for line in said(group))]
    return [*lines, *(f"  {line}" for line in [*rest, *numbering(single)])]


def numbering(shown: Sequence[CauseGroup]) -> list[str]:
    """What the causes' numbers count, where they are not 1, 2, 3 and so on."""
    if [group.number for group in shown] == list(range(1, len(shown) + 1)):
        return []
    return [
        "the greatest effect stands first; numbers count the findings in execution order, as parity repro takes them"
    ]


def headline(group: CauseGroup) -> str:
    """One line on a cause: kind, place, where that is written, and the cause's name."""
    finding = group.main
    written = f" ({finding.written})" if finding.written else ""
    return f"{finding.kind} at {finding.place}{written}{f' [{finding.cause}]' if finding.cause else ''}"


def said(group: CauseGroup) -> list[str]:
    """What was measured, a line each; the other places; and the fix."""
    lines = evidence_parts(group.main.evidence)
    if group.also:
        lines.append(f"{len(group.findings)} x {group.main.cause}: {group.also}")
    if group.main.fix:
        lines.append(f"Fix{' (verified)' if group.main.fix_verified else ''}: {group.main.fix}")
        if isinstance(group.main.fix, Fix) and group.main.fix.otherwise:
            lines.append(f"or {group.main.fix.otherwise}")
    return lines


def evidence_parts(evidence: str) -> list[str]:
    """The statements of a finding's evidence."""
    return evidence.split("; ")


def parted(findings: Sequence[Finding], every: bool = False) -> tuple[list[CauseGroup], list[str]]:
    """The causes that are shown one by one, and lines on all others; every finding by itself where that is asked for."""
    if every:
        return [CauseGroup((number,), (finding,)) for number, finding in enumerate(findings, 1)], []
    unmatched = [finding.problem for finding in findings if finding.problem is not None]
    few = len(unmatched) <= FEW_UNMATCHED
    single = [group for group in groups(findings) if few or group.main.problem is None]
    left = sum(len(group.findings) for group in single[SHOWN:])
    rest = [f"... and {left} more (--json and --html hold all)"] if left > 0 else []
    return single[:SHOWN], rest if few else [*rest, *counted(unmatched)]


def short(name: str, most: int = 24) -> str:
    """A pair's name for the table: "FCN-8s(...)" where its arguments do not fit."""
    return name if len(name) <= most or "(" not in name else name.partition("(")[0] + "(...)"


def screen(report: Comparison, hint: Sequence[str] = (), height: int = 20, width: int = 72) -> str:
    """The report as it fits a terminal of 80 by 24, with room for pytest's margin and its own line or two.

    Args:
        report: its verdict is shown, and of the first findings the cause, the evidence and the fix.
        hint: last lines; they are not broken, so that paths and commands can be copied.
        height: lines at most.
        width: columns at most, of all but the hint.
    """
    figures = f"greatest difference {report.max_rel_diff:.2g} of the output's scale"
    head = [
        f"{report.verdict} ({report.dtype})",
        figures if report.elements else "no outputs could be compared",
        *textwrap.wrap("; ".join(tolerated(report)), width, max_lines=3, placeholder=" ..."),
        *_unproven(report, width),
    ]
    room = height - len(hint) - len(head) - 1
    lines: list[str] = []
    shown = 0
    for group in groups(report.findings):
        block = _block(group, width, first=not shown)
        if shown and len(lines) + len(block) > room:
            break
        lines += block[:room]
        shown += len(group.findings)
    more = len(report.findings) - shown
    rest = [f"... and {more} more finding{'s' if more > 1 else ''}"] if more else []
    return "\n".join([*head, *lines, *rest, *hint])


def _unproven(report: Comparison, width: int) -> list[str]:
    """What an EQUAL verdict rests on and does not rest on, in at most 14 lines."""
    line = rests_on(report)
    if not line:
        return []
    shown, more = first(report.unproven, 5)
    lines = textwrap.wrap(f"rests on: {line}", width, subsequent_indent="  ", max_lines=3, placeholder=" ...")
    for entry in shown:
        lines += textwrap.wrap(
            f"unproven: {entry}", width, subsequent_indent="  ", max_lines=2, placeholder=" ..."
        )
    return [*lines, *([more] if more else [])]


def _block(group: CauseGroup, width: int, first: bool) -> list[str]:
    """One cause in at most nine lines, seven after the first: place and cause, evidence, other places, fix."""
    number, finding = group.number, group.main
    cause = f" [{finding.cause}]" if finding.cause else ""
    written = f" ({finding.written})" if finding.written else ""
    place = f"{finding.kind} at {finding.place}{written}{cause}"
    parts = [(f"{number}. ", place, 2), ("   ", finding.evidence, 4 if first else 2)]
    if group.also:
        parts.append(("   ", group.also, 1))
    if finding.fix:
        parts.append(("   ", f"fix{' (verified)' if finding.fix_verified else ''}: {finding.fix}", 2))
    return [
        line
        for head, text, most in parts
        for line in textwrap.wrap(
            text, width, initial_indent=head, subsequent_indent="   ", max_lines=most, placeholder=" ..."
        )
    ]
