"""Of a long table a share is tried: some of every group, and with --whole every row."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.shares import share_of

ROWS = [
    (group, f"{group}{row}")
    for group, count in (("a", 4), ("b", 4), ("c", 1), ("d", 2))
    for row in range(count)
]


@pytest.mark.parametrize(
    ("share", "wanted"),
    [
        (1, [row for _, row in ROWS]),
        (2, ["a0", "a2", "b1", "b3", "c0", "d1"]),
        (3, ["a0", "a3", "b1", "c0", "d1"]),
        (9, ["a0", "b1", "c0", "d1"]),
    ],
)
def test_a_share_has_rows_of_every_group(share: int, wanted: list[str]) -> None:
    assert share_of(ROWS, share) == wanted


@pytest.mark.parametrize("whole", [False, True])
def test_only_the_share_is_collected(whole: bool, tmp_path: Path) -> None:
    root = Path(__file__).parents[2]
    (tmp_path / "test_table.py").write_text(
        "import pytest\n"
        "@pytest.mark.table(share=3, by=lambda number, word: word)\n"
        "@pytest.mark.parametrize('number', range(6))\n"
        "@pytest.mark.parametrize('word', 'ab')\n"
        "def test_row(number, word): pass\n"
        "@pytest.mark.whole\n"
        "def test_long(): pass\n"
    )
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "-p",
        "tests.conftest",
        "-n",
        "0",
    ]
    command += ["-c", str(root / "pyproject.toml"), "--rootdir", str(tmp_path), str(tmp_path)]
    done = subprocess.run([*command, *["--whole"] * whole], capture_output=True, text=True, cwd=root)
    assert done.stdout.splitlines()[-1].startswith("13 passed" if whole else "4 passed, 9 deselected"), (
        done.stdout
    )
