"""What a model's code does to its process: exits, signals, forged output, closed files. Only a verdict gives 0 or 1."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

MODELS = """
import atexit, os, signal, sys, threading, time
import keras, torch
from torch import nn


class Quiet(SystemExit):
    pass


class Odd(BaseException):
    pass


class Noisy:
    def __del__(self):
        raise RuntimeError("in __del__")


def raises(error):
    raise error


def forged():
    print("1 of 1 EQUAL", flush=True)
    os._exit(0)


def forged_file():
    with open("report.json", "w") as file:
        file.write('[{"verdict": "EQUAL"}]')
    os._exit(0)


def in_a_thread():
    threading.Thread(target=lambda: os._exit(0)).start()
    time.sleep(60)


def forked():
    if os.fork():
        os._exit(0)


def alarm():
    signal.signal(signal.SIGALRM, lambda *_: os._exit(0))
    signal.setitimer(signal.ITIMER_REAL, 0.01)
    time.sleep(60)


def deep():
    return deep()


def hook():
    sys.excepthook = lambda *_: os._exit(0)
    raise ValueError("made")


TRICKS = {
    "nothing": lambda: None,
    "sys.exit(0)": lambda: sys.exit(0),
    "sys.exit()": lambda: sys.exit(),
    "sys.exit of a text": lambda: sys.exit("EQUAL"),
    "sys.exit(False)": lambda: sys.exit(False),
    "a class of SystemExit": lambda: raises(Quiet(0)),
    "os._exit(0)": lambda: os._exit(0),
    "os._exit(1)": lambda: os._exit(1),
    "KeyboardInterrupt": lambda: raises(KeyboardInterrupt()),
    "GeneratorExit": lambda: raises(GeneratorExit()),
    "an exception of its own base": lambda: raises(Odd("made")),
    "BrokenPipeError": lambda: raises(BrokenPipeError("made")),
    "StopIteration": lambda: raises(StopIteration()),
    "MemoryError": lambda: raises(MemoryError()),
    "recursion without end": deep,
    "EQUAL printed, and the end": forged,
    "a report written, and the end": forged_file,
    "a thread that ends the process": in_a_thread,
    "a fork whose parent ends": forked,
    "another program": lambda: os.execv("/bin/true", ["true"]),
    "an alarm": alarm,
    "a hook for exceptions": hook,
    "SIGKILL": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "SIGTERM": lambda: os.kill(os.getpid(), signal.SIGTERM),
    "SIGINT": lambda: os.kill(os.getpid(), signal.SIGINT),
    "an abort": os.abort,
    "EQUAL printed": lambda: print("1 of 1 EQUAL", flush=True),
    "a closed output": lambda: os.close(1),
    "an output that another file takes over": lambda: (os.close(1), os.open("taken", os.O_CREAT | os.O_WRONLY)),
    "every file closed": lambda: os.closerange(0, 256),
    "a closed stream": lambda: sys.stdout.close(),
    "SIGINT ignored": lambda: (signal.signal(signal.SIGINT, signal.SIG_IGN), os.kill(os.getpid(), signal.SIGINT)),
    "SIGINT as the system handles it": lambda: (
        signal.signal(signal.SIGINT, signal.SIG_DFL), os.kill(os.getpid(), signal.SIGINT)
    ),
    "no output": lambda: setattr(sys, "stdout", None),
    "no errors": lambda: setattr(sys, "stderr", None),
    "an end at exit": lambda: atexit.register(lambda: os._exit(0)),
    "an exception at exit": lambda: atexit.register(lambda: raises(ValueError("late"))),
    "an exception in __del__": lambda: Noisy() and None,
}


def right():
    return keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])


class Net(nn.Module):
    def __init__(self, trick, where="forward", factor=1.0):
        super().__init__()
        self.layer, self.trick, self.where, self.factor = nn.Linear(4, 2), trick, where, factor
        if where == "builder":
            TRICKS[trick]()

    def forward(self, x):
        if self.where == "forward":
            TRICKS[self.trick]()
        return self.layer(x) * self.factor


def wrong(trick, where="builder"):
    return Net(trick, where, 2.0)
"""

ENDS = (
    "sys.exit(0)", "sys.exit()", "sys.exit of a text", "sys.exit(False)", "a class of SystemExit", "os._exit(0)",
    "os._exit(1)", "GeneratorExit", "an exception of its own base", "EQUAL printed, and the end",
    "a report written, and the end", "a thread that ends the process", "another program",
    "an alarm", "SIGKILL", "SIGTERM", "an abort",
)  # fmt: skip
"""No verdict: exit code 2, in the builder and in forward."""

RAISES = ("BrokenPipeError", "StopIteration", "MemoryError", "recursion without end", "a hook for exceptions")
"""Errors: no verdict, exit code 2."""

GOES_ON = (
    "EQUAL printed", "a closed output", "every file closed", "an output that another file takes over", "a closed stream",
    "SIGINT ignored", "no output", "no errors", "an end at exit", "an exception at exit", "an exception in __del__",
)  # fmt: skip
"""The comparison goes on: exit code 1, because the models differ."""

INTERRUPTS = ("KeyboardInterrupt", "SIGINT", "SIGINT as the system handles it")


def cases() -> dict[str, tuple[str, tuple[int, ...]]]:
    """By name: the torch model, and the exit codes that may come."""
    found: dict[str, tuple[str, tuple[int, ...]]] = {
        "nothing": ("Net('nothing')", (0,)), "another result": ("wrong('nothing')", (1,)),
    }  # fmt: skip
    for trick in (*ENDS, *RAISES):
        for where in ("builder", "forward"):
            if (trick, where) not in {("a hook for exceptions", "builder"), ("an alarm", "builder")}:
                found[f"{trick}, in the {where}"] = (f"wrong({trick!r}, {where!r})", (2,))
    for trick in GOES_ON:
        found[f"{trick}, models that differ"] = (f"wrong({trick!r})", (1,))
    for trick in INTERRUPTS:
        found[f"{trick}, in forward"] = (f"wrong({trick!r}, 'forward')", (130,))
    found["a fork whose parent ends, in the builder"] = ("wrong('a fork whose parent ends')", (1, 2))
    return found


CASES = cases()


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("processes")
    (folder / "models_of_mine.py").write_text(MODELS, encoding="utf-8")
    common = [
        "check",
        "--keras",
        "models_of_mine.py:right",
        "--transfer",
        "torch-to-keras",
        "--dtype",
        "float64",
    ]
    asked = {name: [*common, "--torch", f"models_of_mine.py:{torch}"] for name, (torch, _) in CASES.items()}
    (folder / "cases.json").write_text(json.dumps(asked), encoding="utf-8")
    root = str(Path(__file__).resolve().parents[2])
    done = subprocess.run(
        [sys.executable, "-m", "tests.attacks.forked", "cases.json"], cwd=folder, text=True, timeout=300, check=False,
        capture_output=True, env={**os.environ, "PYTHONPATH": root, "TF_CPP_MIN_LOG_LEVEL": "2"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return dict(json.loads(done.stdout.splitlines()[-1]))


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.parametrize("name", CASES)
def test_only_a_verdict_gives_the_exit_code(name: str, results: dict[str, Any], keras_torch: None) -> None:
    code, said = results[name]
    assert code in CASES[name][1], said[-2000:]
