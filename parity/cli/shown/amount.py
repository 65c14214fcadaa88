"""How much a command says: --quiet, as usual, --verbose."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from enum import Enum

from rich.console import RenderableType
from rich.constrain import Constrain
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from parity.cli.terminal import READABLE, Screen, coloured
from parity.report.data import Comparison, Result


class Amount(Enum):
    """How much is said of each pair."""

    QUIET = "its line"
    USUAL = "its causes, and what the verdict rests on"
    VERBOSE = "every finding, note and comparison"

    @classmethod
    def of(cls, options: argparse.Namespace) -> Amount:
        """What the command line asks for."""
        if getattr(options, "quiet", False):
            return cls.QUIET
        return cls.VERBOSE if getattr(options, "verbose", False) else cls.USUAL


def details(result: Result, screen: Screen) -> Iterator[RenderableType]:
    """Each comparison of a pair with its figures and notes, then what all of it ran on."""
    for name, report in result.reports.items():
        figures = _figures(report)
        if not screen.watched:
            yield f"  {name}: {report.verdict}, {figures}"
            yield from (f"    note: {note}" for note in report.notes)
            continue
        line = Text.assemble((name, "bold"), " ", coloured(report.verdict), (f" {figures}", "dim"))
        yield Constrain(Padding(line, (0, 0, 0, 2)), READABLE)
        if report.notes:
            yield _indented("note", report.notes)
    facts = [f"{name} {value}" for name, value in result.environment.items()]
    if facts and screen.watched:
        yield _indented("ran on", [", ".join(facts)])
        yield Text("")
    elif facts:
        yield f"  ran on: {', '.join(facts)}"


def _figures(report: Comparison) -> str:
    return (
        f"{report.elements:,} elements of {len(report.pairs)} paired layers, greatest difference "
        f"{report.max_abs_diff:.1e} absolute, {report.max_rel_diff:.1e} relative, {report.seconds:.1f} s"
    )


def _indented(name: str, texts: list[str]) -> RenderableType:
    grid = Table.grid(padding=(0, 1, 0, 0))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    for text in texts:
        grid.add_row(name, Text(text))
    return Constrain(Padding(grid, (0, 0, 0, 4)), READABLE)
