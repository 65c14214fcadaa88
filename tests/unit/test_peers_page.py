"""docs/peers.md shows the recorded tools, and its table says what the rows say."""

from __future__ import annotations

import json
from types import ModuleType

import pytest

from tests.doc_scripts import doc_script


@pytest.fixture(scope="module")
def peers() -> ModuleType:
    return doc_script("peers")


def test_the_page_is_what_the_record_says(peers: ModuleType) -> None:
    assert peers.PAGE.read_text(encoding="utf-8") == peers.page(), "run python docs/peers.py"
    rows = json.loads(peers.RECORD.read_text(encoding="utf-8"))
    assert {row["model"] for row in rows if row["peer"] == "parity"} == {"resnet18", "unet", "vit"}
    assert len({(row["peer"], row["model"]) for row in rows}) == len(rows)


def test_a_row_says_what_came_out(peers: ModuleType) -> None:
    row = {"peer": "a", "model": "net", "seconds": 1.5, "kind": "graph", "trainable": "3 of 4", "difference": 2e-3,
           "equal": False, "second size": "ValueError: shape | `x`", "trains": True}  # fmt: skip
    said = peers.row_text(row)
    assert said == "| a | net | graph | 3 of 4 | no, 2e-03 | no: `ValueError: shape / 'x'` | yes | 1.5 |"
    assert peers.row_text({**row, "second size": True, "equal": True, "difference": 1e-7}).count("yes") == 3
    assert "nothing: `KeyError`" in peers.row_text({"peer": "a", "model": "net", "failed": "KeyError"})
