"""Processes that do the work: several at a time, with an end to their time; one that dies costs only its own task."""

from __future__ import annotations

import multiprocessing
import multiprocessing.connection
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

Row = dict[str, Any]
Work = Callable[..., Iterable[Row]]
"""A module's own function of a task's arguments, which gives rows one by one."""


@dataclass(frozen=True)
class Task:
    """One call of a work function: its name for the records, and the arguments."""

    name: str
    arguments: tuple[Any, ...]


@dataclass
class Outcome:
    """What became of the tasks: the unfinished ones, with the reason."""

    unfinished: dict[str, str] = field(default_factory=dict)
    late: list[Task] = field(default_factory=list)


def run(work: Work, tasks: Sequence[Task], jobs: int, end: float, keep: Callable[[Row], None]) -> Outcome:
    """Do the tasks in their order, `jobs` at a time, until they are done or the time is up.

    Args:
        work: called in a worker process; every row that it gives is kept at once.
        tasks: in the order in which they begin.
        jobs: worker processes.
        end: of the time, on the clock `time.monotonic()`. Whatever runs then is ended.
        keep: gets each row, in this process.

    Returns:
        What was not finished: `late` tasks may be run again; a task that ended its process is not among them.
    """
    found = Outcome()
    waiting = list(tasks)
    workers = [_Worker(work) for _ in range(min(jobs, len(tasks)))]
    try:
        while time.monotonic() < end:
            for worker in workers:
                if worker.task is None and waiting:
                    worker.begin(waiting.pop(0))
            busy = [worker for worker in workers if worker.task is not None]
            if not busy:
                break
            left = max(end - time.monotonic(), 0.0)
            ready = multiprocessing.connection.wait([worker.pipe for worker in busy], left)
            for worker in busy:
                if worker.pipe in ready:
                    _hear(worker, found, keep)
        found.late = [worker.task for worker in workers if worker.task is not None] + waiting
        found.unfinished |= {task.name: "the time was up" for task in found.late}
    finally:
        for worker in workers:
            worker.close()
    return found


def _hear(worker: _Worker, found: Outcome, keep: Callable[[Row], None]) -> None:
    """Take one message of a worker; where its process has ended, say so and start another."""
    assert worker.task is not None
    try:
        kind, value = worker.pipe.recv()
    except (EOFError, OSError):
        worker.close()
        found.unfinished[worker.task.name] = f"its process ended with exit code {worker.process.exitcode}"
        worker.start()
        return
    if kind == "row":
        keep(value)
        worker.suspect |= not value.get("expected", True)
        return
    if kind == "error":
        found.unfinished[worker.task.name] = value
    if kind == "error" or worker.suspect:
        worker.close()
        worker.start()
    worker.task = None


class _Worker:
    """A process that is given one task after the other."""

    def __init__(self, work: Work) -> None:
        self.work = work
        self.start()

    def start(self) -> None:
        """Begin a process, without a task."""
        context = multiprocessing.get_context("spawn")
        self.task: Task | None = None
        self.suspect = False  # an error of the card stays in its process: the next task gets a fresh one
        self.pipe, other = context.Pipe()
        self.process = context.Process(target=_serve, args=(self.work, other), daemon=True)
        self.process.start()
        other.close()  # so that the end of the process is the end of the pipe

    def begin(self, task: Task) -> None:
        """Give it a task."""
        self.task = task
        self.pipe.send(task)

    def close(self) -> None:
        """End the process, whatever it is doing."""
        self.pipe.close()
        self.process.kill()
        self.process.join()


def _serve(work: Work, pipe: Any) -> None:
    """What the process does."""
    while True:
        try:
            task = pipe.recv()
        except EOFError:
            return
        try:
            for row in work(*task.arguments):
                pipe.send(("row", row))
        except Exception as error:  # any pair, any error: it is a result, and the others go on
            pipe.send(("error", " ".join(f"{type(error).__name__}: {error}".split())[:500]))
        else:
            pipe.send(("done", None))
