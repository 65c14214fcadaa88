"""Exit 0 means EQUAL: nothing that a model's own code does ends `parity check` with 0 before a verdict."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from datasets.purdue_shapes import load

MODELS = """
import os, sys
import torch, keras
from torch import nn

def right():
    return keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])

class Net(nn.Module):
    def __init__(self, how):
        super().__init__()
        self.layer, self.how = nn.Linear(4, 2), how
        if how == "a broken pipe in the builder":
            raise BrokenPipeError("made")
        if how == "sys.exit in the builder":
            sys.exit(0)

    def forward(self, x):
        if self.how == "os._exit in forward":
            os._exit(0)
        if self.how == "sys.exit in forward":
            sys.exit(0)
        return self.layer(x) * (2.0 if self.how == "another result" else 1.0)
"""

CASES = {
    "nothing": (0, "1 of 1 EQUAL"),
    "another result": (1, "0 of 1 EQUAL"),
    "a broken pipe in the builder": (2, "parity: made"),
    "sys.exit in the builder": (2, "must not end the process; got sys.exit(0)"),
    "sys.exit in forward": (2, "must not end the process; got sys.exit(0)"),
    "os._exit in forward": (2, "must not end the process; it ended with code 0"),
}


def check(folder: Path, how: str, **more: object) -> subprocess.CompletedProcess[str]:
    (folder / "models_of_mine.py").write_text(MODELS)
    command = [sys.executable, "-m", "parity", "check", "--keras", "models_of_mine.py:right"]
    return subprocess.run(
        [*command, "--torch", f"models_of_mine.py:Net({how!r})"],
        cwd=folder, text=True, timeout=300, check=False, **more,  # type: ignore[call-overload]
    )  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("how", CASES)
def test_only_a_verdict_gives_the_exit_code(how: str, tmp_path: Path, keras_torch: None) -> None:
    code, said = CASES[how]
    done = check(tmp_path, how, capture_output=True)
    assert done.returncode == code, done.stdout + done.stderr[-2000:]
    assert said in done.stdout + done.stderr


@pytest.mark.slow
def test_a_closed_pipe_hides_no_difference(tmp_path: Path, keras_torch: None) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = check(tmp_path, "another result", stdout=writing, stderr=subprocess.PIPE)
    os.close(writing)
    assert done.returncode == 1, done.stderr[-2000:]


@pytest.mark.slow
@pytest.mark.parametrize("closed", [(1,), (2,), (0, 1, 2)], ids=["output", "errors", "all"])
def test_closed_standard_files_hide_no_verdict(
    closed: tuple[int, ...], tmp_path: Path, keras_torch: None
) -> None:
    for how in ("nothing", "another result"):
        done = check(tmp_path, how, preexec_fn=lambda: [os.close(number) for number in closed])
        assert done.returncode == CASES[how][0]


@pytest.mark.parametrize("closed", [(1,), (2,), (0, 1, 2)], ids=["output", "errors", "all"])
def test_a_command_of_data_goes_on_without_standard_files(closed: tuple[int, ...], tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "datasets.purdue_shapes",
        "generate",
        "--out",
        str(tmp_path),
        "--train",
        "2",
        "--test",
        "1",
    ]
    done = subprocess.run(command, check=False, preexec_fn=lambda: [os.close(number) for number in closed])
    assert done.returncode == 0
    assert {len(load(path)) for path in tmp_path.glob("*.gz")} == {1, 2}


@pytest.mark.skipif(not Path("/dev/full").is_char_device(), reason="no /dev/full here")
def test_a_full_disk_for_standard_errors_is_no_verdict(tmp_path: Path) -> None:
    commands = (
        ["parity", "check", "--keras", "nothing.py:a", "--torch", "nothing.py:b"],
        ["parity", "repro", "nothing.json", "--finding", "1", "-o", "x.py"],
        ["datasets.purdue_shapes", "generate", "--out", "/dev/null", "--train", "1", "--test", "1"],
    )
    for command in commands:
        with open("/dev/full", "w") as full:
            done = subprocess.run([sys.executable, "-m", *command], cwd=tmp_path, check=False, stderr=full)
        assert done.returncode == 2, command


def started(folder: Path, **more: object) -> subprocess.Popen[str]:
    """The check of two equal models in a session of its own, as from a terminal."""
    (folder / "models_of_mine.py").write_text(MODELS)
    command = [sys.executable, "-m", "parity", "check", "--keras", "models_of_mine.py:right"]
    return subprocess.Popen(
        [*command, "--torch", "models_of_mine.py:Net('nothing')"], cwd=folder, text=True, start_new_session=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        preexec_fn=_as_from_a_terminal,
    )  # fmt: skip


def _as_from_a_terminal() -> None:
    """The signals that a background job or `nohup` lets be ignored act again."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


def child_of(process: subprocess.Popen[str]) -> int:
    """The process that a command starts, as soon as it is there."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    for _ in range(300):
        if found := children.read_text().split():
            return int(found[0])
        time.sleep(0.02)
    raise AssertionError("no child within 6 s")


linux = pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="no /proc here")


@linux
@pytest.mark.slow
@pytest.mark.parametrize("after", [0.0, 0.1, 1.5])
def test_the_keyboard_interrupts_at_any_time(after: float, tmp_path: Path, keras_torch: None) -> None:
    process = started(tmp_path)
    child_of(process)
    time.sleep(after)
    os.killpg(process.pid, signal.SIGINT)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 130, said[-2000:]
    assert "parity: interrupted" in said


@linux
@pytest.mark.slow
@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP"])
def test_a_signal_that_ends_parity_ends_its_child(name: str, tmp_path: Path, keras_torch: None) -> None:
    process = started(tmp_path)
    child, number = child_of(process), getattr(signal, name)
    time.sleep(0.5)
    process.send_signal(number)
    process.communicate(timeout=60)  # its child would hold the pipe open
    assert process.returncode == 128 + number
    state = Path(f"/proc/{child}/stat")
    assert not state.exists() or state.read_text().rpartition(")")[2].split()[0] == "Z"
