"""What speaks for each pair of free units, kept up to date: what a new pair does not touch is not asked again."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from parity.pairing.dataflow.units import Unit

MARGIN = 1e-9
"""Scores that are as near as this are equal."""

Choice = tuple[float, Unit, Unit, list[Unit]]
"""A score, a Keras unit, a torch unit that has it, and all torch units that have it for this Keras unit."""


class Frontier:
    """The scores of free Keras units with free torch units, and which pairs are each other's one best choice.

    Args:
        units: the Keras units, in order.
        scored: what speaks for each free torch unit that a Keras unit may go to.
    """

    def __init__(self, units: Sequence[Unit], scored: Callable[[Unit], dict[Unit, float]]) -> None:
        self._order = {unit: i for i, unit in enumerate(units)}
        self._scored = scored
        self.scores: dict[Unit, dict[Unit, float]] = {}
        self._claims: dict[Unit, dict[Unit, float]] = {}
        self._near: dict[Unit, list[Unit]] = {}
        self._nearest_to: dict[Unit, set[Unit]] = {}
        self._stale = dict.fromkeys(units)
        self._open: set[Unit] = set()
        self._sure: dict[Unit, list[Choice]] = {}
        self._tied: dict[Unit, list[Choice]] = {}

    def touched(self, keras: Unit) -> None:
        """Something else speaks for this Keras unit now."""
        if keras in self._order:
            self._stale[keras] = None

    def taken(self, keras: Unit, torch: Unit) -> None:
        """These two are no longer free."""
        self._order.pop(keras, None)
        self._replace(keras, {})
        for place in (self.scores, self._stale, self._sure, self._tied):
            place.pop(keras, None)
        self._open |= self._nearest_to.pop(torch, set())
        for rival in self._claims.pop(torch, ()):
            del self.scores[rival][torch]

    def sure(self) -> list[Choice]:
        """Pairs that are each other's one best choice, in the order of the Keras units."""
        self._settle()
        return self._in_order(self._sure)

    def tied(self) -> list[Choice]:
        """Best choices of a Keras unit among several as good, in the order of the Keras units."""
        self._settle()
        return self._in_order(self._tied)

    def _in_order(self, choices: dict[Unit, list[Choice]]) -> list[Choice]:
        return [choice for unit in sorted(choices, key=self._order.__getitem__) for choice in choices[unit]]

    def _settle(self) -> None:
        """Bring scores and choices up to date."""
        for keras in self._stale:
            self._open.add(keras)
            self._replace(keras, self._scored(keras))
        self._stale = {}
        waiting = list(self._open & self._order.keys())
        for keras in waiting:
            self._look(keras)
        # Whoever is nearest to the same torch units as these were, or are now, is judged with them.
        for keras in self._open & self._order.keys():
            choices = list(self._choices(keras))
            for kept, single in ((self._sure, True), (self._tied, False)):
                kept.pop(keras, None)
                found = [choice for sure, choice in choices if sure == single]
                if found:
                    kept[keras] = found
        self._open = set()

    def _replace(self, keras: Unit, new: dict[Unit, float]) -> None:
        """Other scores for a Keras unit: whoever is nearest to the same torch units is judged again."""
        old = self.scores.get(keras, {})
        for torch in old.keys() | new.keys():
            if old.get(torch) != new.get(torch):
                claims = self._claims.setdefault(torch, {})
                if torch in new:
                    claims[keras] = new[torch]
                else:
                    claims.pop(keras, None)
                self._open |= self._nearest_to.get(torch, set())
        if keras not in self._order:
            for torch in self._near.pop(keras, ()):
                self._nearest_to.get(torch, set()).discard(keras)
        self.scores[keras] = new

    def _look(self, keras: Unit) -> None:
        """Which torch units have the greatest score for a Keras unit."""
        for torch in self._near.get(keras, ()):
            self._nearest_to.get(torch, set()).discard(keras)
        found = self.scores[keras]
        top = max(found.values(), default=0.0)
        self._near[keras] = [torch for torch, score in found.items() if score > top - MARGIN]
        for torch in self._near[keras]:
            self._nearest_to.setdefault(torch, set()).add(keras)

    def _choices(self, keras: Unit) -> Iterator[tuple[bool, Choice]]:
        """The torch units with the greatest score, and whether the pair is each other's one best choice."""
        near = self._near[keras]
        top = max(self.scores[keras].values(), default=0.0)
        for torch in near:
            claims = [score for score in self._claims[torch].values() if score > top - MARGIN]
            single = len(near) == 1 and len(claims) == 1
            if single or max(claims) <= top + MARGIN:
                yield single, (top, keras, torch, near)
