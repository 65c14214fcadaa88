"""Every cause, seeded in at least three models: found, placed and named; nothing is said of the clean pairs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import parity
from parity.causes import CAUSES
from tests.mutation.faults import FAULTS, Fault
from tests.mutation.models import VICTIMS, clean
from tests.mutation.suite import outcome, training

HEAVY = {"mUnet"}


def named(fault: Fault) -> str:
    return f"{fault.cause}-{fault.victim}-{fault.name}"


@pytest.mark.table(share=4, by=lambda fault: fault.cause)
@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(fault, id=named(fault), marks=[pytest.mark.slow] * (fault.victim in HEAVY))
        for fault in FAULTS
    ],
)
def test_fault_is_found_placed_and_named(fault: Fault) -> None:
    result = outcome(fault)
    assert result.detected, str(result.report)
    assert result.placed, str(result.report)
    assert result.named, str(result.report)
    random = result.report.first.kind == "not-repeatable"  # there is no fix to try
    assert result.verified or random, str(result.report)


@pytest.mark.parametrize("name", VICTIMS)
def test_nothing_is_said_of_a_clean_pair(name: str) -> None:
    report = parity.compare(*clean(name))
    assert report.verdict == "EQUAL", str(report)
    assert not report.findings


def test_every_cause_is_seeded_in_three_models() -> None:
    """In this file's table, or in test_training_faults.py where it shows in training alone."""
    models: dict[str, set[str]] = {}
    for cause, name in [*((fault.cause, fault.victim) for fault in FAULTS), *(row[:2] for row in training())]:
        models.setdefault(cause, set()).add(name)
    assert set(models) == set(CAUSES)
    assert {cause: where for cause, where in models.items() if len(where) < 3} == {}
    readme = (Path(__file__).parents[2] / "README.md").read_text()
    said = re.search(r"more than (\d+) causes", readme)
    assert said, "README must say how many causes are known"
    assert 0 <= len(models) - int(said[1]) < 10
