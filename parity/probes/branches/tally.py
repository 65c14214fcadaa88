"""The branches of all probes together: how many were taken, and in words those that were not."""

from __future__ import annotations

import re
from types import CodeType

from parity.probes.branches.code import Condition
from parity.probes.branches.files import shown
from parity.probes.branches.watch import Seen, Taken, conditions
from parity.report.proof import Share, Unproven, UnprovenKind


class BranchTally:
    """What the passes that were compared have taken so far.

    Attributes:
        codes: the models' own code that ran.
    """

    def __init__(self) -> None:
        self.codes: set[CodeType] = set()
        self._taken: Taken = set()

    def add(self, seen: Seen) -> None:
        """Take one pass into account."""
        self.codes |= seen.codes
        self._taken |= seen.taken

    def share(self) -> Share:
        """Ways taken, of all that a pass with a result can take."""
        possible = self._possible()
        return Share(len(possible & self._taken), len(possible))

    def untaken(self) -> list[Unproven]:
        """One entry for each condition that did not go every way, in the order of the files."""
        ways: dict[Condition, set[bool]] = {}
        for condition, way in self._possible() - self._taken:
            ways.setdefault(condition, set()).add(way)
        ordered = sorted(ways, key=lambda condition: (condition.file, condition.line, str(condition.span)))
        return [self._entry(condition, ways[condition]) for condition in ordered]

    def _possible(self) -> Taken:
        """Conditions with their ways; one that the compiler wrote out several times has the ways of all of them."""
        return {(condition, way) for condition in conditions(self.codes) for way in condition.possible}

    def _entry(self, condition: Condition, ways: set[bool]) -> Unproven:
        place = f"{shown(condition.file)}:{condition.line}"
        test = f"`{condition.text}` " if condition.text else ""
        if len(ways) == 2:
            said = f"{test}was never reached"
        elif condition.loop:
            said = "the loop was never entered" if True in ways else "the loop never came to its end"
        else:
            said = f"{test}was never {'true' if True in ways else 'false'}"
        if re.search(r"\btraining\b", condition.text):
            return Unproven(UnprovenKind.TRAINING, f"{place}: {said} (training)", (place,))
        return Unproven(UnprovenKind.BRANCHES, f"{place}: {said}", (place,))
