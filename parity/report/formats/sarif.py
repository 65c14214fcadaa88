"""Findings as SARIF 2.1.0, which code hosts show at the lines of a pull request."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from parity.causes.table import CAUSES
from parity.core.files.whole_file import whole_file
from parity.core.finding import Kind
from parity.report.data import Result
from parity.report.formats.places import SourceLine, places
from parity.report.groups import CauseGroup, groups
from parity.report.text import said

SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"


def write_sarif(path: Path, results: Sequence[Result], version: str, reference: str | None = None) -> None:
    """Write the findings of all pairs, one result for each cause.

    Args:
        path: the file; its folder is made where there is none.
        results: of all pairs.
        version: of this package.
        reference: the side that is right; a result stands at the line of the other one.

    Raises:
        OSError: the file cannot be written.
    """
    found = [(result, group) for result in results for group in groups(result.findings)]
    rules = list(dict.fromkeys(group.name for _, group in found))
    driver = {
        "name": "parity",
        "version": version,
        "rules": [_rule(name) for name in rules],
    }
    made = {
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": [
            {
                "tool": {"driver": driver},
                "columnKind": "unicodeCodePoints",
                "results": [_result(result, group, rules, reference) for result, group in found],
            }
        ],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as partial:
        partial.write_text(json.dumps(made, indent=2, allow_nan=False) + "\n", encoding="utf-8")


def _rule(name: str) -> dict[str, Any]:
    cause = CAUSES.get(name)
    if cause is None:
        return {"id": name, "shortDescription": {"text": Kind(name).meaning}}  # type: ignore[call-arg]
    return {
        "id": name,
        "shortDescription": {"text": cause.mechanism},
        "fullDescription": {"text": f"{cause.mechanism}. What it looks like: {cause.signature}."},
        "help": {"text": f"Fix: {cause.fix}"},
    }


def _result(result: Result, group: CauseGroup, rules: Sequence[str], reference: str | None) -> dict[str, Any]:
    known = [place for finding in group.findings for place in places(finding, reference)]
    known = list(dict.fromkeys([*places(group.main, reference), *known]))
    made: dict[str, Any] = {
        "ruleId": group.name,
        "ruleIndex": rules.index(group.name),
        "level": group.severity,
        "message": {
            "text": "\n".join([f"{result.name}: {group.main.kind} at {group.main.place}", *said(group)])
        },
        "locations": [_location(place) for place in known[:1]],
    }
    logical = [{"fullyQualifiedName": finding.place, "kind": "member"} for finding in group.findings]
    if made["locations"]:
        made["locations"][0]["logicalLocations"] = logical
    else:
        made["locations"] = [{"logicalLocations": logical}]
    if known[1:]:
        made["relatedLocations"] = [
            {**_location(place), "message": {"text": f"the {place.side} side"}} for place in known[1:]
        ]
    return made


def _location(place: SourceLine) -> dict[str, Any]:
    return {
        "physicalLocation": {
            "artifactLocation": {"uri": place.file},
            "region": {"startLine": place.line},
        }
    }
