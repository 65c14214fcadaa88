"""docs/results.md shows the recorded ports, and the measures count what they say."""

from __future__ import annotations

import json
from types import ModuleType

import pytest

from parity.porting.written import WrittenPort
from tests.doc_scripts import doc_script
from tests.public.measures import code_lines, measured
from tests.public.ports import KERAS, TORCH


@pytest.fixture(scope="module")
def ports() -> ModuleType:
    return doc_script("ports")


def test_the_page_is_what_the_record_says(ports: ModuleType) -> None:
    assert ports.PAGE.read_text(encoding="utf-8") == ports.page(), "run python docs/ports.py"


def test_the_list_is_what_the_issue_of_coverage_asks_for() -> None:
    assert len(TORCH) == 40
    assert len({row.family for row in TORCH.values()}) >= 20
    assert len(KERAS) == 20
    assert not set(TORCH) & set(KERAS), "a name that both lists have would stand for one model alone"
    assert {row.kind for row in KERAS.values()} == {"functional", "sequential", "subclassed"}


def test_rows_of_the_record_are_models_of_the_list(ports: ModuleType) -> None:
    record = json.loads(ports.RECORD.read_text(encoding="utf-8"))
    names = [row["name"] for row in record["rows"]]
    assert len(set(names)) == len(names)
    assert set(names) <= {*TORCH, *KERAS}


def test_the_goals_are_held_against_the_totals(ports: ModuleType) -> None:
    rows = [
        {"measures": {"classes": 3, "source_classes": 2, "kept_arguments": 9, "source_arguments": 10, "lines": 130,
                      "source_lines": 100}},
        {"measures": {"classes": 1, "source_classes": 2, "kept_arguments": 1, "source_arguments": 2, "lines": 20,
                      "source_lines": 50}},
        {},
    ]  # fmt: skip
    said = ports.goals(rows)
    assert "| classes of the source's | at most 1.5 | 4 of 4, 1.00 | 2 of 2 |" in said
    assert "| arguments that keep their names | at least 0.9 | 10 of 12, 0.83 | 1 of 2 |" in said
    assert "| lines of code of the source's | at most 1.3 | 150 of 150, 1.00 | 2 of 2 |" in said
    assert said in ports.page() or "at most 1.5" in ports.page()


def test_a_row_says_what_stands_in_the_way(ports: ModuleType) -> None:
    row = {
        "name": "net", "verdict": "DIVERGED", "seconds": 3.2,
        "proofs": {"outputs": ["EQUAL", "fine"], "training": ["DIVERGED", "momentum | differs"]},
        "measures": {"classes": 2, "source_classes": 2, "kept_arguments": 3, "source_arguments": 4, "lines": 30,
                     "source_lines": 25},
    }  # fmt: skip
    table = ports.table(
        {"counts": {"to Keras": {"equal": 0, "models": 1, "wrong": 1, "trained": 0}}, "rows": [row]}
    )
    assert "to Keras: 0 of 1 EQUAL, 1 written and not equal, 0 equal in gradients and steps too." in table
    cells = "| net | DIVERGED | outputs | 2 for 2 | 3 of 4 | 30 for 25 | 3 | training: momentum / differs |"
    assert cells in table


def test_lines_of_code_are_counted_without_what_is_said() -> None:
    assert code_lines('def f():\n    """Say.\n\n    More.\n    """\n    # no\n\n    return 1  # yes\n') == 2


def test_classes_arguments_and_lines_are_counted() -> None:
    pytest.importorskip("torch")
    from tests.unit.test_port_proof import CLASSES, PORT, Net

    helper = "\n\nclass Helper:\n    def run(self):\n        return 1\n"
    found = measured(WrittenPort(PORT + helper, CLASSES, helpers=("Helper",)), Net())
    assert (found.classes, found.source_classes, found.helpers) == (4, 4, 1)
    assert found.source_arguments == 3 + 1 + 2 + 1
    assert found.kept_arguments == 2 + 1 + 1 + 1
    assert found.source_lines == 32
    assert found.lines == 45
