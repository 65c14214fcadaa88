"""What a command line says itself, and what options there are."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any, NoReturn

from parity.cli.options.bisect import add_bisect
from parity.cli.options.check import add_check
from parity.core.errors import UsageError


class RaisingParser(argparse.ArgumentParser):
    """A parser that raises where another one ends the process."""

    def error(self, message: str) -> NoReturn:
        """Raise what is wrong."""
        raise UsageError(message)


def check_options() -> list[str]:
    """The long names of the options of `parity check`, without dashes."""
    return [
        flag[2:]
        for action in _check()._actions
        for flag in action.option_strings
        if flag.startswith("--") and not flag.startswith("--no-")
    ]


def given(arguments: Sequence[str]) -> dict[str, Any]:
    """The options that a command line of `parity check` or `bisect` gives itself, without those that are as usual.

    Args:
        arguments: the command's name first.
    """
    made = _check()
    if arguments[0] == "bisect":
        made = RaisingParser(prog="parity bisect")
        add_bisect(made)
        made._defaults.clear()
    for action in made._actions:
        action.default = argparse.SUPPRESS
    return vars(made.parse_args(list(arguments)[1:]))


def pair_options(arguments: Sequence[str]) -> argparse.Namespace:
    """All options of a command line of `parity check`.

    Args:
        arguments: the command's name first.

    Raises:
        UsageError: a value that its option does not take.
    """
    return _check().parse_args(list(arguments)[1:])


def _check() -> argparse.ArgumentParser:
    made = RaisingParser(prog="parity check")
    add_check(made)
    return made
