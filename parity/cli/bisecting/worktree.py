"""A worktree of its own: commits are checked out there, and the user's own working tree stays as it is."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from parity.cli.bisecting.repository import Repository, run
from parity.cli.signals import ENDS, held_back, interrupting


class Worktree:
    """A folder in which one commit at a time lies.

    Attributes:
        repository: whose commits these are.
        folder: of the worktree.
    """

    def __init__(self, repository: Repository, folder: Path) -> None:
        self.repository, self.folder = repository, folder

    def git(self, *arguments: str) -> str:
        """What a git command prints in the worktree.

        Raises:
            UsageError: git refuses it.
        """
        return self.repository.git(*arguments, folder=self.folder)

    def at(self, sha: str) -> Path:
        """Check a commit out, without what an earlier check left behind; gives the folder that the user is in."""
        self.git("checkout", "--quiet", "--force", "--detach", sha)
        self.git("clean", "-ffdxq")  # bytecode too: equal sizes and times would pass for the same source
        return self.folder / self.repository.inside


@contextmanager
def worktree(repository: Repository) -> Iterator[Worktree]:
    """A worktree, which is removed however the block ends, with the state of git bisect in it.

    In the block SIGTERM and SIGHUP interrupt as the keyboard does.

    Raises:
        UsageError: git cannot make it.
    """
    folder = Path(tempfile.mkdtemp(prefix="parity-bisect-")).resolve() / repository.top.name
    state: Path | None = None
    with interrupting():
        try:
            with held_back(ENDS):
                repository.git("worktree", "add", "--detach", "--no-checkout", "--quiet", str(folder), "HEAD")
                state = Path(repository.git("rev-parse", "--absolute-git-dir", folder=folder).strip())
            yield Worktree(repository, folder)
        finally:
            with held_back(ENDS):
                run(repository.top, "worktree", "remove", "--force", "--force", str(folder))
                shutil.rmtree(folder.parent, ignore_errors=True)
                if (
                    state is not None and state.parent.name == "worktrees"
                ):  # where git was ended halfway: ours alone, not what `worktree prune` finds
                    shutil.rmtree(state, ignore_errors=True)
                    with suppress(OSError):  # as git leaves it: no empty folder
                        state.parent.rmdir()
