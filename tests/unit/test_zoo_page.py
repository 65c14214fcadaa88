"""docs/results.md shows the recorded run of the public pairs, and the table has a row for each of them."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType

import pytest

from tests.doc_scripts import doc_script
from tests.public.table import PAIRS

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def zoo() -> ModuleType:
    return doc_script("zoo")


def test_the_page_is_what_the_record_says(zoo: ModuleType) -> None:
    assert zoo.PAGE.read_text(encoding="utf-8") == zoo.page(), "run python docs/zoo.py"


def test_the_record_has_every_pair(zoo: ModuleType) -> None:
    record = json.loads(zoo.RECORD.read_text(encoding="utf-8"))
    assert {row["name"] for row in record["rows"]} == set(PAIRS), "run make zoo"


def test_a_pair_that_differs_says_by_what() -> None:
    for name, pair in PAIRS.items():
        assert (pair.verdict == "DIVERGED") == bool(pair.causes) == bool(pair.why), name


def test_one_wrong_way_makes_the_row_wrong(zoo: ModuleType) -> None:
    good = {
        "name": "a", "direction": "torch-to-keras", "wanted": "EQUAL", "transfer": "strict", "verdict": "EQUAL",
        "causes": [], "right": True, "difference": 1e-15, "seconds": 2.0, "memory_mb": 7,
    }  # fmt: skip
    bad = {**good, "direction": "keras-to-torch", "transfer": "refused", "right": False}
    assert "| a | both ways | EQUAL | none | yes |" in zoo.table({"rows": [good, {**good, "direction": "b"}]})
    assert "| a | torch-to-keras | EQUAL | none | yes |" in zoo.table({"rows": [good]})
    table = zoo.table({"rows": [good, bad]})
    assert "no, EQUAL" in table
    assert "keras-to-torch: refused" in table
    assert table.startswith("0 of 1 transfer strictly; 0 have the true verdict.")
