"""Watches which ways conditions go: with sys.monitoring where Python has it, else with a trace function."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from types import CodeType, FrameType
from typing import Any

from parity.adapters.sites.unwatched import watches
from parity.probes.branches.code import Condition, Jump, jumps
from parity.probes.branches.files import OwnFiles

Taken = set[tuple[Condition, bool]]
"""Conditions with the way that they went; those of code that ran and never got to them have no entry."""


class Seen:
    """What one pass did.

    Attributes:
        codes: the models' own code that ran.
        taken: the ways that its conditions went.
    """

    def __init__(self) -> None:
        self.codes: set[CodeType] = set()
        self.taken: Taken = set()


@contextmanager
def watching(files: OwnFiles) -> Iterator[Seen]:
    """While this is open, see which ways the conditions in these files go, in this thread.

    A debugger or a coverage tool that traces is put back afterwards; with sys.monitoring it goes on meanwhile.
    """
    seen = Seen()
    how = _monitored if hasattr(sys, "monitoring") else _traced
    with how(files, seen):
        yield seen


# --- Python 3.11: a trace function ---------------------------------------------------------------------


@contextmanager
def _traced(files: OwnFiles, seen: Seen) -> Iterator[None]:
    known: dict[CodeType, dict[int, Jump]] = {}
    foreign = set[str]()  # looked up by name: a code object is hashed anew each time, by all that it holds

    def enter(frame: FrameType, event: str, argument: Any) -> Any:
        code = frame.f_code
        if code.co_filename in foreign:
            return None
        if code.co_filename not in files:
            foreign.add(code.co_filename)
            return None
        if code not in known:
            known[code] = jumps(code)
        of_code = known[code]
        seen.codes.add(code)
        if not of_code:
            return None
        frame.f_trace_lines, frame.f_trace_opcodes = False, True
        return _follower(of_code, seen.taken)

    before = sys.gettrace()
    sys.settrace(enter)
    try:
        with watches(enter):
            yield
    finally:
        if sys.gettrace() is enter:  # a breakpoint in the model put a debugger there, which goes on
            sys.settrace(before)


def _follower(of_code: dict[int, Jump], taken: Taken) -> Callable[..., Any]:
    """Sees the instructions of one frame: what runs after a conditional jump says which way it went."""
    waiting: tuple[int, Jump] | None = None

    def follow(frame: FrameType, event: str, argument: Any) -> Any:
        nonlocal waiting
        if event == "opcode":
            offset = frame.f_lasti
            if waiting is not None:
                taken.add((waiting[1].condition, waiting[1].way(waiting[0], offset)))
            jump = of_code.get(offset)
            waiting = None if jump is None else (offset, jump)
        elif event == "exception":
            waiting = None  # the test itself raised
        return follow

    return follow


# --- Python 3.12 and later: sys.monitoring --------------------------------------------------------------


@contextmanager
def _monitored(files: OwnFiles, seen: Seen) -> Iterator[None]:
    monitoring: Any = sys.monitoring  # type: ignore[attr-defined]
    events = monitoring.events
    tool = next((number for number in (4, 3, 5, 2, 1, 0) if monitoring.get_tool(number) is None), None)
    if tool is None:
        yield
        return

    def started(code: CodeType, offset: int) -> Any:
        if code.co_filename in files:
            seen.codes.add(code)
            if jumps(code):
                monitoring.set_local_events(tool, code, events.BRANCH)
        return monitoring.DISABLE

    def branched(code: CodeType, offset: int, target: int) -> None:
        jump = jumps(code).get(offset)
        if jump is not None:
            seen.taken.add((jump.condition, jump.way(offset, target)))

    monitoring.use_tool_id(tool, "parity")
    try:
        monitoring.register_callback(tool, events.PY_START, started)
        monitoring.register_callback(tool, events.BRANCH, branched)
        monitoring.restart_events()
        monitoring.set_events(tool, events.PY_START)
        yield
    finally:
        monitoring.set_events(tool, 0)
        for code in seen.codes:
            monitoring.set_local_events(tool, code, 0)
        monitoring.register_callback(tool, events.PY_START, None)
        monitoring.register_callback(tool, events.BRANCH, None)
        monitoring.free_tool_id(tool)


def conditions(codes: Iterable[CodeType]) -> list[Condition]:
    """Every condition in code that ran, as often as the compiler wrote it out."""
    return [jump.condition for code in codes for jump in jumps(code).values()]
