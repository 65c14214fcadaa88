"""No false DIVERGED: equal pairs that rounding pulls apart are EQUAL, and nothing is blamed for the rounding."""

from __future__ import annotations

import pytest

from tests.attacks import table
from tests.attacks.hostile.pair import Hostile

PAIRS = list(table.hostile())
LEAST = 60

PARAMETERS = [pytest.param(row, dtype, id=f"{row.id}, {dtype}") for row, dtype in PAIRS]


@pytest.mark.table(share=2, by=lambda row, dtype: row.name)
@pytest.mark.parametrize(("row", "dtype"), PARAMETERS)
def test_equal_is_equal(row: Hostile, dtype: str) -> None:
    report = row.report(dtype)
    assert report.verdict == "EQUAL", str(report)
    assert not [finding.cause for finding in report.findings if finding.cause], str(report)


def test_there_are_enough_pairs() -> None:
    assert len({(row.kind, row.name) for row, _ in PAIRS}) >= LEAST
    assert set(table.LOWER) <= {row.name for row, _ in PAIRS}
