"""The figures as text."""

from __future__ import annotations

from collections.abc import Sequence

from house.figures import MOST, Figures


def faults(figures: Figures) -> list[str]:
    """What the structure must not have, a line each."""
    lines = [f"circle of modules: {', '.join(circle)}" for circle in figures.circles]
    lines += [f"circle of rooms: {', '.join(circle)}" for circle in figures.room_circles]
    lines += [f"arrow upwards: {name} imports {other}" for name, other in figures.upwards]
    lines += [
        f"crowded room: {room} has {count} modules side by side, more than {MOST}"
        for room, count in figures.crowded.items()
    ]
    return lines


def summary(measured: Sequence[Figures]) -> str:
    """A table with one column a package."""
    rows: list[tuple[str, list[str]]] = [
        ("", [figures.package for figures in measured]),
        ("modules", [str(figures.modules) for figures in measured]),
        ("imports of one another", [str(figures.imports) for figures in measured]),
        ("rooms", [str(len(figures.rooms)) for figures in measured]),
        ("modules in the fullest room", [str(figures.widest) for figures in measured]),
        ("floors of modules", [str(figures.floors) for figures in measured]),
        ("floors of rooms", [str(figures.room_floors) for figures in measured]),
        ("circles of modules", [str(len(figures.circles)) for figures in measured]),
        ("circles of rooms", [str(len(figures.room_circles)) for figures in measured]),
        ("arrows upwards", [str(len(figures.upwards)) for figures in measured]),
    ]
    first = max(len(label) for label, _ in rows)
    width = max(len(cell) for _, cells in rows for cell in cells) + 2
    return "\n".join(
        f"{label:{first}}" + "".join(f"{cell:>{width}}" for cell in cells) for label, cells in rows
    )


def details(figures: Figures) -> str:
    """The rooms of one package with the number of their modules, and every fault."""
    first = max(len(room) for room in figures.rooms)
    lines = [
        f"{room:{first}}  {len(modules):2}  {' '.join(name.rpartition('.')[2] for name in modules)}".rstrip()
        for room, modules in figures.rooms.items()
    ]
    return "\n".join(lines + faults(figures))
