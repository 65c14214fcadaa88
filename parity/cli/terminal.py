"""What commands print: in colours and wrapped for a person, as plain lines of any length for a pipe."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout, suppress
from dataclasses import dataclass
from typing import TextIO

from rich.console import Console, RenderableType
from rich.constrain import Constrain
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from parity.core.verdict import Verdict
from parity.verdict.runs.progress import heard

ANY = 100_000
"""Columns of a pipe: no line is broken there."""

READABLE = 100
"""Columns at most of running text, however wide the terminal is."""

COLOURS: Mapping[Verdict, str] = {
    Verdict.EQUAL: "bold green",
    Verdict.DIVERGED: "bold red",
    Verdict.INCONCLUSIVE: "bold yellow",
}


_KEPT: list[TextIO] = []
"""Where a command writes in place of `sys.stdout`, once `keep_output` was called."""


def open_standard_files() -> None:
    """Open what is closed of standard input, output and errors: the next file would get the number, and the messages."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # it gets the lowest number that is free
        if getattr(sys, name) is None:  # as it was when Python started
            setattr(sys, name, open(os.devnull, "w" if number else "r"))  # noqa: SIM115  (to the end)


def keep_output() -> None:
    """Keep the file of standard output under another number, for `Screen`.

    A model's code may close number 1. The next file that is opened would get this number, and the table with it.
    """
    with suppress(AttributeError, OSError, ValueError):  # there may be no standard output
        number = os.dup(sys.stdout.fileno())
        kept = open(number, "w", encoding=sys.stdout.encoding, errors=sys.stdout.errors)  # noqa: SIM115  (to the end)
        _KEPT.append(kept)


@contextmanager
def output_for_data() -> Iterator[Callable[[str], None]]:
    """While this is open, whatever is printed goes to standard error; gives a function that writes to standard output.

    So standard output holds the data alone, whatever the models' code prints, also from compiled parts.
    """
    data = _KEPT[-1] if _KEPT else sys.stdout
    copy = None
    with suppress(AttributeError, OSError, ValueError):  # a test's has no number
        if data is sys.stdout:
            data = open(  # noqa: SIM115  (closed below)
                os.dup(sys.stdout.fileno()), "w", encoding=sys.stdout.encoding, errors=sys.stdout.errors
            )
            copy = data

    def write(text: str) -> None:
        try:
            data.write(text)
            data.flush()
        except BrokenPipeError:  # the reader has seen enough; the exit code tells the verdict
            with suppress(OSError, ValueError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), data.fileno())

    number = None
    with suppress(AttributeError, OSError, ValueError):
        number = os.dup(1)
        os.dup2(2, 1)
    try:
        with redirect_stdout(sys.stderr):
            yield write
    finally:
        if number is not None:
            os.dup2(number, 1)
            os.close(number)
        if copy is not None:
            copy.close()


class Screen(Console):
    """Standard output, or standard error.

    Args:
        errors: whether it is standard error, because standard output holds data.

    Attributes:
        watched: whether it is a terminal, so that a person reads it.
    """

    def __init__(self, errors: bool = False) -> None:
        kept = _KEPT[-1] if _KEPT and not errors else None
        output = kept or (sys.stderr if errors else sys.stdout)
        self.watched = output is not None and output.isatty()
        width, height = (None, None) if self.watched else (ANY, 100)
        super().__init__(
            file=kept,
            stderr=errors,
            width=width,
            height=height,
            highlight=False,
            markup=False,
            emoji=False,
        )

    def show(self, what: RenderableType) -> None:
        """Print; in a pipe without the spaces that fill a line up.

        Where the reader (head, less) has seen enough and closed the pipe, the rest goes nowhere. So it does where a
        model's code closed every file. The command goes on to its verdict, which its exit code still tells.
        """
        try:
            self._show(what)
        except OSError as error:
            if error.errno not in (errno.EPIPE, errno.EBADF):
                raise
            for stream in (sys.stdout, self.file):
                with suppress(AttributeError, OSError, ValueError):
                    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())

    def _show(self, what: RenderableType) -> None:
        if self.watched:
            self.print(what)
            return
        with suppress(AttributeError, OSError, ValueError):
            sys.stdout.flush()  # what the models printed comes first
        with self.capture() as held:
            self.print(what)
        self.file.write("\n".join(line.rstrip() for line in held.get().split("\n")))
        self.file.flush()


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Attributes:
        head: its head.
        width: of a text that is folded at it, or the least of a number; 0 fits the contents.
        number: whether it holds numbers, which stand to the right.
    """

    head: str
    width: int = 0
    number: bool = False


def table(columns: Sequence[Column], rows: Sequence[Sequence[str | Text]], heads: bool = True) -> Table:
    """Rows under their heads, two spaces between columns."""
    made = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, show_header=heads)
    for column in columns:
        made.add_column(
            column.head,
            justify="right" if column.number else "left",
            width=None if column.number else column.width or None,
            min_width=column.width if column.number else None,
            no_wrap=column.number,
            overflow="fold",
        )
    for row in rows:
        made.add_row(*row)
    return made


def named(texts: Mapping[str, str]) -> RenderableType:
    """Texts behind their names, wrapped under themselves."""
    grid = Table.grid(padding=(0, 1, 0, 0))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    for name, text in texts.items():
        grid.add_row(f"{name}:", text)
    return Constrain(Padding(grid, (0, 0, 0, 2)), READABLE)


def coloured(verdict: Verdict) -> Text:
    """The verdict's word in its colour."""
    return Text(verdict.value, COLOURS[verdict])


def complain(message: str) -> None:
    """Say on standard error why a command stops."""
    console = Console(stderr=True, highlight=False, markup=False, emoji=False)
    with suppress(OSError, ValueError):  # a full disk must not change the exit code
        console.print(Text.assemble(("parity:", "bold red"), f" {message}"), soft_wrap=True)


@contextmanager
def waiting(text: str) -> Iterator[None]:
    """Show what is under way, which stage it is at, and for how long; nothing where nobody watches.

    It writes to a copy of standard error, which stays where it is while frameworks that load are kept quiet.
    """
    if not sys.stderr.isatty():
        yield
        return
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    with open(os.dup(sys.stderr.fileno()), "w", encoding=sys.stderr.encoding) as stream:
        columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False), TimeElapsedColumn())
        progress = Progress(
            *columns,
            console=Console(file=stream),
            transient=True,
            redirect_stdout=sys.stdout.isatty(),
            redirect_stderr=False,
        )
        with progress:
            task = progress.add_task(text, total=None)
            with heard(lambda stage: progress.update(task, description=f"{text}: {stage}")):
                yield
