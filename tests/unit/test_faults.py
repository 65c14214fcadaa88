"""Faults of the machine: full disks, folders that are none, closed pipes, a second process; one line and exit code 2."""

from __future__ import annotations

import argparse
import errno
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from datasets import files
from datasets.claims import claimed
from datasets.errors import DataError, SettingsError, WriteError
from datasets.exits import exit_code
from datasets.files import read_json, read_within, replacing

NOTHING = argparse.Namespace()


def line_of(error: BaseException, capsys: pytest.CaptureFixture[str]) -> str:
    """What a command says of an error."""

    def faulty(options: argparse.Namespace) -> None:
        raise error

    assert exit_code(faulty, NOTHING) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: ")
    assert said.count("\n") == 1
    return said


@pytest.mark.parametrize(
    ("number", "advice"),
    [
        (errno.ENOSPC, "Make room"),
        (errno.EFBIG, "Make room"),
        (errno.EROFS, "Give permission"),
        (errno.EACCES, "Give permission"),
        (errno.ENOTDIR, "Choose another name"),
        (errno.EIO, "Check the path"),
    ],
)
def test_what_the_system_refuses_is_one_line(
    number: int, advice: str, capsys: pytest.CaptureFixture[str]
) -> None:
    said = line_of(OSError(number, os.strerror(number), "here/x.gz"), capsys)
    assert os.strerror(number) in said
    assert "here/x.gz" in said
    assert advice in said


def test_too_little_memory_and_an_interruption(capsys: pytest.CaptureFixture[str]) -> None:
    assert "memory must hold" in line_of(MemoryError("3 TB"), capsys)

    def interrupted(options: argparse.Namespace) -> None:
        raise KeyboardInterrupt

    assert exit_code(interrupted, NOTHING) == 130


def test_the_commands_own_code_is_kept() -> None:
    assert exit_code(lambda _: None, NOTHING) == 0
    assert exit_code(lambda _: 1, NOTHING) == 1


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the system has no /dev/full")
def test_an_output_that_nothing_can_be_written_to(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "datasets.voc", "check", str(tmp_path)]
    with open("/dev/full", "w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr


@pytest.mark.parametrize("kind", [OSError, RuntimeError, PermissionError])
def test_a_file_that_cannot_be_written_is_one_error(tmp_path: Path, kind: type[Exception]) -> None:
    path = tmp_path / "x.json"

    def write() -> None:
        with replacing(path) as partial:
            partial.write_text("half")
            raise kind("no room")

    with pytest.raises(WriteError, match=r"x\.json must be written whole; got .*no room"):
        write()
    assert not list(tmp_path.iterdir())


def test_a_file_is_no_larger_than_its_bound(tmp_path: Path) -> None:
    path = tmp_path / "x.txt"
    path.write_bytes(b"12345")
    assert read_within(path, 5) == b"12345"
    with pytest.raises(DataError, match="at most 4 bytes"):
        read_within(path, 4)
    if Path("/dev/zero").exists():
        with pytest.raises(DataError, match="at most 100 bytes"):
            read_within(Path("/dev/zero"), 100)


def test_values_that_would_take_too_much_are_not_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x.json"
    path.write_text("[" * 100_000)
    with pytest.raises(DataError, match="nested"):
        read_json(path)
    path.write_text("[" + "[]," * 100 + "1]")
    assert len(read_json(path)) == 101
    monkeypatch.setattr(files, "ROOM", 101 * 128)  # a list and its place in another one, as Python holds them
    with pytest.raises(DataError, match="take at most"):
        read_json(path)


HOLD = """
import sys, time
from pathlib import Path
from datasets import files
from datasets.claims import claimed
with claimed(Path(sys.argv[1]), folder=sys.argv[2] == "folder"):
    print("held", flush=True)
    time.sleep(60)
"""


def holder(out: Path, folder: bool) -> subprocess.Popen[str]:
    """A process that holds a place."""
    arguments = [sys.executable, "-c", HOLD, str(out), "folder" if folder else "file"]
    process = subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


@pytest.mark.skipif(sys.platform == "win32", reason="the system has no such locks")
@pytest.mark.parametrize("folder", [True, False])
def test_a_second_process_is_refused_and_a_killed_one_blocks_nobody(tmp_path: Path, folder: bool) -> None:
    out = tmp_path / "run"
    process = holder(out, folder)
    with process:
        with pytest.raises(SettingsError, match=f"process {process.pid} writes"), claimed(out, folder=folder):
            pass
        process.send_signal(signal.SIGKILL)
        process.wait()
    left = list((out if folder else tmp_path).iterdir())
    assert len(left) == 1, "the killed process leaves its file"
    with claimed(out, folder=folder):
        assert (left[0]).read_text() == f"{os.getpid()}\n"
        with pytest.raises(SettingsError, match=f"process {os.getpid()} writes"), claimed(out, folder=folder):
            pass
    assert not list((out if folder else tmp_path).iterdir())
    with claimed(out, folder=folder):
        pass


def test_a_place_that_is_none_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("x")

    def command(options: argparse.Namespace) -> None:
        with claimed(tmp_path / "file"):
            pass

    assert exit_code(command, NOTHING) == 2
    assert "Choose another name" in capsys.readouterr().err


def test_children_do_not_keep_a_place(tmp_path: Path) -> None:
    """A worker that outlives a killed parent must not block the next run."""
    fork = '    if os.fork() == 0: time.sleep(30)\n    print("held", flush=True)'
    script = "import os\n" + HOLD.replace('    print("held", flush=True)', fork)
    process: Any = subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path), "folder"],
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout.readline() == "held\n"
    process.kill()
    process.wait()
    try:
        with claimed(tmp_path):
            pass
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.stdout.close()
