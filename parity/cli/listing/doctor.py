"""parity doctor: the environment, looked at."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence

from rich.columns import Columns
from rich.console import Group, RenderableType
from rich.constrain import Constrain
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from parity.adapters.frameworks import import_frameworks
from parity.around import Check
from parity.cli.exits import DONE, FAILED
from parity.cli.terminal import READABLE, Screen, waiting
from parity.doctor import examine

WORDS = {True: Text("ok", "green"), False: Text("FAIL", "bold red")}


def run(options: argparse.Namespace) -> int:
    """Say what is installed, how it is set, and which known trouble it invites."""
    with waiting("loading torch and Keras"):
        import_frameworks()
        facts, checks = examine()
    screen = Screen()
    if screen.watched:
        screen.show(_facts(facts))
        screen.show(_checks(checks))
    else:
        screen.show("  ".join(f"{name} {value}" for name, value in facts.items()))
        for check in checks:
            advice = f" -> {check.advice}" if check.advice else ""
            screen.show(f"{WORDS[check.ok].plain:<4}  {check.subject}: {check.found}{advice}")
    return DONE if all(check.ok for check in checks) else FAILED


def _facts(facts: Mapping[str, str]) -> RenderableType:
    return Padding(
        Columns([Text.assemble((name, "dim"), f" {value}") for name, value in facts.items()], padding=(0, 2)),
        (0, 0, 1, 0),
    )


def _checks(checks: Sequence[Check]) -> RenderableType:
    """A line for each check, and its advice under it."""
    grid = Table.grid(padding=(0, 2, 0, 0))
    for check in checks:
        advice = [Text(f"-> {check.advice}", "yellow")] if check.advice else []
        grid.add_row(WORDS[check.ok], Text(check.subject, "bold"), Group(check.found, *advice))
    return Constrain(grid, READABLE)
