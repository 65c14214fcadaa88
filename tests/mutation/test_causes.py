"""Every cause, seeded in at least three models: found, placed and named; nothing is said of the clean pairs."""

from __future__ import annotations

import pytest

import parity
from parity.causes import CAUSES
from tests.mutation.faults import FAULTS, Fault
from tests.mutation.models import VICTIMS, clean
from tests.mutation.suite import outcome

TRAINING = {  # tests/mutation/test_training_faults.py
    "batchnorm-momentum", "batchnorm-running-variance", "batchnorm-frozen", "dropout-rate", "shared-layer-duplicated",
    "loss-reduction", "sgd-learning-rate-in-buffer", "adam-epsilon", "weight-decay-coupling", "gradient-clipping",
}  # fmt: skip
HEAVY = {"mUnet"}


def named(fault: Fault) -> str:
    return f"{fault.cause}-{fault.victim}-{fault.name}"


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


@pytest.mark.parametrize("name", VICTIMS)
def test_nothing_is_said_of_a_clean_pair(name: str) -> None:
    report = parity.compare(*clean(name))
    assert report.verdict == "EQUAL", str(report)
    assert not report.findings


def test_every_cause_of_a_forward_pass_is_seeded_in_three_models() -> None:
    models: dict[str, set[str]] = {}
    for fault in FAULTS:
        models.setdefault(fault.cause, set()).add(fault.victim)
    assert set(models) <= set(CAUSES)
    assert {cause for cause, where in models.items() if len(where) < 3} == set()
    ours_alone = (
        set(CAUSES) - set(models) - TRAINING
    )  # named beyond the list of known faults; tests/mutation/test_natural_faults.py
    assert ours_alone == {
        "padding-size", "stride-value", "dilation-value", "groupnorm-epsilon", "activation-kind", "resize-mode",
        "skip-missing",
    }  # fmt: skip
