"""The verdicts of every report that the tests make, in one file, and what differs between two such files.

Record them before and after a change that must not alter what parity says, then compare:

    pytest -p tests.recorded --record-verdicts OLD.json
    python -m tests.recorded OLD.json NEW.json [--evidence]

A test is found again by its file's name and its own, so that a file may move. What a fixture makes goes to whichever
of its tests ran first: a report that another test of the same file made is therefore no difference.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import pytest

FIELDS = ("keras", "torch", "kind", "cause", "fix", "fix_verified")
PROPERTY = "parity reports"  # how a worker of xdist hands them to the process that writes the file
Reports = Mapping[str, Sequence[Mapping[str, Any]]]


# ---- recording -----------------------------------------------------------------------------------------------


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--record-verdicts", type=Path, metavar="F", help="write what every parity.Report says to F"
    )


def pytest_configure(config: pytest.Config) -> None:
    if path := config.getoption("--record-verdicts"):
        config.pluginmanager.register(_Recorder(path, writes=not hasattr(config, "workerinput")))


class _Recorder:
    """Keeps every report made, and writes what they said once all tests are over."""

    def __init__(self, path: Path, writes: bool) -> None:
        self.path, self.writes = path, writes
        self.made: list[Any] = []
        self.tests: dict[str, list[dict[str, Any]]] = {}

    def pytest_sessionstart(self) -> None:
        import parity

        kind: Any = parity.Report
        self.kind, self.plain, made = kind, kind.__init__, self.made

        def init(report: Any, *values: Any, **named: Any) -> None:
            self.plain(report, *values, **named)
            made.append(report)

        kind.__init__ = init

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_makereport(self, item: pytest.Item, call: pytest.CallInfo[None]) -> None:
        if call.when == "teardown" and self.made:
            item.user_properties.append((PROPERTY, json.dumps([as_row(report) for report in self.made])))
            self.made.clear()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "teardown":
            for name, value in report.user_properties:
                if name == PROPERTY:
                    self.tests[report.nodeid] = json.loads(str(value))

    def pytest_sessionfinish(self) -> None:
        self.kind.__init__ = self.plain
        if self.writes:
            text = json.dumps(dict(sorted(self.tests.items())), indent=1)
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.path.write_text(text + "\n")


def as_row(report: Any) -> dict[str, Any]:
    """What a report says, in plain values."""
    names = (*FIELDS, "evidence")
    findings = [{name: _plain(getattr(each, name)) for name in names} for each in report.findings]
    return {
        "verdict": _plain(report.verdict),
        "findings": findings,
        "notes": [str(note) for note in report.notes],
    }


def _plain(value: Any) -> Any:
    value = getattr(value, "value", value)  # of an enum
    return value if value is None or isinstance(value, bool | int | float) else str(value)


# ---- comparing -----------------------------------------------------------------------------------------------


def differences(old: Reports, new: Reports, evidence: bool = False) -> tuple[list[str], int]:
    """What two records do not have in common.

    Args:
        old: the reports of each test, before.
        new: those after.
        evidence: compare what was measured, and the notes, too.
    Returns: a line for each difference, and the number of tests that both records have.
    """
    before, after = _by_test(old), _by_test(new)
    found = [f"{_name(key)}: its reports are only in the old record" for key in before if key not in after]
    shared = [key for key in before if key in after]
    said = [_by_file(tests, evidence) for tests in (before, after)]
    for key in shared:
        one, two = (_distinct(tests[key], evidence) for tests in (before, after))
        gone = [row for text, row in one.items() if text not in said[1][key[0]]]
        come = [row for text, row in two.items() if text not in said[0][key[0]]]
        found += [f"{_name(key)}: {line}" for line in _paired(gone, come, evidence)]
    return found, len(shared)


def _by_test(tests: Reports) -> dict[tuple[str, str], Sequence[Mapping[str, Any]]]:
    split = {test: test.partition("::") for test in tests}
    return {(PurePosixPath(path).name, name): tests[test] for test, (path, _, name) in split.items()}


def _by_file(tests: Mapping[tuple[str, str], Any], evidence: bool) -> dict[str, set[str]]:
    found: dict[str, set[str]] = defaultdict(set)
    for (file, _), rows in tests.items():
        found[file] |= set(_distinct(rows, evidence))
    return found


def _name(key: tuple[str, str]) -> str:
    return "::".join(key)


def _said(row: Mapping[str, Any], evidence: bool) -> dict[str, Any]:
    names = (*FIELDS, "evidence") if evidence else FIELDS
    said = {
        "verdict": row["verdict"],
        "findings": [{name: each[name] for name in names} for each in row["findings"]],
    }
    return {**said, "notes": row["notes"]} if evidence else said


def _distinct(rows: Sequence[Mapping[str, Any]], evidence: bool) -> dict[str, Mapping[str, Any]]:
    """Each row once: how often a report is made anew on its way is nobody's business."""
    return {json.dumps(_said(row, evidence), sort_keys=True): row for row in rows}


def _paired(gone: list[Any], come: list[Any], evidence: bool) -> Iterator[str]:
    """Lines for the reports of one test that only one record has, the first with the first."""
    for one, two in zip(gone, come, strict=False):
        yield from _changes(_said(one, evidence), _said(two, evidence))
    for label, rest in (("old", gone[len(come) :]), ("new", come[len(gone) :])):
        for row in rest:
            yield f"{row['verdict']} with {len(row['findings'])} findings is only in the {label} record"


def _changes(one: Mapping[str, Any], two: Mapping[str, Any]) -> Iterator[str]:
    for name in ("verdict", "notes"):
        if one.get(name) != two.get(name):
            yield f"{name} {one[name]!r} became {two[name]!r}"
    if len(one["findings"]) != len(two["findings"]):
        yield f"{len(one['findings'])} findings became {len(two['findings'])}"
    for number, (left, right) in enumerate(zip(one["findings"], two["findings"], strict=False)):
        for name in left:
            if left[name] != right[name]:
                yield f"finding {number}: {name} {left[name]!r} became {right[name]!r}"


def main(arguments: Sequence[str] | None = None) -> int:
    """The command: 0 where two records say the same, 1 where they do not or have no test in common."""
    parser = argparse.ArgumentParser(prog="python -m tests.recorded", description=__doc__.splitlines()[0])
    parser.add_argument("old", type=Path)
    parser.add_argument("new", type=Path)
    parser.add_argument(
        "--evidence", action="store_true", help="compare what was measured, and the notes, too"
    )
    options = parser.parse_args(arguments)
    old, new = (json.loads(path.read_text()) for path in (options.old, options.new))
    found, shared = differences(old, new, options.evidence)
    for line in found:
        print(line)
    reports = sum(len(rows) for rows in old.values())
    print(f"{shared} tests compared, {reports} reports in the old record; {len(found)} differences")
    return 0 if shared and not found else 1


if __name__ == "__main__":
    sys.exit(main())
