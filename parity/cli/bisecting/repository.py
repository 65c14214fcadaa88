"""A git repository as `parity bisect` reads it; nothing here changes it."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from parity.core.errors import UsageError

QUIET = ("-c", "core.hooksPath=/dev/null", "-c", "gc.auto=0", "-c", "advice.detachedHead=false")
"""No hook of the user's runs for our checkouts, and nothing is collected meanwhile."""
OWN = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX", "GIT_COMMON_DIR")
"""Variables that a hook sets: they would turn every command to the user's own files."""


@dataclass(frozen=True)
class Commit:
    """A commit.

    Attributes:
        sha: 40 hexadecimal digits (64 in a repository with SHA-256).
        short: the first of them, as many as are unambiguous.
        date: of its author, as in 2026-11-29.
        author: name.
        subject: first line of its message.
        message: the whole of it.
    """

    sha: str
    short: str
    date: str
    author: str
    subject: str
    message: str

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)


class Repository:
    """The repository that a folder belongs to.

    Args:
        folder: in its working tree.

    Attributes:
        top: the working tree's top folder.
        inside: the folder, relative to it.

    Raises:
        UsageError: git is not installed, or the folder is in no working tree.
    """

    def __init__(self, folder: Path) -> None:
        if shutil.which("git") is None:
            raise UsageError("parity bisect needs git; got no program of that name. Install git.")
        done = run(folder, "rev-parse", "--show-toplevel")
        if done.returncode:
            raise UsageError(
                f"parity bisect must run in a git repository with a working tree; got {folder} ({_said(done)}). "
                "Run it from the folder of your project."
            )
        self.top = Path(done.stdout.rstrip("\n")).resolve()
        self.inside = folder.resolve().relative_to(self.top)

    def git(self, *arguments: str, folder: Path | None = None) -> str:
        """What a git command prints.

        Args:
            arguments: of git.
            folder: in which it runs; None for the top folder.

        Raises:
            UsageError: git refuses it.
        """
        done = run(folder or self.top, *arguments)
        if done.returncode:
            raise UsageError(f"git {arguments[0]} must succeed; got: {_said(done)}.")
        return done.stdout

    def commit(self, name: str, option: str) -> Commit:
        """The commit that a hash, branch or tag names.

        Args:
            name: as git takes it.
            option: of the command line, for the message.

        Raises:
            UsageError: there is no such commit.
        """
        found = (
            None
            if name.startswith("-")
            else run(self.top, "rev-parse", "--verify", "--quiet", f"{name}^{{commit}}")
        )
        if found is None or found.returncode:
            shallow = self.git("rev-parse", "--is-shallow-repository").strip() == "true"
            advice = "This clone is shallow: git fetch --unshallow." if shallow else "git log lists them."
            raise UsageError(f"{option} must name a commit of {self.top}; got {name!r}. {advice}")
        return self.described(found.stdout.strip())

    def described(self, sha: str) -> Commit:
        """What is known of a commit."""
        text = self.git(
            "show", "--no-patch", "--date=short", "--format=%H%x00%h%x00%ad%x00%an%x00%s%x00%B", sha
        )
        return Commit(*(part.strip() for part in text.split("\0")[:6]))

    def has(self, commit: Commit, path: Path) -> bool:
        """Whether a commit holds a file or folder, given relative to the top folder."""
        return run(self.top, "cat-file", "-e", f"{commit.sha}:{path.as_posix()}").returncode == 0

    def is_before(self, first: Commit, second: Commit) -> bool:
        """Whether the second commit builds on the first one, or is it."""
        return run(self.top, "merge-base", "--is-ancestor", first.sha, second.sha).returncode == 0

    def between(self, good: Commit, bad: Commit) -> int:
        """How many commits lead from the good one to the bad one, the bad one included."""
        return int(self.git("rev-list", "--count", f"{good.sha}..{bad.sha}"))

    def changed(self, commit: Commit) -> list[tuple[str, str]]:
        """("M", path) of every file that a commit changed against its first parent; A is added, D deleted."""
        text = self.git(
            "diff-tree", "-r", "--no-renames", "--name-status", "-z", f"{commit.sha}^", commit.sha
        )
        parts = text.split("\0")
        return list(zip(parts[::2], parts[1::2], strict=False))


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run git in a folder, in a session of its own: the keyboard interrupts parity, which ends git in order."""
    environment = {key: value for key, value in os.environ.items() if key not in OWN}
    return subprocess.run(
        ["git", *QUIET, *arguments],
        cwd=folder,
        env={**environment, "LC_ALL": "C", "GIT_TERMINAL_PROMPT": "0", "GIT_OPTIONAL_LOCKS": "0"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        errors="surrogateescape",
        check=False,
        start_new_session=True,
    )


def _said(done: subprocess.CompletedProcess[str]) -> str:
    """The first line of what git says of an error."""
    lines = [line.strip() for line in (done.stderr or done.stdout).splitlines() if line.strip()]
    return (
        lines[0].removeprefix("fatal: ").removeprefix("error: ").rstrip(".")
        if lines
        else f"code {done.returncode}"
    )
