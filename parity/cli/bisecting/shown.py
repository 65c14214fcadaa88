"""What a bisection says: a line for each check, and the commit that it found; and the same as data."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from parity.cli.bisecting.repository import Commit, Repository
from parity.cli.bisecting.search import Bisection, CommitCheck
from parity.cli.shown.amount import Amount
from parity.cli.shown.blocks import findings
from parity.cli.terminal import Screen, coloured
from parity.core.verdict import Verdict
from parity.report.data import Result
from parity.report.formats.places import LINE
from parity.report.groups import groups
from parity.report.plain import plain

FILES = 12
"""Changed files that are listed."""
WORDS = {"A": "added", "D": "deleted", "M": "changed", "T": "changed"}
SKIPPED = "skipped"


def head(good: Commit, bad: Commit, count: int, about: int) -> RenderableType:
    """What will be searched, and how long that takes."""
    commits = "1 commit" if count == 1 else f"{count} commits"
    return Text(
        f"{commits} from {good.short} (good) to {bad.short} (bad): about {about} checks, each in a process of its own"
    )


def line(tried: CommitCheck) -> RenderableType:
    """One check: commit, date, verdict, time and subject; where it could not be made, why."""
    commit, verdict = tried.commit, tried.verdict
    word = Text(SKIPPED, "bold yellow") if verdict is None else coloured(verdict)
    word.pad_right(len(Verdict.INCONCLUSIVE) - len(word.plain))
    parts: list[RenderableType] = [
        Text.assemble(
            (commit.short, "cyan"), f"  {commit.date}  ", word, f"  {tried.seconds:5.1f} s  ", commit.subject
        )
    ]
    if tried.why:
        parts.append(Padding(Text(tried.why, "yellow"), (0, 0, 0, 4)))
    return Group(*parts)


def conclusion(
    found: Bisection, repository: Repository, bad: Commit, screen: Screen, amount: Amount
) -> Iterator[RenderableType]:
    """The first bad commit: message, files, and the causes that parity names there; or those that it may be."""
    if found.first is None:
        yield Text(
            f"the first bad commit is one of {len(found.possible)}: the others could not be checked",
            "bold yellow",
        )
        yield from (Text(f"  {one.short}  {one.date}  {one.subject}") for one in found.possible)
        return
    commit = found.first
    yield Text.assemble("first bad commit: ", (commit.short, "bold red"), "  ", (commit.subject, "bold"))
    if amount is Amount.QUIET:
        return
    yield Text(f"  {commit.author}, {commit.date}, {commit.sha}", "dim")
    body = commit.message.removeprefix(commit.subject).strip()
    if body:
        yield Padding(Text(body), (1, 0, 1, 2))
    result = found.of(commit).result
    yield _files(repository, commit, result)
    if result is not None:
        yield findings(result.findings, screen, amount is Amount.VERBOSE)
        later = later_causes(found, commit, bad)
        if later:
            yield Text(f"  later, at {bad.short}, there is also: {', '.join(later)}", "yellow")


def _files(repository: Repository, commit: Commit, result: Result | None) -> RenderableType:
    """The files that it changed; the lines that findings name are said behind them."""
    named = named_lines(repository, result)
    changed = sorted(repository.changed(commit), key=lambda entry: entry[1] not in named)
    grid = Table.grid(padding=(0, 1, 0, 0))
    for status, file in changed[:FILES]:
        lines = ", ".join(map(str, named.get(file, ())))
        grid.add_row(
            f"  {WORDS.get(status[:1], status)}",
            Text(file, "cyan"),
            f"(named below: line {lines})" if lines else "",
        )
    if len(changed) > FILES:
        grid.add_row("", f"and {len(changed) - FILES} more files")
    return grid


def named_lines(repository: Repository, result: Result | None) -> dict[str, list[int]]:
    """{file relative to the repository: lines} that the findings name."""
    named: dict[str, list[int]] = {}
    for finding in () if result is None else result.findings:
        for text in (finding.keras_at, finding.torch_at):
            known = LINE.fullmatch(text or "")
            if known is None:
                continue
            lines = named.setdefault((PurePosixPath(repository.inside.as_posix()) / known[1]).as_posix(), [])
            if int(known[2]) not in lines:
                lines.append(int(known[2]))
    return named


def later_causes(found: Bisection, first: Commit, bad: Commit) -> list[str]:
    """Causes at the bad commit that are not there at the first bad one."""
    results = [found.of(commit).result for commit in (first, bad)]
    before, after = ([group.name for group in groups(one.findings)] if one else [] for one in results)
    return [name for name in dict.fromkeys(after) if name not in before]


def as_data(found: Bisection, repository: Repository, good: Commit, bad: Commit) -> dict[str, Any]:
    """Plain values, for JSON: both ends, each check, and the first bad commit with its files and its result."""
    first = None
    if found.first is not None:
        result = found.of(found.first).result
        first = {
            **found.first.to_dict(),
            "files": [{"status": status, "path": path} for status, path in repository.changed(found.first)],
            "result": None if result is None else plain(result),
        }
    return {
        "good": good.to_dict(),
        "bad": bad.to_dict(),
        "first_bad": first,
        "possible": [commit.to_dict() for commit in found.possible],
        "checked": [
            {
                "commit": tried.commit.sha,
                "verdict": tried.verdict,
                "skipped": tried.word == "skip",
                "why": tried.why,
                "seconds": round(tried.seconds, 2),
            }
            for tried in found.tried
        ],
    }
