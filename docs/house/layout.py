"""Boxes on floors: which floor each stands on, in what order, and how far from the left.

The method is Sugiyama's: an arrow that passes floors gets a bend on each of them, rows are ordered so that few
arrows cross, and every box moves as near to its neighbours as its row allows. Nothing is drawn by chance, so that
the same graph gives the same picture everywhere.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import networkx as nx

SWEEPS = 24
BEND = 5.0  # pixels of a row that a passing arrow takes
GAP = 7.0  # pixels between two boxes of a row
PORT = 13.0  # pixels between two arrows on a box's edge
STRAIGHT = 4.0  # how much more a bend's place weighs than a box's: long arrows run straight

Arrow = tuple[str, str]
Place = tuple[str, str, int]  # a bend: the arrow's two ends and the floor
Node = str | Place
Route = tuple[tuple[int, float], ...]


@dataclass(frozen=True)
class Layout:
    """Where everything is.

    Attributes:
        floor: each box's floor, 0 at the bottom.
        middle: each box's centre, pixels from the left.
        routes: for each arrow the (floor, x) of its start, its bends, and its end.
        width: pixels in all.
    """

    floor: Mapping[str, int]
    middle: Mapping[str, float]
    routes: Mapping[Arrow, Route]
    width: float


def place(graph: nx.DiGraph, widths: Mapping[str, float], limit: float) -> Layout:
    """Places the boxes of a graph without circles.

    A box stands just below the lowest box that leads to it. One that none leads to stands just above the highest
    that it leads to, or on the next floor above where a row would else be wider than `limit`.

    Args:
        graph: boxes and arrows, from the one above to the one below.
        widths: each box's width in pixels.
        limit: the width of a row in pixels that boxes are kept to where they can.

    Raises:
        ValueError: the graph has a circle.
    """
    if not nx.is_directed_acyclic_graph(graph):
        raise ValueError(
            f"a drawing on floors must have no circle; got {nx.find_cycle(graph)}. Remove one import."
        )
    floor = _floors(graph, widths, limit)
    rows, neighbours = _rows(graph, floor)
    rows = _ordered(rows, neighbours)
    size = {node: widths[node] if isinstance(node, str) else BEND for row in rows.values() for node in row}
    x = _columns(rows, neighbours, size)
    width = max(_extent(row, size) for row in rows.values())
    routes = {}
    for a, b in sorted(graph.edges):
        bends = [(i, x[a, b, i]) for i in range(floor[a] - 1, floor[b], -1)]
        routes[a, b] = ((floor[a], x[a]), *bends, (floor[b], x[b]))
    return Layout(floor, {node: x[node] for node in graph}, routes, width)


def _floors(graph: nx.DiGraph, widths: Mapping[str, float], limit: float) -> dict[str, int]:
    """Each box's floor, see `place`."""
    least: dict[str, int] = {}
    order = list(nx.lexicographical_topological_sort(graph))
    for node in reversed(order):
        least[node] = 1 + max((least[other] for other in graph.successors(node)), default=-1)
    top, floor = max(least.values()), {}
    for node in order:
        if graph.in_degree(node):
            floor[node] = min(floor[other] for other in graph.predecessors(node)) - 1
        else:
            floor[node] = least[node]
    for node in order:
        if not graph.in_degree(node):
            row = [other for other in graph if floor[other] == floor[node]]
            while floor[node] < top and _extent(row, widths) > limit:
                floor[node] += 1
                row = [other for other in graph if floor[other] == floor[node]]
    return floor


def _rows(
    graph: nx.DiGraph, floor: Mapping[str, int]
) -> tuple[dict[int, list[Node]], dict[Node, list[Node]]]:
    """The boxes and bends of each floor, and which of the next floors' each is joined to."""
    rows: dict[int, list[Node]] = {i: [] for i in sorted(set(floor.values()), reverse=True)}
    for node in sorted(graph):
        rows[floor[node]].append(node)
    neighbours: dict[Node, list[Node]] = {node: [] for node in graph}
    for a, b in sorted(graph.edges):
        bends: list[Node] = [(a, b, i) for i in range(floor[a] - 1, floor[b], -1)]
        for bend in bends:
            rows.setdefault(bend[2], []).append(bend)  # type: ignore[arg-type]
            neighbours[bend] = []
        chain = [a, *bends, b]
        for upper, lower in itertools.pairwise(chain):
            neighbours[upper].append(lower)
            neighbours[lower].append(upper)
    return {i: rows[i] for i in sorted(rows, reverse=True)}, neighbours


def _ordered(rows: dict[int, list[Node]], neighbours: Mapping[Node, Sequence[Node]]) -> dict[int, list[Node]]:
    """The rows in the order with the fewest crossings that sweeps downwards and upwards find."""
    best, fewest = rows, _crossings(rows, neighbours)
    for sweep in range(SWEEPS):
        rows = dict(rows)
        floors = sorted(rows, reverse=sweep % 2 == 0)
        for before, here in itertools.pairwise(floors):
            rank = {node: i for i, node in enumerate(rows[before])}
            own = {node: i for i, node in enumerate(rows[here])}
            rows[here] = sorted(
                rows[here], key=lambda node: (_mean(neighbours[node], rank, own[node]), own[node])
            )
        rows = _swapped(rows, neighbours)
        crossings = _crossings(rows, neighbours)
        if crossings < fewest:
            best, fewest = rows, crossings
    return best


def _mean(nodes: Sequence[Node], rank: Mapping[Node, float], otherwise: float) -> float:
    places = [rank[node] for node in nodes if node in rank]
    return sum(places) / len(places) if places else otherwise


def _swapped(rows: dict[int, list[Node]], neighbours: Mapping[Node, Sequence[Node]]) -> dict[int, list[Node]]:
    """Swaps boxes that stand next to each other, as long as that removes crossings."""
    rows = {floor: list(row) for floor, row in rows.items()}
    fewest, improved = _crossings(rows, neighbours), True
    while improved:
        improved = False
        for row in rows.values():
            for i in range(len(row) - 1):
                row[i], row[i + 1] = row[i + 1], row[i]
                crossings = _crossings(rows, neighbours)
                if crossings < fewest:
                    fewest, improved = crossings, True
                else:
                    row[i], row[i + 1] = row[i + 1], row[i]
    return rows


def _crossings(rows: Mapping[int, Sequence[Node]], neighbours: Mapping[Node, Sequence[Node]]) -> int:
    """How often two arrows between the same two floors cross."""
    count, floors = 0, sorted(rows, reverse=True)
    for upper, lower in itertools.pairwise(floors):
        rank = {node: i for i, node in enumerate(rows[lower])}
        ends = [
            (i, rank[other])
            for i, node in enumerate(rows[upper])
            for other in neighbours[node]
            if other in rank
        ]
        count += sum(
            (a[0] - b[0]) * (a[1] - b[1]) < 0 for place, a in enumerate(ends) for b in ends[place + 1 :]
        )
    return count


def _columns(
    rows: Mapping[int, Sequence[Node]], neighbours: Mapping[Node, Sequence[Node]], size: Mapping[Node, float]
) -> dict[Node, float]:
    """Centres, each as near to the mean of its neighbours as the boxes of its row and the whole width leave it."""
    width = max(_extent(row, size) for row in rows.values())
    x: dict[Node, float] = {}
    for row in rows.values():
        x.update(_packed(row, [width / 2] * len(row), size, width))
    floors = sorted(rows)
    for sweep in range(4 * SWEEPS):
        for floor in floors if sweep % 2 else floors[::-1]:
            wanted = [_mean(_pulling(node, neighbours), x, x[node]) for node in rows[floor]]
            x.update(_packed(rows[floor], wanted, size, width))
    return x


def _pulling(node: Node, neighbours: Mapping[Node, Sequence[Node]]) -> Sequence[Node]:
    """What a box or bend moves towards: bends of one arrow towards each other alone, so that it runs straight."""
    bends = [other for other in neighbours[node] if not isinstance(other, str)]
    return neighbours[node] if isinstance(node, str) or not bends else bends


def _extent(row: Sequence[Node], size: Mapping[Node, float]) -> float:
    """Pixels that a row takes at least."""
    return sum(size[node] for node in row) + GAP * (len(row) - 1)


def _packed(
    row: Sequence[Node], wanted: Sequence[float], size: Mapping[Node, float], width: float
) -> dict[Node, float]:
    """The places nearest to those wanted (in squares) at which boxes in this order keep their gaps within `width`."""
    offset, total = [], 0.0
    for i, node in enumerate(row):
        if i:
            total += (size[row[i - 1]] + size[node]) / 2 + GAP
        offset.append(total)
    blocks: list[
        tuple[float, float, int]
    ] = []  # mean of (wanted - offset), weight, boxes: pool adjacent violators
    for i, node in enumerate(row):
        mean, weight, count = wanted[i] - offset[i], 1.0 if isinstance(node, str) else STRAIGHT, 1
        while blocks and blocks[-1][0] > mean:
            last, heavy, several = blocks.pop()
            mean = (mean * weight + last * heavy) / (weight + heavy)
            weight, count = weight + heavy, count + several
        blocks.append((mean, weight, count))
    low, high = size[row[0]] / 2, width - size[row[-1]] / 2 - offset[-1]
    places = [min(max(mean, low), high) for mean, _, count in blocks for _ in range(count)]
    return {node: place + offset[i] for i, (node, place) in enumerate(zip(row, places, strict=True))}


def spread(routes: Mapping[Arrow, Route], widths: Mapping[str, float]) -> dict[Arrow, Route]:
    """Arrows that share a box's edge, next to one another in the order of where they come from or lead to."""
    shift: dict[tuple[Arrow, int], float] = {}
    for end, beyond in ((0, 1), (-1, -2)):
        shared: dict[str, list[Arrow]] = {}
        for arrow in sorted(routes):
            shared.setdefault(arrow[end], []).append(arrow)
        for box, arrows in shared.items():
            arrows.sort(key=lambda arrow: (routes[arrow][beyond][1], arrow))
            step = min(PORT, (widths[box] - PORT) / max(1, len(arrows) - 1))
            for i, arrow in enumerate(arrows):
                shift[arrow, end] = step * (i - (len(arrows) - 1) / 2)
    return {
        arrow: (
            (route[0][0], route[0][1] + shift[arrow, 0]),
            *route[1:-1],
            (route[-1][0], route[-1][1] + shift[arrow, -1]),
        )
        for arrow, route in routes.items()
    }
