"""No false EQUAL: each attempt is stopped, or the report names what it leaves unproven; and no cause is guessed."""

from __future__ import annotations

from typing import Any

import pytest

from tests.attacks import table
from tests.attacks.attempt import EQUAL, STOPPED, Attempt, listed
from tests.attacks.written import Written, conv

ROWS = list(table.rows())
LEAST = 150
"""Attempts that differ in more than the side of the fault."""


@pytest.mark.table(share=2, by=lambda row: (row.kind, row.name))
@pytest.mark.parametrize("row", listed(ROWS))
def test_no_false_equal(row: Attempt) -> None:
    report = row.report()
    assert row.judged(report) != EQUAL, str(report)


def test_there_are_enough_attempts_of_every_kind() -> None:
    assert len({(row.kind, row.name) for row in ROWS}) >= LEAST
    assert len({row.id for row in ROWS}) == len(ROWS), "names must be unique"
    assert {row.side for row in ROWS} == {"keras", "torch"}
    assert all(sum(row.kind == room.KIND for row in ROWS) >= 20 for room in table.ROOMS)


@pytest.mark.parametrize("name", ["30 % more", "nothing"])
def test_an_honest_pair_is_no_stopped_attempt(name: str) -> None:
    """The suite sees a false EQUAL where there is one: an attempt without a fault is EQUAL, and one with it is not."""
    same = Written(lambda xp, m, x: m.c(x), {"c": conv()})
    fault = Written(lambda xp, m, x: m.c(x) * 1.3, {"c": conv()})
    attempt = Attempt("control", name, same, same if name == "nothing" else fault)
    assert attempt.outcome() == (EQUAL if name == "nothing" else STOPPED)


BY_COMMAND = (
    "magnitudes that hide: a fill of 3e38 in one pixel", "magnitudes that hide: a bias of 1e7 in all",
    "outputs that hide the network: labels by argmax; 30 % more", "outputs dropped: a list of numbers",
    "outputs dropped: a dataclass", "weights that differ: kernel behind a dead channel",
    "what a probe does not reach: ReLU6 for ReLU", "what a probe does not reach: odd heights cropped",
    "models that remember: another function from call 3 on",
)  # fmt: skip


@pytest.mark.parametrize(
    "row",
    listed([row for row in ROWS if row.id.startswith(BY_COMMAND)]),
)
def test_the_command_line_stops_it_too(row: Attempt, capfd: Any) -> None:
    assert row.exit_code() in (1, 2) or (row.excused and "unproven" in capfd.readouterr().out)
