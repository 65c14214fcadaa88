"""The arguments of `parity bisect`."""

from __future__ import annotations

import argparse
from pathlib import Path

from parity.cli.options.check import add_pair


def add_bisect(command: argparse.ArgumentParser) -> None:
    """Between which commits, of which pair, compared how, and what to say and write."""
    where = command.add_argument_group("where to search")
    where.add_argument(
        "--good",
        metavar="COMMIT",
        required=True,
        help="a commit at which the pair is EQUAL: a hash, branch or tag",
    )
    where.add_argument(
        "--bad",
        metavar="COMMIT",
        default="HEAD",
        help="a later commit at which it is DIVERGED; default: %(default)s",
    )
    add_pair(command)
    said = command.add_argument_group("what to say and write")
    amount = said.add_mutually_exclusive_group()
    amount.add_argument("-q", "--quiet", action="store_true", help="the first bad commit, and nothing else")
    amount.add_argument(
        "-v",
        "--verbose",
        action="store_true",
        help="what the models print, every finding; tracebacks of errors",
    )
    said.add_argument(
        "--json", type=Path, metavar="F", help="what was found as JSON; - writes to standard output"
    )
    command.set_defaults(all=False, strict=False)
