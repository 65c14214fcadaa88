"""The house as one picture: rooms on their floors, and the arrows of the imports."""

from __future__ import annotations

import html
from collections.abc import Sequence

from house.imports import House
from house.layout import Arrow, Route
from house.plan import ROOM, Box, Plan, badge_width, plan

PITCH, HEAD, FOOT = 84, 44, 46  # pixels a floor, above the top floor, and below the lowest
FONT = "system-ui,-apple-system,'Segoe UI',Roboto,Helvetica,Arial,sans-serif"
STYLE = f"""
text{{font:12px {FONT};fill:#1f2933;text-anchor:middle}}
.ground{{fill:#fff}}.band{{fill:#f5f7f9}}.head{{font-size:15px;font-weight:700}}
.note{{font-size:11px;fill:#5f6c7b}}.left{{text-anchor:start}}.right{{text-anchor:end}}.name{{font-weight:600}}
.box rect{{stroke-width:1.2}}.parity rect{{fill:#ddf0eb;stroke:#2f8f7a}}.datasets rect{{fill:#fcefd6;stroke:#c98a1b}}
.half rect{{fill:#e3eafa;stroke:#4b6cc1}}.file rect{{fill:#fff}}
.arrow{{fill:none;stroke:#7b8794;stroke-width:1.2}}.crossing{{stroke-dasharray:5 3}}.tip{{fill:#7b8794}}
.badge rect{{stroke:#fff;stroke-width:1}}.badge text{{fill:#fff;font-size:9px;font-weight:600}}
.keras rect,.tensorflow rect,.jax rect{{fill:#b3282d}}.torch rect,.lightning rect{{fill:#d2521c}}
""".strip()


def draw(house: House, towers: Sequence[str], halves: Sequence[str]) -> str:
    """The picture as SVG, 800 pixels wide where the rooms leave it.

    Args:
        house: every module and import of `towers` and `halves`.
        towers: the packages that are drawn room by room, next to one another.
        halves: the packages that are drawn as one box each, above the tower that they import most of.
    """
    made = plan(house, towers, halves)
    wide, height = made.width, HEAD + PITCH * (made.top + 1) + FOOT
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {wide} {height}" width="{wide}" height="{height}" '
        'role="img">',
        f"<title>{' and '.join(towers)}: their rooms on floors, and which imports which</title>",
        f"<style>{STYLE}</style>",
        '<defs><marker id="tip" class="tip" viewBox="0 0 8 8" refX="7.4" refY="4" markerWidth="7.5" '
        'markerHeight="7.5" orient="auto"><path d="M0 .8 8 4 0 7.2z"/></marker></defs>',
        f'<rect class="ground" width="{wide}" height="{height}" rx="8"/>',
        *_bands(made.top, wide),
        *(f'<text class="head" x="{x:.1f}" y="26">{html.escape(head)}</text>' for head, x in made.heads),
        *(_arrow(made, arrow, route) for arrow, route in made.routes.items()),
    ]
    for part in sorted(made.boxes):
        lines += _drawn(made.boxes[part], *made.places[part], made.top)
    lines += _legend(made.arrows, len(made.routes), wide, height)
    return "\n".join([*lines, "</svg>", ""])


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
    left = x - sum(badge_width(name) + 3 for name in box.frameworks) / 2
    for name in box.frameworks:
        wide = badge_width(name)
        lines.append(
            f'<g class="badge {name}"><rect x="{left:.1f}" y="{y + box.height / 2 - 6:.1f}" width="{wide:.1f}" '
            f'height="13" rx="6.5"/><text x="{left + wide / 2:.1f}" y="{y + box.height / 2 + 3.5:.1f}">{name}</text></g>'
        )
        left += wide + 3
    return lines


def _arrow(made: Plan, arrow: Arrow, route: Route) -> str:
    """A curve that is upright where it leaves, passes boxes and enters, and bent between the floors."""
    start, end = (made.boxes[part] for part in arrow)
    (first, x), *bends, (last, end_x) = route
    y = (
        _middle(first, made.top) + start.height / 2 + (7 if start.frameworks else 0)
    )  # badges on the lower edge
    path = f"M{x:.1f} {y:.1f}"
    for floor, bend in bends:
        path += _curve(x, y, bend, _middle(floor, made.top) - ROOM / 2) + f"v{ROOM}"
        x, y = bend, _middle(floor, made.top) + ROOM / 2
    path += _curve(x, y, end_x, _middle(last, made.top) - end.height / 2 - 1)
    crossing = " crossing" if arrow in made.crossing else ""
    return f'<path class="arrow{crossing}" d="{path}" marker-end="url(#tip)"/>'


def _curve(ax: float, ay: float, bx: float, by: float) -> str:
    """From one point to another, upright at both."""
    bend = (by - ay) * 0.6
    return f"C{ax:.1f} {ay + bend:.1f} {bx:.1f} {by - bend:.1f} {bx:.1f} {by:.1f}"


def _legend(arrows: int, drawn: int, wide: int, height: int) -> list[str]:
    """What the picture leaves out, and what its signs mean."""
    texts = (
        f"An arrow leads from a part to one that it imports. {drawn} of {arrows} are drawn; the others follow from them.",
        "Dashed: into the other tower. Filled boxes are folders, white boxes files. A badge names an imported framework.",
    )
    return [
        f'<text class="note" x="{wide / 2:.0f}" y="{height - 26 + 15 * i}">{html.escape(text)}</text>'
        for i, text in enumerate(texts)
    ]
