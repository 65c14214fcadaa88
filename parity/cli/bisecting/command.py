"""parity bisect: reads what is asked for, searches, and says what was found."""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from parity.cli import asked
from parity.cli.bisecting.along import Along
from parity.cli.bisecting.repository import Commit, Repository
from parity.cli.bisecting.search import Bisection, CommitCheck, first_bad
from parity.cli.bisecting.shown import as_data, conclusion, head, line
from parity.cli.bisecting.worker import Worker
from parity.cli.bisecting.worktree import worktree
from parity.cli.exits import DONE, FAILED
from parity.cli.shown.amount import Amount
from parity.cli.terminal import Screen, output_for_data, waiting
from parity.core.errors import UsageError
from parity.core.files.whole_file import whole_file

ENDS = 2
"""Checks of the good and the bad commit, which come first."""


def run(options: argparse.Namespace) -> int:
    """Find the first commit at which the pair is DIVERGED; 2 where commits that were skipped leave several."""
    if str(options.json) != "-":
        return _run(options, Screen(), None)
    with output_for_data() as write:
        return _run(options, Screen(errors=True), write)


def _run(options: argparse.Namespace, screen: Screen, write: Callable[[str], None] | None) -> int:
    settings, pairs = asked.settings(options), asked.pairs(options)
    if len(pairs) != 1:
        raise UsageError(f"bisect must be given one pair; got {len(pairs)}. Name one of them.")
    repository = Repository(Path.cwd())
    good, bad = repository.commit(options.good, "--good"), repository.commit(options.bad, "--bad")
    amount = Amount.of(options)
    worker = Worker(pairs[0], settings, Along(repository, (good, bad)), amount is Amount.VERBOSE)
    found = searched(repository, good, bad, worker, screen, amount)
    for part in conclusion(found, repository, bad, screen, amount):
        screen.show(part)
    if options.json:
        _write(options.json, as_data(found, repository, good, bad), write)
    return DONE if found.first is not None else FAILED


def searched(
    repository: Repository,
    good: Commit,
    bad: Commit,
    check: Callable[[Commit, Path], CommitCheck],
    screen: Screen,
    amount: Amount,
) -> Bisection:
    """Search in a worktree, and show a line for each check.

    Args:
        repository: of the user.
        good: the commit at which the pair is EQUAL.
        bad: the one at which it is DIVERGED.
        check: judges a commit that is checked out.
        screen: where the lines go.
        amount: of what is said.
    """
    quiet, count = amount is Amount.QUIET, repository.between(good, bad)
    about = ENDS + max(math.ceil(math.log2(max(count, 1))), 0)
    made: list[CommitCheck] = []

    def heard(tried: CommitCheck) -> None:
        made.append(tried)
        if not quiet:
            screen.show(line(tried))

    def checked(commit: Commit, folder: Path) -> CommitCheck:
        text = f"[{len(made) + 1} of about {about}] {commit.short} {commit.subject}"
        shown: AbstractContextManager[None] = nullcontext() if quiet else waiting(text)
        with shown:
            return check(commit, folder)

    if not quiet:
        screen.show(head(good, bad, count, about))
    with worktree(repository) as place:
        return first_bad(place, good, bad, checked, heard)


def _write(path: Path, data: dict[str, Any], write: Callable[[str], None] | None) -> None:
    text = json.dumps(data, indent=2, allow_nan=False) + "\n"
    if write is not None:
        write(text)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as partial:
        partial.write_text(text, encoding="utf-8")
