"""The commands: exit codes, what they print, and what they write."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from parity.cli import main
from parity.cli.parser import COMMANDS

PAIR = """
import keras
from keras import layers as L
from torch import nn

def image(c=3):
    return keras.Input((None, None, c))

def keras_model(channels=4):
    x = image()
    return keras.Model(x, L.Conv2D(channels, (3, 2), name="conv")(x))

class Net(nn.Module):
    def __init__(self, channels=4):
        super().__init__()
        self.conv = nn.Conv2d(3, channels, (3, 2))
    def forward(self, x):
        return self.conv(x)

class Padded(Net):
    def forward(self, x):
        return nn.functional.pad(self.conv(x), (0, 1))

class Other(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 4, (3, 2))
        self.second = nn.Conv2d(3, 4, (3, 2))
    def forward(self, x):
        return self.first(x) + 0 * self.second(x)

class Idle(Other):
    def forward(self, x):
        return self.first(x)

made = Net()
number = 3

def broken():
    return undefined_name
"""


@pytest.fixture
def pair(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "mynet.py").write_text(PAIR)
    (tmp_path / "broken_module.py").write_text("import no_such_package_at_all\n")
    (tmp_path / "map.json").write_text('{"conv": "first"}')
    (tmp_path / "list.json").write_text("[1]")
    (tmp_path / "bad.json").write_text("{")
    (tmp_path / "bad.gz").write_bytes(b"no data set")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "mynet.py").write_text(PAIR.replace("channels=4", "channels=5"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


KERAS, NET = "mynet.py:keras_model", "mynet.py:Net"
CASES: list[tuple[list[str], int, str]] = [
    (["--keras", KERAS, "--torch", NET, "--input", "2x9x12x3"], 0, "1 of 1 EQUAL"),
    (["--keras", KERAS, "--torch", NET], 0, "EQUAL"),
    (["--keras", KERAS, "--torch", "mynet.py:made"], 0, "EQUAL"),
    (["--keras", "mynet.py:keras_model(channels=5)", "--torch", "mynet.py:Net(5)"], 0, "EQUAL"),
    (["--keras", KERAS, "--torch", NET, "--dtype", "bfloat16"], 0, "EQUAL"),
    (["--keras", "other/mynet.py:keras_model", "--torch", "other/mynet.py:Net"], 0, "EQUAL"),
    (["--keras", KERAS, "--torch", NET, "--transfer", "none"], 1, "layer at conv"),
    (["--keras", KERAS, "--torch", "mynet.py:Padded"], 1, "DIVERGED"),
    (["--keras", KERAS, "--torch", "mynet.py:Other"], 2, "second"),
    (["--keras", KERAS, "--torch", "mynet.py:Other", "--mapping", "map.json"], 2, "second"),
    (["--keras", KERAS, "--torch", "mynet.py:Idle"], 0, "never runs"),
    (["--keras", KERAS, "--torch", "mynet.py:Idle", "--mapping", "map.json"], 0, "second"),
    (["--keras", KERAS, "--torch", NET, "--mapping", "bad.json"], 2, "--mapping"),
    (["--keras", KERAS, "--torch", NET, "--mapping", "list.json"], 2, "--mapping"),
    (["--keras", KERAS, "--torch", NET, "--mapping", "nowhere.json"], 2, "nowhere.json"),
    (["--keras", KERAS, "--torch", NET, "--input", "2x9xq"], 2, "--input"),
    (["--keras", KERAS, "--torch", NET, "--input", "2x0x9x3"], 2, "--input"),
    (["--keras", KERAS, "--torch", NET, "--input", "2x9x12x4"], 2, "INCONCLUSIVE"),
    (["--keras", KERAS], 2, "go together"),
    (["--torch", NET], 2, "go together"),
    (["--keras", KERAS, "--torch", NET, "Conv2d"], 2, "one pair"),
    ([], 2, "no name"),
    (["NoSuchPair"], 2, "NoSuchPair"),
    (["Conv2d", "--train-steps", "1", "--optimizer", "nosuch"], 2, "rmsprop"),
    (["Conv2d(bad name)"], 2, "literals"),
    (["Conv2d", "--data", "bad.gz"], 2, "parity: bad.gz"),
    (["Conv2d", "--data", "other"], 2, "--data must be"),
    (["--keras", "mynet.py", "--torch", NET], 2, "module:attribute"),
    (["--keras", "mynet.py:nothing", "--torch", NET], 2, "nothing"),
    (["--keras", "nowhere.py:x", "--torch", NET], 2, "nowhere.py"),
    (["--keras", "no_such_module:x", "--torch", NET], 2, "no_such_module"),
    (["--keras", "broken_module:x", "--torch", NET], 2, "no_such_package_at_all"),
    (["--keras", "broken_module.py:x", "--torch", NET], 2, "no_such_package_at_all"),
    (["--keras", "mynet.py:broken", "--torch", NET], 2, "undefined_name"),
    (["--keras", "mynet.py:number", "--torch", NET], 2, "int"),
    (["--keras", NET, "--torch", KERAS], 2, "Swap them"),
    (["MaxPool2d", "Conv2d", "--input", "2x9x12x3"], 0, "2 of 2 EQUAL"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "code", "text"), CASES, ids=[" ".join(case[0]) or "nothing" for case in CASES]
)
def test_check(
    pair: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], code: int, text: str
) -> None:
    written = pair / "out" / "r.json"
    assert main(["check", *arguments, "--json", str(written), "--html", str(pair / "out" / "r.html")]) == code
    captured = capsys.readouterr()
    assert text in captured.out + captured.err
    if written.exists():
        for result in strict_json(written):
            keys = {"name", "verdict", "max_abs_diff", "max_rel_diff", "findings", "environment"}
            assert keys <= set(result)
            assert {"EQUAL": 0, "DIVERGED": 1, "INCONCLUSIVE": 2}[result["verdict"]] == code
            assert bool(result["findings"]) == bool(code)
    else:
        assert code == 2
        assert captured.err.startswith(("parity: ", "Traceback"))


def test_json_has_the_tensors_beside_it_and_repro_reads_them(
    pair: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [
        "check",
        "--keras",
        KERAS,
        "--torch",
        NET,
        "--transfer",
        "none",
        "--json",
        "r.json",
        "--html",
        "r.html",
    ]
    assert main(arguments) == 1
    (result,) = strict_json(pair / "r.json")
    assert result["tensors_file"] == "r.safetensors"
    assert {"keras_output.0", "torch_output.0", "keras_weight.0"} <= set(result["findings"][0]["tensors"])
    assert result["findings"][0]["blueprint"]["torch"][0]["class"] == "Conv2d"
    assert "data:image/png" in (pair / "r.html").read_text()
    assert main(["repro", "r.json", "--finding", "1", "-o", "out/repro.py"]) == 0
    assert "python out/repro.py" in capsys.readouterr().out
    assert (
        "nn.Conv2d(in_channels=3, out_channels=4, kernel_size=(3, 2))"
        in (pair / "out" / "repro.py").read_text()
    )
    assert (pair / "out" / "repro.safetensors").exists()
    assert main(["repro", "r.json", "--finding", "9", "-o", "out/repro.py"]) == 2


def strict_json(path: Path) -> Any:
    return json.loads(path.read_text(), parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))


@pytest.mark.parametrize(
    "arguments", [["check", "--dtype", "int8"], ["check", "Conv2d", "--jobs", "many"], ["nothing"], []]
)
def test_usage_errors_of_the_parser(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(arguments)
    assert exit_.value.code == 2


def test_the_users_own_traceback_is_shown(pair: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "--keras", "mynet.py:broken", "--torch", NET]) == 2
    error = capsys.readouterr().err
    assert "NameError" in error
    assert "return undefined_name" in error


def test_models_lists_the_catalogue(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from parity import catalog

    assert main(["models", "--json", str(tmp_path / "m.json")]) == 0
    rows = strict_json(tmp_path / "m.json")
    assert [row["name"] for row in rows] == list(catalog.entries())
    for row in rows:
        assert set(row) == {"name", "generation", "source", "parameters", "keras", "torch"}
    assert next(row["parameters"] for row in rows if row["name"] == "mUnet-depth8") == 4_040_773
    assert "mUnet" in capsys.readouterr().out


def test_causes_lists_every_cause(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from parity.causes import CAUSES

    assert main(["causes", "--json", str(tmp_path / "c.json")]) == 0
    rows = strict_json(tmp_path / "c.json")
    assert [row["name"] for row in rows] == list(CAUSES)
    out = capsys.readouterr().out
    for row in rows:
        assert set(row) == {"name", "mechanism", "signature", "fix"}
        assert all(row.values())
        assert f"\n{row['name']}\n" in f"\n{out}"
    assert max(map(len, out.splitlines())) <= 100


EARLY = """
import sys
from parity.cli import main
for arguments in {cases}:
    try:
        code = main(arguments)
    except SystemExit as exit_:
        code = exit_.code
    print(code, sorted({{"keras", "tensorflow", "jax", "torch"}} & set(sys.modules)), *arguments)
"""
WRONG = [arguments for arguments, code, text in CASES if code == 2 and text in {
    "--mapping", "nowhere.json", "--input", "go together", "one pair", "no name", "NoSuchPair", "rmsprop", "literals",
    "module:attribute", "nowhere.py", "no_such_module", "parity: bad.gz", "--data must be",
}]  # fmt: skip


def test_what_needs_no_framework_loads_none(pair: Path) -> None:
    """Lists that need none, and usage errors: these come at once, not after the seconds that frameworks take."""
    wrong = [["check", *arguments] for arguments in WRONG]
    wrong += [["check", "Conv2d", "--jobs", "0"], ["check", "Conv2d", "--train-steps", "-1"]]
    wrong += [["convert", "a.pt", "b.h5"], ["convert", "a.pt", "b.h5", "--model", "NoSuchPair"]]
    wrong += [["repro", "nowhere.json", "--finding", "1", "-o", "r.py"]]
    assert len(wrong) > 15
    code = EARLY.format(cases=[["causes", "--json", "c.json"], *wrong])
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr
    found = [line for line in done.stdout.splitlines() if "[" in line and line[0].isdigit()]
    assert found == ["0 [] causes --json c.json", *(f"2 [] {' '.join(arguments)}" for arguments in wrong)]


def test_doctor_looks_at_the_environment(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor"]) == 0
    out = capsys.readouterr().out
    for subject in ("torch", "keras", "Keras backend", "float64"):
        assert subject in out
    assert "FAIL" not in out


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "parity", *arguments],
        capture_output=True, text=True, check=False, timeout=300,
        env={**{k: v for k, v in os.environ.items() if k != "TF_CPP_MIN_LOG_LEVEL"}, **environment},
        cwd=Path(__file__).parents[2],
    )  # fmt: skip


@pytest.mark.slow
def test_module_as_a_command_is_quiet() -> None:
    done = run("check", "BatchNorm2d", "--input", "2x9x12x5")
    assert done.returncode == 0, done.stderr
    assert "1 of 1 EQUAL" in done.stdout
    assert done.stderr == ""


@pytest.mark.slow
def test_keras_on_jax() -> None:
    pytest.importorskip("jax", reason="needs jax")
    done = run("check", "SkipBlockDN", "ConvTranspose2d-general", KERAS_BACKEND="jax")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 of 2 EQUAL" in done.stdout


PLUGIN = """
from parity.catalog import Entry
pairs = [Entry("Guest", "layer", "a test", "tf_impl.layers:MaxPool2d(2)", "torch_impl.layers:MaxPool2d(2)", (2, 8, 10, 3))]
number = 3
again = Entry("Conv2d", "layer", "a test", "a:b", "c:d", (1, 1, 1, 1))
"""


@pytest.mark.parametrize(
    ("attribute", "code", "text"),
    [("pairs", 0, "1 of 1 EQUAL"), ("number", 2, "Entry"), ("again", 2, "unique")],
)
def test_pairs_that_another_package_registers(
    attribute: str,
    code: int,
    text: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "guest_pairs.py").write_text(PLUGIN)
    info = tmp_path / "guest-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: guest\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[parity.pairs]\nguest = guest_pairs:{attribute}\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert main(["check", "Guest"]) == code
    captured = capsys.readouterr()
    assert text in captured.out + captured.err


@pytest.mark.slow
def test_jobs_find_the_same(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Two processes print the same rows in the same order, and write the same reports."""
    found = []
    for jobs in ("1", "2"):
        report = tmp_path / f"{jobs}.json"
        flags = ["check", "SkipBlockDN", "MaxPool2d", "--jobs", jobs, "--json", str(report)]
        assert main(flags) == 0
        rows = capsys.readouterr().out.splitlines()
        written = json.loads(report.read_text())
        for entry in written:
            entry.pop("seconds")
            for each in entry["comparisons"].values():
                each.pop("seconds", None)
        found.append(
            ([row.split()[0] for row in rows], [(e["name"], e["verdict"], e["parameters"]) for e in written])
        )
    assert found[0] == found[1]
    assert len(found[0][1]) == 2


def test_the_list_of_commands_has_each_with_what_it_does(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    lines = capsys.readouterr().out.splitlines()
    for name, (words, _) in COMMANDS.items():
        assert any(line.split() == [name, *words.split()] for line in lines), name
