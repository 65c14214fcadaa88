"""`python -m tests.kills --times 100`: kill -9 at random times of train, generate, convert and check.

After each kill every file with a final name must be whole. Then the command runs to its end, into the same place: it must
succeed, and no process may block it that is no more.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.kills.commands import COMMANDS, INPUTS, prepared, with_weights
from tests.suite_records import record

LIMIT = 600
"""Seconds that one whole run may take."""
MOST = 3
"""Runs for each kill that is wanted: some end before they are killed."""


def run(arguments: Sequence[str], kill_after: float | None = None) -> tuple[int, float, str]:
    """Run a command, or kill it and all that it started; returns its code, the seconds, and what it said of errors."""
    start = time.perf_counter()
    environment = {
        **os.environ,
        "TF_CPP_MIN_LOG_LEVEL": "2",
        "OMP_NUM_THREADS": "1",
        "TF_NUM_INTRAOP_THREADS": "1",
    }
    process = subprocess.Popen(
        arguments, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True, env=environment
    )
    try:
        _, said = process.communicate(timeout=LIMIT if kill_after is None else kill_after)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        _, said = process.communicate()
    return process.returncode, time.perf_counter() - start, said.decode("utf-8", "replace")


def kill_often(name: str, home: Path, times: int, rng: random.Random) -> dict[str, Any]:
    """Kill one command many times; returns how often, and every fault.

    Args:
        name: of the command.
        home: a folder of its own.
        times: kills.
        rng: draws the times.
    """
    command = COMMANDS[name]
    if "convert" in name:
        with_weights(home)
    arguments, faults, killed, reruns = command.arguments(home), list[str](), 0, 0
    code, whole, said = run(arguments)
    if code != 0:
        return {
            "kills": 0,
            "reruns": 0,
            "seconds": whole,
            "faults": [f"the first run ended with {code}: {said[-300:]}"],
        }
    wanted = command.result(home)
    begin, number = time.perf_counter(), 0
    while killed < times and number < MOST * times:  # a run that ends before its kill is none
        number += 1
        if (number - 1) % command.finish_every == 0:
            clear(home)
        # The last part of a run is where files are written; half of the kills fall there.
        after = rng.uniform(0.6 if rng.random() < 0.5 else 0.02, 1.0) * whole
        code, _, said = run(arguments, after)
        killed += code == -signal.SIGKILL
        if code not in (0, -signal.SIGKILL):
            faults.append(
                f"kill {number} after {after:.2f} s: the run ended by itself with {code}: {said[-300:]}"
            )
        try:
            command.writes(home)
        except Exception as error:  # whatever a reader says of half a file
            faults.append(f"kill {number} after {after:.2f} s: {type(error).__name__}: {error}")
        if number % command.finish_every == 0 or killed == times:
            code, whole, said = run(arguments)
            reruns += 1
            if code != 0:
                faults.append(f"the run after kill {number} ended with {code}: {said[-300:]}")
            elif (found := command.result(home)) != wanted:
                other = sorted(
                    key for key in wanted.keys() | found.keys() if wanted.get(key) != found.get(key)
                )
                faults.append(f"the run after kill {number} gave other bits: {', '.join(other[:5])}")
    seconds = round(time.perf_counter() - begin, 1)
    return {"kills": killed, "reruns": reruns, "seconds": seconds, "faults": faults}


def clear(home: Path) -> None:
    """Take away what a run wrote, so that the next one begins anew; what it reads stays."""
    for path in home.iterdir():
        if path.name not in INPUTS:
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns 0 where nothing was wrong, 1 where anything was."""
    parser = argparse.ArgumentParser("python -m tests.kills", description=__doc__)
    parser.add_argument(
        "--times", type=int, default=100, metavar="N", help="kills of all commands; default: %(default)s"
    )
    parser.add_argument("--command", action="append", choices=list(COMMANDS), help="this one; default: all")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the times; default: %(default)s")
    parser.add_argument("--json", type=Path, metavar="F", help="where the figures go")
    options = parser.parse_args(arguments)
    names = [
        name
        for name in options.command or COMMANDS
        if all(importlib.util.find_spec(package) for package in COMMANDS[name].needs)
    ]
    results, rng = {}, random.Random(options.seed)
    total, before = sum(COMMANDS[name].share for name in names), 0
    for name in names:
        after = before + COMMANDS[name].share
        times = options.times * after // total - options.times * before // total
        before = after
        with tempfile.TemporaryDirectory(prefix="kills-") as folder:
            results[name] = kill_often(name, prepared(Path(folder) / "home"), times, rng)
        print(f"{name}: {results[name]}", flush=True)
    command = ["tests.kills", "--times", str(options.times)]
    return record(results, "kills", "faults", "commands", command, options.seed, options.json)


if __name__ == "__main__":
    sys.exit(main())
