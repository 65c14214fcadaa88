"""Measure and draw the house: python docs/rooms.py [--draw] [--root FOLDER].

Prints, for parity and datasets: their rooms, the modules side by side in each, floors, circles of imports, and arrows
upwards. With --draw it writes docs/figures/rooms.svg anew, and the parts of docs/architecture.md that are made from
the sources. Exit code 1 where the structure has a fault.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from house.figures import Figures, agreed_floors, measure
from house.imports import read
from house.pages import blocks, refreshed
from house.picture import draw
from house.text import details, faults, summary

ROOT = Path(__file__).resolve().parents[1]
PICTURE = ROOT / "docs" / "figures" / "rooms.svg"
PAGE = ROOT / "docs" / "architecture.md"
MEASURED = ("parity", "datasets")
HALVES = ("tf_impl", "torch_impl")


def figures(root: Path = ROOT, packages: Sequence[str] = MEASURED) -> list[Figures]:
    """The figures of each package under `root`."""
    house, floors = read(root, packages), agreed_floors(root / "pyproject.toml")
    return [measure(house, package, floors) for package in packages]


def picture(root: Path = ROOT) -> str:
    """The drawing of all four packages as SVG."""
    return draw(read(root, (*MEASURED, *HALVES)), MEASURED, HALVES)


def page(root: Path = ROOT) -> str:
    """docs/architecture.md with its made parts as the sources are now."""
    made = blocks(read(root, (*MEASURED, *HALVES)), figures(root), HALVES)
    return refreshed(PAGE.read_text(encoding="utf-8"), made)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the figures, and write the picture where it is asked for."""
    parser = argparse.ArgumentParser(description="Measure and draw the rooms of parity and datasets.")
    parser.add_argument("--root", type=Path, default=ROOT, help="the checkout to measure (default: this one)")
    parser.add_argument(
        "--draw", action="store_true", help=f"write {PICTURE.relative_to(ROOT)} of this checkout"
    )
    options = parser.parse_args(arguments)
    if options.draw:
        PICTURE.write_text(picture(), encoding="utf-8")
        PAGE.write_text(page(), encoding="utf-8")
    measured = figures(options.root)
    print(summary(measured))
    for each in measured:
        print(f"\n{details(each)}")
    return 1 if any(faults(each) for each in measured) else 0


if __name__ == "__main__":
    sys.exit(main())
