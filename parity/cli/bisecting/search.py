"""The search: git bisect chooses the commits, a check judges each one, and both ends are judged first."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from parity.cli.bisecting.repository import Commit
from parity.cli.bisecting.worktree import Worktree
from parity.core.errors import UsageError
from parity.core.verdict import Verdict
from parity.report.data import Result

WORDS = {Verdict.EQUAL: "good", Verdict.DIVERGED: "bad"}
"""What git bisect calls a commit; any other one is skipped, as with exit code 125 of `git bisect run`."""
FOUND = re.compile(r"^# first bad commit: \[([0-9a-f]+)\]", re.MULTILINE)
POSSIBLE = re.compile(r"^# possible first bad commit: \[([0-9a-f]+)\]", re.MULTILINE)


@dataclass(frozen=True)
class CommitCheck:
    """What the check of one commit gave.

    Attributes:
        commit: that was checked out.
        result: of the pair; None where the check could not be made.
        why: it could not be made, or "".
        seconds: that it took.
    """

    commit: Commit
    result: Result | None
    why: str = ""
    seconds: float = 0.0

    @property
    def verdict(self) -> Verdict | None:
        """Of the pair; None where the check could not be made."""
        return None if self.result is None else self.result.verdict

    @property
    def word(self) -> str:
        """What git bisect is given."""
        return "skip" if self.verdict is None else WORDS.get(self.verdict, "skip")


@dataclass
class Bisection:
    """What a search found.

    Attributes:
        tried: the checks, in the order in which they were made.
        first: the first bad commit; None where commits that were skipped leave several.
        possible: the first bad commit is one of these; empty where it is known.
    """

    tried: list[CommitCheck] = field(default_factory=list)
    first: Commit | None = None
    possible: list[Commit] = field(default_factory=list)

    def of(self, commit: Commit) -> CommitCheck:
        """The check of a commit that was tried."""
        return next(tried for tried in self.tried if tried.commit.sha == commit.sha)


Judge = Callable[[Commit, Path], CommitCheck]
"""Judges a commit that is checked out, in the folder that stands for the user's own."""


def first_bad(
    place: Worktree, good: Commit, bad: Commit, check: Judge, heard: Callable[[CommitCheck], None]
) -> Bisection:
    """Search the first commit behind `good` at which the pair is DIVERGED.

    Args:
        place: where commits are checked out.
        good: a commit at which the pair is EQUAL.
        bad: one at which it is DIVERGED.
        check: judges a commit.
        heard: called with each check.

    Raises:
        UsageError: an end is not what it must be, or lies on another line of history.
    """
    repository, found = place.repository, Bisection()
    if not repository.is_before(good, bad):
        if repository.is_before(bad, good):
            raise UsageError(
                f"--good must lie before --bad; got {good.short} behind {bad.short}. Exchange them."
            )
    elif good.sha == bad.sha:
        raise UsageError(f"--good and --bad must name two commits; got {good.short} for both.")

    def tried(sha: str) -> CommitCheck:
        commit = repository.described(sha)
        found.tried.append(check(commit, place.at(sha)))
        heard(found.tried[-1])
        return found.tried[-1]

    _must_be(tried(good.sha), Verdict.EQUAL, "--good", "Give an earlier commit.")
    advice = "What is not committed does not count: commit it, or give another commit."
    _must_be(tried(bad.sha), Verdict.DIVERGED, "--bad", advice)
    place.git("bisect", "start", "--no-checkout", bad.sha, good.sha)
    while not (log := _ended(place)):
        word = tried(place.git("rev-parse", "BISECT_HEAD").strip()).word
        _step(place, word)
    if (first := FOUND.search(log)) is not None:
        found.first = repository.described(first[1])
    else:
        found.possible = [repository.described(sha) for sha in dict.fromkeys(POSSIBLE.findall(log))]
    return found


def _must_be(tried: CommitCheck, verdict: Verdict, option: str, advice: str) -> None:
    if tried.verdict is verdict:
        return
    got = f"no check ({tried.why})" if tried.verdict is None else tried.verdict.value
    raise UsageError(
        f"{option} must name a commit at which the pair is {verdict}; got {got} at {tried.commit.short} "
        f"({tried.commit.subject}). {advice}"
    )


def _ended(place: Worktree) -> str:
    """The log of git bisect once it has an answer, and "" before."""
    log = place.git("bisect", "log")
    return log if FOUND.search(log) or POSSIBLE.search(log) else ""


def _step(place: Worktree, word: str) -> None:
    """Tell git bisect what the commit is; where only skipped ones are left it ends with code 2, and the log says so."""
    try:
        place.git("bisect", word)
    except UsageError:
        if not _ended(place):
            raise
