"""Results as Markdown, as code hosts show it: the summary of a CI run, or a comment on a pull request."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

from parity.core.files.whole_file import whole_file
from parity.core.finding import Finding
from parity.core.verdict import Verdict
from parity.report.data import Result
from parity.report.formats.places import places
from parity.report.groups import CauseGroup, groups
from parity.report.rests import rests_on, tolerated
from parity.report.text import said

MOST = 60_000
"""Characters: GitHub takes 65,536 in a comment."""
CAUSES = 8
"""Causes of a pair that are shown one by one."""
SIGNS = {Verdict.EQUAL: "✅", Verdict.DIVERGED: "❌", Verdict.INCONCLUSIVE: "⚠️"}
SPECIAL = re.compile(r"([\\`*_{}\[\]<>#|~!$])")
"""What Markdown, or HTML in it, would read as its own."""


def write_markdown(
    path: Path,
    results: Sequence[Result],
    lacking: Sequence[Result] = (),
    reference: str | None = None,
) -> None:
    """Write the results: a row for each pair, then each pair's causes with their lines and fixes.

    Args:
        path: the file; its folder is made where there is none.
        results: of all pairs.
        lacking: those that are EQUAL and fail, since something is unproven (--strict).
        reference: the side that is right; the line of the other one comes first.

    Raises:
        OSError: the file cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as partial:
        partial.write_text(markdown(results, lacking, reference), encoding="utf-8")


def markdown(
    results: Sequence[Result],
    lacking: Sequence[Result] = (),
    reference: str | None = None,
    most: int = MOST,
) -> str:
    """The results as Markdown of at most so many characters; pairs that do not fit keep their row alone.

    Args:
        results: of all pairs.
        lacking: those that are EQUAL and fail.
        reference: the side that is right.
        most: characters.
    """
    equal = sum(result.verdict is Verdict.EQUAL for result in results)
    failing = [result for result in results if _fails(result, lacking)]
    sign = SIGNS[max((one.verdict for one in failing), key=_badness)] if failing else SIGNS[Verdict.EQUAL]
    rows = [_row(result, lacking) for result in results]
    head = [
        f"### {sign} parity: {equal} of {len(results)} EQUAL",
        "",
        "| pair | verdict | float64 | float32 | causes |",
        "|---|---|---:|---:|---|",
    ]
    foot = _ran_on(results)
    room = most - len("\n".join([*head, *foot])) - 200
    kept = [row for i, row in enumerate(rows) if sum(map(len, rows[: i + 1])) + i < room]
    left = len(rows) - len(kept)
    text = "\n".join([*head, *kept, *([f"\n… and {left} more pairs"] if left else [])])
    for result in failing:
        part = "\n".join(["", "", *_details(result, reference)])
        if len(text) + len(part) > most - len("\n".join(foot)) - 200:
            text += "\n\nThe rest is in the report."
            break
        text += part
    return "\n".join([text, *foot]) + "\n"


def _fails(result: Result, lacking: Sequence[Result]) -> bool:
    return result.verdict is not Verdict.EQUAL or any(one is result for one in lacking)


def _badness(verdict: Verdict) -> int:
    return [Verdict.EQUAL, Verdict.INCONCLUSIVE, Verdict.DIVERGED].index(verdict)


def _row(result: Result, lacking: Sequence[Result]) -> str:
    unproven = result.verdict is Verdict.EQUAL and _fails(result, lacking)
    word = f"{result.verdict}, something unproven" if unproven else result.verdict.value
    float32 = "" if result.float32 is None else f"{result.float32:.1e}"
    names = list(dict.fromkeys(group.name for group in groups(result.findings)))
    more = f" and {len(names) - CAUSES} more" if len(names) > CAUSES else ""
    causes = ", ".join(f"`{name}`" for name in names[:CAUSES])
    sign = SIGNS[Verdict.INCONCLUSIVE] if unproven else SIGNS[result.verdict]
    return (
        f"| {escaped(result.name)} | {sign} {word} | {result.max_rel_diff:.1e} | {float32} | {causes}{more} |"
    )


def _details(result: Result, reference: str | None) -> list[str]:
    """A pair's causes, folded under its name where they are many."""
    found = groups(result.findings)
    lines = [f"#### {escaped(result.name)}", "", *(f"{escaped(line)}\n" for line in tolerated(result))]
    if result.verdict is Verdict.EQUAL:
        lines += [escaped(rests_on(result)), ""]
        return [*lines, *(f"- unproven: {escaped(entry)}" for entry in result.unproven)]
    for group in found[:CAUSES]:
        lines += _cause(group, reference)
    left = sum(len(group.findings) for group in found[CAUSES:])
    if left:
        lines.append(f"… and {left} more findings, which the report lists")
    return lines if found else [*lines, "Nothing could be compared."]


def _cause(group: CauseGroup, reference: str | None) -> list[str]:
    """Severity, name, place and lines; the fix, and what was measured folded under it."""
    lines = said(group)
    fix = [line for line in lines if line.startswith("Fix")]
    measured = [line for line in lines if not line.startswith("Fix")]
    where = " · ".join(_links(group.main, reference))
    head = f"**{group.severity}: `{group.name}`** at `{_code(group.main.place)}`" + (
        f" · {where}" if where else ""
    )
    return [
        head,
        "",
        *(f"> {escaped(line)}\n" for line in fix),
        "<details><summary>What was measured</summary>",
        "",
        *(f"- {escaped(line)}" for line in measured),
        "",
        "</details>",
        "",
    ]


def _links(finding: Finding, reference: str | None) -> list[str]:
    """file:line of either side; in a GitHub action as links to the commit's files."""
    server, name, sha = (os.environ.get(f"GITHUB_{key}", "") for key in ("SERVER_URL", "REPOSITORY", "SHA"))
    found = []
    for place in places(finding, reference):
        text = f"`{_code(place.file)}:{place.line}`"
        linked = server and name and sha and not place.file.startswith(("/", ".."))
        address = f"{server}/{name}/blob/{sha}/{place.file.replace(' ', '%20')}#L{place.line}"
        found.append(f"[{text}]({address})" if linked else text)
    return found


def _ran_on(results: Sequence[Result]) -> list[str]:
    facts = next((result.environment for result in results if result.environment), {})
    if not facts:
        return []
    return ["", f"<sub>{escaped(', '.join(f'{name} {value}' for name, value in facts.items()))}</sub>"]


def escaped(text: str) -> str:
    """A text that Markdown shows as it is, on one line; nobody is notified by a name in it."""
    return SPECIAL.sub(r"\\\1", " ".join(text.split())).replace("@", "&#64;")


def _code(text: str) -> str:
    """A text between backticks."""
    return " ".join(text.split()).replace("`", "'").replace("|", "\\|")
