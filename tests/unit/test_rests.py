"""What a verdict rests on, in every face: the line, the entries, and what --strict makes of them."""

from __future__ import annotations

import json
from argparse import Namespace
from typing import Any

import pytest

import parity
from parity.cli import check
from parity.cli.shown.blocks import proven
from parity.cli.terminal import Screen
from parity.core.errors import ParityError
from parity.core.verdict import Verdict
from parity.report.page.html import page
from parity.report.proof import Proof, Share, Unproven, UnprovenKind
from parity.report.rests import first, rests_on, too_little
from parity.report.result import Report, Result
from parity.report.text import screen, summary
from parity.verdict import compare

BRANCHES = [
    Unproven(
        UnprovenKind.BRANCHES,
        f"nets/model.py:{line}: `x > {line}` was never true",
        (f"nets/model.py:{line}",),
    )
    for line in (88, 131)
]
TENSORS = [
    Unproven(UnprovenKind.TENSORS, f"layer{i}.weight: never moved an output", (f"layer{i}.weight",))
    for i in range(20)
]
PROBES = ("the inputs as they are", "inputs negated times 8, batch 1", "c", "d")


def report(unproven: Any = (), verdict: Verdict = Verdict.EQUAL) -> Report:
    proof = Proof(PROBES, Share(102, 102), Share(31, 33), None)
    return Report(verdict, 0.0, 0.0, [], elements=12, unproven=list(unproven), proof=proof)


def result(unproven: Any = ()) -> Result:
    one = report(unproven)
    return Result("net", verdict=Verdict.EQUAL, reports={"x": one}, unproven=one.unproven, proof=one.proof)


LINE = "102 of 102 tensors moved the outputs, 31 of 33 branches taken, 4 probes"


def test_one_line_says_what_an_equal_verdict_rests_on() -> None:
    assert rests_on(report()) == LINE
    assert rests_on(report(BRANCHES)) == f"{LINE}; not taken: model.py:88, model.py:131"
    training = Unproven(
        UnprovenKind.TRAINING, "nets/model.py:9: `self.training` was never true", ("nets/model.py:9",)
    )
    assert rests_on(report([training])) == f"{LINE}; not taken: model.py:9"
    many = rests_on(report([*BRANCHES, *TENSORS]))
    assert many == f"{LINE}; not proven: 20 weights that moved no output, 2 branches not taken"
    assert rests_on(report(BRANCHES, Verdict.DIVERGED)) == ""
    assert too_little(report(BRANCHES)) == "EQUAL, and not all of it proven: 2 branches not taken"
    assert too_little(report()) == ""


def test_the_entries_shown_are_of_every_kind() -> None:
    shown, more = first([*TENSORS, *BRANCHES], 6)
    assert len(shown) == 6
    assert set(BRANCHES) <= set(shown)
    assert more == "... and 16 more (--json and --html hold all)"


def test_text_and_screen_have_the_line_and_the_entries() -> None:
    text = summary(report(BRANCHES))
    assert f"  rests on: {LINE}; not taken: model.py:88, model.py:131" in text.splitlines()
    assert "  unproven: nets/model.py:88: `x > 88` was never true" in text.splitlines()
    short = screen(report([*BRANCHES, *TENSORS]), ["last"]).splitlines()
    assert len(short) <= 20
    assert all(len(line) <= 72 for line in short)
    assert any(line.startswith("unproven: nets/model.py:88") for line in short)
    assert "unproven" not in summary(report(BRANCHES, Verdict.DIVERGED))


def test_json_has_texts_and_their_kinds_and_places() -> None:
    values = json.loads(json.dumps(report(BRANCHES).to_dict()))
    assert values["unproven"] == list(BRANCHES)
    assert values["proof"]["branches"] == {"reached": 31, "of": 33}
    assert values["proof"]["probes"] == list(PROBES)
    assert values["proof"]["unproven"][0] == {
        "kind": "branches", "text": str(BRANCHES[0]), "places": ["nets/model.py:88"]}  # fmt: skip


def test_the_page_shows_counts_probes_and_entries() -> None:
    text = page([result([*BRANCHES, *TENSORS])])
    for part in ("<b>31</b> of 33", "branches taken", "inputs negated times 8, batch 1", "nets/model.py:88: `x &gt; 88`",
                 "Weights that moved no output (20)"):  # fmt: skip
        assert part in text
    assert "Nothing is left unproven" in page([result()])


def test_the_terminal_shows_the_line_and_where_asked_the_entries(capsys: pytest.CaptureFixture[str]) -> None:
    shown = Screen()
    for whole in (False, True):
        for item in proven(result(BRANCHES), shown, whole):
            shown.show(item)
        text = capsys.readouterr().out
        assert f"rests on: {LINE}" in text
        assert ("unproven: nets/model.py:131" in text) is whole


@pytest.mark.parametrize(("strict", "unproven", "code"), [
    (False, BRANCHES, 0), (True, BRANCHES, 1), (True, [], 0)])  # fmt: skip
def test_strict_exits_with_1_where_something_is_unproven(
    strict: bool,
    unproven: Any,
    code: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    pair = Namespace(name="net", short="net")
    monkeypatch.setattr(check.asked, "pairs", lambda options: [pair])
    monkeypatch.setattr(check.asked, "settings", lambda options: {})
    monkeypatch.setattr(check, "_results", lambda *_: iter([result(unproven)]))
    assert check.run(Namespace(jobs=1, json=None, html=None, strict=strict)) == code
    assert ("leave something unproven (--strict)" in capsys.readouterr().out) is (code == 1)


def test_assert_parity_strict_raises(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compare, "compare", lambda *_, **__: report(BRANCHES))
    assert parity.assert_parity(None, None)
    with pytest.raises(ParityError, match=r"not all of it proven: 2 branches not taken \(strict=True\)"):
        parity.assert_parity(None, None, strict=True)
