"""How much work the search for causes may take, counted in comparisons of tensors and not in seconds: runs repeat.

A finding stays what it is where the work is used up; only its cause is not named, and it says so.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

WORK = 500_000
"""Units for one comparison of two models: about a minute on one core."""

ELEMENTS = 1_000
"""Elements of a tensor that make one unit more."""

USED_UP = "; its cause was not looked for: the {:,} comparisons of tensors set aside for it were used up"


class BudgetSpent(BaseException):
    """The work set aside for one place is used up. No Exception: those are caught wherever a model is run."""


class Budget:
    """Work that several places share: what one leaves is there for the others.

    Args:
        work: units altogether.
    """

    def __init__(self, work: int) -> None:
        self.left = work
        self.share = 0
        self._used = 0

    @contextmanager
    def shared(self, places: int) -> Iterator[None]:
        """The work of one of so many places that are still to come, this one among them."""
        self.share, self._used = self.left // max(places, 1), 0
        token = _running.set(self)
        try:
            yield
        finally:
            _running.reset(token)
            self.left -= min(self._used, self.share)

    def spend(self, units: int) -> None:
        """Count some work.

        Raises:
            BudgetSpent: this place's share is used up.
        """
        self._used += units
        if self._used > self.share:
            raise BudgetSpent


_running: ContextVar[Budget | None] = ContextVar("budget of the search for causes", default=None)


def spend(elements: int, times: int = 1) -> None:
    """Count comparisons of so many elements each, where a search is going on.

    Raises:
        BudgetSpent: the share of the place that is looked at is used up.
    """
    budget = _running.get()
    if budget is not None:
        budget.spend(times * (1 + elements // ELEMENTS))
