"""A stranger's report: whatever its fields hold, `parity repro` writes it down as text or refuses it; nothing runs."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from parity.cli import main
from parity.report.repro import script as scripts

RUN = "__import__('pathlib').Path('PWNED').touch()"
"""What must never run: it leaves a file."""
QUIT = f'"""\n{RUN}\n"""'
CALL = f"ReLU(), {RUN}, nn.ReLU"

RUNNER = """
import pathlib, runpy, sys
for path in sys.argv[1:]:
    try:
        runpy.run_path(path, run_name="__main__")
    except Exception:
        pass
    if pathlib.Path("PWNED").exists():
        print(path)
        pathlib.Path("PWNED").unlink()
"""

TENSORS = {
    "1.keras_input.0": np.ones((1, 3, 4, 2)), "1.torch_input.0": np.ones((1, 2, 3, 4)),
    "1.keras_output.0": np.zeros((1, 3, 4, 2)), "1.torch_output.0": np.ones((1, 2, 3, 4)),
}  # fmt: skip
CONFIG = {
    "module": "keras.layers",
    "class_name": "ReLU",
    "config": {"negative_slope": 0.5, "dtype": "float64"},
}
REPORT: dict[str, Any] = {
    "findings": [
        {
            "keras": "block.act", "torch": "block.act", "kind": "layer", "cause": None, "evidence": "they differ",
            "blueprint": {
                "keras": {"config": CONFIG, "training": False, "list": False},
                "torch": [{"class": "LeakyReLU", "arguments": {"negative_slope": 0.5}}],
            },
            "tensors": [name[2:] for name in TENSORS],
        }
    ],
    "tensors_file": "report.safetensors",
    "environment": {"keras backend": "tensorflow"},
}  # fmt: skip


def at(*place: Any, value: Any) -> Callable[[dict[str, Any]], None]:
    """Puts a value into the report at a place; "keras" and "torch" are those of the blueprint."""
    roots = {
        "keras": ("findings", 0, "blueprint", "keras"),
        "torch": ("findings", 0, "blueprint", "torch", 0),
    }

    def change(report: dict[str, Any]) -> None:
        *way, last = (*roots.get(place[0], ("findings", 0, place[0])), *place[1:])
        if place[0] in report:
            way, last = [*place[:-1]], place[-1]
        inner: Any = report
        for step in way:
            inner = inner[step]
        inner[last] = value

    return change


def key(*place: Any, name: str) -> Callable[[dict[str, Any]], None]:
    """A key with that name in an object of the report."""
    return at(*place, name, value=1)


INJECTIONS: dict[str, Callable[[dict[str, Any]], None]] = {
    "evidence ends the docstring": at("evidence", value=QUIT),
    "evidence ends it with four quotes": at("evidence", value=f'x"""" + {RUN} + """'),
    "evidence escapes the end": at("evidence", value=f'\\"""\n{RUN}\n#'),
    "evidence in a comment's next line": at("evidence", value=f"x\n{RUN}\n"),
    "evidence with a carriage return": at("evidence", value=f"x\r{RUN}\r"),
    "evidence with a form feed and a line separator": at("evidence", value=f"x\f\u2028{RUN}\u2029\x85{RUN}"),
    "evidence with braces of a format": at("evidence", value="{RUN} {0.__class__} {version.__globals__}"),
    "evidence with a null byte": at("evidence", value=f'\x00"""{RUN}'),
    "evidence with half a character": at("evidence", value=f"\ud800{QUIT}"),
    "evidence that an editor turns around": at("evidence", value=f'\u202e"""{RUN}\u2066'),
    "evidence is no text": at("evidence", value={"a": QUIT}),
    "kind": at("kind", value=QUIT),
    "cause": at("cause", value=QUIT),
    "Keras path": at("findings", 0, "keras", value=QUIT),
    "torch path": at("findings", 0, "torch", value=QUIT),
    "torch path is a list": at("findings", 0, "torch", value=[QUIT]),
    "torch class": at("torch", "class", value=CALL),
    "torch class with a newline": at("torch", "class", value=f"ReLU())\n{RUN}\n(nn.ReLU"),
    "torch class is another attribute": at("torch", "class", value="Module.__init_subclass__"),
    "torch class loads more code": at("torch", "class", value="modules.lazy.LazyModuleMixin"),
    "argument's name": key("torch", "arguments", name=f"a={RUN}, b"),
    "argument's name with a newline": key("torch", "arguments", name=f"a=1))\n{RUN}\n#"),
    "argument's name is a keyword": key("torch", "arguments", name="lambda"),
    "argument's name in other letters": key("torch", "arguments", name="ｅval"),
    "argument's value": at("torch", "arguments", "negative_slope", value=f"{RUN}"),
    "argument's value ends its quotes": at("torch", "arguments", "negative_slope", value=f"', {RUN}, '"),
    "argument's value is a nested key": at("torch", "arguments", "negative_slope", value={f"'+{RUN}+'": [QUIT]}),
    "arguments are a list": at("torch", "arguments", value=[RUN]),
    "modules are a text": at("findings", 0, "blueprint", "torch", value=RUN),
    "Keras class": at("keras", "config", "class_name", value=RUN),
    "Keras Lambda": at("keras", "config", "class_name", value="Lambda"),
    "Keras layer that reads a file": at("keras", "config", "class_name", value="TFSMLayer"),
    "Keras module": at("keras", "config", "module", value="os"),
    "Keras registered name": at("keras", "config", "registered_name", value="os>system"),
    "Keras function as a value": at("keras", "config", "config", "activation", value={
        "class_name": "function", "module": "os", "config": "system", "registered_name": "system"}),
    "Keras lambda as a value": at("keras", "config", "config", "max_value", value={
        "class_name": "__lambda__", "config": {"value": "4wAAAA=="}}),
    "Keras activation by a path": at("keras", "config", "config", "activation", value="os.system"),
    "Keras config's key": key("keras", "config", "config", name=f"'}}\n{RUN}\n#"),
    "Keras config's text": at("keras", "config", "config", "name", value=f"'}}\n{RUN}\n#"),
    "Keras config nested without end": at("keras", "config", "config", "axes", value=json.loads("[" * 30 + "]" * 30)),
    "Keras call's training": at("keras", "training", value=RUN),
    "Keras call's list": at("keras", "list", value=RUN),
    "backend": at("environment", "keras backend", value=QUIT),
    "backend in its quotes": at("environment", "keras backend", value=f"tensorflow'); {RUN}; ('"),
    "backend is an object": at("environment", "keras backend", value={RUN: RUN}),
    "environment is a text": at("environment", value=RUN),
    "tensors' file elsewhere": at("tensors_file", value="../report.safetensors"),
    "tensors' file is a pickle's name": at("tensors_file", value=f"{RUN}\n.safetensors"),
    "blueprint is a text": at("findings", 0, "blueprint", value=RUN),
    "old name of the blueprint": at("findings", 0, "recipe", value={"torch": [{"class": RUN, "arguments": {}}]}),
}  # fmt: skip


def written(
    folder: Path, name: str, change: Callable[[dict[str, Any]], None], file: str = "report.json"
) -> int:
    """Writes the changed report, and asks for its script; returns the exit code."""
    report = copy.deepcopy(REPORT)
    change(report)
    if "old name" in name:
        del report["findings"][0]["blueprint"]
    own = folder / "".join(letter if letter.isalnum() else "-" for letter in name)
    own.mkdir()
    save_file(TENSORS, own / "report.safetensors")
    (own / file).write_text(json.dumps(report))
    return main(["repro", str(own / file), "--finding", "1", "-o", str(own / "script.py")])


def run_all(folder: Path) -> list[str]:
    """Runs every script of a folder in one process; returns those whose injection ran."""
    made = sorted(folder.glob("*/script.py"))
    done = subprocess.run(
        [sys.executable, "-c", RUNNER, *map(str, made)],
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
    )
    return [line for line in done.stdout.splitlines() if line.endswith("script.py")]


@pytest.mark.usefixtures("keras_torch")
def test_no_field_of_a_report_becomes_code(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert len(INJECTIONS) >= 20
    accepted = []
    for name, change in INJECTIONS.items():
        code = written(tmp_path, name, change)
        error = capsys.readouterr().err
        assert code in (0, 2), name
        assert "Traceback" not in error, (name, error)
        if code == 2:
            assert error.startswith("parity: "), (name, error)
            assert error.count("\n") <= 3, (name, error)
        else:
            accepted.append(name)
    assert run_all(tmp_path) == []
    assert not list(tmp_path.rglob("PWNED"))
    # Texts for readers are quoted; names and types are refused.
    assert {"kind", "cause", "Keras path", "evidence ends the docstring", "Keras config's text"} <= set(
        accepted
    )
    assert not {"torch class", "Keras class", "Keras Lambda", "argument's name", "backend"} & set(accepted)


@pytest.mark.parametrize("name", ["x\n" + RUN + "\n.json", f'"""{RUN}.json'.replace("/", "")])
def test_nor_does_the_reports_own_name(tmp_path: Path, name: str) -> None:
    def wiring(report: dict[str, Any]) -> None:
        report["findings"][0]["blueprint"] = None

    assert written(tmp_path, "named", wiring, name) == 0
    assert run_all(tmp_path) == []
    assert not list(tmp_path.rglob("PWNED"))


def test_an_injection_that_is_let_through_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The check of this file: with the first wall down the second one stands, and with both down the payload runs."""
    wiring = at("findings", 0, "blueprint", value=None)

    def change(report: dict[str, Any]) -> None:
        wiring(report)
        report["findings"][0]["evidence"] = QUIT

    monkeypatch.setattr(scripts, "_plain", str)
    assert written(tmp_path, "one wall", change) == 2
    monkeypatch.setattr(scripts, "_check_names", lambda *_: None)
    assert written(tmp_path, "no wall", change) == 0
    assert run_all(tmp_path) == [str(tmp_path / "no-wall" / "script.py")]


def test_tensors_that_were_exchanged_are_noticed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from parity.core.finding import Finding
    from parity.report.result import Report

    tensors = {name[2:]: value for name, value in TENSORS.items()}
    finding = Finding("a", "a", "layer", None, "e", tensors=tensors)
    Report("DIVERGED", 1.0, 1.0, [finding]).to_json(tmp_path / "r.json")
    arguments = ["repro", str(tmp_path / "r.json"), "--finding", "1", "-o", str(tmp_path / "x.py")]
    assert main(arguments) == 0
    file = tmp_path / "r.safetensors"
    held = load_file(file)
    held["1.keras_output.0"][0, 0, 0, 0] += 1
    save_file(held, file)
    assert main(arguments) == 2
    assert "another content" in capsys.readouterr().err
    file.write_bytes(file.read_bytes()[:-7])
    assert main(arguments) == 2


@pytest.mark.parametrize(
    "tensor", ["1.keras_output.x", "1.keras_weight.a", f"1.{RUN}", "1.torch_output.99999"]
)
def test_tensors_with_other_names_are_refused(
    tmp_path: Path, tensor: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "report.json").write_text(json.dumps(REPORT))
    save_file({**TENSORS, tensor: np.zeros(1)}, tmp_path / "report.safetensors")
    out = str(tmp_path / "x.py")
    assert main(["repro", str(tmp_path / "report.json"), "--finding", "1", "-o", out]) == 2
    assert "a tensor's name must be" in capsys.readouterr().err
