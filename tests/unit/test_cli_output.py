"""How much `parity check` says, where it says it, and the forms that CI servers and code hosts read."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from argparse import Namespace
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from parity.cli import check, main
from parity.cli.asked import Pair
from parity.core.finding import Finding, Kind
from parity.core.verdict import Verdict
from parity.report.formats.annotations import annotated
from parity.report.formats.places import places
from parity.report.proof import Proof, Unproven, UnprovenKind
from parity.report.result import Report, Result

WRONG = Finding(
    "down", "body.down", Kind.LAYER, "same-padding-asymmetry", "it differs by 50 %, at (1, 2); windows begin elsewhere",
    "pad: explicitly", True, keras_at="port.py:10 or 12", torch_at="net.py:13", effect=1.4,
)  # fmt: skip
SMALL = Finding("norm", "norm", Kind.LAYER, "batchnorm-epsilon", "a\x00b < c", effect=1e-3)
OPEN = Finding(None, "aux", Kind.UNMATCHED, None, "it has no counterpart")
UNPROVEN = [Unproven(UnprovenKind.LIMITS, "a limit was not reached")]
REPORT = Report(Verdict.EQUAL, 0.0, 0.0, [], notes=["an order was found"], elements=12, proof=Proof())
RESULTS = [
    Result(
        "right",
        12,
        Verdict.EQUAL,
        unproven=UNPROVEN,
        proof=Proof(),
        reports={"none, x": REPORT},
        seconds=1.25,
    ),
    Result("wrong, 1", 12, Verdict.DIVERGED, findings=[OPEN, SMALL, WRONG], seconds=0.5),
    Result("open", 12, Verdict.INCONCLUSIVE, findings=[OPEN]),
]


@pytest.fixture
def checked(monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """A function that runs `parity check` with options, and with RESULTS as what is found; gives the exit code."""

    def found(*_: Any) -> Iterator[Result]:
        print("a model's own print")
        yield from RESULTS

    monkeypatch.setattr(check, "_results", found)
    monkeypatch.setattr(
        check.asked, "pairs", lambda options: [Pair(one.name, "k:m", "t:m", {}, {}) for one in RESULTS]
    )
    monkeypatch.delenv("GITHUB_ACTIONS", raising=False)
    return lambda *options: main(["check", *options])


def test_quiet_is_a_line_for_each_pair(
    checked: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert checked("--quiet") == 1
    lines = capsys.readouterr().out.splitlines()[1:]
    assert [line.split()[-1] for line in lines] == ["EQUAL", "DIVERGED", "INCONCLUSIVE", "EQUAL"]
    assert lines[-1] == "1 of 3 EQUAL"


def test_verbose_has_every_finding_and_note(
    checked: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert checked() == 1
    usual = capsys.readouterr().out
    assert "note: an order was found" not in usual
    assert checked("--verbose") == 1
    out = capsys.readouterr().out
    assert "    note: an order was found" in out
    assert "  none, x: EQUAL, 12 elements" in out
    assert "unproven: a limit was not reached" in out


def test_errors_come_before_warnings_and_great_effects_first(
    checked: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    checked()
    found = re.findall(r"^  \d\. .*$", capsys.readouterr().out, re.MULTILINE)
    assert found == [
        "  3. error: layer at down / body.down (port.py:10 or 12 / net.py:13) [same-padding-asymmetry]",
        "  2. error: layer at norm [batchnorm-epsilon]",
        "  1. warning: unmatched at aux",
        "  1. warning: unmatched at aux",
    ]


def test_json_may_go_to_standard_output_and_nothing_else(
    checked: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert checked("--json", "-") == 1
    captured = capsys.readouterr()
    assert [one["verdict"] for one in json.loads(captured.out)] == ["EQUAL", "DIVERGED", "INCONCLUSIVE"]
    assert "1 of 3 EQUAL" in captured.err
    assert "a model's own print" in captured.err


LOUD = """
import os, sys
from parity.cli.terminal import output_for_data
with output_for_data() as write:
    os.write(1, b"compiled\\n")
    print("Python")
    write("[1]\\n")
print("behind")
"""


def test_compiled_code_prints_nothing_between_the_data() -> None:
    done = subprocess.run([sys.executable, "-c", LOUD], capture_output=True, text=True, check=True)
    assert done.stdout == "[1]\nbehind\n"
    assert sorted(done.stderr.split()) == ["Python", "compiled"]


def test_junit(checked: Callable[..., int], tmp_path: Path) -> None:
    path = tmp_path / "new" / "j.xml"
    assert checked("--junit", str(path)) == 1
    (suite,) = ElementTree.parse(path).getroot()
    assert {key: suite.get(key) for key in ("tests", "failures", "errors", "time")} == {
        "tests": "3", "failures": "1", "errors": "1", "time": "1.75",
    }  # fmt: skip
    right, wrong, left = suite
    assert [case.get("name") for case in suite] == ["right", "wrong, 1", "open"]
    assert [[child.tag for child in case] for case in suite] == [["system-out"], ["failure"], ["error"]]
    assert wrong[0].get("message") == "DIVERGED: same-padding-asymmetry, batchnorm-epsilon, unmatched"
    assert "a?b < c" in str(wrong[0].text)
    assert "unproven: a limit" in str(right[0].text)
    assert left[0].get("type") == "INCONCLUSIVE"


def test_junit_fails_where_strict_does(
    checked: Callable[..., int], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(check, "_results", lambda *_: iter(RESULTS[:1]))
    assert checked("--strict", "--junit", str(tmp_path / "j.xml")) == 1
    (suite,) = ElementTree.parse(tmp_path / "j.xml").getroot()
    assert suite.get("failures") == "1"
    assert suite[0][0].tag == "failure"


def test_sarif(checked: Callable[..., int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert checked("--sarif", "s.sarif", "--reference", "keras") == 1
    written = json.loads((tmp_path / "s.sarif").read_text())
    assert written["version"] == "2.1.0"
    (run,) = written["runs"]
    rules = run["tool"]["driver"]["rules"]
    assert all(rules[one["ruleIndex"]]["id"] == one["ruleId"] for one in run["results"])
    wrong, small, left, _ = run["results"]
    assert [one["level"] for one in run["results"]] == ["error", "error", "warning", "warning"]
    place = wrong["locations"][0]["physicalLocation"]  # torch's, for Keras is right
    assert (place["artifactLocation"]["uri"], place["region"]["startLine"]) == ("net.py", 13)
    assert wrong["relatedLocations"][0]["physicalLocation"]["region"]["startLine"] == 10
    assert "physicalLocation" not in small["locations"][0]
    assert left["locations"][0]["logicalLocations"][0]["fullyQualifiedName"] == "aux"


def test_annotations_stand_at_the_line_and_are_escaped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GITHUB_WORKSPACE", str(tmp_path))
    (tmp_path / "sub").mkdir()
    monkeypatch.chdir(tmp_path / "sub")
    first, second, third, fourth = annotated(RESULTS)
    assert first.startswith(
        "::error file=sub/port.py,line=10,title=same-padding-asymmetry (wrong%2C 1)::layer at down / body.down"
    )
    assert "50 %25, at (1, 2)%0Awindows begin" in first
    assert first.endswith("Fix (verified): pad: explicitly")
    assert second.startswith("::error title=batchnorm-epsilon")
    assert third.startswith("::warning title=unmatched")
    assert fourth.startswith("::warning title=unmatched (open)")


@pytest.mark.parametrize(
    ("options", "environment", "count"),
    [((), "", 0), ((), "true", 4), (("--annotations",), "", 4), (("--no-annotations",), "true", 0)],
)
def test_annotations_in_actions_or_where_asked_for(
    options: Sequence[str],
    environment: str,
    count: int,
    checked: Callable[..., int],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("GITHUB_ACTIONS", environment)
    assert checked(*options) == 1
    assert capsys.readouterr().out.count("\n::") == count


def test_places_are_relative_to_the_checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GITHUB_WORKSPACE", raising=False)
    (tmp_path / ".git").mkdir()
    (tmp_path / "a").mkdir()
    monkeypatch.chdir(tmp_path / "a")
    assert [(one.side, one.file, one.line) for one in places(WRONG)] == [
        ("keras", "a/port.py", 10),
        ("torch", "a/net.py", 13),
    ]
    assert [one.side for one in places(WRONG, "keras")] == ["torch", "keras"]
    assert places(OPEN) == []


def test_options_of_older_callers_are_not_needed(
    checked: Callable[..., int], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(check.asked, "settings", lambda options: {})
    assert check.run(Namespace(jobs=1, json=None, html=None, strict=False)) == 1
    assert "1 of 3 EQUAL" in capsys.readouterr().out
    assert os.environ.get("GITHUB_ACTIONS") is None
