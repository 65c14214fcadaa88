"""parity check: each pair, one after the other or several at a time, as lines of a table and as files."""

from __future__ import annotations

import argparse
import multiprocessing
import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import Any

from rich.text import Text

from parity.adapters.frameworks import import_frameworks
from parity.check import check_pair
from parity.cli import asked
from parity.cli.terminal import COLOURS, Column, Screen, coloured, findings, proven, table, waiting
from parity.core.verdict import Verdict, verdict_of
from parity.report import files
from parity.report.rests import unproven_of
from parity.report.result import Result
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
    screen = Screen()
    columns = _columns(screen, max(len("system"), *(len(pair.short) for pair in pairs)))
    screen.show(table(columns, []))
    results = []
    for result in _results(pairs, settings, options.jobs):
        screen.show(table(columns, [_row(result, columns)], heads=False))
        if result.findings:
            screen.show(findings(result.findings, screen))
        for line in proven(result, screen, whole=len(pairs) == 1 or options.strict):
            screen.show(line)
        for text in _laws(result):
            screen.show(f"note: {text}")
        results.append(result)
    if options.json:
        files.write_json(options.json, results)
    if options.html:
        files.write_html(options.html, results)
    for pair in pairs:
        if pair.short != pair.name:
            screen.show(f"{pair.short} is {pair.name}")
    verdict = verdict_of((), evaluated=bool(results), parts=[result.verdict for result in results])
    equal = sum(result.verdict is Verdict.EQUAL for result in results)
    screen.show(Text(f"{equal} of {len(results)} EQUAL", COLOURS[verdict]))
    lacking = [result for result in results if unproven_of(result)]
    if options.strict and lacking and verdict is Verdict.EQUAL:
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


def _results(pairs: Sequence[asked.Pair], settings: Mapping[str, Any], jobs: int) -> Iterator[Result]:
    """What checking each pair found, in their order; several at a time in processes of their own."""
    jobs = min(jobs, len(pairs))
    if jobs < 2:
        for number, pair in enumerate(pairs, 1):
            with waiting(f"[{number}/{len(pairs)}] {pair.name}"):
                result = _checked(pair, settings)
            yield result
        return
    threads = max((os.cpu_count() or 1) // jobs, 1)
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, mp_context=context, initializer=_few_threads, initargs=(threads,)) as pool:
        futures = [pool.submit(_checked, pair, settings) for pair in pairs]
        for number, (pair, future) in enumerate(zip(pairs, futures, strict=True), 1):
            with waiting(f"[{number}/{len(pairs)}] {pair.name}"):
                result = future.result()
            yield result


def _few_threads(threads: int) -> None:
    """Leave cores for the other processes: more threads would only wait for one another."""
    os.environ |= {"OMP_NUM_THREADS": str(threads), "TF_NUM_INTRAOP_THREADS": str(threads)}


def _checked(pair: asked.Pair, settings: Mapping[str, Any]) -> Result:
    import_frameworks()
    return check_pair(pair.name, pair.keras, pair.torch, pair.pictures, mapping=pair.mapping, **settings)
