"""The house keeps its shape: no circle of imports, no arrow upwards, no crowded room, and a picture that is true."""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import networkx as nx
import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT / "docs"))
rooms = importlib.import_module("rooms")
house_imports, house_figures, house_text, house_layout, house_plan, house_picture, house_pages = (
    importlib.import_module(f"house.{name}")
    for name in ("imports", "figures", "text", "layout", "plan", "picture", "pages")
)
sys.path.remove(str(ROOT / "docs"))
MEASURED = rooms.figures()


@pytest.mark.parametrize("figures", MEASURED, ids=lambda figures: figures.package)
def test_no_circle_no_arrow_upwards_and_no_crowded_room(figures: Any) -> None:
    assert not house_text.faults(figures)
    assert figures.widest <= 12


def test_what_is_measured_is_this_checkout() -> None:
    files = {figures.package: len(list((ROOT / figures.package).rglob("*.py"))) for figures in MEASURED}
    assert files == {figures.package: figures.modules for figures in MEASURED}
    assert {"parity.core", "parity.adapters.keras", "datasets.training"} <= {
        room for figures in MEASURED for room in figures.rooms
    }


STALE = "run `make docs` (python docs/rooms.py --draw), and commit what it wrote"


def test_the_picture_and_the_page_are_what_the_command_makes() -> None:
    assert rooms.PICTURE.read_text(encoding="utf-8") == rooms.picture(), STALE
    assert rooms.PAGE.read_text(encoding="utf-8") == rooms.page(), STALE


def test_a_made_part_of_the_page_is_replaced_and_nothing_else() -> None:
    text = "first\n<!-- made: a -->\nold\n<!-- end: a -->\nlast\n"
    assert house_pages.refreshed(text, {"a": "new"}) == text.replace("old", "new")
    with pytest.raises(ValueError, match="must have a place for 'b'"):
        house_pages.refreshed(text, {"b": "new"})


def built(root: Path, files: Mapping[str, str]) -> Path:
    """A package `lodge` of the given files; a folder gets the `__init__.py` that it lacks."""
    for name, content in files.items():
        path = root / "lodge" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")
    for folder in {path.parent for path in (root / "lodge").rglob("*.py")} | {root / "lodge"}:
        if not (folder / "__init__.py").exists():
            (folder / "__init__.py").write_text("", encoding="utf-8")
    return root


SOUND = {
    "cellar/salt.py": "",
    "cellar/wine.py": "import lodge.cellar.salt",
    "kitchen/stove.py": "from lodge.cellar import wine",
    "door.py": "from lodge.kitchen.stove import *",
}
LAYERS = [["door"], ["kitchen"], ["cellar"]]


def figures_of(root: Path, files: Mapping[str, str], layers: list[list[str]] | None = LAYERS) -> Any:
    """What is measured of the sound package with some files changed."""
    house = house_imports.read(built(root, {**SOUND, **files}), ["lodge"])
    return house_figures.measure(house, "lodge", {"lodge": layers} if layers else None)


def test_a_sound_package_has_no_fault(tmp_path: Path) -> None:
    figures = figures_of(tmp_path, {})
    assert not house_text.faults(figures)
    assert (figures.modules, figures.imports, figures.floors, figures.room_floors) == (7, 3, 4, 3)
    assert figures.rooms == {
        "lodge": ("lodge.door",),
        "lodge.cellar": ("lodge.cellar.salt", "lodge.cellar.wine"),
        "lodge.kitchen": ("lodge.kitchen.stove",),
    }


LATE = "def open():\n    from lodge.cellar import wine\n    return wine"
TYPES = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from lodge.cellar.wine import Bottle"


@pytest.mark.parametrize(
    "salt",
    ["import lodge.cellar.wine", "from . import wine", LATE, TYPES],
    ids=["plain", "relative", "late", "types"],
)
def test_a_circle_of_modules_is_found(salt: str, tmp_path: Path) -> None:
    found = house_text.faults(figures_of(tmp_path, {"cellar/salt.py": salt}))
    assert found[0] == "circle of modules: lodge.cellar.salt, lodge.cellar.wine"


def test_a_circle_of_rooms_without_one_of_modules_is_found(tmp_path: Path) -> None:
    figures = figures_of(
        tmp_path, {"cellar/salt.py": "import lodge.kitchen.apron", "kitchen/apron.py": ""}, layers=None
    )
    assert not figures.circles
    assert figures.room_circles == (("lodge.cellar", "lodge.kitchen"),)


@pytest.mark.parametrize("layers", [LAYERS, None], ids=["agreed floors", "best order"])
def test_an_arrow_upwards_is_found(layers: list[list[str]] | None, tmp_path: Path) -> None:
    files = {
        "cellar/salt.py": "import lodge.kitchen.apron",
        "kitchen/apron.py": "",
        "kitchen/oven.py": "import lodge.cellar.wine",
    }
    figures = figures_of(tmp_path, files, layers)
    assert figures.upwards == (("lodge.cellar.salt", "lodge.kitchen.apron"),)
    assert "arrow upwards: lodge.cellar.salt imports lodge.kitchen.apron" in house_text.faults(figures)


def test_an_arrow_upwards_without_a_circle_is_found(tmp_path: Path) -> None:
    files = {"kitchen/stove.py": "", "door.py": "", "cellar/wine.py": "from lodge import door"}
    figures = figures_of(tmp_path, files)
    assert not figures.circles
    assert not figures.room_circles
    assert figures.upwards == (("lodge.cellar.wine", "lodge.door"),)


def test_the_face_of_the_package_stands_above_all_floors(tmp_path: Path) -> None:
    figures = figures_of(
        tmp_path, {"cellar/salt.py": "import lodge", "__init__.py": "from lodge.door import *"}
    )
    assert figures.upwards == (("lodge.cellar.salt", "lodge"),)


def test_rooms_of_one_floor_do_not_import_each_other(tmp_path: Path) -> None:
    figures = figures_of(tmp_path, {}, [["door"], ["kitchen", "cellar"]])
    assert figures.upwards == (("lodge.kitchen.stove", "lodge.cellar.wine"),)


def test_a_part_without_a_floor_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"every part of lodge must stand on a floor.*lodge\.door"):
        figures_of(tmp_path, {}, [["kitchen"], ["cellar"]])


def test_the_thirteenth_module_of_a_room_is_found(tmp_path: Path) -> None:
    shelf = {f"cellar/shelf{i}.py": "" for i in range(10)}
    assert not figures_of(tmp_path, {**shelf, "cellar/__main__.py": ""}).crowded, (
        "12, and two that do not count"
    )
    figures = figures_of(tmp_path, {"cellar/shelf10.py": ""})
    assert figures.crowded == {"lodge.cellar": 13}
    assert house_text.faults(figures) == [
        "crowded room: lodge.cellar has 13 modules side by side, more than 12"
    ]


def test_the_modules_of_folders_within_do_not_count(tmp_path: Path) -> None:
    files = {f"cellar/{folder}/shelf{i}.py": "" for folder in ("left", "right") for i in range(8)}
    assert figures_of(tmp_path, files).widest == 8


def test_another_package_of_the_same_name_is_not_read(tmp_path: Path) -> None:
    """`datasets` is a namespace package: Python would join its folders from the whole path."""
    (tmp_path / "datasets").mkdir()
    (tmp_path / "datasets" / "alone.py").write_text("", encoding="utf-8")
    before = sys.path.copy(), sys.meta_path.copy(), sys.modules.copy()
    assert set(house_imports.read(tmp_path, ["datasets"]).modules) == {"datasets.alone"}
    assert (sys.path, sys.meta_path) == before[:2]
    assert {name: sys.modules[name] for name in before[2]} == before[2]
    with pytest.raises(ValueError, match="every package must be a folder of"):
        house_imports.read(tmp_path, ["parity"])


def test_the_command_fails_where_the_structure_does(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for package in rooms.MEASURED:
        (tmp_path / package).mkdir()
        (tmp_path / package / "a.py").write_text(f"import {package}.b", encoding="utf-8")
        (tmp_path / package / "b.py").write_text("", encoding="utf-8")
    (tmp_path / "pyproject.toml").write_text("", encoding="utf-8")
    assert rooms.main(["--root", str(tmp_path)]) == 0
    (tmp_path / "parity" / "b.py").write_text("import parity.a", encoding="utf-8")
    assert rooms.main(["--root", str(tmp_path)]) == 1
    assert "circle of modules: parity.a, parity.b" in capsys.readouterr().out


def test_agreed_floors_are_those_that_import_linter_holds() -> None:
    floors = house_figures.agreed_floors(ROOT / "pyproject.toml")
    assert set(floors) == {"parity", "datasets"}
    assert floors["parity"][-2:] == [["core"], ["own_datasets"]]
    assert floors["datasets"][-1] == ["errors"]


def graph(arrows: str) -> nx.DiGraph:
    return nx.DiGraph([tuple(arrow.split("-")) for arrow in arrows.split()])


def test_boxes_stand_below_what_leads_to_them_and_do_not_overlap() -> None:
    boxes = graph("a-b a-c b-d c-d a-d e-d f-d g-d")
    widths = dict.fromkeys(boxes, 50.0)
    layout = house_layout.place(boxes, widths, limit=120)
    assert all(layout.floor[start] > layout.floor[end] for start, end in boxes.edges)
    assert (layout.floor["a"], layout.floor["d"]) == (2, 0)
    assert {layout.floor[name] for name in "efg"} == {2}, "a third box would make the row too wide"
    for one in boxes:
        assert 25 <= layout.middle[one] <= layout.width - 25
        for other in boxes:
            if one < other and layout.floor[one] == layout.floor[other]:
                assert abs(layout.middle[one] - layout.middle[other]) >= 50 + house_layout.GAP - 1e-9
    assert [floor for floor, _ in layout.routes["a", "d"]] == [2, 1, 0]


def test_arrows_that_need_not_cross_do_not() -> None:
    layout = house_layout.place(graph("a-z b-y c-x"), dict.fromkeys("abcxyz", 30.0), limit=1000)
    order = [sorted(row, key=lambda box: layout.middle[box]) for row in ("abc", "xyz")]
    partner = dict(zip("abc", "zyx", strict=True))
    assert [partner[box] for box in order[0]] == order[1]


def test_a_circle_cannot_be_drawn_on_floors() -> None:
    with pytest.raises(ValueError, match="must have no circle"):
        house_layout.place(graph("a-b b-a"), {"a": 1.0, "b": 1.0}, limit=100)


def drawn(root: Path, files: Mapping[str, str]) -> str:
    house = house_imports.read(built(root, {**SOUND, **files}), ["lodge"])
    return house_picture.draw(house, ["lodge"], [])


def test_the_picture_follows_the_imports(tmp_path: Path) -> None:
    before = drawn(tmp_path, {})
    assert before.count('class="arrow"') == 2
    assert ">cellar</text>" in before
    assert "2 modules" in before
    assert "badge torch" not in before
    after = drawn(
        tmp_path, {"cellar/wine.py": "def open():\n    import torch", "window.py": "import lodge.cellar.salt"}
    )
    assert after.count('class="arrow"') == 3
    assert "badge torch" in after
    implied = drawn(tmp_path, {"door.py": "import lodge.kitchen.stove, lodge.cellar.salt"})
    assert implied.count('class="arrow"') == 3
    assert "3 of 4 are drawn" in implied


def test_arrows_between_the_towers_are_dashed_and_pass_between_them(tmp_path: Path) -> None:
    built(tmp_path, {**SOUND, "door.py": "import barn.hay"})
    (tmp_path / "barn").mkdir()
    (tmp_path / "barn" / "hay.py").write_text("", encoding="utf-8")
    (tmp_path / "cart").mkdir()
    (tmp_path / "cart" / "wheel.py").write_text("import barn.hay, lodge.cellar.salt", encoding="utf-8")
    house = house_imports.read(tmp_path, ["lodge", "barn", "cart"])
    made = house_plan.plan(house, ["lodge", "barn"], ["cart"])
    assert made.crossing == {("lodge.door", "barn.hay"), ("cart", "barn.hay")}
    assert [head for head, _ in made.heads] == ["cart/, lodge/", "barn/"]
    svg = house_picture.draw(house, ["lodge", "barn"], ["cart"])
    assert svg.count('class="arrow crossing"') == 2
    left, right = (made.places[part][1] for part in ("lodge.door", "barn.hay"))
    assert all(left < x < right for floor, x in made.routes["cart", "barn.hay"][1:-1])


def test_boxes_of_the_picture_do_not_overlap_and_it_is_800_pixels_wide() -> None:
    svg = rooms.PICTURE.read_text(encoding="utf-8")
    size = re.search(r'width="(\d+)" height="(\d+)" role', svg)
    assert size
    assert int(size[1]) == 800
    boxes = [
        tuple(map(float, found))
        for found in re.findall(
            r'class="box[^"]*"><rect x="([\d.]+)" y="([\d.]+)" width="([\d.]+)" height="(\d+)"', svg
        )
    ]
    assert len(boxes) > 25
    for i, (x, y, width, height) in enumerate(boxes):
        assert 0 <= x <= 800 - width
        assert 0 <= y <= int(size[2]) - height
        for u, v, other_width, other_height in boxes[:i]:
            assert x >= u + other_width or u >= x + width or y >= v + other_height or v >= y + height
