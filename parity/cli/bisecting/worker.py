"""The check of one commit, in a process of its own: it loads the models' code as that commit has it."""

from __future__ import annotations

import multiprocessing
import os
import sys
import time
import traceback
from collections.abc import Mapping
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from parity.cli.asked import Pair
from parity.cli.bisecting.along import Along, installed
from parity.cli.bisecting.repository import Commit
from parity.cli.bisecting.search import CommitCheck
from parity.cli.shown.errors import PACKAGE, told
from parity.cli.signals import ENDS, held_back, taken_by_default
from parity.core.errors import UsageError
from parity.report.data import Result

Answer = tuple[Result | None, str, list[str]]
"""What the check gave, why it could not be made, and the modules that came from the user's own tree."""
ENDED = "the models' own code ended the process"


class Worker:
    """Checks a pair at commits.

    Args:
        pair: as it was asked for.
        settings: of `check_pair`.
        along: where its files lie.
        verbose: whether what the models print is shown, and tracebacks.
    """

    def __init__(self, pair: Pair, settings: Mapping[str, Any], along: Along, verbose: bool) -> None:
        self.pair, self.settings, self.along, self.verbose = pair, settings, along, verbose

    def __call__(self, commit: Commit, folder: Path) -> CommitCheck:
        """Check the pair as a commit has it.

        Args:
            commit: that is checked out.
            folder: that stands for the user's own.

        Raises:
            UsageError: the models' code came from the user's own tree.
        """
        started = time.perf_counter()
        own = self.along.repository
        if not folder.is_dir():
            return CommitCheck(commit, None, f"the commit has no folder {own.inside}")
        top = folder.parents[len(own.inside.parts) - 1] if own.inside.parts else folder
        pair, settings = self.along.pair(self.pair, self.settings, top)
        places = (folder, top, own.top)
        result, why, foreign = _asked(places, self.along.search_path(top), self.verbose, pair, settings)
        if foreign:
            raise UsageError(
                f"the models' code must come from each commit; got {', '.join(foreign[:3])} from {own.top} itself. "
                "Set PYTHONPATH to the folder that holds these packages, and run again."
            )
        return CommitCheck(commit, result, why, time.perf_counter() - started)


def _asked(places: tuple[Path, Path, Path], path: list[str], verbose: bool, *pair: Any) -> Answer:
    """What a process of its own says, which a signal to this one ends too."""
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    with held_back(ENDS):
        process = context.Process(target=_work, args=(sender, places, path, verbose, *pair), daemon=True)
        process.start()
        sender.close()
    try:
        answer: Answer = receiver.recv()
        return answer
    except EOFError:
        return None, ENDED, []
    finally:
        process.kill()
        process.join()
        receiver.close()


def _work(
    sender: Connection,
    places: tuple[Path, Path, Path],
    path: list[str],
    verbose: bool,
    pair: Pair,
    settings: Mapping[str, Any],
) -> None:
    """In the process: check, and send what came of it."""
    folder, top, own = places
    taken_by_default()
    os.chdir(folder)
    sys.path[:] = path
    sys.dont_write_bytecode = True
    os.dup2(2, 1) if verbose else _silent()
    result, why = judged(pair, settings, verbose)
    sender.send((result, why, _foreign(own, top)))


def judged(pair: Pair, settings: Mapping[str, Any], verbose: bool = False) -> tuple[Result | None, str]:
    """The result of a check in this process, or why it could not be made.

    Args:
        pair: whose files are in their places.
        settings: of `check_pair`.
        verbose: whether tracebacks are shown.
    """
    from parity.adapters.frameworks import import_frameworks
    from parity.check import check_pair

    try:
        import_frameworks()
        return check_pair(
            pair.name, pair.keras, pair.torch, pair.pictures, mapping=pair.mapping, **settings
        ), ""
    except UsageError as error:
        return None, " ".join(str(error).split())
    except SystemExit:
        return None, ENDED
    except Exception as error:  # a model's own code raises what it likes
        if verbose:
            traceback.print_exc()
        return None, told(error)


def _silent() -> None:
    """Let nothing that the models or frameworks print come out."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for number in (1, 2):
        os.dup2(nowhere, number)


def _foreign(own: Path, top: Path) -> list[str]:
    """The modules that were loaded from the user's own tree, which may differ from the commit's."""
    found = []
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if (
            not isinstance(file, str) or not os.path.isabs(file) or name.startswith("__")
        ):  # torch.ops has "_ops.py"
            continue
        path = Path(os.path.realpath(file))
        of_parity = any(path.is_relative_to(folder) for folder in (PACKAGE, PACKAGE.parent / "datasets"))
        if path.is_relative_to(own) and not (path.is_relative_to(top) or of_parity or installed(path, own)):
            found.append(name)
    return sorted(found)
