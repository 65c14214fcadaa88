"""Causes behind a pairing in doubt: where another pairing that the dataflow allows shows fewer differences, none is named.

Two like branches may have been paired crosswise where another fault kept every run from showing it. The exchange then
looks like a fault of the step that joins them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from parity.core.adapter import Adapter
from parity.core.finding import Finding, Kind
from parity.core.types import Array, Side
from parity.pairing.leftover.listing import listed
from parity.pairing.pair import Pairing
from parity.verdict.where import where
from parity.weights.confirmed import runs

SHIFTED = {Kind.WIRING, Kind.OUTPUT}
"""Findings that layers paired crosswise make."""
COUNTED = SHIFTED | {Kind.LAYER, Kind.SHAPE}
MOST = 3
"""Rivals that are tried."""


def with_rivals_heard(
    findings: list[Finding],
    sides: tuple[Adapter, Adapter],
    pairing: Pairing,
    inputs: Mapping[Side, Sequence[Array]],
) -> list[Finding]:
    """The findings, without a cause where a rival of the pairing shows fewer of them and not this one.

    Args:
        findings: of outputs that differ.
        sides: both sides, Keras first, in float64 already. Their weights are changed for a moment.
        pairing: which layer is which, with the rivals that no run decided.
        inputs: of both sides.
    """
    blamed = [finding for finding in findings if finding.kind in SHIFTED]
    count = sum(finding.kind in COUNTED for finding in findings)
    if not blamed or pairing.open:
        return findings
    for rival in pairing.rivals[:MOST]:
        with runs(*sides, inputs["keras"]) as gap:
            if gap(rival) == float("inf"):
                continue  # its weights or its outputs do not fit
            shown = [one for one in where(sides, inputs, rival, False).findings if one.kind in COUNTED]
        if len(shown) >= count:
            continue
        there = {_place(finding) for finding in shown}
        text = f"not so with {_told(rival, pairing)}: which layer is which is in doubt (mapping= says it)"
        return [
            replace(finding, cause=None, fix=None, fix_verified=False, evidence=f"{finding.evidence}; {text}")
            if finding in blamed and _place(finding) not in there
            else finding
            for finding in findings
        ]
    return findings


def _place(finding: Finding) -> tuple[str | None, str | None, Kind]:
    return finding.keras, finding.torch, finding.kind


def _told(rival: Pairing, pairing: Pairing) -> str:
    """The pairs of a rival that the pairing does not have: "q paired with v, k with u"."""
    known = {(item.keras, item.torch) for item in pairing.pairs}
    own = [f"{p.keras} and {', '.join(p.torch)}" for p in rival.pairs if (p.keras, p.torch) not in known]
    return f"{listed(own, 4)} as pairs"
