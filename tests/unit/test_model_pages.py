"""The networks' pages are those of the sources as they are, and every network of the catalogue has one."""

from __future__ import annotations

import functools
import importlib
import importlib.util
import re
import shutil
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from parity.catalog import entries

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "docs" / "models"
NETWORKS = ("1", "2", "3", "4", "5", "backbone")
ASPP = ("ASPP", "ASPP-separable", "AtrousBranches")
VOID = {"meta", "br", "link"}


def load(name: str) -> Any:
    """docs/build.py, whose name would be that of a package."""
    spec = importlib.util.spec_from_file_location(f"docs_{name}", ROOT / "docs" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    before = sys.path.copy()
    spec.loader.exec_module(module)
    sys.path[:] = before  # the script's folder comes first there, and `build` would be its own
    return module


build = load("build")
drawing, texts, twins = (
    importlib.import_module(f"model_pages.{name}") for name in ("drawing", "texts", "twins")
)
NAMES = sorted([f"{path.stem}.html" for path in FOLDER.glob("*.md")] + ["index.html"])


@functools.cache
def made() -> dict[str, str]:
    """Every page, from the sources as they are."""
    return build.pages()


def test_no_page_is_stale() -> None:
    stale = [
        name
        for name, content in made().items()
        if not (FOLDER / name).exists() or (FOLDER / name).read_text(encoding="utf-8") != content
    ]
    assert not stale, f"{stale} are not those of their sources: run `python docs/build.py`"
    assert {path.name for path in FOLDER.glob("*.html")} == set(made()) == set(NAMES)


def test_every_network_has_a_page() -> None:
    shown = [name for path in FOLDER.glob("*.md") for name in texts.read(path).entries]
    wanted = {name for name, entry in entries().items() if entry.generation in NETWORKS or name in ASPP}
    assert len(wanted) >= 25
    assert wanted <= set(shown), f"without a page: {sorted(wanted - set(shown))}"
    assert len(shown) == len(set(shown))
    for name in shown:
        assert name in made()["index.html"]


@pytest.mark.parametrize("changed", ["tf_impl/unet.py", "torch_impl/unet.py", "docs/models/unet.md"])
def test_a_changed_source_makes_its_page_stale(changed: str, tmp_path: Path) -> None:
    for part in ("tf_impl", "torch_impl", "docs/models"):
        shutil.copytree(ROOT / part, tmp_path / part, ignore=shutil.ignore_patterns("__pycache__"))
    assert build.pages(tmp_path) == made()
    path = tmp_path / changed
    path.write_text(path.read_text(encoding="utf-8").replace("convolutions", "filters"), encoding="utf-8")
    differ = {name for name, content in build.pages(tmp_path).items() if made()[name] != content}
    assert differ - {"index.html"} == {"unet.html"}


class Reader(HTMLParser):
    """Links, loaded things, and whether every element is closed."""

    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []
        self.loads: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        if tag == "a":
            self.links.append(values["href"] or "")
        elif tag in ("link", "img", "iframe") or "src" in values:  # the one script stands in the page
            self.loads.append(tag)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """An element that is closed at once."""

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.mark.parametrize("name", NAMES)
def test_pages_stand_alone_and_their_links_lead_somewhere(name: str) -> None:
    reader = Reader()
    reader.feed(made()[name])
    assert not reader.open
    assert not reader.loads
    assert "url(http" not in made()[name]
    assert "@import" not in made()[name]
    assert reader.links
    for link in reader.links:
        assert (FOLDER / link).resolve().exists(), link


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.md")), ids=lambda path: path.stem)
def test_the_tests_that_a_page_names_exist(path: Path) -> None:
    named = texts.TEST.findall(path.read_text(encoding="utf-8"))
    assert named
    for file, function in named:
        assert (ROOT / file).exists(), file
        assert not function or f"def {function}(" in (ROOT / file).read_text(encoding="utf-8"), function


def test_the_building_network_is_called_a_reconstruction_and_lists_its_choices() -> None:
    page = made()["buildingnet.html"]
    assert "<h1>The building network, a reconstruction</h1>" in page
    source = (ROOT / "tf_impl" / "_shared" / "buildingnet.py").read_text(encoding="utf-8")
    count = len(re.findall(r"^# \d+\. ", source, flags=re.MULTILINE))
    listed = texts.choices(source)
    assert listed in page
    assert listed.count("<li>") == count >= 8


def test_figures_are_what_was_measured_or_not_there() -> None:
    text = texts.read(FOLDER / "unet.md")
    files = {
        f"{half}/unet.py": (ROOT / half / "unet.py").read_text(encoding="utf-8")
        for half in ("tf_impl", "torch_impl")
    }
    without = build.model_page(text, entries(), {}, files)
    assert "<th>parity</th>" not in without
    assert "<th>parameters</th>" not in without
    figure = {"checked": "U-Net(width=8)", "verdict": "DIVERGED", "float64": 0.25, "float32": None}
    page = build.model_page(text, entries(), {"parity": {"U-Net": figure}}, files)
    assert "DIVERGED, 2.5e-01<br><small>as (width=8)</small>" in page
    assert "not measured" in page  # the padded one


LEFT = '''"""Head."""
import keras

class A(keras.Model):
    """Text."""

    def __init__(self):
        self._make()

    def _make(self):
        self.size = 1

    def call(self, x):
        # a "comment"
        return x < 1

    def get_config(self):
        return {}

def helper(): ...
'''
RIGHT = '''"""Head."""
import torch

class A(torch.Module):
    """Text."""

    def __init__(self):
        self.size = 1

    def forward(self, x):
        # a "comment"
        return x < 2

def other(): ...

def helper(): ...
'''


def test_twins_stand_beside_one_another() -> None:
    pairs = twins.paired(twins.parts(LEFT), twins.parts(RIGHT))
    keys = [(a and a.key, b and b.key) for a, b in pairs]
    assert keys == [
        ("imports and names",) * 2,
        ("A", "A"),
        ("A.__init__", "A.__init__"),
        ("A.call", "A.call"),
        (None, "other"),
        ("A.get_config", None),
        ("helper", "helper"),
    ]
    for source, place in ((LEFT, 0), (RIGHT, 1)):
        shown = "\n".join(pair[place].code for pair in pairs if pair[place])
        assert sorted(shown.split()) == sorted(source.split()), "every line is shown once"


def test_what_differs_is_marked_and_nothing_is_lost() -> None:
    table = twins.table("a.py", LEFT, RIGHT, ("A",))
    assert "<mark>        <b" in table
    assert table.count('<b class="c"># a "comment"</b>') == 2
    assert "x &lt; <b" in table
    assert "<mark>        # " not in table
    cells = re.findall(r"<pre>(.*?)</pre>", table, flags=re.DOTALL)
    plain = [re.sub(r"<[^>]+>", "", cell).replace("&lt;", "<") for cell in cells]
    assert any("return x < 1" in cell for cell in plain)
    with pytest.raises(ValueError, match="names must be in the file"):
        twins.table("a.py", LEFT, RIGHT, ("B",))


@pytest.mark.parametrize("name", sorted(path.stem for path in FOLDER.glob("*.md")))
def test_no_boxes_of_a_drawing_overlap(name: str) -> None:
    boxes, _ = drawing.parse(texts.read(FOLDER / f"{name}.md").sections["Drawing"])
    svg = drawing.draw(texts.read(FOLDER / f"{name}.md").sections["Drawing"], name)
    found = re.findall(r'<rect x="([\d.]+)" y="([\d.]+)" width="([\d.]+)" height="(\d+)"', svg)
    places = [tuple(map(float, each)) for each in found]
    assert len(places) == len(boxes)
    size = re.search(r'width="(\d+)" height="(\d+)"', svg)
    assert size
    for i, (x, y, width, height) in enumerate(places):
        assert x >= 0
        assert x + width <= int(size[1])
        assert y + height <= int(size[2])
        for u, v, other_width, other_height in places[:i]:
            assert x >= u + other_width or u >= x + width or y >= v + other_height or v >= y + height


@pytest.mark.parametrize("line", ["box a 0,0 wrong kind", "a -> b", "io a 0,0"])
def test_a_drawing_s_mistakes_are_told(line: str) -> None:
    with pytest.raises(ValueError, match="must"):
        drawing.parse(f"io first 0,0 image\n{line}")
