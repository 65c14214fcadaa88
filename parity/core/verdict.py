"""The verdict, and the one rule that decides it."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from enum import StrEnum

from parity.core.finding import Finding, Kind
from parity.core.types import Side


class Verdict(StrEnum):
    """What a comparison says of two models.

    Attributes:
        exit_code: what the command line returns for it.
    """

    exit_code: int

    EQUAL = "EQUAL", 0
    DIVERGED = "DIVERGED", 1
    INCONCLUSIVE = "INCONCLUSIVE", 2

    def __new__(cls, value: str, exit_code: int) -> Verdict:
        """A member is its word; exit_code is an attribute."""
        member = str.__new__(cls, value)
        member._value_ = value
        member.exit_code = exit_code
        return member


def verdict_of(
    findings: Iterable[Finding],
    *,
    evaluated: bool,
    noisy: Collection[Side] = (),
    parts: Iterable[Verdict] = (),
) -> Verdict:
    """Decide the verdict from what was found; it fails closed and reads no message.

    DIVERGED: a part is DIVERGED, or a finding proves a difference. Where a side is not repeatable nothing is
    proven by differences, since noise makes them too; but one random side and one repeatable side differ,
    where the cause of the noise is known.
    INCONCLUSIVE: anything else that is not whole: nothing was evaluated, a part is INCONCLUSIVE, or a finding is left.
    EQUAL: both sides were evaluated, and nothing was found.

    Args:
        findings: every difference.
        evaluated: whether both sides gave something that was compared.
        noisy: the sides that are not repeatable.
        parts: verdicts of comparisons that this verdict sums up.
    """
    findings, parts = list(findings), list(parts)
    noise = [finding for finding in findings if finding.kind is Kind.NOT_REPEATABLE]
    if noise or noisy:
        proven = len(set(noisy)) == 1 and any(finding.cause for finding in noise)
    else:
        proven = any(finding.kind.proves for finding in findings)
    if proven or Verdict.DIVERGED in parts:
        return Verdict.DIVERGED
    if findings or noisy or not evaluated or Verdict.INCONCLUSIVE in parts:
        return Verdict.INCONCLUSIVE
    return Verdict.EQUAL
