"""The record of verdicts: written by one process or several, and every kind of difference is seen."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.recorded import FIELDS, differences, main

pytest_plugins = ["pytester"]

FINDING = {
    "keras": "conv",
    "torch": "0",
    "kind": "layer",
    "cause": "padding",
    "fix": "pad it",
    "fix_verified": True,
}
TEST = "tests/unit/test_a.py::test_one[a::b]"


def record() -> Any:
    report = {
        "verdict": "DIVERGED",
        "findings": [{**FINDING, "evidence": "0.1 at (0, 1)"}],
        "notes": ["a note"],
    }
    equal = {"verdict": "EQUAL", "findings": [], "notes": []}
    return {TEST: [report, equal], "tests/unit/test_a.py::test_two": [equal]}


OTHER = {"keras": None, "torch": "1", "kind": "weight", "cause": None, "fix": None, "fix_verified": False}
CHANGES: dict[str, Callable[[Any], object]] = {
    **{
        name: lambda made, name=name: made[TEST][0]["findings"][0].update({name: OTHER[name]})
        for name in FIELDS
    },
    "verdict": lambda made: made[TEST][0].update(verdict="INCONCLUSIVE"),
    "findings": lambda made: made[TEST][0]["findings"].append(made[TEST][0]["findings"][0]),
    "a report more": lambda made: made[TEST].append({"verdict": "INCONCLUSIVE", "findings": [], "notes": []}),
    "a report less": lambda made: made[TEST].pop(0),
    "a test less": lambda made: made.pop(TEST),
}


@pytest.mark.parametrize("name", CHANGES)
def test_every_change_is_seen(name: str) -> None:
    changed = copy.deepcopy(record())
    CHANGES[name](changed)
    found, _ = differences(record(), changed)
    assert len(found) == 1
    assert "test_one[a::b]" in found[0]
    assert name in found[0] or name.startswith("a ")


def test_evidence_and_notes_are_compared_where_it_is_asked_for() -> None:
    changed = copy.deepcopy(record())
    changed[TEST][0]["findings"][0]["evidence"] = "0.2"
    changed[TEST][0]["notes"] = []
    assert differences(record(), changed)[0] == []
    assert len(differences(record(), changed, evidence=True)[0]) == 2


def test_moves_and_the_order_of_tests_are_no_difference() -> None:
    """A file moves, a fixture's report goes to another test of the file, and a report is made twice."""
    moved = {name.replace("unit", "unit/room"): rows for name, rows in record().items()}
    assert differences(record(), moved) == ([], 2)
    first, second = moved
    moved[second] = [*moved[second], moved[first].pop(0), moved[second][0]]
    assert differences(record(), moved) == ([], 2)


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    old, new, empty = (tmp_path / name for name in ("old.json", "new.json", "empty.json"))
    for path, content in ((old, record()), (new, record()), (empty, {})):
        path.write_text(json.dumps(content))
    assert main([str(old), str(new)]) == 0
    assert capsys.readouterr().out == "2 tests compared, 3 reports in the old record; 0 differences\n"
    assert main([str(empty), str(empty)]) == 1  # nothing was compared
    changed = record()
    changed[TEST][0]["verdict"] = "EQUAL"
    new.write_text(json.dumps(changed))
    assert main([str(old), str(new)]) == 1
    assert "test_one[a::b]: verdict 'DIVERGED' became 'EQUAL'" in capsys.readouterr().out


TESTS = """
import pytest
import parity
from parity.core.finding import Finding

def report(verdict, *findings):
    return parity.Report(verdict=verdict, max_abs_diff=0.0, max_rel_diff=0.0, findings=list(findings), notes=["n"])

FOUND = Finding("conv", "0", "layer", "padding", "seen", "pad it", True)

@pytest.fixture
def made():
    return report("EQUAL")

def test_two_reports(made):
    report("DIVERGED", FOUND)

def test_none():
    pass

def test_that_fails():
    assert report("DIVERGED", FOUND).verdict == "EQUAL"
"""


@pytest.mark.parametrize("workers", ["0", "2"])
def test_every_report_of_every_test_is_recorded(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, workers: str
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    pytester.makepyfile(TESTS)
    flags = ["-p", "tests.recorded", "-n", workers, "--record-verdicts", "out/r.json"]
    pytester.runpytest_subprocess(*flags).assert_outcomes(passed=2, failed=1)
    found = json.loads((pytester.path / "out/r.json").read_text())
    diverged = {"verdict": "DIVERGED", "findings": [{**FINDING, "evidence": "seen"}], "notes": ["n"]}
    equal = {"verdict": "EQUAL", "findings": [], "notes": ["n"]}
    assert {name.partition("::")[2]: rows for name, rows in found.items()} == {
        "test_two_reports": [equal, diverged],
        "test_that_fails": [diverged],
    }
