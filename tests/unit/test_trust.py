"""docs/trust.md shows what the recorded runs found, and docs/trust.py writes it."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType

import pytest

from tests.doc_scripts import doc_script

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def trust() -> ModuleType:
    return doc_script("trust")


def test_the_page_is_what_the_records_say(trust: ModuleType) -> None:
    assert trust.PAGE.read_text(encoding="utf-8") == trust.page(), "run python docs/trust.py"


def test_a_record_becomes_a_table_and_a_missing_one_says_so(trust: ModuleType, tmp_path: Path) -> None:
    assert set(trust.blocks(tmp_path).values()) == {trust.NONE}
    record = {
        "attempts": {"a": {"stopped": 3, "false EQUAL": 1}, "b": {"stopped": 2}},
        "hostile": {"sums, float64": {"EQUAL": 4}},
        "wrong": ["a: trick"],
    }
    fuzz = {"inputs": 10, "readers": {"voc": {"inputs": 10, "crashes": []}}}
    (tmp_path / "attacks.json").write_text(json.dumps(record), encoding="utf-8")
    (tmp_path / "fuzz.json").write_text(json.dumps(fuzz), encoding="utf-8")
    made = trust.blocks(tmp_path)
    assert made["attempts"].splitlines()[2:] == [
        "| a | 4 | 3 | 0 | 1 |",
        "| b | 2 | 2 | 0 | 0 |",
        "| all | 6 | 5 | 0 | 1 |",
    ]
    assert made["hostile"].splitlines()[-1] == "| all | 4 | 4 | 0 | 0 |"
    assert made["open"] == "- a: trick"
    assert made["fuzz"].splitlines()[-1] == "| voc | 10 | 0 |"
