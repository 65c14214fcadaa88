"""parity check: each pair, one after the other or several at a time, as lines of a table and as files."""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import Any

from parity.adapters.frameworks import import_frameworks
from parity.check import check_pair
from parity.cli import asked
from parity.core.verdict import Verdict, verdict_of
from parity.report import files, text
from parity.report.result import Result


def run(options: argparse.Namespace) -> int:
    """Copy weights both ways, evaluate both sides on the same pictures, and compare element by element."""
    pairs, settings = asked.pairs(options), asked.settings(options)
    width = max(len(pair.short) for pair in pairs)
    results = []
    print(text.header(width))
    for result in _results(pairs, settings, options.jobs):
        _progress("")
        print(text.row(result, width), flush=True)
        for line in text.listed(result.findings):
            print(line)
        results.append(result)
    if options.json:
        files.write_json(options.json, results)
    if options.html:
        files.write_html(options.html, results)
    for pair in pairs:
        if pair.short != pair.name:
            print(f"{pair.short} is {pair.name}")
    verdicts = [result.verdict for result in results]
    print(f"{verdicts.count(Verdict.EQUAL)} of {len(verdicts)} EQUAL")
    return verdict_of((), evaluated=bool(results), parts=verdicts).exit_code


def _results(pairs: Sequence[asked.Pair], settings: Mapping[str, Any], jobs: int) -> Iterator[Result]:
    """What checking each pair found, in their order; several at a time in processes of their own."""
    jobs = min(jobs, len(pairs))
    if jobs < 2:
        for number, pair in enumerate(pairs, 1):
            _progress(f"[{number}/{len(pairs)}] {pair.name} ...")
            yield _checked(pair, settings)
        return
    threads = max((os.cpu_count() or 1) // jobs, 1)
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, mp_context=context, initializer=_few_threads, initargs=(threads,)) as pool:
        futures = [pool.submit(_checked, pair, settings) for pair in pairs]
        for number, (pair, future) in enumerate(zip(pairs, futures, strict=True), 1):
            _progress(f"[{number}/{len(pairs)}] {pair.name} ...")
            yield future.result()


def _few_threads(threads: int) -> None:
    """Leave cores for the other processes: more threads would only wait for one another."""
    os.environ |= {"OMP_NUM_THREADS": str(threads), "TF_NUM_INTRAOP_THREADS": str(threads)}


def _checked(pair: asked.Pair, settings: Mapping[str, Any]) -> Result:
    import_frameworks()
    return check_pair(pair.name, pair.keras, pair.torch, pair.pictures, mapping=pair.mapping, **settings)


def _progress(line: str) -> None:
    """A line that the next one overwrites, where a person is watching."""
    if sys.stderr.isatty():
        print(f"\r\033[K{line}", end="", file=sys.stderr, flush=True)
