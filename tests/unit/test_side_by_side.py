"""The page of three ports is what the record, the notes and the sources say."""

from __future__ import annotations

import ast
import json
from types import ModuleType

import pytest

from tests.doc_scripts import doc_script

pytest.importorskip("pygments")


@pytest.fixture(scope="module")
def sides() -> ModuleType:
    return doc_script("side_by_side")


def test_the_page_is_made_of_what_is_there_now(sides: ModuleType) -> None:
    page = sides.FOLDER / "index.html"
    assert page.read_text(encoding="utf-8") == sides.page(), "run python docs/side_by_side.py"


def test_every_sample_is_equal_and_has_its_command(sides: ModuleType) -> None:
    record = json.loads(sides.RECORD.read_text(encoding="utf-8"))
    assert set(record) == set(sides.SAMPLES)
    for name, row in record.items():
        assert row["verdict"] == "EQUAL"
        assert sides.SAMPLES[name][1] in row["command"]
        assert {"outputs", "second size", "reload"} <= set(row["proofs"])


def test_the_source_of_others_keeps_its_licence(sides: ModuleType) -> None:
    row = json.loads(sides.RECORD.read_text(encoding="utf-8"))["resnet18"]
    assert "BSD 3-Clause" in row["licence"]
    assert row["licence"].splitlines()[0] in sides.page()
    assert "Copyright" in sides.page()


def test_every_class_of_a_source_stands_beside_its_port(sides: ModuleType) -> None:
    page = sides.page()
    for name, (*_, shown) in sides.SAMPLES.items():
        port = (sides.FOLDER / f"{name}.py").read_text(encoding="utf-8")
        defined = {
            node.name for node in ast.parse(port).body if isinstance(node, ast.ClassDef | ast.FunctionDef)
        }
        assert set(shown) <= defined
        assert f'id="{name}"' in page
    assert page.count('data-side="Keras, the port"') == page.count('data-side="PyTorch, the source"') > 10
