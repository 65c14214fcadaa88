"""Signals that ask a command to end: held back for a moment, or taken as the keyboard's."""

from __future__ import annotations

import _thread
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

ENDS = ("SIGINT", "SIGTERM", "SIGHUP")
"""The keyboard's, and those of other programs and of a terminal that is closed."""

AGAIN = 0.01
"""Seconds until an interruption that was dropped comes again."""


@contextmanager
def held_back(names: Sequence[str] = ("SIGINT",)) -> Iterator[None]:
    """While this is open, these signals wait; a process that is started here inherits that."""
    if not hasattr(signal, "pthread_sigmask"):  # on Windows
        yield
        return
    numbers = {getattr(signal, name) for name in names}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def let_through() -> None:
    """From now on the keyboard's signal, held back until now, raises KeyboardInterrupt, and none is lost.

    Where one is raised in a destructor or in a callback of the garbage collector, Python prints and drops it. It comes
    again a moment later instead.
    """
    usual = sys.unraisablehook

    def again(dropped: sys.UnraisableHookArgs) -> None:
        if isinstance(dropped.exc_value, KeyboardInterrupt):
            threading.Timer(AGAIN, _thread.interrupt_main).start()
        else:
            usual(dropped)

    sys.unraisablehook = again
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})


def taken_by_default() -> None:
    """From now on the keyboard's signal ends this process at once, also where it was held back until now."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {getattr(signal, name) for name in ENDS})


@contextmanager
def interrupting() -> Iterator[None]:
    """While this is open, whatever asks the process to end raises KeyboardInterrupt."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(number: int, frame: FrameType | None) -> NoReturn:
        raise KeyboardInterrupt

    numbers = [getattr(signal, name) for name in ENDS if hasattr(signal, name)]
    usual = (signal.SIG_DFL, signal.default_int_handler)
    before = {
        number: signal.signal(number, interrupt) for number in numbers if signal.getsignal(number) in usual
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
