"""Where everything of the picture stands: parts in towers on floors, and the ways of the arrows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import networkx as nx

from house.figures import part_of
from house.imports import FRAMEWORKS, House
from house.layout import Arrow, Layout, Route, place, spread

WIDTH, MARGIN, BETWEEN = 800, 20, 12  # pixels: the whole, its border, and next to each tower
LANE = 7  # pixels between two arrows that pass between the towers
LIMIT = 340  # pixels of a tower's row that boxes are kept to where they can
ROOM, FILE = 42, 26  # heights of a box
NAME, SMALL, BADGE = (
    7.2,
    5.6,
    5.4,
)  # pixels a character of a name, of the line below, and of a badge is wide at most
LEFT_OUT = "__main__"


@dataclass(frozen=True)
class Box:
    """One part of a package: a room, or a file that stands on its own."""

    label: str
    kind: str  # its class in the style: "parity", "datasets" or "half"
    modules: int  # 0 for a file
    frameworks: tuple[str, ...]

    @property
    def height(self) -> int:
        """Pixels."""
        return ROOM if self.modules else FILE

    @property
    def width(self) -> float:
        """Room for the name, the line below it, and the badges, in pixels."""
        badges = sum(badge_width(name) + 3 for name in self.frameworks)
        return max(len(self.label) * NAME, len(self.note) * SMALL, badges) + 16

    @property
    def note(self) -> str:
        """What stands below the name."""
        return f"{self.modules} modules" if self.modules > 1 else "1 module" if self.modules else ""


@dataclass(frozen=True)
class Plan:
    """What is drawn where.

    Attributes:
        boxes: what each part's box says.
        places: each part's floor, and its centre in pixels from the left.
        routes: the arrows that are drawn, as floors and pixels.
        heads: each tower's title and centre.
        crossing: those of them that lead from one tower to another.
        arrows: how many arrows there are, drawn or not.
        width: of the picture in pixels.
        top: the highest floor.
    """

    boxes: Mapping[str, Box]
    places: Mapping[str, tuple[int, float]]
    routes: Mapping[Arrow, Route]
    heads: Sequence[tuple[str, float]]
    crossing: frozenset[Arrow]
    arrows: int
    width: int
    top: int


def plan(house: House, towers: Sequence[str], halves: Sequence[str]) -> Plan:
    """Places the parts of every tower, tower next to tower, each half above the tower that it imports most of.

    Args:
        house: every module and import of `towers` and `halves`.
        towers: the packages that are drawn part by part.
        halves: the packages that are drawn as one box each.
    """
    whole = _whole(house, towers, halves)
    shown = nx.transitive_reduction(whole) if nx.is_directed_acyclic_graph(whole) else whole
    boxes = {part: _box(part, house, halves) for part in whole}
    widths = {part: box.width for part, box in boxes.items()}
    tower_of = {part: _tower_of(part, whole, towers) for part in whole}
    layouts = {
        tower: place(shown.subgraph(part for part in whole if tower_of[part] == tower), widths, LIMIT)
        for tower in towers
    }
    starts, wide = _starts(list(layouts.values()))
    places: dict[str, tuple[int, float]] = {}
    routes: dict[Arrow, Route] = {}
    heads = []
    for (tower, layout), start in zip(layouts.items(), starts, strict=True):
        places |= {part: (layout.floor[part], start + x) for part, x in layout.middle.items()}
        routes |= {arrow: tuple((i, start + x) for i, x in route) for arrow, route in layout.routes.items()}
        named = [*(half for half in halves if tower_of.get(half) == tower), tower]
        heads.append((", ".join(f"{name}/" for name in named), start + layout.width / 2))
    ends = [start + layout.width for start, layout in zip(starts, layouts.values(), strict=True)]
    gaps = [(end + start) / 2 for end, start in zip(ends, starts[1:], strict=False)]
    crossing = _crossing(shown, {part: towers.index(tower) for part, tower in tower_of.items()}, places, gaps)
    return Plan(
        boxes=boxes,
        places=places,
        routes=spread(routes | crossing, widths),
        heads=heads,
        crossing=frozenset(crossing),
        arrows=whole.number_of_edges(),
        width=wide,
        top=max(floor for floor, _ in places.values()),
    )


def _starts(layouts: Sequence[Layout]) -> tuple[list[float], int]:
    """Where each tower begins, and the whole width: what is to spare lies around the towers."""
    needed = sum(layout.width for layout in layouts)
    wide = max(WIDTH, round(needed + BETWEEN * len(layouts) + 2 * MARGIN))
    spare = (wide - 2 * MARGIN - needed) / len(layouts)
    starts, left = [], float(MARGIN)
    for layout in layouts:
        starts.append(left + spare / 2)
        left += layout.width + spare
    return starts, wide


def _whole(house: House, towers: Sequence[str], halves: Sequence[str]) -> nx.DiGraph:
    """The parts of the towers and the halves, and which imports which."""
    graph = nx.DiGraph()
    for name, imported in house.imports.items():
        part = _part(name, house, towers)
        if part.endswith(LEFT_OUT):
            continue
        graph.add_node(part)
        graph.add_edges_from((part, _part(other, house, towers)) for other in imported)
    graph.remove_edges_from([(part, part) for part in graph])
    return graph


def _part(name: str, house: House, towers: Sequence[str]) -> str:
    package = name.split(".")[0]
    return part_of(name, package, house) if package in towers else package


def _tower_of(part: str, whole: nx.DiGraph, towers: Sequence[str]) -> str:
    """The tower that a part belongs to; for a half, the one that it imports most of."""
    package = part.split(".")[0]
    below = [other.split(".")[0] for other in whole.successors(part)]
    return package if package in towers else max(towers, key=below.count)


def _crossing(
    shown: nx.DiGraph,
    tower_of: Mapping[str, int],
    places: Mapping[str, tuple[int, float]],
    gaps: Sequence[float],
) -> dict[Arrow, Route]:
    """Arrows between towers: they pass floors in the gap next to the left one of the two, each in a lane of its own."""
    crossing = [(a, b) for a, b in sorted(shown.edges) if tower_of[a] != tower_of[b]]
    routes = {}
    for lane, (a, b) in enumerate(crossing):
        x = gaps[min(tower_of[a], tower_of[b])] + LANE * (lane - (len(crossing) - 1) / 2)
        floors = range(places[a][0] - 1, places[b][0], -1)
        routes[a, b] = (places[a], *((floor, x) for floor in floors), places[b])
    return routes


def _box(part: str, house: House, halves: Sequence[str]) -> Box:
    """What a part's box says."""
    inside = [name for name in house.modules if name == part or name.startswith(part + ".")]
    own = part.removesuffix(".__init__")
    found = {framework for name in inside or [own] for framework in house.frameworks[name]}
    package, _, label = part.partition(".")
    is_room = bool(inside) and house.modules[part] if part in house.modules else bool(inside)
    return Box(
        label=f"import {package}" if label == "__init__" else label or package,
        kind="half" if part in halves else package,
        modules=sum(not house.modules[name] and not name.endswith("__main__") for name in inside)
        if is_room
        else 0,
        frameworks=tuple(name for name in FRAMEWORKS if name in found),
    )


def badge_width(name: str) -> float:
    """Pixels of a framework's badge."""
    return len(name) * BADGE + 10
