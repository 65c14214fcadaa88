"""Colour refinement: vertices keep one colour as long as nothing around them tells them apart.

Only the neighbours of what changed its colour are looked at again, and of a class that falls apart the largest part
keeps its colour. So the work grows with the edges, not with the edges times the length of the longest chain.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence

Near = Sequence[Sequence[tuple[int, int, int]]]
"""For each vertex its neighbours: (how it is one, the mark between, its number). Who is near is so both ways."""


class Refinement:
    """The coarsest colouring in which vertices of one colour have neighbours of the same colours.

    Attributes:
        colour: of each vertex.
    """

    def __init__(self, start: Iterable[Hashable], near: Near) -> None:
        self.near = near
        self.colour = numbered(start)
        self._members: dict[int, set[int]] = {}
        for vertex, colour in enumerate(self.colour):
            self._members.setdefault(colour, set()).add(vertex)
        self._next = len(self._members)
        self._refine(set(range(len(self.colour))))

    def set_apart(self, vertices: Sequence[int]) -> None:
        """Give some vertices one new colour, and refine again."""
        for vertex in vertices:
            self._members[self.colour[vertex]].discard(vertex)
            self.colour[vertex] = self._next
        self._members[self._next] = set(vertices)
        self._next += 1
        self._refine(self._around(vertices).union(vertices))

    def _around(self, vertices: Iterable[int]) -> set[int]:
        return {neighbour for vertex in vertices for _, _, neighbour in self.near[vertex]}

    def _refine(self, waiting: set[int]) -> None:
        """Look at the vertices whose neighbours changed, until none changes."""
        while waiting:
            parts = [part for found in self._by_class(waiting).values() for part in self._apart(found)]
            for part in parts:
                self._members[self.colour[next(iter(part))]] -= part
                self._members[self._next] = part
                for vertex in part:
                    self.colour[vertex] = self._next
                self._next += 1
            waiting = self._around(vertex for part in parts for vertex in part)

    def _by_class(self, vertices: Iterable[int]) -> dict[int, list[int]]:
        found: dict[int, list[int]] = {}
        for vertex in vertices:
            found.setdefault(self.colour[vertex], []).append(vertex)
        return found

    def _apart(self, changed: Sequence[int]) -> list[set[int]]:
        """The parts of one class that get another colour: all but the largest."""
        members = self._members[self.colour[changed[0]]]
        if len(members) == 1:
            return []
        parts: dict[Hashable, set[int]] = {}
        for vertex in changed:
            around = sorted((way, mark, self.colour[other]) for way, mark, other in self.near[vertex])
            parts.setdefault(tuple(around), set()).add(vertex)
        found = list(parts.values())
        if len(changed) < len(members):  # the others see no new colour, and so are a part of their own
            found.append(members.difference(changed))
        found.sort(key=lambda part: (-len(part), min(part)))
        return found[1:]


def numbered(values: Iterable[Hashable]) -> list[int]:
    """Equal values get one number, in the order of their first appearance."""
    known: dict[Hashable, int] = {}
    return [known.setdefault(value, len(known)) for value in values]
