"""The pages of ports are what the recorded ports, the notes and the sources say."""

from __future__ import annotations

import ast
import json
from types import ModuleType

import pytest

from tests.doc_scripts import doc_script

pytest.importorskip("pygments")


@pytest.fixture(scope="module")
def twins() -> ModuleType:
    return doc_script("twin_ports")


def test_the_pages_are_made_of_what_is_there_now(twins: ModuleType) -> None:
    made = twins.pages()
    known = {path.name: path.read_text(encoding="utf-8") for path in twins.FOLDER.glob("*.html")}
    stale = {name for name in {*made, *known} if made.get(name) != known.get(name)}
    assert not stale, "run python docs/twin_ports.py"


def test_all_nine_networks_are_ported_and_equal(twins: ModuleType) -> None:
    record = json.loads(twins.RECORD.read_text(encoding="utf-8"))
    assert set(record) == set(twins.NETWORKS)
    assert {row["verdict"] for row in record.values()} == {"EQUAL"}
    assert {name: row["spec"] for name, row in record.items()} == {n: twins.spec_of(n) for n in record}


def test_ports_are_of_the_goals(twins: ModuleType) -> None:
    record = json.loads(twins.RECORD.read_text(encoding="utf-8"))
    for name, row in record.items():
        found = row["measures"]
        assert found["classes"] <= 1.5 * found["source_classes"], name
        assert found["kept_arguments"] >= 0.9 * found["source_arguments"], name
        assert found["lines"] <= 1.3 * found["source_lines"], name


@pytest.mark.parametrize("name", ["munet", "unet", "buildingnet"])
def test_a_page_shows_the_three_texts_side_by_side(twins: ModuleType, name: str) -> None:
    page = twins.pages()[f"{name}.html"]
    heads = page.partition("<thead>")[2].partition("</thead>")[0]
    assert heads.count("<th>") == 3
    rows = page.count('<tr class="key">')
    assert rows >= 4
    assert page.count("<td><pre>") >= 2 * rows
    port = (twins.FOLDER / f"{name}.py").read_text(encoding="utf-8")
    assert "build" in {node.name for node in ast.parse(port).body if isinstance(node, ast.FunctionDef)}
