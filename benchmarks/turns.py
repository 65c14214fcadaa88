"""What benchmarks share: actions timed in turns, and what the ratios of their times say."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple


def side_by_side(actions: dict[str, Callable[[], Any]], repeat: int) -> dict[str, list[float]]:
    """Times of each action, taken in turns so that a busy machine slows all alike, after one call not counted."""
    times: dict[str, list[float]] = {name: [] for name in actions}
    for turn in range(repeat + 1):
        for name, action in actions.items():
            start = time.perf_counter()
            action()
            if turn:
                times[name].append(time.perf_counter() - start)
    return times


class Spread(NamedTuple):
    """The median of some numbers and the quartiles around it."""

    low: float
    median: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """The quartiles of `values`; of one value, the value."""
        if len(values) == 1:
            return cls(values[0], values[0], values[0])
        return cls(*statistics.quantiles(values, n=4, method="inclusive"))

    def __str__(self) -> str:
        return f"{self.median:.2f} ({self.low:.2f}-{self.high:.2f})"


def ratios(times: dict[str, list[float]], above: str, below: str) -> Spread:
    """The ratio of two actions' times, turn by turn."""
    return Spread.of([a / b for a, b in zip(times[above], times[below], strict=True)])
