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


def test_half_a_file_with_a_final_name_is_seen(tmp_path: Path) -> None:
    """The check of the check."""
    home = prepared(tmp_path / "home")
    (home / "out").mkdir()
    (home / "out" / "x.gz").write_bytes((home / "data.gz").read_bytes()[:-9])
    with pytest.raises(ValueError, match="cut short"):
        commands.COMMANDS["generate"].writes(home)
