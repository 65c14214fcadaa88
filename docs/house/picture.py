"""The house as one picture: rooms on their floors, and the arrows of the imports."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass

import networkx as nx

from house.figures import part_of
from house.imports import FRAMEWORKS, House
from house.layout import Arrow, Route, place, spread

WIDTH, MARGIN, BETWEEN = 800, 20, 12  # pixels: the whole, its border, and between the two towers
PITCH, HEAD, FOOT = 84, 44, 46  # pixels a floor, above the top floor, and below the lowest
ROOM, FILE = 42, 26  # heights of a box
NAME, SMALL, BADGE = (
    7.2,
    5.6,
    5.4,
)  # pixels a character of a name, of the line below, and of a badge is wide at most
LIMIT = 340  # pixels of a tower's row that boxes are kept to where they can
LEFT_OUT = "__main__"
FONT = "system-ui,-apple-system,'Segoe UI',Roboto,Helvetica,Arial,sans-serif"
STYLE = f"""
text{{font:12px {FONT};fill:#1f2933;text-anchor:middle}}
.ground{{fill:#fff}}.band{{fill:#f5f7f9}}.head{{font-size:15px;font-weight:700}}
.note{{font-size:11px;fill:#5f6c7b}}.left{{text-anchor:start}}.right{{text-anchor:end}}.name{{font-weight:600}}
.box rect{{stroke-width:1.2}}.parity rect{{fill:#ddf0eb;stroke:#2f8f7a}}.datasets rect{{fill:#fcefd6;stroke:#c98a1b}}
.half rect{{fill:#e3eafa;stroke:#4b6cc1}}.file rect{{fill:#fff}}
.arrow{{fill:none;stroke:#7b8794;stroke-width:1.2}}.tip{{fill:#7b8794}}
.badge rect{{stroke:#fff;stroke-width:1}}.badge text{{fill:#fff;font-size:9px;font-weight:600}}
.keras rect,.tensorflow rect,.jax rect{{fill:#b3282d}}.torch rect,.lightning rect{{fill:#d2521c}}
""".strip()


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
        badges = sum(_badge_width(name) + 3 for name in self.frameworks)
        return max(len(self.label) * NAME, len(self.note) * SMALL, badges) + 16

    @property
    def note(self) -> str:
        """What stands below the name."""
        return f"{self.modules} modules" if self.modules > 1 else "1 module" if self.modules else ""


def draw(house: House, towers: Sequence[str], halves: Sequence[str]) -> str:
    """The picture as SVG, 800 pixels wide where the rooms leave it.

    Args:
        house: every module and import of `towers` and `halves`.
        towers: the packages that are drawn room by room, next to one another.
        halves: the packages that are drawn as one box each, above the tower that they import.
    """
    whole = _whole(house, towers, halves)
    shown = nx.transitive_reduction(whole) if nx.is_directed_acyclic_graph(whole) else whole
    boxes = {part: _box(part, house, halves) for part in whole}
    tower_of = {part: _tower_of(part, whole, towers) for part in whole}
    layouts = {
        tower: place(
            shown.subgraph(part for part in whole if tower_of[part] == tower),
            {part: box.width for part, box in boxes.items()},
            LIMIT,
        )
        for tower in towers
    }
    needed = sum(layout.width for layout in layouts.values())
    wide = max(WIDTH, round(needed + BETWEEN * len(towers) + 2 * MARGIN))
    spare = (wide - 2 * MARGIN - needed) / len(towers)
    top = max(floor for layout in layouts.values() for floor in layout.floor.values())
    height = HEAD + PITCH * (top + 1) + FOOT
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {wide} {height}" width="{wide}" height="{height}" '
        'role="img">',
        f"<title>{' and '.join(towers)}: their rooms on floors, and which imports which</title>",
        f"<style>{STYLE}</style>",
        '<defs><marker id="tip" class="tip" viewBox="0 0 8 8" refX="7.4" refY="4" markerWidth="7.5" '
        'markerHeight="7.5" orient="auto"><path d="M0 .8 8 4 0 7.2z"/></marker></defs>',
        f'<rect class="ground" width="{wide}" height="{height}" rx="8"/>',
        *_bands(top, wide),
    ]
    places: dict[str, tuple[int, float]] = {}
    routes: dict[Arrow, Route] = {}
    left, seams = float(MARGIN), [float(MARGIN)]
    for tower, layout in layouts.items():
        offset = left + spare / 2
        head = ", ".join(
            f"{name}/" for name in [*(half for half in halves if tower_of.get(half) == tower), tower]
        )
        lines.append(
            f'<text class="head" x="{offset + layout.width / 2:.1f}" y="26">{html.escape(head)}</text>'
        )
        places |= {part: (layout.floor[part], offset + x) for part, x in layout.middle.items()}
        routes |= {arrow: tuple((i, offset + x) for i, x in route) for arrow, route in layout.routes.items()}
        left += layout.width + spare
        seams.append(left)
    crossing = [(a, b) for a, b in sorted(shown.edges) if tower_of[a] != tower_of[b]]
    seam = dict(zip(towers, seams[1:], strict=True))
    for a, b in crossing:
        between = range(places[a][0] - 1, places[b][0], -1)
        routes[a, b] = (places[a], *((i, seam[tower_of[a]]) for i in between), places[b])
    routes = spread(routes, {part: box.width for part, box in boxes.items()})
    lines += [_arrow(boxes[a], boxes[b], route, top) for (a, b), route in routes.items()]
    lines += [line for part in sorted(boxes) for line in _drawn(boxes[part], *places[part], top)]
    lines += _legend(whole.number_of_edges(), len(routes), wide, height)
    return "\n".join([*lines, "</svg>", ""])


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
    """The tower that a part belongs to; for a half, the first that it imports."""
    package = part.split(".")[0]
    if package in towers:
        return package
    below = {other.split(".")[0] for other in whole.successors(part)}
    return next((tower for tower in towers if tower in below), towers[-1])


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


def _bands(top: int, wide: int) -> list[str]:
    """Every second floor has a ground of its own, and each its number at both sides."""
    lines = []
    for floor in range(top + 1):
        y = HEAD + PITCH * (top - floor)
        if floor % 2 == top % 2:
            lines.append(f'<rect class="band" y="{y}" width="{wide}" height="{PITCH}"/>')
        for side, x in (("left", 8), ("right", wide - 8)):
            lines.append(f'<text class="note {side}" x="{x}" y="{y + PITCH / 2 + 4:.0f}">{floor}</text>')
    return lines


def _middle(floor: int, top: int) -> float:
    return HEAD + PITCH * (top - floor) + PITCH / 2


def _drawn(box: Box, floor: int, x: float, top: int) -> list[str]:
    """A box with its name, its note, and a badge for each framework on its lower edge."""
    y = _middle(floor, top)
    first = y - 3 if box.note else y + 4
    lines = [
        f'<g class="box {box.kind}{"" if box.modules else " file"}"><rect x="{x - box.width / 2:.1f}" '
        f'y="{y - box.height / 2:.1f}" width="{box.width:.1f}" height="{box.height}" rx="6"/>',
        f'<text class="name" x="{x:.1f}" y="{first:.1f}">{html.escape(box.label)}</text>',
    ]
    if box.note:
        lines.append(f'<text class="note" x="{x:.1f}" y="{first + 14:.1f}">{box.note}</text>')
    lines.append("</g>")
    left = x - sum(_badge_width(name) + 3 for name in box.frameworks) / 2
    for name in box.frameworks:
        wide = _badge_width(name)
        lines.append(
            f'<g class="badge {name}"><rect x="{left:.1f}" y="{y + box.height / 2 - 6:.1f}" width="{wide:.1f}" '
            f'height="13" rx="6.5"/><text x="{left + wide / 2:.1f}" y="{y + box.height / 2 + 3.5:.1f}">{name}</text></g>'
        )
        left += wide + 3
    return lines


def _badge_width(name: str) -> float:
    return len(name) * BADGE + 10


def _arrow(start: Box, end: Box, route: Route, top: int) -> str:
    """A curve that is upright where it leaves, passes boxes and enters, and bent between the floors."""
    (first, x), *bends, (last, end_x) = route
    y = (
        _middle(first, top) + start.height / 2 + (7 if start.frameworks else 0)
    )  # badges stand on the lower edge
    path = f"M{x:.1f} {y:.1f}"
    for floor, bend in bends:
        path += _curve(x, y, bend, _middle(floor, top) - ROOM / 2) + f"v{ROOM}"
        x, y = bend, _middle(floor, top) + ROOM / 2
    path += _curve(x, y, end_x, _middle(last, top) - end.height / 2 - 1)
    return f'<path class="arrow" d="{path}" marker-end="url(#tip)"/>'


def _curve(ax: float, ay: float, bx: float, by: float) -> str:
    """From one point to another, upright at both."""
    bend = (by - ay) * 0.6
    return f"C{ax:.1f} {ay + bend:.1f} {bx:.1f} {by - bend:.1f} {bx:.1f} {by:.1f}"


def _legend(arrows: int, drawn: int, wide: int, height: int) -> list[str]:
    """What the picture leaves out, and what its signs mean."""
    texts = (
        f"An arrow leads from a part to one that it imports. {drawn} of {arrows} are drawn; the others follow from them.",
        "Filled boxes are folders, white boxes single files. A badge names a framework that the part imports.",
    )
    return [
        f'<text class="note" x="{wide / 2:.0f}" y="{height - 26 + 15 * i}">{html.escape(text)}</text>'
        for i, text in enumerate(texts)
    ]
