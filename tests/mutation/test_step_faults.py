"""Steps without weights that differ: found at their line, and named by the change of one torch step that settles them."""

from __future__ import annotations

import pytest

import parity
from tests.mutation.steps import CASES, MODELS, Case, pair

BOTH = [(case, name) for case in CASES for name in MODELS]
NAMES = [f"{case.cause}-{case.name}-{name}".replace(" ", "-") for case, name in BOTH]


@pytest.mark.table(share=3, by=lambda case, name: case)
@pytest.mark.parametrize(("case", "name"), BOTH, ids=NAMES)
def test_a_step_is_named_with_a_fix_that_was_tried(case: Case, name: str) -> None:
    model, module, values = pair(case, name, wrong=True)
    parity.transfer(model, module)
    report = parity.compare(model, module, values)
    first = report.first
    assert report.verdict == "DIVERGED"
    assert first is not None
    assert {finding.cause for finding in report.findings} == {case.cause}, str(report)
    assert first.fix_verified, str(report)
    assert "steps.py:" in str(first.torch_at)


@pytest.mark.table(share=3, by=lambda case, name: case)
@pytest.mark.parametrize(("case", "name"), BOTH, ids=NAMES)
def test_the_same_step_is_equal(case: Case, name: str) -> None:
    model, module, values = pair(case, name, wrong=False)
    parity.transfer(model, module)
    report = parity.compare(model, module, values)
    assert report.verdict == "EQUAL", str(report)
