"""Findings as GitHub's workflow commands, which a pull request shows at its lines."""

from __future__ import annotations

from collections.abc import Sequence

from parity.core.verdict import Verdict
from parity.report.data import Result
from parity.report.formats.places import places
from parity.report.groups import CauseGroup, groups
from parity.report.text import headline, said

MOST = 10
"""Annotations of one severity that GitHub shows for one step."""


def annotated(results: Sequence[Result], reference: str | None = None) -> list[str]:
    """A line for each cause of each pair that is not EQUAL.

    Args:
        results: of all pairs.
        reference: the side that is right; the annotation stands at the other one.
    """
    lines = []
    for result in results:
        if result.verdict is Verdict.EQUAL:
            continue
        found = groups(result.findings)
        lines += [_line(result, group, reference) for group in found[:MOST]]
        if not found:
            lines.append(f"::warning title={_value(result.name)}::{_text(result.verdict)}")
    return lines


def _line(result: Result, group: CauseGroup, reference: str | None) -> str:
    known = places(group.main, reference)
    values = {"title": f"{group.name} ({result.name})"}
    if known:
        values = {"file": known[0].file, "line": str(known[0].line), **values}
    text = "\n".join([headline(group), *said(group)])
    return f"::{group.severity} {','.join(f'{key}={_value(value)}' for key, value in values.items())}::{_text(text)}"


def _text(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _value(text: str) -> str:
    return _text(text).replace(":", "%3A").replace(",", "%2C")
