"""The command: python -m benchmarks.gpu [--device gpu|cpu] [--budget 420] [--out build/gpu] [--pairs NAME ...]."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.gpu import pairs, plan, steps
from benchmarks.gpu.machine import NoDeviceError, describe
from benchmarks.gpu.modes import set_environment, share_cores
from benchmarks.gpu.record import Record
from benchmarks.gpu.workers import Outcome, Task, Work, run
from parity.catalog import Entry

SMOKE_BUDGET = 60.0
EXITS = """
exit codes: 0 every pair that was asked for was measured in every mode, and all is as expected; 1 not so; 2 it could
not begin.
Expected is EQUAL, and where TF32 moves an output, DIVERGED with TF32 as the only cause.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure what the time allows, and write it down row by row."""
    started = time.monotonic()
    options = read_options(arguments)
    try:
        entries = plan.pairs(options.pairs, options.smoke)
        machine = describe(options.device)
    except (NoDeviceError, ValueError) as error:
        print(f"benchmarks.gpu: {error}", file=sys.stderr)
        return 2
    count = options.jobs or plan.jobs(options.device, float(machine.get("free GiB", 0)))
    share_cores(count)
    settings = {"device": options.device, "budget": options.budget, "smoke": options.smoke, "jobs": count}
    record = Record(options.out, machine, settings)
    record.write()
    keep = Keeper(record, started)
    wanted = [] if options.no_steps else plan.steps(options.smoke)
    ends = plan.times(options.budget, bool(wanted))

    late = keep.run(pairs.check, _pair_tasks(entries, options), count, ends.pairs, keep.pair)
    if wanted:
        set_environment(options.device, deterministic=False)  # the fastest kernels
        tasks = [Task(_title(step), (step, options.device, 3 if options.smoke else 7)) for step in wanted]
        keep.run(steps.measure, tasks, 1, ends.steps, keep.step)
        set_environment(options.device, machine["xla deterministic"] == "yes")
    if late:
        keep.run(pairs.check, late, count, ends.steps, keep.pair)
    complete = {(row["pair"], row["mode"]) for row in record.pairs} >= {
        (entry.name, mode) for entry in entries for mode in options.modes
    }
    record.state = "stopped: the time was up" if record.not_run else "finished"
    keep.write()
    print((options.out / "results.md").read_text(encoding="utf-8"))
    return 0 if complete and not record.unexpected else 1


class Keeper:
    """Adds what comes in to the record, and says it in a line."""

    def __init__(self, record: Record, started: float) -> None:
        self.record, self.started = record, started

    def run(
        self, work: Work, tasks: Sequence[Task], count: int, seconds: float, keep: Callable[[Any], None]
    ) -> list[Task]:
        """Run the tasks until `seconds` after the start; returns those that may be run again."""
        found: Outcome = run(work, tasks, count, self.started + seconds, keep)
        self.record.not_run = {
            name: why
            for name, why in self.record.not_run.items()
            if name not in {task.name for task in tasks}
        } | found.unfinished
        self.write()
        return found.late

    def pair(self, row: dict[str, Any]) -> None:
        """A row of a pair; one measured again replaces the first."""
        same = [(old["pair"], old["mode"]) == (row["pair"], row["mode"]) for old in self.record.pairs]
        self.record.pairs = [old for old, is_same in zip(self.record.pairs, same, strict=True) if not is_same]
        self.record.pairs.append(row)
        mark = "" if row["expected"] else "  NOT EXPECTED"
        figures = f"{row['max_rel_diff']:.1e} {row['seconds']:6.1f} s"
        self._said(f"{row['pair']:24} {row['mode']:9} {row['verdict']:13} {figures}{mark}")

    def step(self, row: dict[str, Any]) -> None:
        """A row of a training step."""
        self.record.steps.append(row)
        self._said(
            f"{row['network']:24} {row['precision']:9} batch {row['batch']:3} {row['ms']:9.2f} ms, "
            f"{row['times_dlstudio']:.2f} of DLStudio's speed, {100 * row['share_of_peak']:.1f} % of the peak"
        )

    def write(self) -> None:
        """Both files, as of now."""
        self.record.seconds = time.monotonic() - self.started
        self.record.write()

    def _said(self, line: str) -> None:
        self.write()
        print(f"{self.record.seconds:6.1f}  {line}", flush=True)


def _pair_tasks(entries: Sequence[Entry], options: argparse.Namespace) -> list[Task]:
    modes = tuple(plan.MODES[name] for name in options.modes)
    return [
        Task(
            entry.name,
            (
                entry.name,
                *_specs(entry, options.full),
                entry.input,
                modes,
                options.device,
                not options.probes,
            ),
        )
        for entry in entries
    ]


def _specs(entry: Entry, full: bool) -> tuple[str, str]:
    """Both sides' names, with the arguments that `parity check --all` takes unless the full network is asked for."""
    if entry.quick and not full:
        entry = replace(
            entry,
            keras=entry.keras.partition("(")[0] + entry.quick,
            torch=entry.torch.partition("(")[0] + entry.quick,
        )
    return entry.keras, entry.torch


def _title(step: plan.Step) -> str:
    return f"training step, {step.network}, {step.precision}, batch {step.batch}"


def read_options(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.gpu",
        description=__doc__,
        epilog=EXITS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--device", choices=("gpu", "cpu"), default="gpu", help="cpu tries the script (gpu)")
    parser.add_argument("--budget", type=float, help="seconds for everything (420; with --smoke 60)")
    parser.add_argument(
        "--out", type=Path, default=Path("build/gpu"), help="folder of the results (build/gpu)"
    )
    parser.add_argument("--jobs", type=int, default=0, help="pairs at a time (by cores and free memory)")
    parser.add_argument("--pairs", nargs="+", default=(), metavar="NAME", help="these pairs alone")
    parser.add_argument(
        "--modes", nargs="+", choices=tuple(plan.MODES), default=tuple(plan.MODES), help="of them (all)"
    )
    parser.add_argument(
        "--smoke", action="store_true", help="a handful of pairs, and one small training step"
    )
    parser.add_argument(
        "--full", action="store_true", help="large networks as they are, not with fewer channels"
    )
    parser.add_argument("--probes", action="store_true", help="further probes of each pair: minutes more")
    parser.add_argument("--no-steps", action="store_true", help="the pairs alone")
    options = parser.parse_args(arguments)
    if options.budget is None:
        options.budget = SMOKE_BUDGET if options.smoke else 420.0
    return options


if __name__ == "__main__":
    sys.exit(main())
