"""The figures of the structure: rooms, floors, circles, and arrows upwards.

A room is a folder with modules. A floor is a level of the longest chain of imports. A circle is a set of modules, or
of one folder's parts, of which each leads back to itself. An arrow upwards is an import that the order of the floors
forbids.
"""

from __future__ import annotations

import itertools
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import networkx as nx

from house.imports import House

MOST = 12  # modules side by side in one room
MOST_ORDERED = 8  # rooms in one circle, whose orders are all tried

Arrow = tuple[str, str]
Floors = Mapping[
    str, Sequence[Sequence[str]]
]  # by container: the floors from the top, each with its parts' names


@dataclass(frozen=True)
class Figures:
    """What was measured of one package.

    Attributes:
        package: its name.
        modules: how many files it has, `__init__.py` and `__main__.py` included.
        imports: how many pairs of modules there are of which one imports the other.
        rooms: the modules side by side in each room. `__init__.py` and `__main__.py` are not among them, because
            they introduce and start the room that the others make up; nor are the modules of folders within.
        floors: modules on the longest chain of imports (a circle counts once).
        room_floors: the same for the package's parts, its folders and the files next to them.
        circles: the modules of each circle.
        room_circles: the parts of a folder that form a circle, `__init__` for the folder's own file.
        upwards: imports against the order of the floors.
    """

    package: str
    modules: int
    imports: int
    rooms: Mapping[str, tuple[str, ...]]
    floors: int
    room_floors: int
    circles: tuple[tuple[str, ...], ...]
    room_circles: tuple[tuple[str, ...], ...]
    upwards: tuple[Arrow, ...]

    @property
    def widest(self) -> int:
        """Modules side by side in the fullest room."""
        return max((len(modules) for modules in self.rooms.values()), default=0)

    @property
    def crowded(self) -> dict[str, int]:
        """Rooms with more modules than one takes in at a glance."""
        return {room: len(modules) for room, modules in self.rooms.items() if len(modules) > MOST}


def measure(house: House, package: str, floors: Floors | None = None) -> Figures:
    """Measures one package of the house.

    Args:
        house: the modules and their imports.
        package: which package.
        floors: the order that was agreed, see `agreed_floors`. A package without one is judged by the order of its
            folders that leaves the fewest arrows upwards.
    """
    inside = [name for name in house.modules if _within(name, package)]
    arrows = [
        (name, other) for name in inside for other in sorted(house.imports[name]) if _within(other, package)
    ]
    graph = _graph(inside, arrows)
    folders = sorted({folder for name in inside for folder in _folders(name, house)} | {package})
    levels = {folder: parts_graph(house, folder) for folder in folders}
    order = (floors or {}).get(package)
    return Figures(
        package=package,
        modules=len(inside),
        imports=len(arrows),
        rooms=_rooms(inside, house, package),
        floors=_floors(graph),
        room_floors=_floors(levels[package]),
        circles=_circles(graph),
        room_circles=tuple(circle for level in levels.values() for circle in _circles(level)),
        upwards=against(house, package, order) if order else _fewest_upwards(arrows, house),
    )


def agreed_floors(pyproject: Path) -> dict[str, list[list[str]]]:
    """The floors of every container in import-linter's contracts of type "layers", from the top."""
    settings = tomllib.loads(pyproject.read_text(encoding="utf-8"))
    contracts = settings.get("tool", {}).get("importlinter", {}).get("contracts", [])
    return {
        container: [[part.strip(" ()") for part in layer.split("|")] for layer in contract["layers"]]
        for contract in contracts
        if contract["type"] == "layers"
        for container in contract["containers"]
    }


def part_of(name: str, folder: str, house: House) -> str:
    """The part of `folder` that a module belongs to: a file or a folder in it, `folder.__init__` for its own file."""
    if name == folder:
        return f"{folder}.__init__"
    return f"{folder}.{name.removeprefix(folder + '.').split('.')[0]}"


def parts_graph(house: House, folder: str) -> nx.DiGraph:
    """The parts of a folder, and which of them imports which; "count" is the number of modules' imports."""
    graph = nx.DiGraph()
    for name in house.modules:
        if not _within(name, folder):
            continue
        part = part_of(name, folder, house)
        graph.add_node(part)
        for other in sorted(house.imports[name]):
            target = part_of(other, folder, house)
            if _within(other, folder) and target != part:
                count = graph.get_edge_data(part, target, {"count": 0})["count"]
                graph.add_edge(part, target, count=count + 1)
    return graph


def against(house: House, package: str, floors: Sequence[Sequence[str]]) -> tuple[Arrow, ...]:
    """Imports from a part to one on its own floor or above. The package's `__init__` stands above all floors.

    Raises:
        ValueError: a part is on no floor.
    """
    height = {f"{package}.{part}": -place for place, floor in enumerate(floors) for part in floor}
    height[f"{package}.__init__"] = 1
    found = []
    for name in house.modules:
        for other in sorted(house.imports[name]):
            if not (_within(name, package) and _within(other, package)):
                continue
            ends = part_of(name, package, house), part_of(other, package, house)
            missing = [end for end in ends if end not in height]
            if missing:
                raise ValueError(
                    f"every part of {package} must stand on a floor of the layers contract; got {missing[0]} in the "
                    f"import of {other} by {name}. Add it in pyproject.toml."
                )
            if ends[0] != ends[1] and height[ends[0]] <= height[ends[1]]:
                found.append((name, other))
    return tuple(found)


def _fewest_upwards(arrows: Iterable[Arrow], house: House) -> tuple[Arrow, ...]:
    """Imports between folders that run upwards in the best order of the folders."""
    between = [(a, b) for a, b in arrows if _room(a, house) != _room(b, house)]
    graph = _graph([], [(_room(a, house), _room(b, house)) for a, b in between])
    found: list[Arrow] = []
    for circle in _circles(graph):
        if len(circle) > MOST_ORDERED:
            raise ValueError(
                f"rooms in one circle must be at most {MOST_ORDERED} to be ordered; got {len(circle)}: "
                f"{', '.join(circle)}. Agree on floors in a layers contract of import-linter."
            )
        inside = [(a, b) for a, b in between if {_room(a, house), _room(b, house)} <= set(circle)]
        orders = (
            [(a, b) for a, b in inside if order.index(_room(a, house)) > order.index(_room(b, house))]
            for order in itertools.permutations(circle)
        )
        found += min(orders, key=len)
    return tuple(sorted(found))


def _rooms(inside: Sequence[str], house: House, package: str) -> dict[str, tuple[str, ...]]:
    """Each room's modules side by side; a package whose files all lie deeper has an empty room."""
    rooms: dict[str, list[str]] = {package: []}
    for name in inside:
        members = rooms.setdefault(_room(name, house), [])
        if not house.modules[name] and not name.endswith(".__main__"):
            members.append(name)
    return {room: tuple(members) for room, members in sorted(rooms.items())}


def _room(name: str, house: House) -> str:
    """The folder that a module's file lies in."""
    return name if house.modules[name] else name.rpartition(".")[0]


def _folders(name: str, house: House) -> list[str]:
    """The room of a module, and all that it lies in."""
    pieces = _room(name, house).split(".")
    return [".".join(pieces[: i + 1]) for i in range(len(pieces))]


def _within(name: str, package: str) -> bool:
    return name == package or name.startswith(package + ".")


def _graph(nodes: Iterable[str], arrows: Iterable[Arrow]) -> nx.DiGraph:
    graph = nx.DiGraph()
    graph.add_nodes_from(nodes)
    graph.add_edges_from(arrows)
    return graph


def _circles(graph: nx.DiGraph) -> tuple[tuple[str, ...], ...]:
    found = (component for component in nx.strongly_connected_components(graph) if len(component) > 1)
    return tuple(sorted(tuple(sorted(component)) for component in found))


def _floors(graph: nx.DiGraph) -> int:
    return nx.dag_longest_path_length(nx.condensation(graph)) + 1 if graph else 0
