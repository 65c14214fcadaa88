"""The parts of docs/architecture.md that are made from the sources: the figures, and one line for each room."""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from pathlib import Path

from house.figures import Figures, parts_graph
from house.imports import House
from house.text import summary


def refreshed(text: str, made: Mapping[str, str]) -> str:
    """The text with the content of every made block replaced.

    Raises:
        ValueError: a block is not in the text.
    """
    for name, content in made.items():
        first, last = f"<!-- made: {name} -->\n", f"<!-- end: {name} -->"
        before, opened, rest = text.partition(first)
        _, closed, after = rest.partition(last)
        if not (opened and closed):
            raise ValueError(
                f"the page must have a place for {name!r}; got none. Add the lines {first.strip()} and {last}."
            )
        text = f"{before}{first}{content}\n{last}{after}"
    return text


def blocks(house: House, measured: Sequence[Figures], halves: Sequence[str]) -> dict[str, str]:
    """The made blocks by name: "figures", one tree a package, and the tree of the halves."""
    made = {"figures": f"```text\n{summary(measured)}\n```"}
    for figures in measured:
        made[figures.package] = table(house, figures.package)
    made["halves"] = halves_table(house, halves)
    return made


def table(house: House, package: str) -> str:
    """A line for each folder of a package, and for each file next to them: what it is for, in its own words."""
    rooms, files = [], []
    for part in sorted(parts_graph(house, package)):
        name = part.removesuffix(".__init__")
        path = _path(house, part)
        if path.name == "__init__.py" and name != package:
            inner = [f"{name}.{child}" for child in _rooms_inside(path.parent)]
            rooms += [_row(house, room, package) for room in (name, *inner)]
        else:
            files.append(_row(house, part, package))
    return "\n".join(["| room | |", "|---|---|", *files, *rooms])


def halves_table(house: House, halves: Sequence[str]) -> str:
    """A line for each file name that the halves share, in the words of the first half."""
    names = sorted({_within(name, half) for half in halves for name in house.modules if _under(name, half)})
    lines = []
    for name in names:
        if not name or name.endswith("__main__") or "." in name:
            continue
        owners = [half for half in halves if f"{half}.{name}" in house.modules]
        said = _sentence(_path(house, f"{owners[0]}.{name}"))
        label = f"`{name}/`" if house.modules[f"{owners[0]}.{name}"] else f"`{name}.py`"
        alone = f" (only in {owners[0]})" if len(owners) == 1 else ""
        lines.append(f"| {label} | {said}{alone} |")
    return "\n".join(["| file | |", "|---|---|", *lines])


def _row(house: House, part: str, package: str) -> str:
    path = _path(house, part)
    inside = part.removeprefix(package + ".").replace(".", "/")
    label = f"{inside}/" if path.name == "__init__.py" and not part.endswith("__init__") else f"{inside}.py"
    return f"| `{label}` | {_sentence(path)} |"


def _rooms_inside(folder: Path) -> list[str]:
    return sorted(path.parent.name for path in folder.glob("*/__init__.py"))


def _path(house: House, part: str) -> Path:
    path = house.root.joinpath(*part.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def _sentence(path: Path) -> str:
    """The first paragraph of a module's docstring, as a cell of a table.

    Raises:
        ValueError: there is none.
    """
    said = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    if not said:
        raise ValueError(
            f"a module must begin with a docstring; got none in {path}. Say in one line what it is for."
        )
    return " ".join(said.split("\n\n")[0].split()).replace("|", "\\|")


def _under(name: str, package: str) -> bool:
    return name.startswith(package + ".")


def _within(name: str, package: str) -> str:
    return name.removeprefix(package + ".")
