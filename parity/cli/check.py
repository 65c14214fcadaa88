"""parity check: each pair, one after the other or several at a time, as lines of a table and as files."""

from __future__ import annotations

import argparse
import multiprocessing
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from rich.console import RenderableType
from rich.text import Text

from parity.adapters.frameworks import import_frameworks
from parity.cli import asked
from parity.cli.shown.amount import Amount, details
from parity.cli.shown.blocks import findings, proven
from parity.cli.terminal import (
    COLOURS,
    Column,
    Screen,
    coloured,
    output_for_data,
    table,
    waiting,
)
from parity.core import __version__
from parity.core.verdict import Verdict, verdict_of
from parity.report import files
from parity.report.data import Result
from parity.report.formats.annotations import annotated
from parity.report.formats.junit import write_junit
from parity.report.formats.markdown import write_markdown
from parity.report.formats.sarif import write_sarif
from parity.report.rests import tolerated, unproven_of
from parity.report.text import short

FIGURES = (
    Column("parameters", 11, number=True),
    Column("float64", 9, number=True),
    Column("float32", 9, number=True),
    Column("seconds", 7, number=True),
    Column("verdict", len(Verdict.INCONCLUSIVE)),
)
"""The table's columns behind the name. Differences are relative to the output's greatest magnitude."""

FEW = tuple(column for column in FIGURES if column.head in {"float64", "verdict"})
"""Those for a narrow terminal."""


def run(options: argparse.Namespace) -> int:
    """Copy weights both ways, evaluate both sides on the same pictures, and compare element by element."""
    settings, pairs = asked.settings(options), asked.pairs(options)
    if str(getattr(options, "json", None)) != "-":
        return _run(options, settings, pairs, Screen(), None)
    with output_for_data() as write:
        return _run(options, settings, pairs, Screen(errors=True), write)


def _run(
    options: argparse.Namespace,
    settings: Mapping[str, Any],
    pairs: Sequence[asked.Pair],
    screen: Screen,
    write: Callable[[str], None] | None,
) -> int:
    """Check the pairs; what is shown goes to the screen, and JSON through `write` where there is one."""
    results: list[Result] = []
    columns = _columns(screen, max(len("system"), *(len(pair.short) for pair in pairs)))
    amount = Amount.of(options)
    for result in _results(pairs, settings, options.jobs, amount is Amount.QUIET):
        if not results and amount is not Amount.QUIET:
            screen.show(table(columns, []))
        screen.show(table(columns, [_row(result, columns)], heads=False))
        if amount is not Amount.QUIET:
            for part in _more(result, screen, amount, whole=len(pairs) == 1 or options.strict):
                screen.show(part)
        results.append(result)
    strict = [options.strict if getattr(pair, "strict", None) is None else pair.strict for pair in pairs]
    lacking = [
        result
        for result, all_of_it in zip(results, strict, strict=False)
        if all_of_it and unproven_of(result)
    ]
    _write(options, results, lacking, screen, write)
    if amount is not Amount.QUIET:
        for pair in pairs:
            if pair.short != pair.name:
                screen.show(f"{pair.short} is {pair.name}")
    return _end(results, lacking, screen)


def _more(result: Result, screen: Screen, amount: Amount, whole: bool) -> Iterator[RenderableType]:
    """What is shown of a pair under its line."""
    every = amount is Amount.VERBOSE
    yield from (Text(f"  {line}", "yellow") for line in tolerated(result))
    if result.findings:
        yield findings(result.findings, screen, every)
    yield from proven(result, screen, whole=whole or every)
    for text in _laws(result):
        yield f"note: {text}"
    if every:
        yield from details(result, screen)


def _write(
    options: argparse.Namespace,
    results: Sequence[Result],
    lacking: Sequence[Result],
    screen: Screen,
    write: Callable[[str], None] | None,
) -> None:
    """The files that are asked for, and the annotations."""
    if write is not None:
        write(files.json_text(results))
    elif options.json:
        files.write_json(options.json, results)
    if options.html:
        files.write_html(options.html, results)
    reference = getattr(options, "reference", None)
    if getattr(options, "junit", None):
        write_junit(options.junit, results, lacking)
    if getattr(options, "sarif", None):
        write_sarif(options.sarif, results, __version__, reference)
    if getattr(options, "markdown", None):
        write_markdown(options.markdown, results, lacking, reference)
    asked_for = getattr(options, "annotations", None)
    if asked_for or (asked_for is None and os.environ.get("GITHUB_ACTIONS") == "true"):
        for line in annotated(results, reference):
            screen.show(Text(line))


def _end(results: Sequence[Result], lacking: Sequence[Result], screen: Screen) -> int:
    """The last line, and the exit code."""
    verdict = verdict_of((), evaluated=bool(results), parts=[result.verdict for result in results])
    equal = sum(result.verdict is Verdict.EQUAL for result in results)
    screen.show(Text(f"{equal} of {len(results)} EQUAL", COLOURS[verdict]))
    if lacking and verdict is Verdict.EQUAL:
        screen.show(
            Text(f"{len(lacking)} of {len(results)} leave something unproven (--strict)", "bold yellow")
        )
        return Verdict.DIVERGED.exit_code
    return verdict.exit_code


def _laws(result: Result) -> list[str]:
    """What was found of the laws of the first values, once for all comparisons of a pair."""
    found = [text for report in result.reports.values() for text in report.training.get("initialisers", ())]
    return list(dict.fromkeys(found))


def _columns(screen: Screen, longest: int) -> list[Column]:
    """The columns that fit; a name that does not fit is folded."""
    figures = FIGURES if screen.width >= _width(FIGURES) + min(longest, 20) else FEW
    return [Column("system", max(min(longest, screen.width - _width(figures)), 1)), *figures]


def _width(columns: Sequence[Column]) -> int:
    return sum(2 + column.width for column in columns)


def _row(result: Result, columns: Sequence[Column]) -> list[str | Text]:
    cells: dict[str, str | Text] = {
        "system": short(result.name),
        "parameters": f"{result.parameters:,}",
        "float64": f"{result.max_rel_diff:.1e}",
        "float32": "-" if result.float32 is None else f"{result.float32:.1e}",
        "seconds": f"{result.seconds:.1f}",
        "verdict": coloured(result.verdict),
    }
    return [cells[column.head] for column in columns]


def _results(
    pairs: Sequence[asked.Pair], settings: Mapping[str, Any], jobs: int, quiet: bool = False
) -> Iterator[Result]:
    """What checking each pair found, in their order; several at a time in processes of their own."""
    jobs = min(jobs, len(pairs))

    def shown(number: int, pair: asked.Pair) -> AbstractContextManager[None]:
        return nullcontext() if quiet else waiting(f"[{number}/{len(pairs)}] {pair.name}")

    if jobs < 2:
        for number, pair in enumerate(pairs, 1):
            with shown(number, pair):
                result = _checked(pair, settings)
            yield result
        return
    threads = max((os.cpu_count() or 1) // jobs, 1)
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, mp_context=context, initializer=_few_threads, initargs=(threads,)) as pool:
        futures = [pool.submit(_checked, pair, settings) for pair in pairs]
        for number, (pair, future) in enumerate(zip(pairs, futures, strict=True), 1):
            with shown(number, pair):
                result = future.result()
            yield result


def _few_threads(threads: int) -> None:
    """Leave cores for the other processes: more threads would only wait for one another."""
    os.environ |= {"OMP_NUM_THREADS": str(threads), "TF_NUM_INTRAOP_THREADS": str(threads)}


def _checked(pair: asked.Pair, settings: Mapping[str, Any]) -> Result:
    import_frameworks()
    from parity.check import check_pair

    settings = settings if pair.settings is None else pair.settings
    return check_pair(pair.name, pair.keras, pair.torch, pair.pictures, mapping=pair.mapping, **settings)
