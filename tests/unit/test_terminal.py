"""What commands print: plain lines in a pipe, and for a person lines that fit, in colours."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
from argparse import Namespace
from collections.abc import Callable
from dataclasses import replace

import pytest
from rich.cells import cell_len

from parity.cli import check, main
from parity.cli.asked import Pair
from parity.cli.shown.blocks import findings
from parity.cli.terminal import Screen, named
from parity.core.finding import Finding, Kind
from parity.core.verdict import Verdict
from parity.report.result import Result
from parity.report.text import listed

CODE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
LONG = (
    "on identical inputs: greatest difference 8.85 at index (1, 9, 23, 8); [bold]the rest[/bold] agrees; "
    + "a" * 90
)
FINDINGS = [
    Finding(
        "down", "down", Kind.LAYER, "same-padding-asymmetry", LONG, ("pad explicitly " * 20).strip(), True
    ),
    Finding("norm", "body.norm", Kind.WIRING, None, ":warning: what arrives differs"),
]
RESULTS = [
    Result("mUnet(depth=4)", 1_234_567, Verdict.EQUAL, 1e-15, 2.5e-15, 3e-7, seconds=12.34),
    Result("keras_port:build(width=8, depth=12) ~ torch_net:Net", 4085, Verdict.DIVERGED, 1.0, float("inf"),
           findings=FINDINGS, seconds=1.3),
    Result("other", 0, Verdict.INCONCLUSIVE),
]  # fmt: skip


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """A function that makes standard output a terminal with so many columns."""

    def made(columns: int) -> None:
        monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
        monkeypatch.setenv("COLUMNS", str(columns))
        monkeypatch.setenv("TERM", "xterm-256color")
        for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE"):
            monkeypatch.delenv(name, raising=False)

    return made


@pytest.fixture
def checked(monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    """A function that runs `parity check` with RESULTS as what is found; it returns the exit code."""
    monkeypatch.setattr(check, "_results", lambda pairs, settings, jobs, quiet: iter(RESULTS))
    pairs = [Pair(result.name, "k:m", "t:m", {}, {}) for result in RESULTS]
    monkeypatch.setattr(check.asked, "pairs", lambda options: pairs)
    monkeypatch.setattr(check.asked, "settings", lambda options: {})
    return lambda: check.run(Namespace(jobs=1, json=None, html=None, strict=False))


def test_a_pipe_gets_plain_lines(checked: Callable[[], int], capsys: pytest.CaptureFixture[str]) -> None:
    """To the letter: other programs read them."""
    assert checked() == 1
    assert capsys.readouterr().out.splitlines() == [
        "system                  parameters    float64    float32  seconds  verdict",
        "mUnet(depth=4)           1,234,567    2.5e-15    3.0e-07     12.3  EQUAL",
        "keras_port:build(...)        4,085        inf          -      1.3  DIVERGED",
        *listed(FINDINGS),
        "other                            0    0.0e+00          -      0.0  INCONCLUSIVE",
        "keras_port:build(...) is keras_port:build(width=8, depth=12) ~ torch_net:Net",
        "1 of 3 EQUAL",
    ]


@pytest.mark.parametrize("columns", [30, 48, 72, 100, 250])
def test_a_terminal_gets_lines_that_fit_and_colours(
    columns: int,
    terminal: Callable[[int], None],
    checked: Callable[[], int],
    capsys: pytest.CaptureFixture[str],
) -> None:
    terminal(columns)
    assert checked() == 1
    out = capsys.readouterr().out
    assert re.search(r"\x1b\[1;31mDIVERGED", out)
    lines = [line.rstrip() for line in CODE.sub("", out).splitlines()]
    assert max(map(cell_len, lines)) <= min(columns, 100)
    assert ("parameters" in lines[0]) == (columns >= 80)
    text = " ".join(" ".join(lines).split())
    assert "1. error: layer at down [same-padding-asymmetry]" in text
    assert "· [bold]the rest[/bold] agrees" in text
    assert ":warning: what arrives differs" in text
    assert text.count("pad explicitly") == 20
    assert text.count("a" * 90) == (columns >= 100)
    assert text.replace(" ", "").count("a" * 90) == 1  # what does not fit goes on in the next line
    for verdict in Verdict:
        assert any(line.endswith(verdict) for line in lines)


def test_many_findings_are_a_dozen(
    terminal: Callable[[int], None], capsys: pytest.CaptureFixture[str]
) -> None:
    for watched in (False, True):
        if watched:
            terminal(80)
        screen = Screen()
        screen.show(findings([replace(one, cause=None) for one in FINDINGS * 10], screen))  # else one a cause
        out = CODE.sub("", capsys.readouterr().out)
        assert len(re.findall(r"^ +\d+\. ", out, re.MULTILINE)) == 12
        assert "... and 8 more" in out


def test_texts_are_wrapped_under_themselves(capsys: pytest.CaptureFixture[str]) -> None:
    Screen().show(named({"fix": "word " * 30, "signature": "x"}))
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("  fix:       word word")
    assert lines[1].startswith("             word")
    assert lines[-1] == "  signature: x"
    assert max(map(len, lines)) <= 100


def test_colours_may_be_switched_off(
    terminal: Callable[[int], None], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal(80)
    monkeypatch.setenv("NO_COLOR", "1")
    assert main(["causes"]) == 0
    assert not re.search(r"\x1b\[[0-9;]*3[0-9]m", capsys.readouterr().out)


def test_a_long_path_in_an_error_is_not_broken(capsys: pytest.CaptureFixture[str]) -> None:
    path = f"{'folder/' * 30}a.json"
    assert main(["repro", path, "--finding", "1", "-o", "b.py"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("parity: ")
    assert path in error
    assert error.count("\n") == 1


WAITING = """
import os, sys, time
from parity.adapters.frameworks import _without_stderr
from parity.cli.terminal import waiting
from parity.verdict.runs.progress import at
with waiting("[1/2] a [pair]"):
    with _without_stderr():
        os.write(2, b"chatter")
        time.sleep(0.5)
        at("causes")
        time.sleep(0.5)
print("done")
"""


def test_what_is_under_way_is_shown_to_a_person_alone() -> None:
    """On a terminal, also while frameworks load quietly; it is gone when the work is done. Not in a pipe."""
    reader, terminal = pty.openpty()
    done = subprocess.run(
        [sys.executable, "-c", WAITING], stdout=subprocess.PIPE, stderr=terminal, timeout=60, check=True,
        env={**os.environ, "TERM": "xterm-256color", "COLUMNS": "80"},
    )  # fmt: skip
    os.close(terminal)
    shown = os.read(reader, 100_000).decode()
    os.close(reader)
    assert done.stdout == b"done\n"
    assert CODE.sub("", shown).count("[1/2] a [pair]") >= 3
    assert "[1/2] a [pair]: causes" in CODE.sub("", shown)
    assert "chatter" not in shown
    assert shown.rstrip().endswith("\x1b[2K")  # the line is wiped
    quiet = subprocess.run([sys.executable, "-c", WAITING], capture_output=True, timeout=60, check=True)
    assert (quiet.stdout, quiet.stderr) == (b"done\n", b"")
