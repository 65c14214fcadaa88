"""A share of the kills in every run of the tests; the recorded run has a hundred, of all commands."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.kills import commands
from tests.kills.__main__ import kill_often
from tests.kills.commands import prepared


def test_generate_is_killed_four_times(tmp_path: Path) -> None:
    found = kill_often("generate", prepared(tmp_path / "home"), 4, random.Random(1))
    assert found["faults"] == []
    assert found["kills"] >= 1, "a kill after the end is none"


CARELESS = """
import os, pathlib, sys, time
out = pathlib.Path(sys.argv[1])
lock = out.with_name("lock")
if sys.argv[2] == "locks":
    os.close(os.open(lock, os.O_CREAT | os.O_EXCL))
time.sleep(0.2)
out.write_text(str(time.time_ns()) if sys.argv[2] == "changes" else "same")
time.sleep(0.2)
lock.unlink(missing_ok=True)
"""


@pytest.mark.parametrize(
    ("how", "fault"), [("changes", "gave other bits: out"), ("locks", "FileExistsError")]
)
def test_a_careless_command_is_seen(
    how: str, fault: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The check of the check: another result after a kill, and a lock that a killed process leaves."""
    careless = commands.Killed(
        lambda home: [commands.PYTHON, "-c", CARELESS, str(home / "out"), how],
        lambda home: None,
        lambda home: {"out": (home / "out").read_text()},
    )
    monkeypatch.setitem(commands.COMMANDS, how, careless)
    found = kill_often(how, prepared(tmp_path / "home"), 2, random.Random(1))
    assert any(fault in text for text in found["faults"]), found


def test_half_a_file_with_a_final_name_is_seen(tmp_path: Path) -> None:
    """The check of the check."""
    home = prepared(tmp_path / "home")
    (home / "out").mkdir()
    (home / "out" / "x.gz").write_bytes((home / "data.gz").read_bytes()[:-9])
    with pytest.raises(ValueError, match="cut short"):
        commands.COMMANDS["generate"].writes(home)
