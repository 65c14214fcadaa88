"""Reports: plain values, one self-contained page, text that fits a screen."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from parity.check import Result
from parity.finding import KINDS, Finding
from parity.report.html import page
from parity.report.text import SHOWN, listed, row, summary
from parity.verdict import Report

INF = float("inf")
FINDINGS = [
    Finding("a.conv", "a.conv", "layer", None, "on <identical> inputs & so on: greatest difference 0.1"),
    Finding("b", "c.0", "wiring", "concat-order", "input differs", "swap the operands", True),
    Finding(None, None, "output", None, "x" * 400),
]


def report(findings: list[Finding], verdict: str = "DIVERGED") -> Report:
    return Report(
        verdict,
        INF,
        0.5,
        findings,
        notes=["a note"],
        precision={"keras_error": INF},
        elements=6,
        pairs=[("a", "a")],
    )


def test_truth_and_first() -> None:
    assert not report(FINDINGS)
    assert report(FINDINGS).first is FINDINGS[0]
    assert report([], "EQUAL")
    assert report([], "EQUAL").first is None
    assert not report([], "INCONCLUSIVE")


def test_json_holds_no_infinities(tmp_path: Path) -> None:
    report(FINDINGS).to_json(tmp_path / "r.json")
    values = json.loads((tmp_path / "r.json").read_text(), parse_constant=lambda name: pytest.fail(name))
    assert values["max_abs_diff"] is None
    assert values["max_rel_diff"] == 0.5
    assert values["precision"] == {"keras_error": None}
    assert values["findings"][1] == {
        "keras": "b", "torch": "c.0", "kind": "wiring", "cause": "concat-order", "evidence": "input differs",
        "fix": "swap the operands", "fix_verified": True,
    }  # fmt: skip
    result = Result(
        "name", verdict="DIVERGED", max_abs_diff=INF, findings=FINDINGS, reports={"x": report(FINDINGS)}
    )
    assert "Infinity" not in json.dumps(result.to_dict(), allow_nan=False)


class Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.text, self.links, self.tags = "", [], set()

    def handle_data(self, data: str) -> None:
        self.text += data

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.add(tag)
        self.links += [value for name, value in attrs if name in {"src", "href"}]


def test_the_page_is_self_contained_and_escaped() -> None:
    result = Result("<pair> & co", verdict="DIVERGED", findings=FINDINGS, reports={"x": report(FINDINGS)})
    parsed = Page()
    parsed.feed(page([result.to_dict()]))
    for text in (
        "<pair> & co",
        "<identical> inputs & so on",
        "swap the operands",
        "concat-order",
        "x" * 400,
        "1 DIVERGED",
    ):
        assert text in parsed.text
    assert "script" not in parsed.tags
    assert all(link.startswith("#") for link in parsed.links)


def test_text() -> None:
    text = summary(report(FINDINGS))
    assert text.startswith("DIVERGED: 6 output elements")
    assert "1. layer at a.conv: on <identical>" in text
    assert "2. wiring at b / c.0 [concat-order]: input differs Fix (verified): swap the operands" in text
    assert "note: a note" in text
    many = listed(FINDINGS * 10)
    assert len(many) == SHOWN + 1
    assert "18 more" in many[-1]
    assert row(Result("name", 5, "EQUAL"), 8).endswith("EQUAL")


def test_every_kind_is_explained() -> None:
    assert {finding.kind for finding in FINDINGS} <= set(KINDS)
