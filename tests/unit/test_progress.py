"""What a comparison is at is said as it goes, to whoever listens."""

from __future__ import annotations

import numpy as np
import pytest
from torch import nn

import parity
from parity.verdict.runs.progress import heard
from tests.unit.test_budget import pair


@pytest.mark.parametrize(
    ("equal", "stages"),
    [(True, ["pairing", "forward", "probes"]), (False, ["pairing", "forward", "localising", "causes"])],
)
def test_every_stage_is_said(equal: bool, stages: list[str]) -> None:
    model, module = pair()
    if equal:
        for part in module:
            if isinstance(part, nn.GELU):
                part.approximate = "none"
    inputs = np.random.default_rng(0).standard_normal((4, 6)).astype(np.float32)
    parity.transfer(model, module, inputs=inputs)
    said: list[str] = []
    with heard(said.append):
        report = parity.compare(model, module, inputs)
    parity.compare(model, module, inputs)  # nobody listens now
    assert bool(report) == equal
    assert list(dict.fromkeys(said)) == stages  # what is judged again says its stages again
