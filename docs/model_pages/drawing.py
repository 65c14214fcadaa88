"""A network's blocks as a drawing: boxes on a grid of columns and rows, and arrows between them.

A line is a box, `KIND ID COLUMN,ROW LABEL | SIZE`, or an arrow, `ID -> ID : LABEL`. Arrows that join boxes of
different rows and columns run sideways, along and sideways again; `v>` begins downwards or upwards, `>v` ends so;
`..>` is dashed.
"""

from __future__ import annotations

import html
import re
from dataclasses import dataclass

BOX = re.compile(r"(io|conv|down|up|join|block) (\w+) (\d+),(\d+(?:\.\d+)?) ([^|]+?)(?: \| (.+))?$")
ARROW = re.compile(r"(\w+) (->|v>|>v|\.\.>) (\w+)(?: : (.+))?$")
HEIGHT, PITCH, GAP, MARGIN = 42, 70, 46, 12
LABEL, SMALL = 7.3, 6.3  # pixels a character of a box's first line, and of the rest, is wide at most


@dataclass(frozen=True)
class Box:
    """A block: its left, top and width in pixels, and what it says."""

    kind: str
    column: int
    row: float
    label: str
    size: str

    @property
    def width(self) -> float:
        """Room for both lines."""
        return max(len(self.label) * LABEL, len(self.size) * SMALL) + 20

    @property
    def middle(self) -> float:
        """The row's centre, in pixels from the top."""
        return MARGIN + 14 + self.row * PITCH + HEIGHT / 2


Arrow = tuple[str, str, str, str]


def parse(text: str) -> tuple[dict[str, Box], list[Arrow]]:
    """Boxes by their names, and arrows (from, form, to, label).

    Raises:
        ValueError: a line is neither, or an arrow has no box at an end.
    """
    boxes, arrows = {}, []
    for line in text.splitlines():
        if box := BOX.match(line):
            kind, name, column, row, label, size = box.groups()
            boxes[name] = Box(kind, int(column), float(row), label, size or "")
        elif arrow := ARROW.match(line):
            arrows.append((arrow[1], arrow[2], arrow[3], arrow[4] or ""))
        elif line.strip():
            raise ValueError(f"a drawing's line must be a box or an arrow; got {line!r}")
    for start, _, end, _ in arrows:
        if start not in boxes or end not in boxes:
            raise ValueError(f"an arrow must join boxes; got {start} and {end}, known are {sorted(boxes)}")
    return boxes, arrows


def draw(text: str, title: str) -> str:
    """The drawing as SVG; its colours are the page's."""
    boxes, arrows = parse(text)
    centres, widths, width = _columns(boxes, arrows)
    height = max(box.middle for box in boxes.values()) + HEIGHT / 2 + MARGIN
    lines = [
        f'<svg viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" height="{height:.0f}" role="img">',
        f"<title>{html.escape(title)}</title>",
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" '
        'orient="auto"><path d="M0 0 8 4 0 8z"/></marker></defs>',
    ]
    for start, form, end, label in arrows:
        lines += _arrow(boxes[start], boxes[end], form, label, centres, widths)
    for box in boxes.values():
        x, top = centres[box.column] - box.width / 2, box.middle - HEIGHT / 2
        first = box.middle + (4.5 if not box.size else -3)
        lines.append(f'<g class="{box.kind}"><rect x="{x:.1f}" y="{top:.1f}" width="{box.width:.1f}" '
                     f'height="{HEIGHT}" rx="5"/>')  # fmt: skip
        lines.append(f'<text x="{centres[box.column]:.1f}" y="{first:.1f}">{html.escape(box.label)}</text>')
        if box.size:
            size = html.escape(box.size)
            lines.append(
                f'<text class="size" x="{centres[box.column]:.1f}" y="{first + 15:.1f}">{size}</text>'
            )
        lines.append("</g>")
    return "\n".join([*lines, "</svg>"])


def _columns(boxes: dict[str, Box], arrows: list[Arrow]) -> tuple[list[float], list[float], float]:
    """The columns' centres, far enough apart for boxes and labels; their widths; and the whole width."""
    count = max(box.column for box in boxes.values()) + 1
    widths = [max([box.width for box in boxes.values() if box.column == i], default=0) for i in range(count)]
    gaps = [GAP] * (count - 1)
    for start, _, end, label in arrows:
        left, right = sorted((boxes[start].column, boxes[end].column))
        if right - left == 1:
            gaps[left] = max(gaps[left], int(len(label) * SMALL) + 26)
    centres, x = [], float(MARGIN)
    for i, width in enumerate(widths):
        centres.append(x + width / 2)
        x += width + (gaps[i] if i < count - 1 else MARGIN)
    side = max(
        (len(label) * SMALL for s, _, e, label in arrows if boxes[s].column == boxes[e].column), default=0
    )
    overhang = max(0.0, centres[-1] + side + 14 - x) if side else 0.0
    return centres, widths, x + overhang


def _arrow(a: Box, b: Box, form: str, label: str, centres: list[float], widths: list[float]) -> list[str]:
    """The arrow's path and its label."""
    ax, bx, ay, by = centres[a.column], centres[b.column], a.middle, b.middle
    right = 1 if bx > ax else -1
    down = 1 if by > ay else -1
    leave, enter = ax + right * a.width / 2, bx - right * b.width / 2
    if a.column == b.column:
        points = [(ax, ay + down * HEIGHT / 2), (bx, by - down * HEIGHT / 2)]
    elif form == "v>":
        points = [(ax, ay + down * HEIGHT / 2), (ax, by), (enter, by)]
    elif form == ">v":
        points = [(leave, ay), (bx, ay), (bx, by - down * HEIGHT / 2)]
    elif a.row == b.row:
        points = [(leave, ay), (enter, by)]
    else:
        turn = bx - right * (widths[b.column] / 2 + 18)  # the same for all of a column
        points = [(leave, ay), (turn, ay), (turn, by), (enter, by)]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    dashed = ' class="dashed"' if form == "..>" else ""
    lines = [f'<polyline points="{path}"{dashed} marker-end="url(#tip)"/>']
    if label:
        text = html.escape(label)
        if a.column == b.column:
            x, y = ax + 8, (points[0][1] + points[1][1]) / 2 + 4
            lines.append(f'<text class="label side" x="{x:.1f}" y="{y:.1f}">{text}</text>')
        else:
            (x0, y0), (x1, _) = (points[-2], points[-1]) if form == "v>" else points[:2]
            lines.append(f'<text class="label" x="{(x0 + x1) / 2:.1f}" y="{y0 - 6:.1f}">{text}</text>')
    return lines
