"""Findings of one cause as one entry with its places, the greatest effect first."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from parity.core.finding import Finding, Kind

_STEPS = re.compile(r"(?:\(step |in Keras, )(\S+) in (?:Keras|torch)")
"""The two steps that a finding compares, as its evidence names them."""
NEARLY = 0.5
"""Share of the greatest effect that is shown as well as the greatest."""
PLACES = 6
"""Places of one cause that are listed."""


@dataclass(frozen=True)
class CauseGroup:
    """Findings of one kind, one cause and one fix.

    Attributes:
        numbers: of the findings in execution order, from 1: those that `parity repro` takes.
        findings: the findings themselves.
    """

    numbers: tuple[int, ...]
    findings: tuple[Finding, ...]

    @property
    def main(self) -> Finding:
        """The first finding that has the greatest effect, or nearly."""
        return next(finding for finding in self.findings if effect(finding) >= NEARLY * self.effect)

    @property
    def number(self) -> int:
        """Of the finding that is shown."""
        return self.numbers[self.findings.index(self.main)]

    @property
    def effect(self) -> float:
        """The greatest difference at one of its places, relative to the scale there."""
        return max(map(effect, self.findings))

    @property
    def severity(self) -> str:
        """ "error" where a difference is proven or a side raised, "warning" where equality could not be proven."""
        return "error" if self.main.kind.proves or self.main.kind is Kind.ERROR else "warning"

    @property
    def name(self) -> str:
        """The cause's name, or the kind's where no cause is known."""
        return self.main.cause or self.main.kind.value

    @property
    def rest(self) -> list[Finding]:
        """All findings but the main one."""
        return [finding for finding in self.findings if finding is not self.main]

    @property
    def also(self) -> str:
        """The other places in one line; empty where there are none."""
        places = [finding.place for finding in self.rest]
        more = f" and {len(places) - PLACES} more" if len(places) > PLACES else ""
        return f"the same at {', '.join(places[:PLACES])}{more}" if places else ""

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        found = self.effect
        return {
            "cause": self.main.cause,
            "kind": self.main.kind.value,
            "findings": list(self.numbers),
            "places": [finding.place for finding in self.findings],
            "effect": found if math.isfinite(found) else None,
        }


def effect(finding: Finding) -> float:
    """A finding's difference relative to the scale at its place; infinite where it has none, as a missing call."""
    return math.inf if finding.effect is None else finding.effect


def groups(findings: Sequence[Finding]) -> list[CauseGroup]:
    """One entry for each cause: errors first, and the greatest effect first.

    A finding without a known cause is an entry of its own.
    """
    found: dict[object, list[int]] = {}
    for number, finding in enumerate(findings, 1):
        key = number if finding.cause is None else (finding.kind, finding.cause, _general(finding))
        found.setdefault(key, []).append(number)
    entries = [
        CauseGroup(tuple(numbers), tuple(findings[i - 1] for i in numbers)) for numbers in found.values()
    ]
    return sorted(entries, key=lambda entry: (entry.severity != "error", -entry.effect))


def _general(finding: Finding) -> str:
    """The fix without the places that it names."""
    text = str(finding.fix or "")
    named = {finding.keras_at, finding.torch_at, *_STEPS.findall(finding.evidence)}
    for path in filter(None, (finding.keras, finding.torch)):
        parts = path.split(".")  # a fix may name the layer that holds this one
        named |= {".".join(parts[:end]) for end in range(1, len(parts) + 1)}
    for name in sorted({name for name in named if name}, key=len, reverse=True):
        text = re.sub(rf"(?<!\w){re.escape(name)}(?!\w)", "*", text)  # a layer may be called "a"
    return text
